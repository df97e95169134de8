"""Who has the floor: one turn at a time, and what waits to be said after it.

Rule 1: `TurnCore` decides, and each decision about turns is one method here that never waits.
Rule 2: an interruption is silence first, then cancellation, in one step of the loop. Nobody waits for the clean-up.
Rule 3: each turn ends in exactly one terminal event, with history settled in the same step.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal
from weakref import ref

import anyio

from voicepipe.conversation.turn import Turn
from voicepipe.conversation.turn_state import TurnState
from voicepipe.errors import VoicepipeError
from voicepipe.events import Interrupter, TurnInterrupted
from voicepipe.floor_events import Paused, Released, Resumed, Withheld
from voicepipe.flow import Sentence, TextDelta
from voicepipe.observed import DraftDropped
from voicepipe.session.replying import run_reply
from voicepipe.session.saying import AT_WORK
from voicepipe.speaking.prepared import PreparedVoice

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from anyio.abc import TaskGroup

    from voicepipe.core.context import SessionContext
    from voicepipe.core.stage import Stage
    from voicepipe.flow import Transcript
    from voicepipe.history import ToolCall
    from voicepipe.session.saying import Saying
    from voicepipe.session.wiring import Row
    from voicepipe.speaking.playout import Playout
    from voicepipe.speaking.prepared import PreparedAudio

__all__ = ["Floor"]

DRAFT_S: Final = 5.0
"""A draft is dropped if its final transcript has not come after this time: the caller has not ended their turn."""

MAX_FOLLOW_UPS: Final = 3
"""Replies to late results in a row without words of the caller, so that a model that calls on does not go on alone."""

RECENT_TURNS: Final = 3
"""Turns of which a peer may still report that less was heard: the caller may have spoken meanwhile."""

NOTE: Final = "[A note of the application, not words of the caller: {}]"
"""What the model is sent in place of the caller's words when the application lets it speak."""

GO_ON: Final = "The caller has said nothing new. It is your turn to speak."

LATE_RESULT: Final = (
    "A tool call that was still running has ended; its result is in the conversation now. "
    "Tell the caller about it in one sentence. If they know it already, say nothing."
)


