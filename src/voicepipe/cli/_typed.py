"""Reads typed lines without blocking the event loop.

Rule 1: read with `os.read`: a thread that waits inside `sys.stdin` holds its lock, and Python then crashes at exit.
Rule 2: at most one line more is read than was asked for.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

__all__ = ["TypedLines"]


class TypedLines:
    """The lines of a terminal, a pipe or a file.

    Use it as a context manager, within an event loop. A daemon thread reads; leaving the block abandons the thread,
    which does not delay the end of the program.

    Args:
        descriptor: What to read from; 0 is the standard input.
    """

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        # The line that was asked for, the one read ahead, and the end.
        self._send, self._receive = anyio.create_memory_object_stream[str | None](3)
        self._room = threading.Semaphore(2)

    def __enter__(self) -> Self:
        """Start reading."""
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(loop,), name="voicepipe reading what is typed", daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        """Stop reading."""
        self._send.close()
        self._receive.close()

    async def next(self) -> str | None:
        """Return the next line without its newline, or None at the end of the input (Ctrl-D)."""
        line = await self._receive.receive()
        self._room.release()
        return line

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop has been closed, so nothing reads the lines any more
            for line in _lines(self._descriptor):
                self._room.acquire()
                loop.call_soon_threadsafe(self._deliver, line)

    def _deliver(self, line: str | None) -> None:
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._send.send_nowait(line)


def _lines(descriptor: int) -> Iterator[str | None]:
    """Yield each line once it is complete, then None."""
    decoder = codecs.getincrementaldecoder(sys.stdin.encoding if sys.stdin else "utf-8")("replace")
    rest = ""
    while piece := _piece(descriptor):
        *lines, rest = (rest + decoder.decode(piece)).split("\n")
        yield from (line.removesuffix("\r") for line in lines)  # lines from Windows end in \r\n
    if rest:
        yield rest
    yield None


def _piece(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4_096)
    except OSError:  # the input was closed or the terminal is gone: nothing more will be typed
        return b""
