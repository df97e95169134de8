"""Where files are written: off the event loop, in order."""

from __future__ import annotations

import asyncio
import errno
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

import anyio

from voicepipe.core.worker import WorkerThread

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

__all__ = ["Disk", "disk"]

P = ParamSpec("P")
T = TypeVar("T")


class Disk(Protocol):
    """Runs functions that read and write files, one after another."""

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function to its end, also if the wait is cancelled, and return its result or raise what it raised."""
        ...

    async def run_within(self, limit_s: float, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function, but wait no longer than `limit_s` for it.

        Raises:
            OSError: The disk does not answer.
        """
        ...


@asynccontextmanager
async def disk(name: str) -> AsyncGenerator[Disk]:
    """Provide a thread of its own; on a loop with virtual time, where threads have no place, the files cost no time."""
    if getattr(asyncio.get_running_loop(), "is_virtual", False):
        yield _InPlace()
        return
    async with WorkerThread(name) as worker:
        yield _Thread(worker)


class _Thread:
    def __init__(self, worker: WorkerThread) -> None:
        self._worker = worker

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        running = self._worker.submit(function, *args, **kwargs)
        with anyio.CancelScope(shield=True):
            await asyncio.wait([asyncio.wrap_future(running)])
        return running.result()

    async def run_within(self, limit_s: float, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        running = self._worker.submit(function, *args, **kwargs)
        with anyio.move_on_after(limit_s):
            await asyncio.wait([asyncio.wrap_future(running)])
        if not running.done():
            running.cancel()  # unless it has begun: then it ends when the disk answers
            raise OSError(errno.ETIMEDOUT, f"the disk has not answered for {limit_s:g} s")
        return running.result()


class _InPlace:
    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    async def run_within(self, limit_s: float, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        del limit_s
        return function(*args, **kwargs)
