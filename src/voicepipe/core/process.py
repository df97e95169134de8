"""The event loop of a program: a signal that ends a program ends it in order.

Rule 1: the first signal cancels, once. Further ones are ignored for as long as a call may take to end, and while the
        program ends after it. asyncio would raise KeyboardInterrupt wherever the loop happens to be; in the middle of
        leaving a scope, that would print a traceback. With the signals given back to Python, a second one would kill
        the program before it can say how the first ended it.
Rule 2: a handler that the application has set stays, and so does a signal that is ignored, as under nohup.
"""

from __future__ import annotations

import asyncio
import atexit
import signal
import sys
import threading
import time
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple, cast

import anyio

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator
    from types import FrameType

__all__ = ["Stopped", "is_in_loop", "require_asyncio", "run"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

END_S: Final = 3.0
"""How long a call may take to end; a signal after that counts again."""

SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""What ends a program: Ctrl-C, service managers and containers, a terminal that is closed, Ctrl-Break on Windows."""

PYTHONS_OWN: Final = (signal.SIG_DFL, signal.default_int_handler)


class Stopped(KeyboardInterrupt):
    """A signal has ended the program's function.

    Attributes:
        number: The signal's.
        status: The exit status that says so, e.g. 143 for SIGTERM.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.status = 128 + number


def run(function: Callable[[*Ts], Awaitable[T]], *args: *Ts, uvloop: bool = True) -> T:
    """Run an async function to its end, as `anyio.run` does.

    Args:
        function: The function.
        args: Its arguments.
        uvloop: Whether uvloop is used where it is installed.

    Raises:
        ConfigurationError: An event loop runs in this thread already.
        Stopped: A signal came, and the function has ended since.
    """
    if is_in_loop():
        raise ConfigurationError(
            "an event loop runs here already, as in a notebook or a web server; "
            "write `async with agent.session(...) as session: await session.ended.wait()` in place of vp.run(agent)"
        )
    stopped: list[int] = []
    is_own = _python_handles(signal.SIGINT)

    async def main() -> list[T]:
        results: list[T] = []
        with anyio.CancelScope() as scope, _heeded(scope, stopped, heeds_ctrl_c=is_own):
            results.append(await function(*args))
        return results

    results = anyio.run(main, backend_options={"use_uvloop": uvloop and find_spec("uvloop") is not None})
    if stopped:
        raise Stopped(stopped[0])
    return results[0]


def is_in_loop() -> bool:
    """Return whether an event loop runs in this thread, asyncio's or trio's."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _is_in_trio()
    return True


def require_asyncio(what: str) -> None:
    """Refuse to go on where asyncio does not run.

    Args:
        what: What needs it, e.g. "Pipeline.open".

    Raises:
        ConfigurationError: trio runs here, or no event loop.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        here = "trio runs here" if _is_in_trio() else "no event loop runs here"
        raise ConfigurationError(
            f"{what} needs asyncio, but {here}; write anyio.run(main) or asyncio.run(main())"
        ) from None


def _is_in_trio() -> bool:
    trio: Any = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_run())


class _Handler:
    """Cancels a scope at the first signal that ends a program, and ignores those that follow for `END_S`."""

    def __init__(self, scope: anyio.CancelScope, stopped: list[int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._scope = scope
        self._stopped = stopped
        self._came_s = 0.0

    def __call__(self, number: int, _: FrameType | None) -> None:
        if not self._stopped:
            self._came_s = _now_s()
            self._stopped.append(number)
            self._loop.call_soon_threadsafe(self._scope.cancel)
        elif _now_s() - self._came_s >= END_S:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)


@contextmanager
def _heeded(scope: anyio.CancelScope, stopped: list[int], *, heeds_ctrl_c: bool) -> Generator[None]:
    """Cancel a scope at the first signal that ends a program, and note the signal.

    A handler that was called stays, see rule 1.
    """
    handle = _Handler(scope, stopped)
    before = {number: handler for number, handler in _handlers() if _is_pythons(handler)}
    if heeds_ctrl_c:
        before[signal.SIGINT] = signal.getsignal(signal.SIGINT)  # asyncio's, in place of Python's
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        if stopped:
            atexit.register(_ignore, handle)
        else:
            for number, handler in before.items():
                signal.signal(number, cast("signal.Handlers", handler))


def _now_s() -> float:
    """Return the time of the machine: the loop may be closed, and uvloop's clock stands still then."""
    return time.monotonic()  # noqa: TID251 - see above


def _ignore(handle: _Handler) -> None:
    """Ignore the signals that a handler has: Python gives back those of its functions before it has ended."""
    for number, handler in _handlers():
        if handler is handle:
            signal.signal(number, signal.SIG_IGN)


def _handlers() -> list[tuple[signal.Signals, object]]:
    """Return the signals that end a program and their handlers; none off the main thread, which alone may set any."""
    if threading.current_thread() is not threading.main_thread():
        return []
    numbers = [signal.Signals[name] for name in SIGNALS if name in signal.Signals.__members__]
    return [(number, signal.getsignal(number)) for number in numbers]


def _is_pythons(handler: object) -> bool:
    """Return whether nobody but Python, or a program that went on after it was stopped, has set a handler."""
    return handler in PYTHONS_OWN or isinstance(handler, _Handler)


def _python_handles(number: signal.Signals) -> bool:
    return any(one is number and _is_pythons(handler) for one, handler in _handlers())
