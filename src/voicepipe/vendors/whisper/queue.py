"""The utterances of all calls, in the order in which one model reads them.

Rule 1: what a caller waits for goes first, the end of a turn before early words; otherwise first come, first served.
Rule 2: bounded by the calls: each has one utterance here at a time, and takes it away when its words are of no use.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.core.worker import WorkerThread

__all__ = ["ReadingQueue"]

P = ParamSpec("P")
T = TypeVar("T")


class ReadingQueue:
    """Runs one function at a time on a worker.

    Args:
        worker: The thread.
    """

    def __init__(self, worker: WorkerThread) -> None:
        self._worker = worker
        self._is_taken = False
        self._waiting: list[_Waiting] = []
        self._numbers = count()

    async def run(self, function: Callable[[], T], *, is_early: bool) -> T:
        """Run a function when it is its turn, and return its result, or raise what it raised.

        Args:
            function: Blocks.
            is_early: Whether all others go first.

        Cancelling gives the turn away; a function that is already running ends, and its result is dropped.
        """
        if self._is_taken:
            await self._wait(_Waiting(is_early, next(self._numbers)))
        self._is_taken = True
        try:
            return await self._worker.run(function)
        finally:
            self._pass_on()

    async def _wait(self, waiting: _Waiting) -> None:
        insort(self._waiting, waiting)
        try:
            await waiting.is_due.wait()
        except BaseException:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            else:  # its turn came at the moment of the cancellation
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        self._is_taken = bool(self._waiting)
        if self._waiting:
            self._waiting.pop(0).is_due.set()


@dataclass(order=True)
class _Waiting:
    is_early: bool
    number: int
    is_due: anyio.Event = field(default_factory=anyio.Event, compare=False)
