"""Tools that run outside of the turns of one session: a barge-in does not touch them, and they hold up no turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from voicepipe.model.running_call import FINISH_CALLS_S

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from anyio.abc import TaskGroup

__all__ = ["BackgroundCalls"]


class BackgroundCalls:
    """The calls of one session.

    Args:
        ended: Set when the session has ended; from then on what runs has a limited time to finish.
    """

    def __init__(self, ended: anyio.Event) -> None:
        self._ended = ended
        self._running = 0
        self._is_quiet = anyio.Event()
        self._tasks: TaskGroup

    @property
    def are_running(self) -> bool:
        """Whether a tool is at work."""
        return self._running > 0

    def start(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a tool."""
        self._running += 1
        self._tasks.start_soon(self._run, run)

    def no_more(self) -> None:
        """Note that no turn runs any more, so no further tool is started."""
        self._is_quiet.set()

    async def keep(self) -> None:
        """Own what runs. However the session ends, all have the same time to finish."""
        with anyio.CancelScope(shield=True) as grace:
            async with anyio.create_task_group() as self._tasks:
                await self._ended.wait()
                grace.deadline = anyio.current_time() + FINISH_CALLS_S
                await self._is_quiet.wait()

    async def _run(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await run()
        finally:
            self._running -= 1
