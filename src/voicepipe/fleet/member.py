"""What an engine remembers of each of its workers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from voicepipe.core.clock import loop_time
from voicepipe.fleet.handle import ANSWER_S, Load, Worker

if TYPE_CHECKING:
    from voicepipe.fleet.handle import Handle
    from voicepipe.fleet.patience import Patience

__all__ = ["Member"]


class Member:
    """A worker of an engine.

    Attributes:
        is_leaving: Whether it was asked to end.
        is_refilled: Whether another one takes its place when it ends unasked.
        has_ended: Set when it has.
        answered_s: When it last said how busy it is, on the loop's clock.
    """

    def __init__(self, id: str, index: int, handle: Handle, patience: Patience) -> None:  # noqa: A002
        self.id = id
        self.index = index
        self.handle = handle
        self.patience = patience
        self.is_leaving = False
        self.is_refilled = True
        self.has_ended = anyio.Event()
        self.answered_s = loop_time()
        self._load = Load(0, 0, refuses="starting")
        self._is_silent = False
        self._news = anyio.Event()

    def answers(self, load: Load, now: float) -> None:
        """Note how busy it is."""
        self._load, self.answered_s, self._is_silent = load, now, False
        self._announce()

    def notes_silence(self, now: float) -> None:
        """Note that it may not have answered."""
        self._is_silent = now - self.answered_s >= ANSWER_S

    def ends(self) -> None:
        """Note that it has ended."""
        self.has_ended.set()
        self._announce()

    def _announce(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    async def wait_news(self) -> None:
        """Wait until something about it has changed."""
        await self._news.wait()

    def worker(self) -> Worker:
        """Return how it is at present."""
        load = self._load
        if self.is_leaving:
            load = replace(load, is_draining=True, refuses="draining")
        elif self._is_silent:
            load = replace(load, refuses="silent")
        listening = self.handle.listening
        return Worker(self.id, listening.url, load, self.index, listening.media_url, listening.paths)
