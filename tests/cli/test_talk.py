"""`voicepipe talk`: a call in the terminal, typed or with the application's own source and output."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from argparse import Namespace
from typing import TYPE_CHECKING

import pytest

import voicepipe as vp
from tests.helpers.talking import PROGRAM, said, talk
from voicepipe.cli import main
from voicepipe.cli._simulated_caller import TypedSpeech
from voicepipe.cli.talk import simulated_call, spoken_call, typed_call
from voicepipe.testing import RecordingOutput, ScriptedModel, ScriptedRecogniser, ScriptedUser, ScriptedVoice
from voicepipe.watching.recording import Recording

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow  # each test starts a program

APP = r"""
import voicepipe as vp
from voicepipe.testing import Calls, RecordingOutput, Says
from voicepipe.testing import ScriptedModel, ScriptedRecogniser, ScriptedUser, ScriptedVoice


@vp.tool(effect="read")
async def look_up(what: str) -> str:
    "Look something up."
    return what


def answer(request):
    said = request.last_user_text.rpartition("\n")[2]  # what was cut off before anything was heard stands before it
    if said == "look" and not request.tool_results:
        return Calls("look_up", {"what": "stars"})
    if said == "fail":
        raise RuntimeError("the model is gone")
    return Says(f"You said {said}. That is all.")


MODEL = ScriptedModel(answer)
VOICE = ScriptedVoice(character_s=0.001)
SLOW = ScriptedVoice(character_s=0.2)
TOOLS = vp.ToolRouter([look_up])

agent = vp.Pipeline(vp.STTStage(), MODEL, TOOLS, vp.SentenceChunker(), VOICE)
slow = vp.Pipeline(vp.STTStage(ScriptedRecogniser()), MODEL, TOOLS, vp.SentenceChunker(), SLOW)
deaf = vp.Pipeline(MODEL, vp.SentenceChunker(), VOICE)
whole = vp.Pipeline(
    ScriptedUser().guesses("hel", at_s=0.2).says("hello", at_s=0.4, silence_s=0.1).hangs_up(at_s=1.0),
    MODEL, vp.SentenceChunker(), VOICE, output=RecordingOutput(),
)
to_file = vp.Pipeline(MODEL, vp.SentenceChunker(), VOICE, output=vp.WavOutput("said.wav"))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    return tmp_path


def test_each_line_is_answered(folder: Path) -> None:
    """Piped lines are said one after another, and the end of the input ends the call after the reply."""
    ended = talk("app.py", "--text", typed="hello\n\nlook\nbye", before="sys.modules['sounddevice'] = None")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert said(ended.stdout) == [
        ("caller", "hello"),
        ("agent", "You said hello."),
        ("agent", "That is all."),
        ("caller", "look"),
        ("tool", "look_up: done"),
        ("agent", "You said look."),
        ("agent", "That is all."),
        ("caller", "bye"),
        ("agent", "You said bye."),
        ("agent", "That is all."),
    ]
    assert ended.stdout.count("waited") == 3


def test_a_call_is_recorded_where_the_command_line_says(folder: Path) -> None:
    """A line says what is recorded and where; the recording holds what was typed and said."""
    ended = talk("app.py", "--text", "--record", "calls", typed="look\n")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "recorded: both sides, what was said" in " ".join(ended.stdout.split())
    (path,) = (folder / "calls").glob("*.vprec")
    recording = Recording.read(path)
    assert [message.text for message in recording.history if message.text] == ["look", "You said look. That is all."]
    assert not recording.is_cut


@pytest.mark.parametrize("place", ["app.py", "app.py/calls"])
def test_a_place_that_cannot_hold_recordings_is_refused_in_one_line(place: str, folder: Path) -> None:
    """Before the call begins, with the status 2."""
    ended = talk("app.py", "--text", "--record", place)
    assert (ended.returncode, ended.stdout) == (2, "")
    said = f"voicepipe: Recorder: {place} is a file; name a directory for the recordings\n"
    assert ended.stderr == said


def test_events_are_lines_of_json(folder: Path) -> None:
    """With --json each event is a line as in a recording, with the seconds since the call began, and needs no rich."""
    ended = talk("app.py", "--text", "--json", typed="look\n", before="sys.modules['rich'] = None")
    assert (ended.returncode, ended.stderr) == (0, "")
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    names = [event["event"] for event in events]
    assert [name for name in names if name.startswith(("Tool", "Sentence", "Turn"))] == [
        *("TurnStarted", "ToolStarted", "ToolFinished", "SentenceStarted", "SentenceStarted", "TurnCompleted")
    ]
    assert events[names.index("TurnStarted")]["user_text"] == "look"
    assert events[-1]["heard"] == "You said look. That is all."
    assert 0 < events[-1]["marks"]["first_frame"] <= events[-1]["t_s"] < 60
    assert [event["t_s"] for event in events] == sorted(event["t_s"] for event in events)


