"""A thread that runs functions one after another, off the event loop.

Rule 1: functions run in the order in which they were submitted, never two at a time, so that a stateful engine can be
        shared safely.
Rule 2: the thread is a daemon: a function that never returns does not delay the end of the process.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import threading
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

__all__ = ["WorkerThread", "settle"]

P = ParamSpec("P")
T = TypeVar("T")

_Job: TypeAlias = "tuple[concurrent.futures.Future[Any], Callable[[], Any]]"

# The same limit as any other clean-up has; an engine's function takes milliseconds.
_CLOSING_S = 0.5


class WorkerThread:
    """One daemon thread for functions that would block the event loop.

    Use it as an asynchronous context manager, so that the thread ends with the block.

    Args:
        name: The thread's name.
    """

    def __init__(self, name: str) -> None:
        # Unbounded, because `submit` must not wait; each session has at most one function queued at a time.
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=_work, args=(self._jobs,), name=name, daemon=True)
        self._thread.start()

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[T]:
        """Queue a function and return its future. Cancelling the future drops a function that has not started yet.

        Raises:
            RuntimeError: The worker has been closed.
        """
        if self._is_closed:
            raise RuntimeError(
                f"the worker thread {self._thread.name} has been closed; use it within its `async with` block"
            )
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._jobs.put((future, lambda: function(*args, **kwargs)))
        return future

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function on the thread and return its result, or raise what it raised.

        Cancelling drops the result: a function that has not started never runs, a running one finishes.

        Raises:
            RuntimeError: The worker has been closed.
        """
        return await asyncio.wrap_future(self.submit(function, *args, **kwargs))

    async def aclose(self) -> None:
        """Let the thread finish what is queued and wait until it ends, but for 0.5 s at most."""
        if self._is_closed:
            return
        ended = self.submit(_nothing)
        self._jobs.put(None)
        self._is_closed = True
        with anyio.move_on_after(_CLOSING_S, shield=True):
            await asyncio.wrap_future(ended)
            self._thread.join()  # it has nothing left to do, so this takes microseconds

    async def __aenter__(self) -> Self:
        """Return the worker; its thread is already running."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the worker."""
        await self.aclose()

    def __repr__(self) -> str:
        """Show the name and whether the thread is running."""
        return f"<WorkerThread {self._thread.name} {'running' if self._thread.is_alive() else 'ended'}>"


def _nothing() -> None:
    """Mark the end of the queue."""


def _work(jobs: queue.SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        settle(*job)


def settle(future: concurrent.futures.Future[Any], function: Callable[[], Any]) -> None:
    """Run a function and settle its future, unless the future has been cancelled.

    A separate function, so that the loop above keeps no reference to a finished job.
    """
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
        future.set_exception(error)
    else:
        future.set_result(result)
