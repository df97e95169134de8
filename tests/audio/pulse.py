"""A private PulseAudio daemon with null sinks: a microphone that hears files, a loudspeaker that can be recorded."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDED = ("pulseaudio", "pactl", "paplay", "parec")

MODULES = """
load-module module-native-protocol-unix
load-module module-null-sink sink_name=speaker rate=24000 channels=1
load-module module-null-sink sink_name=micfeed rate=16000 channels=1
load-module module-remap-source source_name=mic master=micfeed.monitor
set-default-sink speaker
set-default-source mic
"""


def missing() -> str:
    """Return what a test of real devices lacks on this machine; "" for nothing."""
    return ", ".join(name for name in NEEDED if shutil.which(name) is None)


@dataclass
class PulseDaemon:
    """The daemon, while it runs.

    Attributes:
        env: What a process needs in its environment to use it.
    """

    env: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def run(self) -> Iterator[PulseDaemon]:
        """Serve while the block runs."""
        with tempfile.TemporaryDirectory(prefix="vp-pulse-") as runtime:
            script = Path(runtime, "ci.pa")
            script.write_text(MODULES, encoding="utf-8")
            self.env = {**os.environ, "XDG_RUNTIME_DIR": runtime, "PULSE_RUNTIME_PATH": f"{runtime}/pulse"}
            self.env.pop("PULSE_SERVER", None)
            self._call("pulseaudio", "-n", "-F", str(script), "--daemonize=yes", "--exit-idle-time=-1")
            try:
                yield self
            finally:
                self._call("pulseaudio", "--kill")

    def play(self, wav: Path) -> None:
        """Let the virtual microphone hear a file, and return when it has."""
        self._call("paplay", "--device=micfeed", str(wav))

    @contextmanager
    def record(self, into: bytearray, *, rate: int = 16_000) -> Iterator[None]:
        """Record what the loudspeaker plays while the block runs, as 16-bit mono."""
        with tempfile.TemporaryFile() as raw:
            program = ["parec", "-d", "speaker.monitor", "--format=s16le", f"--rate={rate}", "--channels=1"]
            with subprocess.Popen(program, stdout=raw, env=self.env) as recorder:
                try:
                    yield
                finally:
                    recorder.terminate()
                    recorder.wait(5)
                    raw.seek(0)
                    into += raw.read()

    @contextmanager
    def echo(self, volume: str = "100%") -> Iterator[None]:
        """Let the microphone hear the loudspeaker while the block runs, as it does in a room."""
        module = self._call(
            "pactl", "load-module", "module-loopback", "source=speaker.monitor", "sink=micfeed", "latency_msec=20"
        ).strip()
        self._set_volume(module, volume)
        try:
            yield
        finally:
            self._call("pactl", "unload-module", module)

    def _set_volume(self, module: str, volume: str) -> None:
        """Set how loud the stream is that a module plays."""
        for stream in self._call("pactl", "list", "sink-inputs").split("Sink Input #")[1:]:
            if f"Owner Module: {module}\n" in stream:
                self._call("pactl", "set-sink-input-volume", stream.split()[0], volume)

    def _call(self, *program: str) -> str:
        ended = subprocess.run(program, env=self.env, capture_output=True, text=True, check=False, timeout=30)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout
