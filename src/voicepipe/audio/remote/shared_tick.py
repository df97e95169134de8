"""One 20 ms tick for all paced outputs of an event loop.

Rule 1: tick k is due k x 20 ms after the first one, however late earlier ticks were: delays do not add up.
Rule 2: a late tick stands for the ticks that were missed: its number includes them.
Rule 3: the timer runs only while there are listeners.

With hundreds of sessions, one timer per output would cost more than the outputs themselves.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from anyio.lowlevel import RunVar

from voicepipe.audio.pcm import FRAME_S
from voicepipe.core.clock import loop_time

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["Beat", "current_beat"]

LATE_S: Final = 0.01
"""A tick that is later than this counts as late: peers buffer a few tens of milliseconds."""


class Beat:
    """The tick of one event loop.

    Attributes:
        number: The number of the newest tick; 0 is when the first listener joined.
        ticks: Ticks of this loop so far.
        late: Ticks that were more than 10 ms late.
        late_s: How late the newest tick was, in seconds.
        worst_late_s: The largest delay of a tick so far, in seconds.
    """

    def __init__(self) -> None:
        self.number = self.ticks = self.late = 0
        self.late_s = self.worst_late_s = 0.0
        self._began_s = 0.0
        self._listeners: dict[object, Callable[[int], None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def listeners(self) -> int:
        """How many callbacks each tick has."""
        return len(self._listeners)

    @contextmanager
    def joined(self, on_tick: Callable[[int], None]) -> Generator[None]:
        """Call `on_tick` with the number of each tick while the block lasts; it must neither wait nor raise."""
        if not self._listeners:
            self._began_s, self.number = loop_time(), 0
            self._wait()
        key = object()
        self._listeners[key] = on_tick
        try:
            yield
        finally:
            del self._listeners[key]
            if not self._listeners and self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _wait(self) -> None:
        due_s = self._began_s + (self.number + 1) * FRAME_S
        self._timer = asyncio.get_running_loop().call_at(due_s, self._tick, due_s, context=_context())

    def _tick(self, due_s: float) -> None:
        now = loop_time()
        # Plus a millionth of a tick, because the quotient of two times is not exact.
        self.number = max(self.number + 1, math.floor((now - self._began_s) / FRAME_S + 1e-6))
        self.ticks += 1
        self.late_s = now - due_s
        self.late += self.late_s > LATE_S
        self.worst_late_s = max(self.worst_late_s, self.late_s)
        self._wait()
        for on_tick in self._listeners.values():
            on_tick(self.number)


_beats: RunVar[Beat] = RunVar("voicepipe beat")


def current_beat() -> Beat:
    """Return the shared tick of the running event loop."""
    try:
        return _beats.get()
    except LookupError:
        made = Beat()
        _beats.set(made)
        return made


def _context() -> contextvars.Context:
    """Return an empty context: the context of the first session would be kept alive by the timer.

    In a callback, this variable is the only way for anyio to know which event loop it runs in.
    """
    context = contextvars.Context()
    if sniffio := sys.modules.get("sniffio"):
        context.run(sniffio.current_async_library_cvar.set, "asyncio")
    return context
