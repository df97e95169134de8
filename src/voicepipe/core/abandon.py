"""The one place where code of a part that ignores its cancellation is left behind.

anyio delivers a cancellation again and again until it is obeyed, and a task group waits for its tasks however long that
takes. Code that catches every exception and goes on would hold its turn and its session for ever, and keep a core busy.

Rule 1: such code runs in a task of its own. The task that waits for it is cancelled as usual, and then cancels it.
Rule 2: the cancellation is delivered in pulses, not in every step of the loop.
Rule 3: after `ABANDON_S` it is not delivered any more, nothing waits for the task, and it is reported by name.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, TypeVarTuple

import anyio
import anyio.lowlevel

from voicepipe.core.log import log
from voicepipe.events import CleanupOverran

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["ABANDON_S", "run_abandonably"]

ABANDON_S: Final = 3.0
"""How long code may go on after its work was over: what it is given to finish, and what it takes to obey."""

PULSE_S: Final = 0.05
PULSE_STEPS: Final = 10
"""A cancellation is delivered in ten steps of the loop, which is enough for code that gives way to it, then again every
50 ms, for code that swallows one."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_left_behind: Final = set[asyncio.Task[None]]()  # asyncio itself keeps no task alive


async def run_abandonably(
    function: Callable[[*Ts], Awaitable[T]],
    *args: *Ts,
    name: str,
    finish_s: float = 0.0,
    deadline: float = math.inf,
    report: Callable[[CleanupOverran], None] | None = None,
) -> T:
    """Call an async function, and return or raise what it does.

    Cancelling cancels the function and waits for it, as if it ran in the same task, but for `ABANDON_S` at most, less
    `finish_s`. Then it is left behind: it may run on until the loop is closed, and what comes out of it is dropped.

    Args:
        function: Called in a task of its own, with a copy of the context variables.
        args: Its positional arguments.
        name: The part's name, by which it is reported.
        finish_s: How long the caller lets it finish before it cancels.
        deadline: What `anyio.current_effective_deadline()` is for it: the deadline of a scope around the call.
        report: Takes the event that it was left behind.
    """
    work = _Work(function, args, deadline)
    task = asyncio.get_running_loop().create_task(work.run(), name=f"voicepipe {name}")
    try:
        await _ended(task)
    except asyncio.CancelledError:
        if not await work.cancelled(task, ABANDON_S - finish_s):
            _leave_behind(task)
            log.warning("%s ignored its cancellation for %g s; nothing waits for it any more", name, ABANDON_S)
            if report is not None:
                report(CleanupOverran(part=name, after_s=ABANDON_S))
            raise
        if work.was_cancelled:
            raise
    if work.was_cancelled:
        await anyio.sleep_forever()  # by the deadline, which is that of a scope around this
    return work.result()


class _Work(Generic[T]):
    """A function that runs in a task of its own."""

    def __init__(self, function: Callable[..., Awaitable[T]], args: tuple[Any, ...], deadline: float) -> None:
        self._function = function
        self._args = args
        self._scope = anyio.CancelScope(deadline=deadline)
        self._gate = anyio.CancelScope()  # shielded where the cancellation of the scope is not to be delivered
        self._results: list[T] = []
        self._error: BaseException | None = None

    async def run(self) -> None:
        try:
            with self._scope, self._gate:
                self._results.append(await self._function(*self._args))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - raised where the result is awaited; SystemExit would end the loop
            self._error = error

    @property
    def was_cancelled(self) -> bool:
        """Whether it ended without result or error."""
        return not self._results and self._error is None

    def result(self) -> T:
        """Return what the function returned, or raise what it raised."""
        if self._error is None:
            return self._results[0]
        try:
            raise self._error
        finally:
            self._error = None  # its traceback refers to frames that refer to this

    async def cancelled(self, task: asyncio.Task[None], limit_s: float) -> bool:
        """Cancel it, and return whether it ended in time; it is not cancelled any more if not."""
        until = anyio.current_time() + limit_s
        self._scope.cancel()
        while not task.done() and anyio.current_time() < until:
            with suppress(asyncio.CancelledError):  # the caller is cancelled once more
                await self._pulse(task, until)
        return task.done()

    async def _pulse(self, task: asyncio.Task[None], until: float) -> None:
        self._gate.shield = False
        try:
            for _ in range(PULSE_STEPS):
                await anyio.lowlevel.cancel_shielded_checkpoint()
                if task.done():
                    return
        finally:
            self._gate.shield = True
        with anyio.CancelScope(deadline=min(until, anyio.current_time() + PULSE_S), shield=True):
            await _ended(task)


async def _ended(task: asyncio.Task[None]) -> None:
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(_: asyncio.Task[None]) -> None:
        if not ended.done():
            ended.set_result(None)

    task.add_done_callback(end)
    try:
        await ended
    finally:
        task.remove_done_callback(end)


def _leave_behind(task: asyncio.Task[None]) -> None:
    """Hide a task from the end of the loop, which would cancel it once more and wait for it."""
    _left_behind.add(task)
    task.add_done_callback(_left_behind.discard)
    # Python's documentation gives this function to those who write event loops ("Task lifetime support").
    asyncio.tasks._unregister_task(task)
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # it was reported
