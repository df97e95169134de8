"""The event loop of a command.

Rule 1: Ctrl-C cancels once. asyncio would raise KeyboardInterrupt at the second one, wherever the loop happens to be;
        in the middle of leaving a scope, that would print a traceback.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType

__all__ = ["run"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

END_S: Final = 3.0
"""How long a call may take to end; a Ctrl-C after that counts again."""


def run(function: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
    """Run an async function to its end, as `anyio.run` does.

    Raises:
        KeyboardInterrupt: Ctrl-C, once the function has ended. Further ones are ignored for 3 s.
    """

    async def main() -> T:
        _handle_once()
        return await function(*args)

    before = signal.getsignal(signal.SIGINT)
    try:
        return anyio.run(main)
    finally:
        if before is not None and _is_main_thread():
            signal.signal(signal.SIGINT, before)


def _handle_once() -> None:
    """Put a handler in front of asyncio's that ignores repeated signals."""
    cancel = signal.getsignal(signal.SIGINT)
    if not callable(cancel) or not _is_main_thread():
        return
    now_s = asyncio.get_running_loop().time
    cancelled_s: float | None = None

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal cancelled_s
        if cancelled_s is not None and now_s() - cancelled_s < END_S:
            return
        cancelled_s = cancelled_s or now_s()
        cancel(number, frame)

    signal.signal(signal.SIGINT, handle)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
