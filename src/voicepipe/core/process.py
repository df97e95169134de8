"""The event loop of a program: a signal that ends a program ends it in order.

Rule 1: the first signal cancels, once. Further ones are ignored for as long as a call may take to end. asyncio would
        raise KeyboardInterrupt wherever the loop happens to be; in the middle of leaving a scope, that would print a
        traceback.
Rule 2: a handler that the application has set stays, and so does a signal that is ignored, as under nohup.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
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


@contextmanager
def _heeded(scope: anyio.CancelScope, stopped: list[int], *, heeds_ctrl_c: bool) -> Generator[None]:
    """Cancel a scope at the first signal that ends a program, and note the signal."""
    loop = asyncio.get_running_loop()
    came_s = 0.0

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal came_s
        if not stopped:
            came_s = loop.time()
            stopped.append(number)
            loop.call_soon_threadsafe(scope.cancel)
        elif loop.time() - came_s >= END_S:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    before = {number: handler for number, handler in _handlers() if handler in PYTHONS_OWN}
    if heeds_ctrl_c:
        before[signal.SIGINT] = signal.getsignal(signal.SIGINT)  # asyncio's, in place of Python's
    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, cast("signal.Handlers", handler))


def _handlers() -> list[tuple[signal.Signals, object]]:
    """Return the signals that end a program and their handlers; none off the main thread, which alone may set any."""
    if threading.current_thread() is not threading.main_thread():
        return []
    numbers = [signal.Signals[name] for name in SIGNALS if name in signal.Signals.__members__]
    return [(number, signal.getsignal(number)) for number in numbers]


def _python_handles(number: signal.Signals) -> bool:
    return any(one is number and handler in PYTHONS_OWN for one, handler in _handlers())
