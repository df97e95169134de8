"""Garbage collection that does not pause calls.

A full collection looks at every object of the process, which takes 40 to 70 ms with the libraries that a voice agent
imports, and no frame of any call is sent meanwhile. Objects that were there before the calls are seldom garbage.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["frozen"]


class _Frozen:
    """How many blocks of this process keep the collector away; hosts may run in several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._blocks = 0
        self._is_ours = False

    def begin(self) -> None:
        with self._lock:
            self._blocks += 1
            if self._blocks == 1 and not gc.get_freeze_count():  # else the application has done it, and undoes it
                self._is_ours = True
                gc.freeze()

    def end(self) -> None:
        with self._lock:
            self._blocks -= 1
            if not self._blocks and self._is_ours:
                self._is_ours = False
                gc.unfreeze()


_frozen = _Frozen()


@contextmanager
def frozen() -> Generator[None]:
    """Keep the collector from looking at the objects that exist now, until the last of such blocks ends."""
    _frozen.begin()
    try:
        yield
    finally:
        _frozen.end()
