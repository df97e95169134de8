"""Which part failed, and how: each failure becomes one error that names its part."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from voicepipe.core.cancellation import is_cancelled
from voicepipe.errors import StageError, VoicepipeError

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

    from voicepipe.core.channel import Channel

__all__ = ["first_error", "for_log", "is_fault", "joined", "named", "single_error"]


@contextmanager
def joined(stage_name: str, inbox: Channel[Any], outbox: Channel[Any]) -> Generator[None]:
    """Run a stage between two channels: its errors carry its name, and both channels are closed when it is done.

    It is not an error when the next stage has stopped reading: what this stage still sends is dropped. After an error
    the outbox stays open, because a closed one says that nothing follows: the error cancels its reader.
    """
    try:
        with named(stage_name):
            try:
                yield
            except anyio.BrokenResourceError:
                if not outbox.is_abandoned:
                    raise
        outbox.close()
    finally:
        inbox.close_receiver()


class named:  # noqa: N801 - a context manager that reads like a function; written as one it costs three times as much
    """Pass voicepipe's own errors on, with the part's name as a note; wrap any other exception in `StageError`."""

    def __init__(self, part_name: str) -> None:
        self._part_name = part_name

    def __enter__(self) -> None:
        """Begin the part's work."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Name the part in an error."""
        if error is None:
            return
        first = first_error(error) if isinstance(error, BaseExceptionGroup) else error
        if not is_fault(first):
            return
        if not isinstance(first, VoicepipeError):
            raise _stage_error(self._part_name, first) from first
        # A `StageError` names its part already, which may be another one: an output in the hands of a voice.
        if not isinstance(first, StageError) and (note := f"in {self._part_name}") not in getattr(
            first, "__notes__", ()
        ):
            first.add_note(note)
        if first is not error:
            raise first from first.__cause__


def is_fault(error: BaseException) -> bool:
    """Return whether an error is a fault of the code that raised it; for use where the error is caught.

    Ctrl-C and the cancellation of the running task are no faults. `sys.exit()` is one, because a part has no say in
    when the process ends, and so is a `CancelledError` without a cancellation of ours: something that the part awaited
    was cancelled elsewhere.
    """
    if isinstance(error, asyncio.CancelledError):
        return not is_cancelled()
    return not isinstance(error, (KeyboardInterrupt, GeneratorExit))


def _stage_error(part_name: str, error: BaseException) -> StageError:
    if isinstance(error, asyncio.CancelledError):
        inside = f"{part_name} was cancelled from inside: something that it awaited was cancelled elsewhere"
        return StageError(inside, part=part_name)
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
