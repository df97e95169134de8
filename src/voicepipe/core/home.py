"""The event loop that an object belongs to, for calls from other threads.

Rule 1: a call in the loop's own thread happens at once, as any other.
Rule 2: a call from another thread happens in the loop, in the order of the calls. After the loop was closed it does
        nothing.
Rule 3: what is called, and each task that it starts, has the context variables with which the object was made, and not
        those of the caller, who may be at work for another session.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVarTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Home"]

Ts = TypeVarTuple("Ts")


class Home:
    """The running event loop and its thread.

    Attributes:
        loop: The loop.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        # Outside of tasks, in a callback of the loop, anyio believes what the context variable says.
        self._context = contextvars.copy_context()
        if sniffio := sys.modules.get("sniffio"):
            self._context.run(sniffio.current_async_library_cvar.set, "asyncio")

    @property
    def is_here(self) -> bool:
        """Whether the caller is in the loop's thread."""
        return threading.get_ident() == self._thread

    def call(self, function: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call a function in the loop: at once if the caller is there, else soon."""
        if threading.get_ident() == self._thread:
            self._context.copy().run(function, *args)
            return
        with suppress(RuntimeError):  # the loop was closed
            self.loop.call_soon_threadsafe(function, *args, context=self._context)

    def call_and_wait(self, function: Callable[[], object]) -> None:
        """Call a function in the loop, and return when it has returned. Another thread is blocked meanwhile."""
        if self.is_here:
            self._context.copy().run(function)
            return
        done: concurrent.futures.Future[None] = concurrent.futures.Future()

        def call() -> None:
            try:
                function()
            finally:
                done.set_result(None)

        try:
            self.loop.call_soon_threadsafe(call, context=self._context)
        except RuntimeError:  # the loop was closed
            return
        while not done.done() and not self.loop.is_closed():
            with suppress(TimeoutError):
                done.result(0.1)
