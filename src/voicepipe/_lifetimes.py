"""Parts that are held open while something else runs.

Rule 1: each lifetime is entered and left in a task of its own, so that handshakes run in parallel and a failure carries
        its part's name.
Rule 2: leaving is shielded and bounded: a part may say good-bye to its vendor, and none can hold the exit.
"""

from __future__ import annotations

import traceback
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.errors import ConfigurationError, StageError, VoicepipeError
from voicepipe.part import Part

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Sequence

    from voicepipe.channel import Channel
    from voicepipe.session import Session

__all__ = ["attached", "for_log", "joined", "named", "opened", "single_error"]

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
async def attached(parts: Sequence[Part], session: Session) -> AsyncGenerator[None]:
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


@contextmanager
def joined(stage_name: str, inbox: Channel[Any], outbox: Channel[Any]) -> Generator[None]:
    """Run a stage between two channels: its errors carry its name, and both channels are closed when it is done.

    A stage behind it that wants no more is no error: what it still sends is dropped.
    """
    try:
        with named(stage_name):
            try:
                yield
            except anyio.BrokenResourceError:
                if not outbox.is_abandoned:
                    raise
    finally:
        outbox.close()
        inbox.close_receiver()


@contextmanager
def named(part_name: str) -> Generator[None]:
    """Let our own errors through, with the part's name as a note; wrap all others in `StageError`."""
    try:
        yield
    except VoicepipeError as error:
        error.add_note(f"in {part_name}")
        raise
    except ExceptionGroup as group:
        first = first_error(group)
        if isinstance(first, VoicepipeError):
            first.add_note(f"in {part_name}")
            raise first from first.__cause__
        raise _stage_error(part_name, first) from first
    except Exception as error:
        raise _stage_error(part_name, error) from error


def _stage_error(part_name: str, error: BaseException) -> StageError:
    return StageError(f"{part_name} raised {type(error).__name__}: {error}", part=part_name)


def for_log(error: VoicepipeError) -> str:
    """Return an error for a log. Of what a part of the application raised, which may quote the caller, the place."""
    cause = error.__cause__
    if not isinstance(error, StageError) or cause is None:
        return str(error)
    place = traceback.extract_tb(cause.__traceback__)[-1:]
    where = f" at {Path(place[0].filename).name}:{place[0].lineno}" if place else ""
    return f"{error.part} raised {type(cause).__name__}{where}"


@contextmanager
def single_error() -> Generator[None]:
    """Raise the first error of a task group as itself; further ones become notes."""
    try:
        yield
    except BaseExceptionGroup as group:
        error = first_error(group)
        raise error from error.__cause__


def first_error(group: BaseExceptionGroup[Any]) -> BaseException:
    """Return the first error in a group of groups, noting the others on it."""
    leaves: list[BaseException] = []

    def collect(error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup):
            group: BaseExceptionGroup[Any] = error
            for inner in group.exceptions:
                collect(inner)
        else:
            leaves.append(error)

    collect(group)
    # Ctrl-C and SystemExit must not hide behind an error that they caused.
    leaves.sort(key=lambda error: isinstance(error, Exception))
    for other in leaves[1:]:
        leaves[0].add_note(f"and then {type(other).__name__}: {other}")
    return leaves[0]