def test_lines_may_end_as_windows_ends_them(folder: Path) -> None:
    """A carriage return before the end of a line is not part of its words."""
    code = "repeat = vp.Pipeline(ScriptedModel(lambda r: Says(repr(r.last_user_text))), vp.SentenceChunker(), VOICE)\n"
    (folder / "app.py").write_text(APP + code, encoding="utf-8")
    assert ("agent", "'hello'") in said(talk("app.py:repeat", "--text", typed="hello\r\n").stdout)


@pytest.mark.parametrize(
    ("output", "loudspeaker", "mode"),
    [
        (None, None, "half"),  # the loudspeaker of this machine
        (vp.Speaker(), None, "half"),
        (None, False, "full"),
        (RecordingOutput(), None, "full"),
        (RecordingOutput(), True, "half"),
    ],
)
def test_the_mode_that_holds_is_told(output: vp.Output | None, loudspeaker: bool | None, mode: str) -> None:
    """With the application's own source, its turn rules apply; without a rule its output decides."""
    row = ScriptedUser(), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice()
    agent = vp.Pipeline(*row, output=output, turns=vp.TurnRules(loudspeaker=loudspeaker))
    call = spoken_call(agent, Namespace(app="app.py", input=None, output=None, headphones=False))
    assert f"{mode} duplex, as the application says" in call.notes


@pytest.mark.parametrize(
    ("source", "mode"),
    [
        (vp.MicSource(), "full duplex: Nothing takes the agent's voice out of what the microphone picks up"),
        (vp.PushSource(), "full duplex, as the application says"),
    ],
)
def test_a_pipeline_with_an_echo_canceller_is_full_duplex(source: vp.Source, mode: str) -> None:
    """The call keeps the application's canceller, and says what it does."""

    class Nothing(vp.EchoCanceller):
        def prepare(self, near_rate: int, far_rate: int) -> None: ...

        def process(self, near: bytes, far: bytes) -> bytes:
            return near

    row = vp.STTStage(ScriptedRecogniser()), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice()
    agent = vp.Pipeline(source, *row, output=vp.Speaker(), echo_canceller=Nothing())
    call = spoken_call(agent, Namespace(app="app.py", input=None, output=None, headphones=False))
    assert call.agent._echo_canceller is agent._echo_canceller
    assert call.agent._turns.loudspeaker is None
    assert mode in call.notes


def test_an_application_keeps_its_observers() -> None:
    """What watches the sessions of a pipeline watches its call in the terminal too, spoken, typed or simulated."""

    class Nothing(vp.Observer):
        pass

    row = vp.STTStage(ScriptedRecogniser()), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice()
    agent = vp.Pipeline(vp.MicSource(), *row, observers=[Nothing()])
    chosen = Namespace(app="app.py", input=None, output=None, headphones=False, play=False)
    calls = spoken_call(agent, chosen), typed_call(agent, chosen), simulated_call(agent, TypedSpeech(16_000), chosen)
    assert [call.agent._observers for call in calls] == [agent._observers] * 3


def test_an_application_may_say_that_there_is_no_echo() -> None:
    """At this machine's microphone, too, `TurnRules(loudspeaker=False)` applies, and the call says so."""
    row = vp.STTStage(ScriptedRecogniser()), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice()
    agent = vp.Pipeline(vp.MicSource(), *row, turns=vp.TurnRules(loudspeaker=False))
    call = spoken_call(agent, Namespace(app="app.py", input=None, output=None, headphones=False))
    assert call.agent._turns.loudspeaker is False
    assert "full duplex, as the application says" in call.notes


def test_a_greeting_is_heard_first(folder: Path) -> None:
    """--greeting is said first, and to its end."""
    ended = talk("app.py:agent", "--text", "--greeting", "Good day.", typed="hello\n")
    assert said(ended.stdout)[:2] == [("agent", "Good day."), ("caller", "hello")]
    assert said(talk("app.py", "--text", "--greeting", "Good day.").stdout) == [("agent", "Good day.")]


