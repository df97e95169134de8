"""Who waits where: each task of a loop, with the lines at which it stands."""

from __future__ import annotations

import asyncio
import gc
import linecache
import os
import types
from typing import TYPE_CHECKING, Any, Final

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["waits"]

FOREIGN: Final = tuple(f"{package.__path__[0]}{os.sep}" for package in (asyncio, anyio))
"""Where every wait ends, and nobody looks for the reason."""

SUSPENDED: Final = (types.CoroutineType, types.AsyncGeneratorType, types.GeneratorType)


def waits(loop: asyncio.AbstractEventLoop) -> str:
    """Return the tasks of a loop by name, each with the lines at which it waits, the outermost first."""
    lines: list[str] = []
    for task in sorted(asyncio.all_tasks(loop), key=asyncio.Task.get_name):
        frames = list(_frames(task.get_coro()))
        shown = [frame for frame in frames if not frame.f_code.co_filename.startswith(FOREIGN)] or frames
        lines += [f"  {task.get_name()}", *(f"    {_line(frame)}" for frame in shown)]
    return "\n".join(lines)


def _frames(awaited: Any) -> Iterator[types.FrameType]:  # noqa: ANN401 - whatever can be awaited
    """Yield the frames from a coroutine to what it waits for in the end."""
    while awaited is not None:
        if isinstance(awaited, types.CoroutineType):
            frame, awaited = awaited.cr_frame, awaited.cr_await
        elif isinstance(awaited, types.AsyncGeneratorType):
            frame, awaited = awaited.ag_frame, awaited.ag_await
        elif isinstance(awaited, types.GeneratorType):
            frame, awaited = awaited.gi_frame, awaited.gi_yieldfrom
        else:
            # One step of an async generator, say, which names what it steps in to the garbage collector alone.
            awaited = next((held for held in gc.get_referents(awaited) if isinstance(held, SUSPENDED)), None)
            continue
        if frame is not None:
            yield frame


def _line(frame: types.FrameType) -> str:
    code, line = frame.f_code, frame.f_lineno
    return f"{code.co_filename}:{line} in {code.co_qualname}: {linecache.getline(code.co_filename, line).strip()}"
