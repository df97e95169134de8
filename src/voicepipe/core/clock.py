"""The time, and deadlines, where they are needed for each piece of text or audio."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

__all__ = ["MovingDeadline", "loop_time"]


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
        if self._timer is not None and until < self._timer.when():
            self._timer.cancel()
            self._timer = None
        if self._timer is None and until < math.inf:
            self._timer = self._loop.call_at(until, self._on_timer)

    @property
    def cancelled_caught(self) -> bool:
        """Whether the deadline ended the block."""
        return self._scope.cancelled_caught

    def _on_timer(self) -> None:
        self._timer = None
        if self._loop.time() >= self._until:
            self._scope.cancel()
        else:
            self.until = self._until

    def __enter__(self) -> Self:
        """Begin the block."""
        self._scope.__enter__()
        self.until = self._until
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """End the block; a cancellation by the deadline ends here."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._until = math.inf
        return self._scope.__exit__(kind, error, traceback)
