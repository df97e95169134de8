"""The commands with devices: PulseAudio with a virtual microphone and a virtual loudspeaker."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import wave
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import anyio
import pytest

import voicepipe as vp
from tests.helpers.pulse import PulseDaemon, last_spoken, with_sound_server, words
from voicepipe.audio.resample import Resampler

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = [*with_sound_server, pytest.mark.usefixtures("ctrl_c")]

PROGRAM = [sys.executable, "-u", "-W", "error", "-c", "from voicepipe.cli import main\nraise SystemExit(main())"]

SHORT_DEMO = """
from voicepipe.cli import _demo_script as script, main
script.LINES = (script.LINES[0], script.LINES[-1])
raise SystemExit(main())
"""

HOURS = "We are open from nine to five on weekdays and from ten to four on Saturdays."

APP = f'''
import voicepipe as vp
from voicepipe.testing import Says, ScriptedModel

GRAMMAR = """#JSGF V1.0;
grammar shop;
public <request> = when are you open | where is my order | {HOURS.lower().rstrip(".")};
"""


BARGE_IN = """#JSGF V1.0;
grammar shop;
public <request> = <stop> | <own> | <own> <stop>;
<stop> = stop please;
<own> = we [are [open [from [nine [to [five [on [weekdays [and [from [ten [to [four [on [saturdays]]]]]]]]]]]]]]];
"""


class OpenRecogniser(vp.PocketsphinxRecogniser):
    "Knows what the agent says, so that its words are evidence, as those of a recogniser for free speech are."

    is_closed = False


def row(recogniser):
    model = ScriptedModel(lambda request: Says("{HOURS}"))
    return vp.Pipeline(vp.STTStage(recogniser), model, vp.SentenceChunker(), vp.EspeakTTS())


agent = row(vp.PocketsphinxRecogniser(GRAMMAR))
open_agent = row(OpenRecogniser(GRAMMAR))
interruptible = row(OpenRecogniser(BARGE_IN))
'''

READ_BACK = """#JSGF V1.0;
grammar reply;
public <reply> =
  we [are [open [from [nine [to [five [on [weekdays [and [from [ten [to [four [on [saturdays]]]]]]]]]]]]]]];
"""
"""Only its beginning, so that a piece that a busy machine lost at the end does not make it another sentence."""

WHOLE = "we are open from nine to five on weekdays and from ten"


@pytest.fixture(scope="module")
def pulse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PulseDaemon]:
    server = PulseDaemon(tmp_path_factory.mktemp("pulse"))
    yield server
    server.kill()


@contextmanager
def echo(pulse: PulseDaemon, volume: str = "100%") -> Iterator[None]:
    """Feed the loudspeaker's sound back to the microphone while the block runs, as in a room."""
    loop = "module-loopback", "source=speaker.monitor", "sink=micfeed", "latency_msec=20"
    module = pulse.pactl("load-module", *loop).strip()
    for stream in pulse.pactl("list", "sink-inputs").split("Sink Input #")[1:]:
        if f"Owner Module: {module}\n" in stream:
            pulse.pactl("set-sink-input-volume", stream.split()[0], volume)
    try:
        yield
    finally:
        pulse.pactl("unload-module", module)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    return tmp_path


async def _spoken(text: str) -> bytes:
    voice = vp.EspeakTTS("en-us+f2")
    async with voice.open():
        pieces = [piece async for piece in voice.synthesize(vp.Sentence(text)) if isinstance(piece, bytes)]
    resampler = Resampler(voice.sample_rate, 16_000)
    return resampler.feed(b"".join(pieces)) + resampler.flush()


def caller(folder: Path, text: str) -> Path:
    """Return a file in which a text is said, with one second of silence before and after it."""
    quiet = bytes(32_000)
    path = folder / "caller.wav"
    vp.write_wav(path, quiet + anyio.run(_spoken, text) + quiet, 16_000)
    return path


@contextmanager
def command(
    pulse: PulseDaemon, folder: Path, *arguments: str, program: Sequence[str] = PROGRAM
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*program, *arguments],
        cwd=folder,
        env=pulse.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def until(process: subprocess.Popen[str], word: str) -> str:
    """Read the process's output up to the line that contains this word."""
    assert process.stdout is not None
    shown = ""
    while word not in shown:
        line = process.stdout.readline()
        assert line, f"{word!r} never came after {shown}"
        shown += line
    return shown


def interrupted(process: subprocess.Popen[str]) -> str:
    """Send Ctrl-C, and return the output until the process has ended, within 3 s."""
    assert process.stdout is not None
    process.send_signal(signal.SIGINT)
    assert process.wait(3) == 130
    return process.stdout.read()


def own(stderr: str) -> str:
    """Return what the command itself wrote; on a busy machine the sound system writes complaints of its own."""
    return "".join(line for line in stderr.splitlines(keepends=True) if not line.startswith("ALSA lib "))


