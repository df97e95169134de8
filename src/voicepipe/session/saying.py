"""Something that the agent was asked to say, and what became of it.

Rule 1: nobody has to wait for it, and waiting changes nothing: cancelling the wait does not stop the speech.
Rule 2: what waits for the floor either gets a turn or is dropped; `Floor` notes which, in the loop's thread.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.conversation.turn_state import TurnState
from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator
    from weakref import ref

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.context import SessionContext
    from voicepipe.core.home import Home
    from voicepipe.speaking.prepared import PreparedAudio

__all__ = ["AT_WORK", "Said", "Saying"]

AT_WORK: Final[ContextVar[ref[Turn] | None]] = ContextVar("voicepipe_turn", default=None)
"""The turn that the current task works for: that of a stage, a tool or a hook, and of the tasks that they start.

A weak reference, because a context outlives its turn in whatever was begun in it, such as a connection that is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What became of something that the agent was to say.

    Attributes:
        heard: What the caller heard of it; "" for nothing.
        is_whole: Whether it was said to its end, and heard.
        turn: The turn in which it was said; its `state` is how it ended, and its `failure` why. None if it got no turn:
            it was dropped by an interruption or by the end of the session, or it was blank.
    """

    heard: str = ""
    is_whole: bool = False
    turn: Turn | None = None


class Saying:
    """Something that the agent was asked to say; made by `Session.say` and `Session.reply`.

    `await` it, in the session's event loop, to wait until it has been heard, interrupted or dropped; the result is a
    `Said`. It need not be awaited, and any number of tasks may. Cancelling stops the waiting, not the speech.

    Args:
        session: The session that says it.
        home: Its event loop.
        text: The text; None lets the model speak.
        audio: What is played instead of the voice.
        instructions: What the model is to say or to do, where there is no text.
        is_protected: Whether the caller must hear it whole.

    Raises:
        ConfigurationError: It is awaited in another thread, or by a tool, stage or hook of a turn that has to end
            before this can begin.
    """

    def __init__(
        self,
        session: SessionContext[Any],
        home: Home,
        text: str | None,
        *,
        audio: PreparedAudio | None = None,
        instructions: str | None = None,
        is_protected: bool = False,
    ) -> None:
        self.text = text
        self.audio = audio
        self.instructions = instructions
        self.is_protected = is_protected
        self._session = session
        self._home = home
        self._turn: Turn | None = None

    def __await__(self) -> Generator[Any, Any, Said]:
        """Wait until it has been heard, interrupted or dropped, and return what became of it."""
        return self._wait().__await__()

    def begin(self, turn: Turn) -> None:
        """Note that it is said in this turn."""
        self._turn = turn
        self._decided.set()

    def drop(self) -> None:
        """Note that it is not said."""
        self._decided.set()

    @cached_property
    def _decided(self) -> anyio.Event:  # made in the session's loop, while the object itself may come from any thread
        return anyio.Event()

    @property
    def _is_over(self) -> bool:
        return self._decided.is_set() and (self._turn is None or self._turn.is_over)

    async def _wait(self) -> Said:
        if not self._home.is_here:
            raise ConfigurationError(
                "what session.say and session.reply return can be awaited only in the session's event loop; in another "
                "thread do not await it, or await it in a coroutine for asyncio.run_coroutine_threadsafe"
            )
        reference = AT_WORK.get()
        at_work = reference() if reference else None
        if at_work is not None and at_work.session is self._session and not at_work.is_over and not self._is_over:
            raise ConfigurationError(
                f"a tool, stage or hook of turn {at_work.turn_id} cannot wait for what is said after that turn: the "
                "turn would wait for itself; leave out the `await`"
            )
        await self._decided.wait()
        if (turn := self._turn) is None:
            return Said()
        await turn.settled.wait()
        return Said(heard=turn.heard, is_whole=turn.state is TurnState.DONE, turn=turn)

    def __repr__(self) -> str:
        """Show what became of it so far."""
        if self._turn is not None:
            return f"<Saying in {self._turn!r}>"
        return f"<Saying {'dropped' if self._decided.is_set() else 'waiting'}>"
