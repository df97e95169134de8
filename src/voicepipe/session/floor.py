"""Who has the floor: one turn at a time, and what waits to be said after it.

Rule 1: `TurnPolicy` decides, and each decision about turns is one method here that never waits.
Rule 2: an interruption is silence first, then cancellation, in one step of the loop. Nobody waits for the clean-up.
Rule 3: each turn ends in exactly one terminal event, with history settled in the same step.
"""

from __future__ import annotations

import logging
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio

from voicepipe.conversation.turn import Turn, TurnState
from voicepipe.core.failures import for_log
from voicepipe.errors import VoicepipeError
from voicepipe.flow import TextDelta
from voicepipe.session.replying import run_reply

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from anyio.abc import TaskGroup

    from voicepipe.core.context import SessionContext
    from voicepipe.core.stage import Stage
    from voicepipe.flow import Transcript
    from voicepipe.session.wiring import Row
    from voicepipe.speaking.playback import Playout

__all__ = ["Floor"]

DRAFT_S: Final = 5.0
"""A draft is dropped if its final transcript has not come after this time: the caller has not ended their turn."""

log = logging.getLogger("voicepipe")


class Floor:
    """The turns of one session.

    Args:
        session: The session that the turns belong to.
        row: The parts that reply.
        playout: The output that turns write to.
        on_idle: Called whenever nobody has the floor and nothing waits to be said.

    Attributes:
        turn: The turn that has the floor; None when nobody has it.
    """

    def __init__(self, session: SessionContext[Any], row: Row, playout: Playout, on_idle: Callable[[], None]) -> None:
        self.turn: Turn | None = None
        self._session = session
        self._row = row
        self._playout = playout
        self._on_idle = on_idle
        self._to_say: deque[str] = deque()
        self._turns_so_far = 0
        self._tasks: TaskGroup

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[TaskGroup]:
        """Run turns until the block ends, then cancel what they do; further tasks may join them."""
        async with anyio.create_task_group() as self._tasks:
            yield self._tasks
            self._tasks.cancel_scope.cancel()

    @property
    def phase(self) -> Literal["none", "draft", "live"]:
        """What the current turn is doing."""
        if self.turn is None:
            return "none"
        return "draft" if self.turn.state is TurnState.DRAFT else "live"

    @property
    def is_busy(self) -> bool:
        """Whether a reply is being prepared or spoken, or something waits to be said."""
        return self.turn is not None or bool(self._to_say)

    # --- decisions ----------------------------------------------------------------------------------------------------

    def start(self, transcript: Transcript, *, is_draft: bool) -> None:
        """Reply to the caller; nobody else has the floor."""
        turn = self._begin(transcript, is_draft=is_draft)
        if is_draft:
            self._tasks.start_soon(self._expire, turn)

    def commit(self, transcript: Transcript) -> None:
        """Let the draft speak."""
        assert self.turn is not None  # noqa: S101 - the policy commits drafts only
        self.turn.commit(transcript)

    def roll_back(self) -> None:
        """Drop the draft without a trace."""
        assert self.turn is not None  # noqa: S101 - the policy rolls back drafts only
        self.turn.roll_back()
        self.turn = None
        self._turns_so_far -= 1

    def interrupt(self) -> None:
        """Stop the current turn, and forget what waits to be said. Once this returns, no sample reaches the output."""
        self._to_say.clear()
        if (turn := self.turn) is None:
            return
        if turn.state is TurnState.DRAFT:
            self.drop_draft(turn)
            return
        self._playout.flush()
        turn.scope.cancel()
        if not self._session.ended.is_set():
            self._tasks.start_soon(turn.watch_cleanup)
        self._settle(turn, "interrupt")

    def say(self, text: str) -> None:
        """Speak a text once those before it have been heard."""
        self._to_say.append(text)
        self.go_on()

    def drop_draft(self, draft: Turn) -> None:
        """Drop a draft that can no longer be committed, and give the floor to what waits."""
        if draft is self.turn:
            self.roll_back()
            self.go_on()

    def go_on(self) -> None:
        """If nobody has the floor, say what waits to be said."""
        if self.turn is not None or self._session.ended.is_set():
            return
        if self._to_say:
            self._begin(None, self._to_say.popleft())
        else:
            self._on_idle()

    # --- turns --------------------------------------------------------------------------------------------------------

    def _begin(self, transcript: Transcript | None, text: str | None = None, *, is_draft: bool = False) -> Turn:
        self._turns_so_far += 1
        self.turn = turn = Turn(self._turns_so_far, self._session, transcript, is_draft=is_draft)
        self._tasks.start_soon(self._take, turn, text)
        return turn

    async def _expire(self, draft: Turn) -> None:
        """Drop a draft that is not committed in time."""
        with anyio.move_on_after(DRAFT_S):
            await draft.committed.wait()
        if draft.state is TurnState.DRAFT:
            self.drop_draft(draft)

    async def _take(self, turn: Turn, text: str | None) -> None:
        """Run one turn to its end: a reply to the caller, or `text`, and the fallback if that was not a whole reply."""
        if turn.is_over:
            return  # interrupted before it began
        with turn.scope:
            turn.timeline.mark("turn_started")
            await self._speak(turn, text, self._row.speech_stages)
            await turn.committed.wait()  # needed for a draft that has nothing to say
            is_answered = turn.has_text
            if (turn.failure or not is_answered) and self._row.fallback and not turn.is_withheld:
                await self._speak(turn, self._row.fallback, self._row.fallback_stages(turn.failure))
            self._settle(turn, "complete" if is_answered else "leave empty")

    async def _speak(self, turn: Turn, text: str | None, stages: Sequence[Stage[Any, Any]]) -> None:
        """Send the transcript through all stages, or a text through these; note a failure on the turn."""
        turn.prepare_speech()
        try:
            if text is None:
                await run_reply(self._row.reply_stages, turn.transcript, turn)
            else:
                turn.add_message(text)
                await run_reply(stages, TextDelta(text, ends_segment=True), turn)
        except VoicepipeError as error:
            turn.fail(error)

    def _settle(self, turn: Turn, step: Literal["complete", "leave empty", "interrupt"]) -> None:
        """End a turn, report it, and give the floor to what waits."""
        if turn.failure and not turn.is_over and not turn.is_silent:
            self._playout.flush()  # an error cut it off: the next turn must not begin with the rest of its audio
        if turn.is_over:
            return
        if turn.failure:
            log.warning("turn %d failed: %s", turn.turn_id, for_log(turn.failure))
        self._session.emit(turn.settle(step))
        if self.turn is turn:
            self.turn = None
        self.go_on()
