"""Holds parts open while something else runs.

Rule 1: each lifetime is entered and left in its own task, so that handshakes run in parallel and a failure carries the
        name of its part. One that is done `at_once` needs no task.
Rule 2: leaving is shielded and has a time limit: a part can say goodbye to its vendor, but cannot delay the exit.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.core.abandon import run_abandonably
from voicepipe.core.failures import named, single_error
from voicepipe.core.part import Part, is_at_once
from voicepipe.errors import ConfigurationError, StageError, VoicepipeError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from voicepipe.core.context import SessionContext

__all__ = ["attached", "opened"]

CLOSE_S: Final = 1.0
"""How long a part may take to leave `open` or `attach`. A session ends within 3 s: one for its writing tools, one for
leaving `attach`, and one for leaving `open` of the parts that belong to it alone."""


READY_S: Final = {"open": 60.0, "attach": 10.0}
"""How long a part may take to become ready: longer in `open`, which may load a model, than in `attach`, for which a
caller is waiting."""


@asynccontextmanager
async def opened(
    parts: Sequence[Part], on_failure: Callable[[VoicepipeError], None] | None = None
) -> AsyncGenerator[None]:
    """Enter `open` of every part, in parallel, and leave them together. See `Part.open`.

    Args:
        parts: Each is entered after the parts that it holds.
        on_failure: Takes the error of a part that fails while the block runs, and ends the block in its own way. None
            raises the error in the block immediately.

    Raises:
        VoicepipeError: A part failed; any other exception is wrapped in `StageError` with the part's name.
    """
    async with _held(parts, on_failure, READY_S["open"], Part.open):
        yield


@asynccontextmanager
async def attached(
    parts: Sequence[Part],
    session: SessionContext,
    on_failure: Callable[[VoicepipeError], None] | None = None,
    *,
    ready_s: float = READY_S["attach"],
) -> AsyncGenerator[None]:
    """Enter `attach` of every part, just as `opened` enters `open`; each may take `ready_s` to become ready."""
    async with _held(parts, on_failure, ready_s, Part.attach, session):
        yield


@asynccontextmanager
async def _held(
    parts: Sequence[Part],
    on_failure: Callable[[VoicepipeError], None] | None,
    ready_s: float,
    lifetime: Callable[..., object],
    *arguments: object,
) -> AsyncGenerator[None]:
    quick, slow = list[Part](), list[Part]()
    for part in parts:
        (slow if _takes_time(part, lifetime) else quick).append(part)
    entered: list[AbstractAsyncContextManager[None]] = []
    with single_error():
        try:
            for part in quick:
                await _enter_at_once(part, lifetime, arguments, entered)
            if slow:
                async with _held_by_tasks(slow, on_failure, ready_s, lifetime, *arguments):
                    yield
            else:
                yield
        finally:
            for own in reversed(entered):
                await own.__aexit__(None, None, None)


def _takes_time(part: Part, lifetime: Callable[..., object]) -> bool:
    """Return whether a part, or one that it holds, has more to do than what is done at once."""
    method = getattr(part, lifetime.__name__).__func__
    is_slow = method is not lifetime and not is_at_once(method)
    return is_slow or any(_takes_time(inner, lifetime) for inner in part._held())


async def _enter_at_once(
    part: Part,
    lifetime: Callable[..., object],
    arguments: tuple[object, ...],
    entered: list[AbstractAsyncContextManager[None]],
) -> None:
    for inner in part._held():
        await _enter_at_once(inner, lifetime, arguments, entered)
    method = getattr(part, lifetime.__name__)
    if method.__func__ is not lifetime:
        own = method(*arguments)
        with named(part.name):
            await own.__aenter__()
        entered.append(own)


@asynccontextmanager
async def _held_by_tasks(
    parts: Sequence[Part],
    on_failure: Callable[[VoicepipeError], None] | None,
    ready_s: float,
    lifetime: Callable[..., object],
    *arguments: object,
) -> AsyncGenerator[None]:
    leave, is_entered = anyio.Event(), False

    async def hold(part: Part, own: AbstractAsyncContextManager[None], entered: anyio.Event) -> None:
        try:
            await _hold(part.name, own, entered, leave)
        except VoicepipeError as error:
            if on_failure is None or not is_entered or leave.is_set():
                raise
            on_failure(error)

    async with anyio.create_task_group() as tasks:

        async def enter(part: Part) -> None:
            for inner in part._held():
                await enter(inner)
            method = getattr(part, lifetime.__name__)
            if method.__func__ is not lifetime:  # a part that does not override it needs no task
                own, entered = method(*arguments), anyio.Event()
                if not isinstance(own, AbstractAsyncContextManager):
                    raise ConfigurationError(f"{part.name}.{lifetime.__name__} must be an @asynccontextmanager")
                tasks.start_soon(hold, part, own, entered, name=f"voicepipe {part.name}")
                with anyio.move_on_after(ready_s) as limit:
                    await entered.wait()
                if limit.cancelled_caught:
                    waited = f"{part.name}.{lifetime.__name__} was not ready after {ready_s:g} s"
                    raise StageError(waited, part=part.name)

        try:
            async with anyio.create_task_group() as entering:
                for part in parts:
                    entering.start_soon(enter, part)
            is_entered = True
            yield
        finally:
            leave.set()


async def _hold(
    part_name: str, lifetime: AbstractAsyncContextManager[None], entered: anyio.Event, leave: anyio.Event
) -> None:
    async def inside() -> None:
        async with lifetime:
            # From here on only `leave` ends it, and then it has time to close.
            scope.shield = True
            entered.set()
            await leave.wait()
            scope.deadline = anyio.current_time() + CLOSE_S

    with named(part_name), anyio.CancelScope() as scope:
        await run_abandonably(inside, name=part_name, finish_s=CLOSE_S)
        if not leave.is_set() and not scope.cancel_called:
            # A task group in it swallows the cancellation of one of its own tasks.
            raise StageError(f"{part_name} ended by itself: one of its tasks was cancelled from inside", part=part_name)