def test_a_call_by_microphone_and_loudspeaker(pulse: PulseDaemon, folder: Path) -> None:
    """A question at the microphone is answered aloud, with a waterfall; Ctrl-C ends the call within 3 s."""
    with pulse.recording() as recording, command(pulse, folder, "talk", "app.py", "--greeting", "Hello.") as process:
        shown = until(process, "agent   Hello.")
        assert "half duplex: while the agent speaks you cannot interrupt it" in shown
        pulse.play(caller(folder, "when are you open")).wait()
        shown = until(process, "waited")
        interrupted(process)
    assert "caller  when are you open\n" in shown
    assert words(last_spoken(recording.pcm), READ_BACK).startswith(WHOLE)


@pytest.mark.parametrize("agent", ["agent", "open_agent"])
def test_it_does_not_interrupt_itself(agent: str, pulse: PulseDaemon, folder: Path) -> None:
    """While the microphone picks up the loudspeaker, the agent says its sentence to the end, once."""
    with echo(pulse), pulse.recording() as recording:
        with command(pulse, folder, "talk", f"app.py:{agent}", "--greeting", HOURS) as process:
            until(process, f"agent   {HOURS}")
            anyio.run(anyio.sleep, 6.5)  # the sentence takes 5 s
            shown = interrupted(process)
    assert re.findall(r"  (caller|agent|cut|failed) ", shown) == []
    ignored = f"the agent's own voice, ignored: {HOURS.lower().rstrip('.')}\n"
    assert (ignored in shown) is (agent == "open_agent")  # the other recogniser gets silence meanwhile
    assert words(last_spoken(recording.pcm), READ_BACK).startswith(WHOLE)


@pytest.mark.parametrize("agent", ["agent", "open_agent"])
def test_with_headphones_it_would(agent: str, pulse: PulseDaemon, folder: Path) -> None:
    """The same echo in full duplex cuts the sentence off, which shows that the guard kept it whole."""
    with (
        echo(pulse),
        command(pulse, folder, "talk", f"app.py:{agent}", "--headphones", "--greeting", HOURS) as process,
    ):
        assert "full duplex: any sound at the microphone" in until(process, f"agent   {HOURS}")
        until(process, "cut     the caller interrupts")


def test_the_caller_can_interrupt_it(pulse: PulseDaemon, folder: Path) -> None:
    """Over the fainter echo of its own voice, the caller's words interrupt the agent and are answered."""
    with echo(pulse, "20%"), command(pulse, folder, "talk", "app.py:interruptible", "--greeting", HOURS) as process:
        until(process, f"agent   {HOURS}")
        pulse.play(caller(folder, "stop please")).wait()
        assert "cut     the caller interrupts" in until(process, "stop please")
        interrupted(process)


def test_typed_words_are_answered_aloud(pulse: PulseDaemon, folder: Path) -> None:
    """`--text --play` takes typed lines and plays the replies through the loudspeaker."""
    with pulse.recording() as recording:
        ended = subprocess.run(
            [*PROGRAM, "talk", "app.py", "--text", "--play"],
            input="when are you open\n",
            cwd=folder,
            env=pulse.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert (ended.returncode, own(ended.stderr)) == (0, "")
    assert words(last_spoken(recording.pcm), READ_BACK).startswith(WHOLE)


@pytest.mark.parametrize("hears", [True, False])
def test_the_round_trip_is_measured(hears: bool, pulse: PulseDaemon, folder: Path) -> None:
    """With an echo the round trip is printed in milliseconds; without one, the command says what to do."""
    for _ in range(3):
        with echo(pulse) if hears else nullcontext(), command(pulse, folder, "devices", "--loopback") as process:
            out, err = process.communicate(timeout=60)
        if "no sign of life" not in err:
            break  # a sink that is only software now and then stands still for a second, as the command rightly says
    else:
        pytest.skip("the sound server stands still")
    assert (process.returncode, own(err)) == (0 if hears else 1, "")
    if not hears:
        assert out.startswith("recorded 0 of 5 chirps: turn the loudspeaker and the microphone up")
        return
    measured = re.fullmatch(r"round trip (\d+) ms \(median of [345]; (\d+) to (\d+)\)\n", out)
    assert measured, out
    assert 20 < int(measured[1]) < 250


def test_devices_are_listed(pulse: PulseDaemon, folder: Path) -> None:
    """Each device is one line, and the defaults are marked."""
    with command(pulse, folder, "devices") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, own(err)) == (0, "")
    head, *lines = out.splitlines()
    assert head.split() == ["name", "system", "in", "out", "Hz", "default"]
    assert sum(line.endswith("microphone, loudspeaker") for line in lines) == 1
    with command(pulse, folder, "devices", "--json") as process:
        listed = json.loads(process.communicate(timeout=60)[0])
    assert [device["name"] in line for device, line in zip(listed, lines, strict=True)] == [True] * len(lines)


def test_the_level_is_shown(pulse: PulseDaemon, folder: Path) -> None:
    """Speech is loud, silence is not, and a microphone that gives only zeros is reported."""
    with command(pulse, folder, "devices", "--level", "--seconds", "5") as process:
        until(process, "dB")
        pulse.play(caller(folder, "when are you open")).wait()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, own(err)) == (0, "")
    levels = [float(level) for level in re.findall(r"(-?\d+\.\d) dB, peak", out)]
    assert max(levels) > -30 > -79 > min(levels)
    with command(pulse, folder, "devices", "--level", "--seconds", "1.5") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, own(err)) == (1, "")
    assert out.endswith("nothing but zeros: the microphone is muted, or this program has no permission to use it\n")
    vp.write_wav(folder / "tone.wav", (b"\x00\x20" * 16 + b"\x00\xe0" * 16) * 5_000, 16_000)
    player = pulse.play(folder / "tone.wav")
    with command(pulse, folder, "devices", "--level", "--seconds", "0.2") as process:
        out, err = process.communicate(timeout=60)
    player.kill()
    player.wait()
    assert (process.returncode, own(err), out.count(" dB, peak")) == (0, "", 1)


def test_the_demo_by_microphone(pulse: PulseDaemon, folder: Path) -> None:
    """`demo --mic` shows the phrases that it knows, answers one of them, and ends with the goodbye."""
    with echo(pulse), command(pulse, folder, "demo", "--mic") as process:
        shown = until(process, "agent   Hello, this is the shop.")
        assert "    where is my order one two three four five\n" in shown
        anyio.run(anyio.sleep, 3.5)
        pulse.play(caller(folder, "when are you open")).wait()
        shown = until(process, "waited")
        anyio.run(anyio.sleep, 3.5)
        pulse.play(caller(folder, "thank you and goodbye")).wait()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, own(err)) == (0, "")
    assert "agent   We are open from nine to five.\n" in shown
    assert "agent   You are very welcome.\n" in out


def test_the_demo_can_be_heard(pulse: PulseDaemon, folder: Path) -> None:
    """`demo --play` plays what it writes to the recording, caller and agent."""
    np = pytest.importorskip("numpy")
    program = [*PROGRAM[:-1], SHORT_DEMO]
    with (
        pulse.recording(rate=22_050) as heard,
        command(pulse, folder, "demo", "--play", "--json", program=program) as process,
    ):
        out, err = process.communicate(timeout=100)
    assert (process.returncode, own(err)) == (0, "")
    assert json.loads(out)["problems"] == []
    with wave.open(str(folder / "conversation" / "conversation.wav")) as wav:
        both = np.frombuffer(wav.readframes(wav.getnframes()), "<i2").astype(float)
    recorded = np.frombuffer(heard.pcm, "<i2").astype(float)[: 22_050 * 10]
    size = 1 << 18  # what is correlated by Fourier transform has to fit in
    for track, second in ((both[0::2], 0.4), (both[1::2], 2.0)):  # the caller's first words, and the agent's
        piece = track[round(second * 22_050) : round((second + 1.0) * 22_050)]
        begin = int(np.argmax(np.abs(piece) > 1_000))
        piece = piece[begin : begin + 11_025]
        products = np.fft.irfft(np.fft.rfft(recorded, size) * np.fft.rfft(piece, size).conj(), size)
        products = np.abs(products[: len(recorded) - len(piece) + 1])
        sums = np.concatenate(([0.0], np.cumsum(recorded**2)))
        energy = sums[len(piece) :] - sums[: -len(piece)]
        assert float(np.max(products / np.sqrt((energy + 1e4) * np.sum(piece**2)))) > 0.7


def test_a_sound_server_that_hangs_does_not_hold_the_command(pulse: PulseDaemon, folder: Path) -> None:
    """A call that loses its devices to a hanging server ends within 5 s, and a list within 9 s, each with one line."""
    try:
        with command(pulse, folder, "talk", "app.py", "--greeting", "Hello.") as process:
            until(process, "agent   Hello.")
            pulse.hang()
            assert process.wait(5) == 1
            assert process.stderr is not None
            assert re.fullmatch(r"voicepipe: .* gave no sign of life for .*\n", own(process.stderr.read()))
        with command(pulse, folder, "devices") as process:
            assert process.wait(9) == 2
            assert process.stderr is not None
            assert own(process.stderr.read()).startswith("voicepipe: the sound system did not answer within 5 s")
    finally:
        pulse.go_on()


def test_one_device_that_is_not_there_is_one_line(pulse: PulseDaemon, folder: Path) -> None:
    """When one device is refused while the other is being opened, only the refusal is reported."""
    for _ in range(3):
        with command(pulse, folder, "talk", "app.py", "--input", "99") as process:
            assert process.wait(10) == 2
            assert process.stderr is not None
            assert re.fullmatch("voicepipe: microphone 99: no such device; .*\n", own(process.stderr.read()))
