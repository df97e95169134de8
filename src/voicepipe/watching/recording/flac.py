"""Audio as FLAC: half as large as WAV or less, and readable at any time while it grows, as WAV is.

Rule 1: what may still change, because audio comes late, is in a WAV file next to it, the tail. It takes part in what a
        reader gets, and is gone when the file is complete.
Rule 2: soundfile comes with the extra `recording` and is imported when a file is opened.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from voicepipe.errors import MissingExtra
from voicepipe.watching.recording.files import HEADER_BYTES, WavFile, created

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["FlacFile", "flac_frames", "imported", "read_flac", "tail_of"]

KEPT_S: Final = 14.0
"""How much the tail holds at least: more than audio may come late, see `sound.KEPT_S`."""

BLOCK: Final = 4096
"""The encoder writes blocks of so many frames."""

OVERLAP: Final = 2 * BLOCK
"""The tail begins so many frames before the end of what the encoder was given, which may not have written all of it."""

TOTAL_AT: Final = 21
"""Where the file says how many frames it has: the last 36 bits of the 64 from byte 18 on."""


def imported() -> Any:  # noqa: ANN401 - a module without types
    """Return the module that reads and writes FLAC.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        import soundfile  # noqa: PLC0415 - Rule 2
    except (ImportError, OSError) as error:  # OSError: the library behind it
        raise MissingExtra("A recording as FLAC", "soundfile", "recording") from error
    return soundfile


class FlacFile:
    """A FLAC file of 16-bit PCM that can be read at any time while it grows. It appears with the first samples.

    Args:
        path: Its path.
        rate: Samples per second.
        channels: How many are interleaved.
    """

    def __init__(self, path: Path, rate: int, channels: int) -> None:
        self._path = path
        self._rate = rate
        self._frame = 2 * channels
        self._channels = channels
        self._kept = round(KEPT_S * rate)
        self._encoder: Any = None
        self._file: Any = None
        self._tail: WavFile | None = None
        self._tail_path = path
        self._base = 0  # the frame with which the samples below begin
        self._samples = bytearray()
        self._encoded = 0

    def put(self, at: int, pcm: bytes) -> int:
        """Write samples from frame `at` on, and return by about how many bytes the recording has grown.

        Raises:
            OSError: They cannot be written, or only in part.
        """
        if not pcm:
            return 0
        if self._file is None:
            self._begin()
        if at < self._base:
            pcm, at = pcm[(self._base - at) * self._frame :], self._base
        first = (at - self._base) * self._frame
        self._samples += bytes(max(0, first - len(self._samples)))
        self._samples[first : first + len(pcm)] = pcm
        assert self._tail is not None  # noqa: S101 - `_begin` has made it
        grown = self._tail.put(at - self._base, pcm)
        if len(self._samples) > 2 * self._kept * self._frame:
            self._encode(self._base + len(self._samples) // self._frame - self._kept)
            self._begin_tail()
        return grown

    def close(self) -> None:
        """Complete the file, and remove the tail.

        Raises:
            OSError: It cannot be completed; the tail stays.
        """
        if self._file is None:
            return
        try:
            if self._encoder is not None and self._tail is not None:
                self._encode(self._base + len(self._samples) // self._frame)
                with _as_os_error():
                    self._encoder.close()
                self._tail.close()
                if _encoded_frames(self._path) == self._encoded:  # else the disk was full, which nobody reports
                    self._tail_path.unlink(missing_ok=True)
        finally:
            self._file.close()
            self._encoder = self._file = None

    def _begin(self) -> None:
        self._file = created(self._path)
        with _as_os_error():
            self._encoder = imported().SoundFile(
                self._file.fileno(), "w", self._rate, self._channels, "PCM_16", format="FLAC", closefd=False
            )
        self._begin_tail()

    def _begin_tail(self) -> None:
        """Begin another tail, and remove the one before once it is there."""
        before, before_path = self._tail, self._tail_path
        base = max(0, self._encoded - OVERLAP)
        del self._samples[: (base - self._base) * self._frame]
        self._base = base
        self._tail_path = self._path.with_name(f"{self._path.stem}.tail-{base}.wav")
        self._tail = WavFile(self._tail_path, self._rate, self._channels)
        self._tail.put(0, bytes(self._samples))
        if before is not None:
            before.close()
            before_path.unlink(missing_ok=True)

    def _encode(self, end: int) -> None:
        """Give the encoder all frames before `end`, and say in the file how many are there for certain."""
        pcm = bytes(self._samples[(self._encoded - self._base) * self._frame : (end - self._base) * self._frame])
        with _as_os_error():
            if pcm:
                self._encoder.buffer_write(pcm, "int16")
            self._encoder.flush()
        self._encoded = end
        total = max(0, end - OVERLAP)
        # Appended to at its end all the while, so it is patched through another descriptor.
        with self._path.open("r+b", buffering=0) as file:
            file.seek(TOTAL_AT)
            kept = file.read(1)[0] & 0xF0
            file.seek(TOTAL_AT)
            file.write(bytes([kept | (total >> 32)]) + (total & 0xFFFF_FFFF).to_bytes(4, "big"))


@contextmanager
def _as_os_error() -> Generator[None]:
    """Raise what the library raises when it cannot write as what it is."""
    try:
        yield
    except (RuntimeError, AssertionError) as error:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}, or the file cannot grow") from error


def tail_of(path: Path, frames: int) -> tuple[int, Path] | None:
    """Return the tail of a file that was cut off, and the frame with which it begins; None for a complete file."""
    found = [(int(tail.stem.rpartition("-")[2]), tail) for tail in path.parent.glob(f"{path.stem}.tail-*.wav")]
    return max((one for one in found if one[0] <= frames), default=None)


def flac_frames(path: Path, channels: int) -> int:
    """Return how many frames there are, those of a tail included.

    Raises:
        ValueError: The file is damaged.
    """
    encoded = _encoded_frames(path)
    if (tail := tail_of(path, encoded)) is None:
        return encoded
    return tail[0] + max(0, tail[1].stat().st_size - HEADER_BYTES) // (2 * channels)


def read_flac(path: Path, channels: int, first: int, count: int | None) -> bytes:
    """Return interleaved samples, from frame `first` on.

    Raises:
        ValueError: The file is damaged.
        MissingExtra: What reads it is not installed.
    """
    encoded, frame = _encoded_frames(path), 2 * channels
    tail = tail_of(path, encoded)
    end = (tail[0] if tail else encoded) if count is None else first + count
    from_flac = max(0, min(end, tail[0] if tail else encoded) - first)
    pcm = b""
    if from_flac:
        with _damaged(), imported().SoundFile(str(path)) as file:
            file.seek(first)
            pcm = bytes(file.buffer_read(from_flac, "int16"))
    if tail is not None and (count is None or end > tail[0]):
        skipped = max(0, first - tail[0])
        with tail[1].open("rb") as wav:
            wav.seek(HEADER_BYTES + skipped * frame)
            pcm += wav.read() if count is None else wav.read((end - tail[0] - skipped) * frame)
    return pcm


def _encoded_frames(path: Path) -> int:
    """Return how many frames a file says that it has. Source: RFC 9639, section 8.2."""
    with path.open("rb") as file:
        head = file.read(26)
    if not head.startswith(b"fLaC"):
        if head:
            raise ValueError("it is not FLAC")
        return 0
    return int.from_bytes(head[18:26], "big") & 0xF_FFFF_FFFF


@contextmanager
def _damaged() -> Generator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ValueError(str(error)) from error
