"""Blocking functions beside the event loop.

Rule 1: a thread is a daemon. A blocked one cannot be ended, so it must not hold the exit of the program.
Rule 2: cancelling the wait abandons the thread: it runs on, and what comes out of it is dropped.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["run_in_daemon_thread"]

log = logging.getLogger("voicepipe")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def run_in_daemon_thread(function: Callable[[*Ts], T], *args: *Ts, name: str, warns: bool = True) -> T:
    """Call a blocking function in a new daemon thread and return what it returns.

    Args:
        function: Called in a copy of the caller's context variables.
        args: Its positional arguments.
        name: The thread's name, by which a thread that blocks is reported.
        warns: Whether a wait that is cancelled is logged. Not where the caller tells of it, or knows that it will end.

    Raises:
        BaseException: Whatever the function raised.

    Cancelling returns at once; the function cannot be stopped, and its result or error is dropped.
    """
    loop = asyncio.get_running_loop()
    # The outcome travels as the future's result, because a future cannot carry a StopIteration as its exception.
    ended: asyncio.Future[tuple[T | None, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()
    if sniffio := sys.modules.get("sniffio"):
        # The thread is outside the loop; the copied variable would say otherwise, and `anyio.run` in it would refuse.
        context.run(sniffio.current_async_library_cvar.set, None)

    def deliver(result: T | None, error: BaseException | None) -> None:
        if not ended.done():  # done: the wait was cancelled
            ended.set_result((result, error))

    def work() -> None:
        result: T | None = None
        raised: BaseException | None = None
        try:
            result = context.run(function, *args)
        except BaseException as error:  # noqa: BLE001 - raised again where the result is awaited
            raised = error
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            loop.call_soon_threadsafe(deliver, result, raised)

    threading.Thread(target=work, name=name, daemon=True).start()
    try:
        result, error = await ended
    except asyncio.CancelledError:
        if warns:
            log.warning("%s still runs; nobody waits for it any more, and its thread does not hold the exit", name)
        raise
    if error is None:
        return cast("T", result)
    try:
        raise error
    finally:
        del error  # its traceback refers to this frame, which would keep both alive until the next garbage collection
