"""An event loop whose time jumps from timer to timer: seconds of conversation take milliseconds, exactly.

Rule 1: the same script gives the same events at the same times, to the microsecond.
Rule 2: what has no place in virtual time is refused: threads, and every network but loopback.
Rule 3: a wait that nothing can end is an error, at once, and the error says who waits where.
"""

from __future__ import annotations

import asyncio
import functools
import heapq
import ipaddress
import itertools
import math
import selectors
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import anyio

from voicepipe.testing._waits import waits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextvars import Context

__all__ = ["VIRTUAL_TIME", "DeadlockError", "VirtualTimeLoop", "run_on_virtual_time", "start_thread"]

T = TypeVar("T")

OWN_SOCKETS: Final = 1
"""The loop's own pipe to itself."""

PEER_S: Final = 10.0
"""How long, in real time, a peer on loopback may take that is outside of the loop: in another process, say."""


class DeadlockError(BaseException):
    """Every task waits, and nothing can end the wait: no timer is set, and no peer is there that could send something.

    The message lists each task with the lines at which it waits. Like `KeyboardInterrupt` it is no `Exception`: it
    leaves the event loop past all tasks, which are cancelled afterwards, and no `except Exception` hides it.
    """


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A selector event loop on virtual time, which begins at 0.

    Timers that are due at the same microsecond fire in the order in which they were set; asyncio alone promises none.

    Raises:
        DeadlockError: Raised by what runs the loop, when nothing is left that could happen.
    """

    is_virtual: Final = True  # for what would start a thread, and can do without

    def __init__(self) -> None:
        self._clock = _Clock()
        self._numbers = itertools.count()
        self._firing_s = 0.0
        super().__init__(self._clock)

    def time(self) -> float:  # noqa: D102 - the base class says it
        # A deadline that was rounded down to the microsecond has come for whoever set it, or it would be set for ever.
        return max(self._clock.now_us / 1_000_000, self._firing_s)

    def call_at(  # noqa: D102 - the base class says it
        self, when: float, callback: Callable[..., object], *args: object, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _NumberedTimer(next(self._numbers), when, callback, args, self, context)
        # What `BaseEventLoop.call_at` does, with this timer; typeshed does not know these attributes.
        loop: Any = self
        loop._check_closed()
        if when < math.inf:  # what never comes must not seem to be awaited
            heapq.heappush(loop._scheduled, timer)
            cast("Any", timer)._scheduled = True
        return timer

    def run_in_executor(self, executor: object, func: Callable[..., object], *args: object) -> Any:  # noqa: ANN401, D102
        del executor, args
        what = getattr(func, "__name__", func)  # a `partial` has no name
        raise RuntimeError(f"a thread was started on virtual time (for {what}), where its real time counts for nothing")

    async def getaddrinfo(self, host: Any, port: Any, **settings: Any) -> Any:  # noqa: ANN401, D102
        # An address needs no name server, and so no thread; a name is refused by the audit.
        return socket.getaddrinfo(host, port, **settings)

    def run_forever(self) -> None:  # noqa: D102 - the base class says it
        _watch()
        _running.loop = self
        # Patched, because Python raises an audit event for a thread only in some versions.
        start, threading.Thread.start = threading.Thread.start, _refuse_thread  # type: ignore[method-assign,assignment]
        try:
            super().run_forever()
        finally:
            threading.Thread.start = start  # type: ignore[method-assign]
            _running.loop = None


class _Clock(selectors.DefaultSelector):
    """The loop's look at its sockets, which is where a loop waits; this one jumps to the next timer instead.

    Attributes:
        now_us: Virtual time, in microseconds: whole numbers add up exactly.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now_us = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; when nothing is, let `timeout` seconds go by, for ever if it is None."""
        ready = super().select(0)
        if not ready and timeout != 0 and len(self.get_map()) > OWN_SOCKETS:
            ready = super().select(0)  # what one end of a connection has sent may be on its way to the other
        if ready or timeout == 0:
            return ready
        if timeout is None:
            return self._stand_still()
        self.now_us += round(timeout * 1_000_000)
        return ready

    def _stand_still(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait, in real time, for somebody outside of the loop."""
        if threading.current_thread() is not threading.main_thread():
            return super().select()  # the thread that began this one may call something in the loop
        loop: Any = asyncio.get_running_loop()
        has_peers = len(self.get_map()) > OWN_SOCKETS or loop._signal_handlers
        if has_peers and (ready := super().select(PEER_S)):
            return ready
        raise DeadlockError(
            f"nothing can end this wait: it is {self.now_us / 1_000_000:.6f} s, every task waits, no timer is set, and "
            + (f"no peer did anything for {PEER_S:g} s of real time" if has_peers else "there is no peer to hear from")
            + "; give the wait a deadline, or let the script end it\n"
            + waits(loop)
        )


class _NumberedTimer(asyncio.TimerHandle):
    def __init__(
        self,
        number: int,
        when: float,
        callback: Callable[..., object],
        args: Sequence[object],
        loop: VirtualTimeLoop,
        context: Context | None,
    ) -> None:
        super().__init__(round(when, 6), callback, args, loop, context)
        self._order = (round(when, 6), number)
        self._wanted_s = when
        self._of = loop

    def _run(self) -> None:
        self._of._firing_s = self._wanted_s
        try:
            super()._run()
        finally:
            self._of._firing_s = 0.0

    def __lt__(self, other: object) -> bool:
        return self._order < other._order if isinstance(other, _NumberedTimer) else NotImplemented


class _Running(threading.local):
    loop: VirtualTimeLoop | None = None


_running = _Running()


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit what Python does: hooks cannot be taken back, so this one looks whether virtual time runs here."""
    if _running.loop is None:
        return
    if event == "socket.connect" and isinstance(arguments[1], tuple) and not _is_loopback(cast("Any", arguments[1])[0]):
        raise RuntimeError(f"a connection to {arguments[1][0]} was tried on virtual time; only loopback is allowed")
    if event in ("socket.getaddrinfo", "socket.gethostbyname") and not _is_loopback(arguments[0]):
        raise RuntimeError(f"the name {arguments[0]!r} was looked up on virtual time; use 127.0.0.1")


start_thread: Final = threading.Thread.start
"""Starts a thread although virtual time may run in this one."""


def _refuse_thread(thread: threading.Thread) -> None:
    if _running.loop is not None:
        raise RuntimeError(
            f"a thread was started on virtual time ({thread.name}), where its real time counts for nothing; script it"
        )
    start_thread(thread)


def _is_loopback(host: str | bytes) -> bool:
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        return False


@functools.cache
def _watch() -> None:
    """Set the audit up, once: it costs every program that has it, so it waits for the first loop that needs it."""
    sys.addaudithook(_refuse)


VIRTUAL_TIME: Final = ("asyncio", {"loop_factory": VirtualTimeLoop})
"""For anyio's pytest plugin: return it from a fixture `anyio_backend`, and async tests run on virtual time."""


def run_on_virtual_time(main: Callable[[], Awaitable[T]]) -> T:
    """Run an async function on virtual time and return its result, without pytest."""
    return anyio.run(main, backend="asyncio", backend_options={"loop_factory": VirtualTimeLoop})
