"""Whose cancellation a `CancelledError` is."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from voicepipe.core.cancellation import is_cancelled

pytestmark = pytest.mark.anyio


async def waiting(future: asyncio.Future[None], found: list[bool]) -> None:
    try:
        await future
    except asyncio.CancelledError:
        found.append(is_cancelled())
        raise


async def test_a_task_is_cancelled_with_its_scope() -> None:
    """Inside a scope that was cancelled, the task is being cancelled."""
    found: list[bool] = []
    with anyio.move_on_after(1.0):
        await waiting(asyncio.Future(), found)
    assert found == [True]


async def test_a_task_is_cancelled_by_itself() -> None:
    """A task that asyncio cancels is being cancelled, without a scope."""
    found: list[bool] = []
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(waiting(asyncio.Future(), found))
        await anyio.wait_all_tasks_blocked()
        task.cancel()
    assert found == [True]


async def test_a_future_cancelled_elsewhere_cancels_no_task() -> None:
    """When what a task awaits was cancelled elsewhere, the task is not being cancelled."""
    found: list[bool] = []
    future: asyncio.Future[None] = asyncio.Future()
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting(future, found)
    assert found == [False]
