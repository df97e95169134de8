"""How one session ends: once and in order, whoever ends it.

Rule 1: the first reason counts. Silence comes first, then the last event, then what still runs is cancelled.
Rule 2: an error ends the session before it is raised in the session's block, which reads the events until then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from voicepipe.core.failures import for_log

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from voicepipe.errors import VoicepipeError
    from voicepipe.session.floor import Floor
    from voicepipe.session.reporting import Reporting

__all__ = ["Ending"]


class Ending:
    """The end of one session.

    Attributes:
        ended: Set when the session has ended.
        result: The result that the application gave; the first one counts.
        floor: The turns of the session. Set by the session.
        reporting: Its events. Set by the session.
        tasks: The tasks of its block. Set by the session.
    """

    floor: Floor
    reporting: Reporting
    tasks: TaskGroup

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.result: object = None
        self._failure: VoicepipeError | None = None

    def end(self, reason: str) -> None:
        """End the session immediately."""
        if self.ended.is_set():
            return
        self.ended.set()
        self.floor.interrupt(by="end")
        self.reporting.ended(reason)

    def ask(self, after_reply: bool, result: object) -> None:
        """End the session for the application: immediately, or once nobody speaks and nothing waits to be said."""
        self.result = result if self.result is None else self.result
        if after_reply and self.floor.is_busy:
            self.floor.close()
        else:
            self.end("the application ended it")

    def fail(self, error: VoicepipeError) -> None:
        """End the session in order, then raise the error in its block; the first one counts."""
        if self._failure is not None:
            return
        self._failure = error
        self.end(for_log(error))
        self.tasks.start_soon(self._raise, error)

    async def _raise(self, error: VoicepipeError) -> None:
        """Raise an error, once the block has read the events that report it."""
        with anyio.CancelScope(shield=True):
            await self.reporting.events.wait_read()
            raise error
