"""The files of a recording: private, and readable after every write.

Rule 1: a file is appended to, or replaced as a whole. What was written stays readable whenever the writer ends.
Rule 2: nobody but the owner can read them.
"""

from __future__ import annotations

import os
import struct
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Lines", "WavFile", "created", "replace"]

HEADER_BYTES: Final = 44
LARGEST_WAV: Final = 0xFFFF_FFFF - HEADER_BYTES
"""What the sizes in a header can say; what follows is there all the same."""


def created(path: Path) -> IO[bytes]:
    """Create a file that only its owner can read; what is written to it is in the hands of the system at once.

    Raises:
        OSError: It cannot be created, or exists.
    """
    return os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o600), "w+b", 0)


def replace(path: Path, content: bytes) -> None:
    """Write a file as a whole, so that whoever reads it gets the old content or the new.

    Raises:
        OSError: It cannot be written; the old content is there.
    """
    draft = path.with_name(f".{path.name}.part")
    draft.unlink(missing_ok=True)
    try:
        with created(draft) as file:
            _write(file, content)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


class Lines:
    """A text file that grows by lines. It appears with the first one.

    Args:
        path: Its path.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def append(self, lines: bytes) -> int:
        """Append whole lines, and return how many bytes these are.

        Raises:
            OSError: They cannot be written, or only in part.
        """
        if not lines:
            return 0
        if self._file is None:
            self._file = created(self._path)
        return _write(self._file, lines)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class WavFile:
    """A WAV file of 16-bit PCM that can be played at any time while it grows. It appears with the first samples.

    Args:
        path: Its path.
        rate: Samples per second.
        channels: How many are interleaved.
    """

    def __init__(self, path: Path, rate: int, channels: int) -> None:
        self._path = path
        self._rate = rate
        self._channels = channels
        self._file: IO[bytes] | None = None
        self._bytes = 0

    def put(self, at: int, pcm: bytes) -> int:
        """Write samples from frame `at` on, and return by how many bytes the file has grown.

        Raises:
            OSError: They cannot be written, or only in part.
        """
        if not pcm:
            return 0
        if self._file is None:
            self._file = created(self._path)
            _write(self._file, self._header())
        offset = at * 2 * self._channels
        self._file.seek(HEADER_BYTES + offset)
        _write(self._file, pcm)
        if (grown := offset + len(pcm) - self._bytes) > 0:
            self._bytes += grown
            self._file.seek(0)
            _write(self._file, self._header())
        return max(0, grown)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _header(self) -> bytes:
        """Return the header. Source: the RIFF and WAVE formats as Microsoft describes them."""
        size, frame = min(self._bytes, LARGEST_WAV), 2 * self._channels
        form = struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE")
        sound = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, self._channels, self._rate, self._rate * frame, frame, 16)
        return form + sound + struct.pack("<4sI", b"data", size)


def _write(file: IO[bytes], content: bytes) -> int:
    """Write all of it: an unbuffered file may take less than it is given, as on a disk that is almost full."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]
    return len(content)
