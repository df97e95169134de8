"""WAV files as caller and as loudspeaker, both in real time.

Rule 1: a file is checked before any audio moves: empty, truncated and unsupported files are refused, with what was
        found.
Rule 2: no incomplete file is left behind: a recording is written under a temporary name and renamed when complete.
"""

from __future__ import annotations

import logging
import wave
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Final

import anyio

from voicepipe.audio.output import ClockedOutput
from voicepipe.audio.pcm import FRAME_S, frames_of
from voicepipe.audio.source import Source
from voicepipe.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.core.context import AnySession, SessionContext

__all__ = ["WavOutput", "WavSource", "read_wav", "write_wav"]

log = logging.getLogger("voicepipe")

HANG_UP_AFTER_S: Final = 1.0
"""After its last sample a `WavSource` waits for the reply, and hangs up after this much silence."""


def read_wav(path: str | Path) -> tuple[bytes, int]:
    """Return a WAV file's samples (signed 16-bit mono PCM) and its sample rate.

    Raises:
        AudioError: It is missing, empty, truncated, or not 16-bit mono PCM.
    """
    path = Path(path)
    wanted = "expected a WAV file with 16-bit mono PCM"
    try:
        with wave.open(str(path), "rb") as wav:
            if wav.getsampwidth() != 2 or wav.getnchannels() != 1:
                raise AudioError(
                    f"{path}: {wanted}, found {8 * wav.getsampwidth()}-bit with {wav.getnchannels()} channel(s); "
                    f"convert it, for example: ffmpeg -i {path.name} -ac 1 -c:a pcm_s16le mono.wav"
                )
            promised, rate = wav.getnframes(), wav.getframerate()
            pcm = wav.readframes(promised)
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file") from None
    except (EOFError, RuntimeError, wave.Error) as error:  # RuntimeError: a chunk reaches beyond the file
        raise AudioError(
            f"{path}: {wanted}, found something else ({str(error) or 'it ends within the header'})"
        ) from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be read: {error.strerror}") from None
    if not promised:
        raise AudioError(f"{path}: {wanted}, found no samples in it")
    if len(pcm) != 2 * promised:
        raise AudioError(f"{path}: truncated: its header promises {promised} samples, found {len(pcm) // 2}")
    if not 8_000 <= rate <= 192_000:
        raise AudioError(f"{path}: expected a sample rate of 8000 to 192000 Hz, found {rate}")
    return pcm, rate


def write_wav(path: str | Path, pcm: bytes, sample_rate: int, *, channels: int = 1) -> None:
    """Write 16-bit PCM to a WAV file, completely or not at all; several channels are interleaved.

    Raises:
        AudioError: It cannot be written.
    """
    path = Path(path)
    file = _draft_of(path)
    try:
        with file, wave.open(file, "wb") as wav:
            wav.setnchannels(channels)
            wav.setsampwidth(2)
            wav.setframerate(sample_rate)
            wav.writeframes(pcm)
        Path(file.name).replace(path)
    except OSError as error:
        Path(file.name).unlink(missing_ok=True)
        raise AudioError(f"{path}: cannot be written: {error.strerror}") from error


def _draft_of(path: Path) -> IO[bytes]:
    """Open a new temporary file next to `path`, so that two recordings with the same name do not mix.

    Raises:
        AudioError: The directory cannot be written.
    """
    try:
        return NamedTemporaryFile(prefix=f"{path.name}.", suffix=".part", dir=path.parent, delete=False)
    except OSError as error:
        raise AudioError(f"{path}: cannot be written: {error.strerror}") from error


class WavSource(Source):
    """A caller who plays a WAV file in real time, waits for the reply, and hangs up.

    Args:
        path: A WAV file with 16-bit mono PCM.

    Raises:
        AudioError: The file cannot be used; raised here, not during the session.
    """

    def __init__(self, path: str | Path) -> None:
        self._pcm, self.sample_rate = read_wav(path)
        self._path = Path(path)
        self._session: SessionContext

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Keep the session, to know when the reply has been played."""
        self._session = session
        yield

    async def frames(self) -> AsyncGenerator[bytes]:
        """Yield 20 ms frames at the pace of speech. See `Source.frames`."""
        due = anyio.current_time()
        for frame in frames_of(self._pcm, self.sample_rate):
            due += len(frame) / 2 / self.sample_rate
            await anyio.sleep_until(due)  # a frame exists once its last sample has been spoken
            yield frame
        silence = bytes(2 * int(FRAME_S * self.sample_rate))
        quiet_since = due
        while due - quiet_since < HANG_UP_AFTER_S:
            due += FRAME_S
            await anyio.sleep_until(due)
            yield silence
            if self._session.is_busy:
                quiet_since = due

    def __repr__(self) -> str:
        """Show the file and its length."""
        return f"<WavSource {self._path.name} {len(self._pcm) / 2 / self.sample_rate:.1f} s>"


class WavOutput(ClockedOutput):
    """A loudspeaker that plays in real time into a WAV file: what the caller heard, when they heard it.

    The file begins with the session, and holds silence while the agent is silent.

    Args:
        path: The file to write; the complete file appears when the session ends.
        sample_rate: Samples per second of the file.

    Attributes:
        error: Why the recording stopped early, or None. The session goes on without its recording.
    """

    def __init__(self, path: str | Path, sample_rate: int = 24_000) -> None:
        super().__init__(sample_rate)
        self.error: OSError | None = None
        self._path = Path(path)
        self._file: wave.Wave_write

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Write to a temporary file, and move it to its path at the end."""
        self._draft = _draft_of(self._path)
        self._file = wave.open(self._draft, "wb")  # noqa: SIM115 - closed below, before it is renamed
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(self.sample_rate)
        try:
            async with super().attach(session):
                yield
        finally:
            self._close()

    def record(self, pcm: bytes) -> None:
        """Append to the file. See `ClockedOutput.record`."""
        if self.error is None:
            try:
                self._file.writeframesraw(pcm)
            except OSError as error:
                self._stop(error)

    def _close(self) -> None:
        draft = Path(self._draft.name)
        try:
            try:
                self._file.close()
            finally:
                self._draft.close()
            if self.error is None:
                draft.replace(self._path)
        except OSError as error:
            self._stop(error)
        finally:
            draft.unlink(missing_ok=True)

    def _stop(self, error: OSError) -> None:
        if self.error is not None:
            return
        self.error = error
        log.warning("%s: the recording has stopped, the session goes on: %s", self._path, error.strerror)

    def __repr__(self) -> str:
        """Show the file."""
        return f"<WavOutput {self._path.name} {self.sample_rate} Hz>"