def test_a_turn_that_fails_is_shown(folder: Path) -> None:
    """A failed turn is shown, and the call goes on."""
    ended = talk("app.py", "--text", typed="fail\nhello\n")
    assert ended.returncode == 0
    assert next(line for line in said(ended.stdout) if line[0] == "failed")[1].startswith("ScriptedModel")
    assert ("agent", "You said hello.") in said(ended.stdout)


def test_a_row_with_its_own_source_and_output_is_used_as_it_is(folder: Path) -> None:
    """A scripted caller and a recording output need no device, and the call ends when the caller hangs up."""
    ended = talk("app.py:whole", before="sys.modules['sounddevice'] = None")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert said(ended.stdout) == [("caller", "hello"), ("agent", "You said hello."), ("agent", "That is all.")]
    assert "you: ScriptedUser, as the application says\n" in ended.stdout
    assert "agent: RecordingOutput, as the application says\n" in ended.stdout


def test_an_output_of_the_application_gets_the_speech(folder: Path) -> None:
    """With --text too, a pipeline with a file as its output writes the file."""
    assert talk("app.py:to_file", "--text", typed="hello\n").returncode == 0
    assert (folder / "said.wav").stat().st_size > 1_000


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere.py"], "nowhere.py does not exist; name a Python file that creates a Pipeline"),
        (["app.py:other"], "app.py has no 'other'; it has app.py:agent, app.py:slow, app.py:deaf, app.py:whole, "),
        (
            ["app.py:deaf"],
            "app.py:deaf has no recogniser; add STTStage(...) before the model, or type with --",
        ),
    ],
)
def test_what_cannot_be_talked_to_is_told_in_one_line(
    arguments: list[str], line: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A call that cannot begin prints one line on stderr, with exit status 2."""
    path = [*sys.path]
    assert main(["talk", *arguments]) == 2
    sys.path[:] = path
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"voicepipe: {line}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["talk", "app.py:slow", "--input", "nowhere"],
        ["talk", "app.py:slow", "--text", "--output", "nowhere"],
        ["devices", "--level", "--input", "nowhere"],
        ["devices", "--loopback", "--output", "nowhere"],
    ],
)
def test_a_device_that_is_not_there_is_told_in_one_line(arguments: list[str], folder: Path) -> None:
    """A missing device of that name, no device at all, or a missing PortAudio is one line, with exit status 2."""
    ended = subprocess.run(
        [*PROGRAM[:-1], *arguments], capture_output=True, text=True, encoding="utf-8", check=False, timeout=60
    )
    line = ended.stderr.splitlines()[-1]  # ALSA may have complaints of its own
    assert (ended.returncode, ended.stderr.count("voicepipe: ")) == (2, 1)
    assert line.startswith("voicepipe: ")
    assert any(word in line for word in ("'nowhere'", "found no", "PortAudio"))


# --- a terminal -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_typed_line_interrupts(folder: Path) -> None:
    """On a terminal the next line interrupts the reply, is not shown twice, and Ctrl-D ends the call."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, "app.py:slow", "--text"], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        shown = b""
        for typed, answer in ((b"hello\n", b"You said hello."), (b"stop\n", b"You said stop.")):
            os.write(ours, typed)
            while answer not in shown:
                line = process.stdout.readline()
                assert line
                shown += line
        os.write(ours, b"\x04")
        shown += process.stdout.read()
        assert (process.wait(10), process.stderr.read()) == (0, b"")
    os.close(ours)
    os.close(theirs)
    lines = said(shown.decode())
    assert lines[0] == ("agent", "You said hello.")
    assert lines[1][0] == "cut"
    assert lines[2:] == [("agent", "You said stop."), ("agent", "That is all.")]


@pytest.mark.slow
@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("names", ["SIGINT", "SIGINT SIGINT", "SIGTERM", "SIGHUP", "SIGTERM SIGTERM"])
@pytest.mark.skipif(sys.platform == "win32", reason="sends signals to a process")
def test_a_signal_ends_the_call(names: str, folder: Path) -> None:
    """Ctrl-C or SIGTERM in the middle of a reply exits with 128 + signal and no traceback, also while typing."""
    numbers = [signal.Signals[name] for name in names.split()]
    with subprocess.Popen(
        [*PROGRAM, "app.py:slow", "--text"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write("hello\n")
        process.stdin.flush()
        while "agent   You said" not in process.stdout.readline():
            assert process.poll() is None
        for number in numbers:
            process.send_signal(number)
        assert process.wait(3) == 128 + numbers[0]
        assert process.stderr.read() == ""
