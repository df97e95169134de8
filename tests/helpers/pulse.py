"""A sound server of the test's own: PulseAudio with devices that are only software.

What is played into the sink `micfeed` is heard by the microphone `mic`, and what `speaker` plays can be recorded; the
same again with a 2 behind the names. ALSA knows the pairs as `line_one` (the default) and `line_two`. No sound card, no
other sound server and no user's settings are touched.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from pathlib import Path

import pytest

from voicepipe import read_wav

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

LOCK = Path(tempfile.gettempdir()) / "voicepipe-sound-tests.lock"

TRIES = 500
"""How often the server is asked whether it is there; asking takes some 10 ms."""


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
        """End it at once, as a crash would."""
        self._server.kill()
        self._server.wait()

    def hang(self) -> None:
        """Stop it, so that it answers nothing any more."""
        self._server.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        self._server.send_signal(signal.SIGCONT)

    def pactl(self, *arguments: str) -> str:
        """Ask it for something."""
        return subprocess.run(
            ["pactl", *arguments], env=self.env, check=True, capture_output=True, text=True, timeout=10
        ).stdout

    def play(self, wav: Path, sink: str = "micfeed") -> subprocess.Popen[bytes]:
        """Play a file into a sink, and return at once."""
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
def alone() -> Iterator[None]:
    """Keep other tests with a sound server waiting: they hear in real time, and a machine has few cores."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def daemon() -> Iterator[PulseDaemon]:
    """Run a server, and let this process use it."""
    folder = Path(tempfile.mkdtemp(prefix="vp-pulse-"))
    before = dict(os.environ)
    server = PulseDaemon(folder)
    os.environ.update(server.settings)
    try:
        import sounddevice

        sounddevice._terminate()  # its list of devices is another server's, or nobody's
        sounddevice._initialize()
        yield server
    finally:
        server.kill()
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)


def loud_from(pcm: bytes, threshold: int = 300) -> int | None:
    """Return the first sample that is louder than the threshold."""
    samples = memoryview(pcm).cast("h")
    return next((at for at, sample in enumerate(samples) if abs(sample) > threshold), None)


def wav_pcm(path: Path) -> bytes:
    return read_wav(path)[0]
