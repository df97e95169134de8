"""WAV files as caller and as loudspeaker, both in real time.

Rule 1: a file is checked before any audio moves: empty, truncated and unsupported files are refused, with what was
        found.
Rule 2: sizes in a header are never trusted: only bytes that are there are read, and a header whose writer did not know
        the length (a stream) is played to the end of the file.
Rule 3: no incomplete file is left behind: a recording is written under a temporary name and renamed when complete.
"""

from __future__ import annotations

import shlex
import wave
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, TYPE_CHECKING, Final

import anyio

from voicepipe.audio.output import ClockedOutput
from voicepipe.audio.pcm import FRAME_S, frames_of
from voicepipe.audio.source import Source
from voicepipe.core.log import log
from voicepipe.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.core.context import AnySession, SessionContext

__all__ = ["WavOutput", "WavSource", "parse_wav", "read_wav", "write_wav"]

HANG_UP_AFTER_S: Final = 1.0
"""After its last sample a `WavSource` waits for the reply, and hangs up after this much silence."""

UNKNOWN_SIZE: Final = 0x7FFF0000
"""From this size on, and for 0, a writer did not know how long the file becomes: it wrote into a pipe."""

WANTED: Final = "expected a WAV file with 16-bit mono PCM"

PCM: Final = 1
EXTENSIBLE: Final = 0xFFFE
CODECS: Final = {2: "ADPCM", 3: "float", 6: "A-law", 7: "mu-law", 0x11: "ADPCM", 0x31: "GSM", 0x55: "MP3"}
OTHER_FILES: Final = {b"RF64": "RF64, a WAV file for more than 4 GiB", b"RIFX": "RIFX, a big-endian WAV file"}


def read_wav(path: str | Path) -> tuple[bytes, int]:
    """Return a WAV file's samples (signed 16-bit mono PCM) and its sample rate.

    The standard library's `wave` is not used, because what it refuses differs from one Python to the next. Source: the
    RIFF and WAVE formats as Microsoft describes them.

    Raises:
        AudioError: It is missing, empty, truncated, or not 16-bit mono PCM.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _read(path, file)
    except FileNotFoundError:
        raise AudioError(f"{path}: no such file") from None
    except OSError as error:
        raise AudioError(f"{path}: cannot be read: {error.strerror}") from None


def parse_wav(data: bytes) -> tuple[bytes, int]:
    """Return the samples and the sample rate of a WAV file's bytes. See `read_wav`."""
    return _read(Path("data.wav"), BytesIO(data))


def _read(path: Path, file: IO[bytes]) -> tuple[bytes, int]:
    head = file.read(12)
    _check_head(path, head)
    body = memoryview(file.read())
    is_complete = int.from_bytes(head[4:8], "little") == 4 + len(body)
    at, rate = 0, None
    while at + 8 <= len(body):
        kind, size = bytes(body[at : at + 4]), int.from_bytes(body[at + 4 : at + 8], "little")
        at += 8
        if kind == b"fmt ":
            rate = _rate_of(path, bytes(body[at : at + min(size, 40)]))
        elif kind == b"data":
            if rate is None:
                raise AudioError(f"{path}: {WANTED}, found samples without their format")
            is_stream = size == 0 and not is_complete
            return _samples_of(path, bytes(body[at:] if is_stream else body[at : at + size]), size), rate
        at += size + size % 2
    raise _ends_early(path)


def _check_head(path: Path, head: bytes) -> None:
    if len(head) < 12:
        raise _ends_early(path)
    if other := OTHER_FILES.get(head[:4]):
        raise _refused(path, other)
    if not head.startswith(b"RIFF"):
        raise _refused(path, "something else (file does not start with RIFF id)")
    if head[8:] != b"WAVE":
        raise _refused(path, "something else (not a WAVE file)")


def _rate_of(path: Path, fields: bytes) -> int:
    """Return the sample rate of a format, once it is 16-bit mono PCM."""
    if len(fields) < 16:
        raise _ends_early(path)
    codec, channels, rate, bits = (
        int.from_bytes(fields[start:end], "little") for start, end in ((0, 2), (2, 4), (4, 8), (14, 16))
    )
    if codec == EXTENSIBLE:
        codec = int.from_bytes(fields[24:26], "little")
    if (codec, channels, bits) != (PCM, 1, 16):
        coded = "" if codec == PCM else f" {CODECS.get(codec, f'of the format {codec:#06x}')}"
        raise _refused(path, f"{bits}-bit{coded} with {channels} channel(s)")
    if not 8_000 <= rate <= 192_000:
        command = _conversion(path, "-ar 16000 ")
        raise AudioError(f"{path}: expected a sample rate of 8000 to 192000 Hz, found {rate}; {command}")
    return rate


def _samples_of(path: Path, pcm: bytes, promised: int) -> bytes:
    """Return whole samples, which are at least as many as a plausible header promised."""
    if len(pcm) < 2:
        raise AudioError(f"{path}: {WANTED}, found no samples in it")
    if len(pcm) < promised < UNKNOWN_SIZE:
        raise AudioError(f"{path}: truncated: its header promises {promised // 2} samples, found {len(pcm) // 2}")
    return pcm[: len(pcm) & ~1]


def _ends_early(path: Path) -> AudioError:
    return AudioError(f"{path}: {WANTED}, found something else (it ends within the header)")


def _refused(path: Path, found: str) -> AudioError:
    return AudioError(f"{path}: {WANTED}, found {found}; {_conversion(path)}")


def _conversion(path: Path, options: str = "") -> str:
    name = shlex.quote(path.name)
    return f"convert it, for example: ffmpeg -i {name} -ac 1 {options}-c:a pcm_s16le mono.wav"


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
