"""One user utterance and its reply.

Rule 1: everything done for the turn lives inside `scope`; ending the turn early is cancelling it.
Rule 2: the table of states is the only place that says what may follow what.
"""

from __future__ import annotations

from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, TypedDict

import anyio

from voicepipe.conversation.speech import Speech
from voicepipe.events import (
    CleanupOverran,
    TurnCompleted,
    TurnEmpty,
    TurnEnded,
    TurnFailed,
    TurnInterrupted,
    TurnStarted,
)
from voicepipe.history import AssistantMessage, Message, UserMessage
from voicepipe.text.markup import spoken
from voicepipe.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Generator

    from voicepipe.core.context import OutputLease, SessionContext
    from voicepipe.errors import VoicepipeError
    from voicepipe.events import Event
    from voicepipe.flow import Transcript

__all__ = ["TRANSITIONS", "Turn", "TurnState"]

CLEANUP_S: Final = 0.5
"""A part that still cleans up this long after its turn was interrupted is reported."""


class TurnState(Enum):
    """Where a turn is."""

    DRAFT = "draft"
    COMMITTED = "committed"
    SPEAKING = "speaking"
    DONE = "done"
    EMPTY = "empty"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    ROLLED_BACK = "rolled back"


TRANSITIONS: Final[dict[TurnState, frozenset[TurnState]]] = {
    TurnState.DRAFT: frozenset({TurnState.COMMITTED, TurnState.ROLLED_BACK}),
    TurnState.COMMITTED: frozenset(
        {TurnState.SPEAKING, TurnState.DONE, TurnState.EMPTY, TurnState.INTERRUPTED, TurnState.FAILED}
    ),
    # EMPTY and FAILED after SPEAKING: the spoken fallback comes first.
    TurnState.SPEAKING: frozenset({TurnState.DONE, TurnState.EMPTY, TurnState.INTERRUPTED, TurnState.FAILED}),
    TurnState.DONE: frozenset(),
    TurnState.EMPTY: frozenset(),
    TurnState.FAILED: frozenset(),
    TurnState.INTERRUPTED: frozenset(),
    TurnState.ROLLED_BACK: frozenset(),
}


class _Facts(TypedDict):
    """What every terminal event says."""

    turn_id: int
    user_text: str
    heard: str
    timeline: Timeline


