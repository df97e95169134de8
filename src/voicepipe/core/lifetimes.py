"""Parts that are held open while something else runs.

Rule 1: each lifetime is entered and left in a task of its own, so that handshakes run in parallel and a failure carries
        its part's name.
Rule 2: leaving is shielded and bounded: a part may say good-bye to its vendor, and none can hold the exit.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.core.failures import named, single_error
from voicepipe.core.part import Part
from voicepipe.errors import ConfigurationError, StageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from voicepipe.core.context import SessionContext

__all__ = ["attached", "opened"]

CLOSE_S: Final = 1.0
"""How long a part may take to leave `open` or `attach`. A session ends within 3 s: its writing tools have one, `attach`
one, and `open` of the parts that are its own one more."""


READY_S: Final = {"open": 60.0, "attach": 10.0}
"""How long a part may take to be ready: for a process, which may load a model, and for a call, which rings."""


@asynccontextmanager
async def opened(parts: Sequence[Part]) -> AsyncGenerator[None]:
    """Enter `open` of every part, in parallel, and leave them together. See `Part.open`.

    Args:
        parts: Each is entered after the parts that it holds.

    Raises:
        VoicepipeError: A part failed; errors that are none of ours arrive as `StageError` with the part's name.
    """
    async with _held(parts, Part.open):
        yield


@asynccontextmanager
async def attached(parts: Sequence[Part], session: SessionContext) -> AsyncGenerator[None]:
    """Enter `attach` of every part, as `opened` does with `open`."""
    async with _held(parts, Part.attach, session):
        yield


@asynccontextmanager
async def _held(parts: Sequence[Part], lifetime: Callable[..., object], *arguments: object) -> AsyncGenerator[None]:
    leave = anyio.Event()
    with single_error():
        async with anyio.create_task_group() as tasks:

            async def enter(part: Part) -> None:
                for inner in part._held():
                    await enter(inner)
                method = getattr(part, lifetime.__name__)
                if method.__func__ is not lifetime:  # a part that sets nothing up needs no task
                    own, entered = method(*arguments), anyio.Event()
                    if not isinstance(own, AbstractAsyncContextManager):
                        raise ConfigurationError(f"{part.name}.{lifetime.__name__} must be an @asynccontextmanager")
                    tasks.start_soon(_hold, part.name, own, entered, leave, name=f"voicepipe {part.name}")
                    with anyio.move_on_after(READY_S[lifetime.__name__]) as limit:
                        await entered.wait()
                    if limit.cancelled_caught:
                        waited = f"{part.name}.{lifetime.__name__} was not ready after {READY_S[lifetime.__name__]:g} s"
                        raise StageError(waited, part=part.name)

            try:
                async with anyio.create_task_group() as entering:
                    for part in parts:
                        entering.start_soon(enter, part)
                yield
            finally:
                leave.set()


async def _hold(
    part_name: str, lifetime: AbstractAsyncContextManager[None], entered: anyio.Event, leave: anyio.Event
) -> None:
    with named(part_name), anyio.CancelScope() as scope:
        async with lifetime:
            # From here on only `leave` ends it, and then it has time to close.
            scope.shield = True
            entered.set()
            await leave.wait()
            scope.deadline = anyio.current_time() + CLOSE_S
