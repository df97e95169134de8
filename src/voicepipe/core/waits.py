"""Waiting for the first of several things."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["wait_any"]


async def wait_any(*waits: Callable[[], Awaitable[object]]) -> None:
    """Wait until one of these returns, and cancel the others."""
    async with anyio.create_task_group() as tasks:

        async def wait(until: Callable[[], Awaitable[object]]) -> None:
            await until()
            tasks.cancel_scope.cancel()

        for until in waits:
            tasks.start_soon(wait, until)