class Turn:
    """One user utterance and its reply, or something the agent says on its own.

    Attributes:
        turn_id: Counts the turns of a session, from 1.
        session: The call.
        transcript: What the caller said; None when the agent speaks on its own.
        state: Where the turn is; changed by `to` alone.
        scope: Cancelling it ends everything done for this turn.
        committed: Set when the turn is no draft any more; playback and writing tools wait for it.
        settled: Set when the turn has ended, in whatever way.
        timeline: Where the time goes.
        speech: The record of what was handed to the output and of what was heard.
        segments: The assistant message that each segment of speech belongs to.
        first_segment: The segment that the speech now being prepared begins with.
        failure: Why the reply is not whole, if it is not; what was said stays said.
        finish_reason: The model's last word on why it stopped.
        is_withheld: Whether a stage in front of the model has kept the caller's words to itself.
        at_work: Names of the parts that are doing something for this turn.
    """

    def __init__(
        self, turn_id: int, session: SessionContext[Any], transcript: Transcript | None, *, is_draft: bool = False
    ) -> None:
        self.turn_id = turn_id
        self.session = session
        self.transcript = transcript
        self.state = TurnState.DRAFT if is_draft else TurnState.COMMITTED
        self.scope = anyio.CancelScope()
        self.committed = anyio.Event()
        self.settled = anyio.Event()
        self.timeline = Timeline()
        self.speech = Speech()
        self.segments: list[AssistantMessage] = []
        self.first_segment = 0
        self.failure: VoicepipeError | None = None
        self.finish_reason = ""
        self.is_withheld = False
        self._messages: list[Message] = [UserMessage(transcript.text)] if transcript else []
        self._before = session.history.snapshot()
        self._at_work: list[str] = []
        self._untold: list[Event] = []
        if not is_draft:
            self._publish()

    @property
    def user_text(self) -> str:
        """What the caller said; "" when the agent speaks on its own."""
        return self.transcript.text if self.transcript else ""

    @property
    def is_over(self) -> bool:
        """Whether the turn has ended."""
        return not TRANSITIONS[self.state]

    @property
    def has_text(self) -> bool:
        """Whether the reply had anything to pronounce, beside what was said around its calls of tools."""
        return any(message.synthesised and not message.calls for message in self.segments)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation as this turn sees it: what came before it, and its own messages."""
        return (*self._before, *self._messages)

    def emit(self, event: Event) -> None:
        """Tell the application, once the turn is no draft any more; a draft that is dropped tells nothing."""
        if self.state is TurnState.DRAFT:
            self._untold.append(event)
        elif self.state is not TurnState.ROLLED_BACK:
            self.session.emit(event)

    def announce(self) -> None:
        """Tell the application that the turn has begun, and what a draft has done so far."""
        if self.transcript is not None:
            self.timeline.mark("speech_ended", self.transcript.speech_ended_s)
            self.timeline.mark("endpoint", self.transcript.endpoint_s)
            self.timeline.mark("transcript")
        for event in (TurnStarted(turn_id=self.turn_id, user_text=self.user_text), *self._untold):
            self.session.emit(event)

    def understood(self, text: str) -> None:
        """A stage in front of the model changed the caller's words: the conversation holds these."""
        said = self._messages[0]
        if said != UserMessage(text):
            self._messages[0] = UserMessage(text)
            self.session.history.exchange(said, self._messages[0])

    def commit(self, transcript: Transcript) -> None:
        """A draft was right: take the final transcript, whose spelling may differ, and let it speak."""
        if self._messages[0] == UserMessage(self.user_text):  # else a stage has changed the words
            self._messages[0] = UserMessage(transcript.text)
        self.transcript = transcript
        self.to(TurnState.COMMITTED)
        self._publish()

    def to(self, state: TurnState) -> None:
        """Change the state.

        Raises:
            AssertionError: The table does not allow it; that is a bug of ours.
        """
        if state not in TRANSITIONS[self.state]:
            raise AssertionError(f"turn {self.turn_id} cannot go from {self.state.name} to {state.name}")
        self.state = state

    def _publish(self) -> None:
        """Let it speak, and let history know of it."""
        for message in self._messages:
            self.session.history.append(message)
        self.committed.set()

    def add_message(self) -> AssistantMessage:
        """Begin another assistant message of this reply; the speech that follows belongs to it."""
        message = AssistantMessage()
        self._messages.append(message)
        self.segments.append(message)
        if self.state is not TurnState.DRAFT and not self.is_over:
            self.session.history.append(message)
        return message

    def fail(self, error: VoicepipeError) -> None:
        """Note that the reply is not whole. What was said so far is still spoken; the first failure counts.

        A draft that fails is dropped silently: the final transcript starts anew.
        """
        if self.state is TurnState.DRAFT:
            self.session.drop_draft(self)
        elif not self.is_over:
            self.failure = self.failure or error

    @property
    def at_work(self) -> list[str]:
        """Names of the parts that are doing something for this turn, cleaning up included."""
        return sorted(set(self._at_work))

    @contextmanager
    def working(self, part_name: str) -> Generator[None]:
        """Note that a part does something for this turn, so that one that outlives the turn can be named."""
        self._at_work.append(part_name)
        try:
            yield
        finally:
            self._at_work.remove(part_name)

    async def watch_cleanup(self) -> None:
        """Wait as long as parts may clean up after an interruption, then tell which ones still do."""
        await anyio.sleep(CLEANUP_S)
        for part in self.at_work:
            self.session.emit(CleanupOverran(part=part, after_s=CLEANUP_S))

    def settle(self, state: TurnState) -> TurnEnded:
        """End the turn: write into its messages what was heard of them, and return its terminal event."""
        self.to(state)
        self.timeline.mark("ended")
        heard = self._settle_messages(was_cut=state is not TurnState.DONE)
        self.settled.set()
        facts: _Facts = {
            "turn_id": self.turn_id,
            "user_text": self.user_text,
            "heard": heard,
            "timeline": self.timeline,
        }
        if state is TurnState.INTERRUPTED:
            return TurnInterrupted(**facts)
        if state is TurnState.FAILED and self.failure is not None:
            return TurnFailed(**facts, error=self.failure)
        if state is TurnState.EMPTY:
            return TurnEmpty(**facts, finish_reason=self.finish_reason)
        return TurnCompleted(**facts, finish_reason=self.finish_reason)

    def _settle_messages(self, *, was_cut: bool) -> str:
        """Write down what was heard, and return all of it."""
        heard = self.speech.heard()
        for segment, text in heard.items():
            # Two segments of one message: the model spoke on after a call.
            message = self.segments[segment]
            message.heard = f"{message.heard.rstrip()} {text.lstrip()}"
        for message in self.segments:
            if not message.is_settled:
                message.heard = message.heard.strip()
                message.is_settled = True
                message.was_interrupted = was_cut and _words(message.heard) != _words(message.generated)
            if not message.generated and not message.calls:
                self.session.history.discard(message)
        return " ".join(text.strip() for text in heard.values())

    def __repr__(self) -> str:
        """Show the state and how much was handed to the output."""
        return f"<Turn {self.turn_id} {self.state.name} written={self.speech.written_s:.2f}s>"


def _words(text: str) -> str:
    """Return what can be heard of a text, without what only its writing needs."""
    return "".join(filter(str.isalnum, spoken(text)))
