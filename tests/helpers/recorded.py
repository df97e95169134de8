"""Calls that are recorded, in memory or on disk, and what they look like as text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio

import voicepipe as vp
from voicepipe.testing import CallNotes, RecordingOutput, run_on_virtual_time
from voicepipe.watching.recording.records import to_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from voicepipe.watching.replay import RecordedCall


async def _nothing(session: vp.Session) -> None:
    del session


def recorded_call(
    agent: vp.Pipeline, use: Callable[[vp.Session], Awaitable[None]] = _nothing, **options: Any
) -> RecordedCall:
    """Hold a call on virtual time until it ends by itself, and return the notes of it."""
    notes = CallNotes()
    run_on_virtual_time(lambda: hold(agent, use, observers=[notes], **options))
    return notes.call()


def recorded_file(
    directory: Path, agent: vp.Pipeline, use: Callable[[vp.Session], Awaitable[None]] = _nothing, **options: Any
) -> Path:
    """Hold a call on virtual time until it ends by itself, and return the recording of it."""
    before = set(directory.glob("*"))
    run_on_virtual_time(lambda: hold(agent, use, observers=[vp.Recorder(directory)], **options))
    (path,) = set(directory.glob("*")) - before
    return path


async def hold(agent: vp.Pipeline, use: Callable[[vp.Session], Awaitable[None]], **options: Any) -> None:
    """Hold a call until it ends by itself."""
    async with (
        agent.session(**{"output": RecordingOutput(), **options}) as session,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(use, session)
        await session.ended.wait()
        tasks.cancel_scope.cancel()


def as_lines(call: RecordedCall) -> list[str]:
    """Return all events of a call with their times and fields, a line for each."""
    return [f"{at_s:.6f} {type(event).__name__} {json.dumps(to_json(event, 0.0))}" for at_s, event in call.events]
