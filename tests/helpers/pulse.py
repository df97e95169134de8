"""A sound server of the test's own: PulseAudio with devices that are only software.

What is played into the sink `micfeed` is heard by the microphone `mic`, and what `speaker` plays can be recorded; the
same again with a 2 behind the names. ALSA knows the pairs as `line_one` (the default) and `line_two`. No sound card, no
other sound server and no user's settings are touched.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path

import pytest

from voicepipe.vendors.pocketsphinx.grammar import load_grammar
from voicepipe.vendors.pocketsphinx.recogniser import _Ear

MISSING = [name for name in ("pulseaudio", "pactl", "paplay", "parec") if shutil.which(name) is None]
MISSING += [] if find_library("portaudio") else ["PortAudio"]

with_sound_server = [
    pytest.mark.slow,
    pytest.mark.sound,
    pytest.mark.skipif(
        bool(MISSING) and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason=f"not installed: {', '.join(MISSING)}"
    ),
]
"""Marks of a module whose tests need this server."""

SERVER = """
load-module module-native-protocol-unix
load-module module-null-sink sink_name=speaker rate=24000 channels=1
load-module module-null-sink sink_name=micfeed rate=16000 channels=1
load-module module-remap-source source_name=mic master=micfeed.monitor
load-module module-null-sink sink_name=speaker2 rate=24000 channels=1
load-module module-null-sink sink_name=micfeed2 rate=16000 channels=1
load-module module-remap-source source_name=mic2 master=micfeed2.monitor
set-default-sink speaker
set-default-source mic
"""

ALSA = """
</usr/share/alsa/alsa.conf>
pcm.!default { type asym playback.pcm { type pulse } capture.pcm { type pulse } }
pcm.line_one {
    type asym playback.pcm { type pulse device speaker } capture.pcm { type pulse device mic }
    hint { show on description "first line" }
}
pcm.line_two {
    type asym playback.pcm { type pulse device speaker2 } capture.pcm { type pulse device mic2 }
    hint { show on description "second line" }
}
"""

TENTH = 3_200
"""Bytes of a tenth of a second at 16 kHz."""

TRIES = 500
"""How often to check whether the server is up; a check takes some 10 ms."""


class PulseDaemon:
    """A running server; `env` is what other programs need to find it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "server.pa").write_text(SERVER)
        (folder / "asound.conf").write_text(ALSA)
        (folder / "run").mkdir(mode=0o700)
        self.settings = {
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "PULSE_RUNTIME_PATH": str(folder / "run" / "pulse"),
            "PULSE_STATE_PATH": str(folder / "state"),
            "PULSE_COOKIE": str(folder / "cookie"),
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
        }
        self.env = {**os.environ, **self.settings}
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        command = ["pulseaudio", "-n", "-F", str(self.folder / "server.pa"), "--daemonize=no", "--exit-idle-time=-1"]
        self._server = subprocess.Popen([*command, "--log-target=null"], env=self.env, stderr=subprocess.DEVNULL)
        for _ in range(TRIES):
            if not subprocess.run(["pactl", "info"], env=self.env, capture_output=True, check=False).returncode:
                return
            assert self._server.poll() is None, "pulseaudio ended at once"
        raise AssertionError("pulseaudio does not answer")

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self._server.kill()
        self._server.wait()

    def hang(self) -> None:
        """Stop it, so that it no longer answers."""
        self._server.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        self._server.send_signal(signal.SIGCONT)

    def pactl(self, *arguments: str) -> str:
        """Send it a command."""
        return subprocess.run(
            ["pactl", *arguments], env=self.env, check=True, capture_output=True, text=True, timeout=10
        ).stdout

    def play(self, wav: Path, sink: str = "micfeed") -> subprocess.Popen[bytes]:
        """Play a file into a sink, and return immediately."""
        return subprocess.Popen(["paplay", f"--device={sink}", str(wav)], env=self.env)

    def recorder(self, sink: str = "speaker", rate: int = 16_000) -> list[str]:
        """Return the command that writes what a sink plays, as s16 mono, to its standard output."""
        sound = ["--format=s16le", f"--rate={rate}", "--channels=1", "--raw", "--latency-msec=10"]
        return ["parec", f"--device={sink}.monitor", *sound]

    @contextmanager
    def recording(self, sink: str = "speaker", rate: int = 16_000) -> Iterator[Recording]:
        """Record what a sink plays."""
        recording = Recording(self.folder / f"{sink}.raw")
        with recording.path.open("wb") as file:
            process = subprocess.Popen(self.recorder(sink, rate), env=self.env, stdout=file)
            try:
                yield recording
            finally:
                process.terminate()
                process.wait()


class Recording:
    """What was recorded so far."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def pcm(self) -> bytes:
        pcm = self.path.read_bytes()
        return pcm[: len(pcm) & ~1]


@contextmanager
def daemon() -> Iterator[PulseDaemon]:
    """Run a server, and make this process use it."""
    folder = Path(tempfile.mkdtemp(prefix="vp-pulse-"))
    before = dict(os.environ)
    server = PulseDaemon(folder)
    os.environ.update(server.settings)
    try:
        import sounddevice

        sounddevice._terminate()  # its list of devices is another server's, or empty
        sounddevice._initialize()
        yield server
    finally:
        server.kill()
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)


def last_spoken(pcm: bytes) -> bytes:
    """Return the last thing that was said, of 16 kHz: what follows a second of silence, if there is one."""
    loud = _loud(pcm)
    last = max(at for at, is_loud in enumerate(loud) if is_loud)
    while any(loud[max(0, last - 10) : last]):
        last -= 1
    return pcm[max(0, last - 1) * TENTH :]


def words(pcm: bytes, grammar: str) -> str:
    """Return what a recogniser understands of a recording of 16 kHz, from the first sound to the end."""
    begins = max(0, _loud(pcm).index(True) - 1) * TENTH
    ear = _Ear(load_grammar(grammar), 30.0)
    return ear.finish(deque([ear.with_noise(bytes(9_600) + pcm[begins:] + bytes(9_600))]))


def _loud(pcm: bytes) -> list[bool]:
    """Return for each tenth of a second whether anything can be heard."""
    return [max(memoryview(pcm[at : at + TENTH]).cast("h")) > 300 for at in range(0, len(pcm), TENTH)]
