"""A worker thread that takes the calls of a process in turn.

Rule 1: no call waits for more than one function of each other call, however many they have queued.
Rule 2: functions of one call run in the order in which they were submitted.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from voicepipe.core.worker import WorkerThread, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

__all__ = ["FairWorker", "Rota"]

T = TypeVar("T")

_Job: TypeAlias = "tuple[concurrent.futures.Future[Any], Callable[[], Any]]"


class Rota(Generic[T]):
    """Items in the order of their turns. Not for several threads at once."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Hashable, deque[T]] = OrderedDict()  # the one whose turn it is comes first

    def put(self, key: Hashable, item: T) -> None:
        """Add an item behind those of the same key; a new key comes last."""
        self._waiting.setdefault(key, deque()).append(item)

    def take(self) -> T:
        """Take the first item of the key whose turn it is; its next one waits until all other keys had theirs.

        Raises:
            KeyError: There is no item.
        """
        key, items = self._waiting.popitem(last=False)
        item = items.popleft()
        if items:
            self._waiting[key] = items
        return item


class FairWorker:
    """One daemon thread for the functions of all calls; see `WorkerThread`.

    Args:
        name: The thread's name.
    """

    def __init__(self, name: str) -> None:
        self._worker = WorkerThread(name)
        # Unbounded, because `submit` must not wait; a call has as many functions queued as sentences on their way: two.
        self._rota: Rota[_Job] = Rota()
        self._lock = threading.Lock()

    def submit(self, call: Hashable, function: Callable[[], T]) -> concurrent.futures.Future[T]:
        """Queue a function of a call and return its future. Cancelling it drops a function that has not started yet.

        Raises:
            RuntimeError: The worker has been closed.
        """
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        with self._lock:
            self._rota.put(call, (future, function))
        self._worker.submit(self._run_next)  # as often as there is something to take, whoever's turn it then is
        return future

    async def aclose(self) -> None:
        """Let the thread finish what is queued and wait until it ends, but for 0.5 s at most."""
        await self._worker.aclose()

    def _run_next(self) -> None:
        with self._lock:
            future, function = self._rota.take()
        settle(future, function)