class Floor:
    """The turns of one session.

    Args:
        session: The session that the turns belong to.
        row: The parts that reply.
        playout: The output that turns write to.
        on_idle: Called whenever nobody has the floor and nothing waits to be said.
        caller_speaks_until_s: Until when the caller is taken to be speaking.

    Attributes:
        turn: The turn that has the floor; None when nobody has it.
        newest: The turn that has the floor, or had it last.
        turns_so_far: Counts the turns, without drafts that were rolled back.
        saying: What the newest turn says or said; None where it answers the caller or a tool.
        instructions: What the newest turn asks or asked of the model in place of the caller; "" for nothing.
        waiting: What is to be said, in this order.
        late: The calls whose results came after their turn, and were in no request yet.
        is_closing: Whether the session ends when nobody has the floor and nothing waits to be said.
    """

    def __init__(
        self,
        session: SessionContext[Any],
        row: Row,
        playout: Playout,
        on_idle: Callable[[], None],
        caller_speaks_until_s: Callable[[], float],
    ) -> None:
        self.turn: Turn | None = None
        self.newest: Turn | None = None
        self.turns_so_far = 0
        self.saying: Saying | None = None
        self.instructions = ""
        self.waiting: deque[Saying] = deque()
        self.late: list[ToolCall] = []
        self.is_closing = False
        self._session = session
        self._row = row
        self._playout = playout
        self._on_idle = on_idle
        self._caller_speaks_until_s = caller_speaks_until_s
        self._recent: deque[Turn] = deque(maxlen=RECENT_TURNS)
        self._follow_ups = 0  # since the caller's last words
        self._tasks: TaskGroup

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[TaskGroup]:
        """Run turns until the block ends, then cancel what they do; further tasks may join them."""
        async with anyio.create_task_group() as self._tasks:
            yield self._tasks
            self._tasks.cancel_scope.cancel()

    @property
    def is_busy(self) -> bool:
        """Whether a reply is being prepared or spoken, or something waits to be said."""
        return self.turn is not None or bool(self.waiting)

    # --- decisions ----------------------------------------------------------------------------------------------------

    def draft(self, transcript: Transcript) -> None:
        """Prepare a reply that nobody hears before `commit`; nobody else has the floor."""
        self._tasks.start_soon(self._expire, self._begin(transcript, is_draft=True))

    def start(self, transcript: Transcript, heard_s: float | None = None) -> None:
        """Reply to the caller, whose words came at `heard_s`; nobody else has the floor."""
        self._follow_ups = 0
        self._begin(transcript, heard_s=heard_s)

    def commit(self, transcript: Transcript, heard_s: float) -> None:
        """Let the draft speak."""
        assert self.turn is not None  # noqa: S101 - only drafts are committed
        self._follow_ups = 0
        self.turn.commit(transcript, heard_s)

    def roll_back(self) -> None:
        """Drop the draft without a trace."""
        assert self.turn is not None  # noqa: S101 - only drafts are rolled back
        self.turn.roll_back()
        if (watch := self._session.watch) is not None:
            watch.exchange(DraftDropped(at_s=anyio.current_time(), turn_id=self.turn.turn_id))
        self.turn = None
        self.turns_so_far -= 1

    def withhold(self) -> None:
        """Prepare the reply, but play nothing of it."""
        self._playout.hold()
        self._report(Withheld)

    def release(self) -> None:
        """Play the reply that was withheld, if it is."""
        if self._playout.is_held:
            self._playout.release()
            self._report(Released)

    def pause(self) -> None:
        """Be silent, but keep the reply. Once this returns, no sample reaches the output."""
        self._playout.pause()
        if self.turn is not None and (lease := self.turn.speech.lease) is not None:
            self._session.emit(Paused(turn_id=self.turn.turn_id, heard_s=round(lease.played_s, 6)))

    def resume(self) -> None:
        """Go on with the reply that was paused, if it is: last words are not."""
        if self.turn is not None and self._playout.is_held:
            from_s = self._playout.resume_at()
            self._tasks.start_soon(self._playout.resume)
            self._session.emit(Resumed(turn_id=self.turn.turn_id, from_s=round(from_s, 6)))

    def close(self) -> None:
        """End the session once all has been said; nothing that the caller does holds it up any more."""
        self.is_closing = True
        if self._playout.is_paused:
            self.resume()
        elif self._playout.is_withheld:
            self.release()

    def interrupt(self, *, joins: bool = False, by: Interrupter = "application") -> None:
        """Stop the current turn, and forget what waits to be said. Once this returns, no sample reaches the output.

        Args:
            joins: Whether the turn is taken back, because the caller's next words belong to its words.
            by: What interrupts.
        """
        while self.waiting:
            self.waiting.popleft().drop()
        if (turn := self.turn) is None:
            return
        if turn.state is TurnState.DRAFT:
            self.drop_draft(turn)
            return
        self._playout.flush()
        turn.scope.cancel()
        if not self._session.ended.is_set():
            self._tasks.start_soon(turn.watch_cleanup)
        if joins:
            turn.take_back()
        self._settle(turn, "interrupt", by)

    def say(self, saying: Saying) -> None:
        """Speak a text, or let the model speak, once what waits has been said; nothing if blank or after the end."""
        if self._session.ended.is_set() or (saying.text is not None and not saying.text.strip()):
            saying.drop()
        else:
            self.waiting.append(saying)
            self.go_on()

    def late_result(self, call: ToolCall) -> None:
        """Ask the model about a result that came after its turn, once nobody speaks and unless a turn is quicker."""
        self.late.append(call)
        self.go_on()

    def correct_heard(self, turn_id: int, heard_s: float) -> None:
        """Note that less was heard of one of the last turns than was thought."""
        for turn in self._recent:
            if turn.turn_id == turn_id:
                turn.correct_heard(heard_s)

    def drop_draft(self, draft: Turn) -> None:
        """Drop a draft that can no longer be committed, and give the floor to what waits."""
        if draft is self.turn:
            self.roll_back()
            self.go_on()

    def go_on(self) -> None:
        """If nobody has the floor, say what waits to be said, or what a tool brought after its turn."""
        if self.turn is not None or self._session.ended.is_set():
            return
        if self.waiting:
            saying = self.waiting.popleft()
            instructions = (saying.instructions or GO_ON) if saying.text is None else ""
            saying.begin(self._begin(None, saying, instructions=instructions))
        elif self._may_follow_up:
            self._tasks.start_soon(self._follow_up, self._caller_speaks_until_s())
        else:
            self._on_idle()

    async def _follow_up(self, at_s: float) -> None:
        """Ask the model about late results, if nobody speaks then; what happens before that calls `go_on` again."""
        await anyio.sleep_until(at_s)  # in a later step: after an interruption the caller's words come first
        is_quiet = self._caller_speaks_until_s() <= anyio.current_time()
        if self._may_follow_up and is_quiet and not self.is_busy and not self._session.ended.is_set():
            self._follow_ups += 1
            self._begin(None, instructions=LATE_RESULT)

    @property
    def _may_follow_up(self) -> bool:
        return bool(self.late) and not self.is_closing and self._follow_ups < MAX_FOLLOW_UPS

    def _report(self, kind: type[Withheld | Released]) -> None:
        if self.turn is not None:
            self._session.emit(kind(turn_id=self.turn.turn_id))

    # --- turns --------------------------------------------------------------------------------------------------------

    def _begin(
        self,
        transcript: Transcript | None,
        saying: Saying | None = None,
        *,
        is_draft: bool = False,
        heard_s: float | None = None,
        instructions: str = "",
    ) -> Turn:
        self.turns_so_far += 1
        self.saying, self.instructions = saying, instructions
        self.turn = self.newest = turn = Turn(
            self.turns_so_far,
            self._session,
            transcript,
            is_draft=is_draft,
            is_protected=saying is not None and saying.is_protected,
            heard_s=heard_s,
            note=NOTE.format(instructions) if instructions else "",
            late=self.late,
        )
        self._recent.append(turn)
        self._tasks.start_soon(self._take, turn, saying)
        return turn

    async def _expire(self, draft: Turn) -> None:
        """Drop a draft that is not committed in time."""
        with anyio.move_on_after(DRAFT_S):
            await draft.committed.wait()
        if draft.state is TurnState.DRAFT:
            self.drop_draft(draft)

    async def _take(self, turn: Turn, saying: Saying | None) -> None:
        """Run one turn to its end: a reply, or what is to be said, and the fallback if that was not whole."""
        if turn.is_over:
            return  # interrupted before it began
        AT_WORK.set(ref(turn))
        with turn.scope:
            turn.timeline.mark("turn_started")
            if saying is None or saying.text is None:
                await self._reply(turn)
            else:
                await self._speak(turn, saying.text, self._row.speech_stages, saying.audio)
            await turn.committed.wait()  # needed for a draft that has nothing to say
            is_answered = turn.has_text
            if self._row.fallback and self._needs_fallback(turn, is_answered=is_answered):
                await self._speak(turn, self._row.fallback, self._row.fallback_stages(turn.failure))
            self._settle(turn, "complete" if is_answered else "leave empty")

    def _needs_fallback(self, turn: Turn, *, is_answered: bool) -> bool:
        """Return whether the caller would wait in vain, and the call goes on."""
        if self.is_closing or turn.is_withheld:
            return False
        is_asked = turn.transcript is not None
        return turn.failure is not None or (is_asked and not is_answered)

    async def _reply(self, turn: Turn) -> None:
        """Send the transcript through all stages, or the application's note through those from the model on."""
        if turn.note:
            await self._run(turn, self._row.model_stages, turn.note)
        else:
            await self._run(turn, self._row.reply_stages, turn.transcript)

    async def _speak(
        self, turn: Turn, text: str, stages: Sequence[Stage[Any, Any]], audio: PreparedAudio | None = None
    ) -> None:
        """Send a text through these stages, or play prepared audio as one sentence."""
        if audio is None:
            await self._run(turn, stages, TextDelta(text, ends_segment=True), text)
        else:
            await self._run(turn, [PreparedVoice(audio)], Sentence(text), text)

    async def _run(self, turn: Turn, stages: Sequence[Stage[Any, Any]], first: object, text: str = "") -> None:
        """Send one item through stages; note a failure on the turn. A text that no model wrote enters the history."""
        turn.prepare_speech()
        if text:
            turn.add_message(text)
        try:
            await run_reply(stages, first, turn)
        except VoicepipeError as error:
            turn.fail(error)

    def _settle(
        self, turn: Turn, step: Literal["complete", "leave empty", "interrupt"], by: Interrupter = "application"
    ) -> None:
        """End a turn, report it, and give the floor to what waits."""
        if turn.failure and not turn.is_over and not turn.is_silent:
            self._playout.flush()  # an error cut it off: the next turn must not begin with the rest of its audio
        if turn.is_over:
            return
        self._playout.finish()
        ended = turn.settle(step)
        self._session.emit(replace(ended, by=by) if isinstance(ended, TurnInterrupted) else ended)
        self.late[:] = [call for call in self.late if all(call is not known for known in turn.shown)]
        if self.turn is turn:
            self.turn = None
        self.go_on()
