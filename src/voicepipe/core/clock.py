"""The time, and deadlines, where they are needed for each piece of text or audio."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

__all__ = ["MovingDeadline", "loop_time", "running_clock"]


def running_clock() -> Callable[[], float]:
    """Return what tells the running event loop's time, for a function that asks often."""
    return asyncio.get_running_loop().time


def loop_time() -> float:
    """Return the event loop's time in seconds, as `anyio.current_time` does after finding out whose loop it is."""
    return asyncio.get_running_loop().time()


class MovingDeadline:
    """A cancel scope whose deadline moves with every piece that comes: `with MovingDeadline() as limit`.

    A scope of anyio cancels its timer and starts another one each time its deadline is set. Here the timer goes on: if
    it fires too early, it waits for the present deadline.

    Attributes:
        until: When the block is cancelled, on the loop's clock; `math.inf` for never. It may be set at any time.
    """

    def __init__(self, until: float = math.inf) -> None:
        self._until = until
        self._due_s = math.inf  # when the timer fires
        self._scope = anyio.CancelScope()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def until(self) -> float:
        """When the block is cancelled."""
        return self._until

    @until.setter
    def until(self, until: float) -> None:
        self._until = until
        if until < self._due_s:
            self._stop()
            self._due_s, self._timer = until, self._loop.call_at(until, self._on_timer)

    @property
    def cancelled_caught(self) -> bool:
        """Whether the deadline ended the block."""
        return self._scope.cancelled_caught

    def _on_timer(self) -> None:
        self._stop()
        if self._loop.time() >= self._until:
            self._scope.cancel()
        else:
            self.until = self._until

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due_s, self._timer = math.inf, None

    def __enter__(self) -> Self:
        """Begin the block."""
        self._scope.__enter__()
        self.until = self._until
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """End the block; a cancellation by the deadline ends here."""
        self._stop()
        self._until = math.inf
        return self._scope.__exit__(kind, error, traceback)
