"""Whose cancellation a `CancelledError` is."""

from __future__ import annotations

import asyncio
import math

import anyio

__all__ = ["is_cancelled"]


def is_cancelled() -> bool:
    """Return whether the running task is being cancelled; for use where a `CancelledError` is caught.

    If it is not, then what the task awaited was cancelled elsewhere, such as a future of the application.
    """
    task = asyncio.current_task()
    return task is None or bool(task.cancelling()) or anyio.current_effective_deadline() == -math.inf
