"""How late the event loop is: a task that wants to run ten times a second notes by how much it is late."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

import anyio

from voicepipe.core.clock import loop_time

__all__ = ["LoopLag"]

TICK_S: Final = 0.1
TICKS: Final = 100


class LoopLag:
    """The lateness of the newest 100 ticks, which are 10 s if the loop is punctual."""

    def __init__(self) -> None:
        self._late_s: deque[float] = deque(maxlen=TICKS)

    @property
    def worst_s(self) -> float:
        """How late the latest of them was. Can be read from any thread."""
        return max(tuple(self._late_s), default=0.0)

    async def watch(self) -> None:
        """Note how late each tick is; never returns, except on virtual time, which is never late."""
        if getattr(asyncio.get_running_loop(), "is_virtual", False):
            return  # a timer that goes on for ever would hide that a test waits for nothing
        while True:
            due_s = loop_time() + TICK_S
            await anyio.sleep_until(due_s)
            self._late_s.append(max(0.0, loop_time() - due_s))
