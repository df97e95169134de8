"""Which part failed, and how: each failure becomes one error that names its part."""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from voicepipe.errors import StageError, VoicepipeError

if TYPE_CHECKING:
    from collections.abc import Generator

    from voicepipe.core.channel import Channel

__all__ = ["first_error", "for_log", "joined", "named", "single_error"]


@contextmanager
def joined(stage_name: str, inbox: Channel[Any], outbox: Channel[Any]) -> Generator[None]:
    """Run a stage between two channels: its errors carry its name, and both channels are closed when it is done.

    It is not an error when the next stage has stopped reading: what this stage still sends is dropped.
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
    """Pass voicepipe's own errors on, with the part's name as a note; wrap any other exception in `StageError`."""
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
    """Return an error as text for a log: of an exception of the application's own code, its class and its traceback.

    The words of such an exception are left out, because they may quote the caller.
    """
    cause = error.__cause__
    if not isinstance(error, StageError) or cause is None:
        return str(error)
    frames = traceback.extract_tb(cause.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    lines = "".join(traceback.format_list(frames)).rstrip()
    return (
        f"{error.part} raised {type(cause).__name__}{where}"
        + f"\nTraceback (most recent call last):\n{lines}" * bool(frames)
    )


@contextmanager
def single_error() -> Generator[None]:
    """Raise the first error of a task group instead of the group; the others become notes on it."""
    try:
        yield
    except BaseExceptionGroup as group:
        error = first_error(group)
        raise error from error.__cause__


def first_error(group: BaseExceptionGroup[Any]) -> BaseException:
    """Return the first error in a nested group, with the others as notes on it."""
    leaves: list[BaseException] = []

    def collect(error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup):
            group: BaseExceptionGroup[Any] = error
            for inner in group.exceptions:
                collect(inner)
        else:
            leaves.append(error)

    collect(group)
    # KeyboardInterrupt and SystemExit must not hide behind an error that they caused.
    leaves.sort(key=lambda error: isinstance(error, Exception))
    for other in leaves[1:]:
        leaves[0].add_note(f"and then {type(other).__name__}: {other}")
    return leaves[0]
