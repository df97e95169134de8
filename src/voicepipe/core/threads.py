"""Blocking functions, run off the event loop.

Rule 1: every thread is a daemon. A blocked thread cannot be stopped, so it must not delay the exit of the program.
Rule 2: cancelling the wait abandons the thread: it keeps running, and its result or error is dropped.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, cast

from voicepipe.core.log import log

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["run_in_daemon_thread"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def run_in_daemon_thread(function: Callable[[*Ts], T], *args: *Ts, name: str, warns: bool = True) -> T:
    """Run a blocking function in a new daemon thread and return its result.

    Args:
        function: Runs in a copy of the current context variables.
        args: Its positional arguments.
        name: The thread's name, under which a thread that blocks is logged.
        warns: Whether to log a warning when the wait is cancelled. Pass False where the caller reports this itself, or
            knows that the function will end.

    Raises:
        BaseException: Whatever the function raised.

    Cancelling returns immediately; the function cannot be stopped, and its result or error is dropped.
    """
    loop = asyncio.get_running_loop()
    # The outcome travels as the future's result, because a future cannot carry a StopIteration as its exception.
    ended: asyncio.Future[tuple[T | None, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()
    if sniffio := sys.modules.get("sniffio"):
        # The thread runs outside the loop; the copied variable says otherwise, and `anyio.run` would refuse to run.
        context.run(sniffio.current_async_library_cvar.set, None)

    def deliver(result: T | None, error: BaseException | None) -> None:
        if not ended.done():  # it is done if the wait was cancelled
            ended.set_result((result, error))

    def work() -> None:
        result: T | None = None
        raised: BaseException | None = None
        try:
            result = context.run(function, *args)
        except BaseException as error:  # noqa: BLE001 - re-raised where the result is awaited
            raised = error
        with suppress(RuntimeError):  # the loop has been closed, so nothing waits for the result
            loop.call_soon_threadsafe(deliver, result, raised)

    threading.Thread(target=work, name=name, daemon=True).start()
    try:
        result, error = await ended
    except asyncio.CancelledError:
        if warns:
            log.warning("%s is still running; nothing waits for it, and its thread does not delay the exit", name)
        raise
    if error is None:
        return cast("T", result)
    try:
        raise error
    finally:
        del error  # its traceback refers to this frame: the cycle would stay alive until the next garbage collection
