"""One user utterance and its reply.

Rule 1: everything done for the turn lives inside `scope`; cancelling it ends the turn early.
Rule 2: only the methods of `Turn` change a turn, and only the table moves its state.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio

from voicepipe.conversation.settling import as_heard, settle
from voicepipe.conversation.speech import Speech
from voicepipe.conversation.turn_events import WhatWasSaid, terminal_event
from voicepipe.conversation.turn_state import TRANSITIONS, Step, TurnState
from voicepipe.events import CleanupOverran, TurnStarted
from voicepipe.history import AssistantMessage, Message, ToolCall, UserMessage
from voicepipe.text.wording import written
from voicepipe.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from voicepipe.core.context import OutputLease, SessionContext
    from voicepipe.errors import VoicepipeError
    from voicepipe.events import Event, TurnEnded
    from voicepipe.flow import Sentence, Transcript
    from voicepipe.turntaking.expectation import Expectation

__all__ = ["Turn"]

PROCESSING_S: Final = 0.005
"""What it takes at most to begin a turn: only longer waits are patience."""

CLEANUP_S: Final = 0.5
"""A part that still cleans up this long after its turn was interrupted is reported."""


class Turn:
    """One user utterance and its reply, or something the agent says on its own.

    Attributes:
        turn_id: Counts the turns of a session, from 1.
        session: The session it belongs to.
        transcript: What the caller said; None when the agent speaks on its own.
        state: Where the turn is.
        scope: Cancelling it ends everything done for this turn.
        committed: Set when the turn is no longer a draft; playback and writing tools wait for it.
        settled: Set when the turn has ended, however it ended.
        timeline: Where the time goes.
        speech: What the turn says, and how much of it was heard.
        heard: What the caller heard of it, once the turn has ended.
        first_segment: The segment with which the speech now being prepared begins.
        failure: Why the reply is not whole, if it is not; what was said stays said.
        finish_reason: The model's own word for why it stopped its last reply; "" if it did not.
        is_withheld: Whether a stage in front of the model kept the caller's words to itself.
        is_protected: Whether the caller must hear it whole: their words do not interrupt it.
        note: What the application asks of the model in place of the caller; neither spoken nor kept.
        lacked: For each tool that refused the arguments of its newest call, what the lacking one looks like.
        shown: Of the calls whose results came after their turn, those that the model was sent in this one.
    """

    def __init__(
        self,
        turn_id: int,
        session: SessionContext[Any],
        transcript: Transcript | None,
        *,
        is_draft: bool = False,
        is_protected: bool = False,
        heard_s: float | None = None,
        note: str = "",
        late: Sequence[ToolCall] = (),
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
        self.heard = ""
        self.first_segment = 0
        self.failure: VoicepipeError | None = None
        self.finish_reason = ""
        self.is_withheld = False
        self.is_protected = is_protected
        self.note = note
        self.lacked: dict[str, Expectation] = {}
        self.shown: tuple[ToolCall, ...] = ()
        self._late = late
        self._needs_no_words = False
        self._is_taken_back = False
        self._before = session.history.snapshot()
        self._messages: list[Message] = [UserMessage(transcript.text)] if transcript else []
        self._segments: list[AssistantMessage] = []  # the message that each segment of speech belongs to
        self._worded: list[AssistantMessage] = []  # the messages of which words of the model were spoken
        self._unfinished: AssistantMessage | None = None  # the reply that the model is writing
        self._held_events: list[Event] = []
        self._reports: list[Callable[[], None]] = []
        self._at_work: list[str] = []
        if not is_draft:
            self._begin(heard_s)

    # --- what it knows ------------------------------------------------------------------------------------------------

    @property
    def user_text(self) -> str:
        """What the caller said; "" when the agent speaks on its own."""
        return self.transcript.text if self.transcript else ""

    @property
    def is_over(self) -> bool:
        """Whether the turn has ended."""
        return self.state not in TRANSITIONS

    @property
    def has_text(self) -> bool:
        """Whether the model had anything to say that can be the answer, or a tool answered without words.

        What the model said before or between its tool calls can, if nothing follows and each of them succeeded.
        """
        if self._needs_no_words or any(not message.calls for message in self._worded):
            return True
        calls = [call for message in self._messages if isinstance(message, AssistantMessage) for call in message.calls]
        return bool(self._worded) and all(call.status == "done" for call in calls)

    @property
    def is_silent(self) -> bool:
        """Whether all that this turn has given to TTS has been heard."""
        return self.speech.is_silent

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation as this turn sees it: what came before it, and its own messages."""
        return (*self._before, *self._messages)

    @property
    def own_messages(self) -> tuple[Message, ...]:
        """What the caller said in this turn, and what the agent answered."""
        return tuple(self._messages)

    @property
    def request_messages(self) -> tuple[Message, ...]:
        """What the model is sent: `messages`, and the application's note in the place of the caller's words."""
        note = (UserMessage(self.note),) if self.note else ()
        return (*self._before, *note, *self._messages)

    @property
    def messages_so_far(self) -> tuple[Message, ...]:
        """Copies of `own_messages` as they would be if the call broke off now. See `Speech.settled`."""
        return as_heard(self._messages, self._segments, self.speech.settled(anyio.current_time()))

    @property
    def is_written(self) -> bool:
        """Whether the model has written all of the reply, and no tool is still to be answered; or nothing asked it."""
        last = self._messages[-1] if self._messages else None
        if self._unfinished is not None or not isinstance(last, AssistantMessage):
            return False
        return self._needs_no_words or not last.calls

    @property
    def at_work(self) -> list[str]:
        """Names of the parts that are doing something for this turn, cleaning up included."""
        return sorted(set(self._at_work))

    @property
    def _first_at_work(self) -> str:
        """Name of the first part of the row that is doing something for this turn; "" if none is."""
        return next(iter(self._at_work), "")

    # --- what the session does with it --------------------------------------------------------------------------------

    def commit(self, transcript: Transcript, heard_s: float | None = None) -> None:
        """Let a draft that guessed right speak, with the final transcript, whose spelling may differ.

        Args:
            transcript: What the caller said.
            heard_s: When the transcript came; now by default.
        """
        self._move("commit")
        if self._messages[0] == UserMessage(self.user_text):  # else a stage has changed the words
            self._messages[0] = UserMessage(transcript.text)
        self.transcript = transcript
        self._begin(heard_s)

    def roll_back(self) -> None:
        """Drop a draft without a trace."""
        self._move("roll back")
        self.scope.cancel()
        self.settled.set()

    def take_back(self) -> None:
        """Take the turn out of the conversation: what the caller says next belongs to its words."""
        self._is_taken_back = True
        self.shown = ()  # the next turn asks about late results again
        for message in self._messages:
            self.session.history.discard(message)

    def prepare_speech(self) -> None:
        """Begin a reply or a fallback: what is prepared from now on begins a segment of its own."""
        self.first_segment = len(self._segments)
        self.speech.give_up()

    def settle(self, step: Literal["complete", "leave empty", "interrupt"]) -> TurnEnded:
        """End the turn: write what was heard into its messages, and return its terminal event.

        A turn in which something failed fails, whatever the step.
        """
        for report in self._reports:
            report()
        self._move("fail" if self.failure else step)
        self.timeline.end(is_whole=self.state is TurnState.DONE)
        self.heard = self._settle_messages(was_cut=self.state is not TurnState.DONE)
        self.settled.set()
        said = WhatWasSaid(
            turn_id=self.turn_id,
            user_text=self.user_text,
            heard=self.heard,
            heard_s=self.speech.played_s,
            timeline=self.timeline,
        )
        return terminal_event(said, self.state, self.failure, self.finish_reason, joined=self._is_taken_back)

    def correct_heard(self, heard_s: float) -> None:
        """Note that less of this turn was heard than was thought; of one that plays, only once it is paused."""
        if self.speech.lease is None or not (self.is_over or self.speech.lease.is_held):
            return
        self.speech.lease.correct(heard_s)
        if self.is_over:
            settle(self._segments, self.speech.heard(), was_cut=True)

    async def watch_cleanup(self) -> None:
        """Wait as long as parts may clean up after an interruption, then report those that still do."""
        await anyio.sleep(CLEANUP_S)
        for part in self.at_work:
            self.session.emit(CleanupOverran(part=part, after_s=CLEANUP_S))

    # --- what its parts report ----------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Report an event to the application. Those of a draft wait for its commit, and are dropped with the draft."""
        if self.state is TurnState.DRAFT:
            self._held_events.append(event)
        elif self.state is not TurnState.ROLLED_BACK:
            self.session.emit(event)

    def before_end(self, report: Callable[[], None]) -> None:
        """Have `report` called before the turn's terminal event, for what is still to be reported then."""
        self._reports.append(report)

    def understood(self, text: str) -> None:
        """Put words that a stage in front of the model changed into the conversation."""
        before = self._messages[0]
        if before != UserMessage(text):
            self._messages[0] = UserMessage(text)
            self.session.history.exchange(before, self._messages[0])

    def lacks(self, tool_name: str, expectation: Expectation | None) -> None:
        """Note what the arguments of a tool's newest call lack; None if they are whole, or nobody can say it."""
        if expectation is None:
            self.lacked.pop(tool_name, None)
        else:
            self.lacked[tool_name] = expectation

    def withhold(self) -> None:
        """Note that a stage in front of the model kept the caller's words to itself, so that no reply is missing."""
        self.is_withheld = True

    def needs_no_words(self) -> None:
        """Note that the model's tools have done what was to be done, and no reply is wanted."""
        self._needs_no_words = True

    def add_message(self, text: str = "") -> AssistantMessage:
        """Begin another assistant message of this reply; the speech that follows belongs to it."""
        message = AssistantMessage(generated=text)
        self._messages.append(message)
        if self.state is not TurnState.DRAFT and not self.is_over:
            self.session.history.append(message)
        self.add_segment(message)
        return message

    def add_segment(self, message: AssistantMessage, *, is_filler: bool = False) -> None:
        """Begin another segment of speech, which belongs to a message of this reply.

        Args:
            message: The message.
            is_filler: Whether the words are not the model's, as a tool's `say` is, so that they answer nothing.
        """
        if is_filler:
            self.speech.fillers.add(len(self._segments))
        self._segments.append(message)

    def begin_reply(self) -> AssistantMessage:
        """Begin a message that the model writes; until `model_ended` it is not whole."""
        self.shown = tuple(self._late)
        self.finish_reason = ""
        self._unfinished = self.add_message()
        return self._unfinished

    def model_ended(self, finish_reason: str, *, is_cut: bool = False) -> None:
        """Note why the model stopped, in its own word, and whether its message is not whole."""
        self.finish_reason = finish_reason
        if self._unfinished is not None:
            self._unfinished.was_interrupted |= is_cut
        self._unfinished = None

    def speech_begins(self, lease: OutputLease) -> None:
        """Note that the turn speaks from here on, through this lease."""
        self.speech.lease = lease
        if not self.is_over:
            self._move("speak")

    def sentence_begins(self, sentence: Sentence, *, is_filler: bool = False) -> None:
        """Note that what is played from here on belongs to this sentence, which may answer nothing."""
        segment = min(sentence.segment, len(self._segments) - 1)  # a stage may have ended segments of its own
        self.speech.begin(sentence, segment, is_filler=is_filler)
        message = self._segments[segment]
        message.synthesised += written(sentence)
        if segment not in self.speech.fillers:
            self._worded.append(message)

    def fail(self, error: VoicepipeError) -> None:
        """Note that the reply is not whole. What was said so far is still played; the first failure counts.

        A draft that fails is dropped silently: the final transcript starts from the beginning.
        """
        if self.state is TurnState.DRAFT:
            self.session.drop_draft(self)
        elif not self.is_over:
            self.failure = self.failure or error

    @contextmanager
    def working(self, part_name: str) -> Generator[None]:
        """Note that a part does something for this turn, so that one that outlives the turn can be named."""
        self._at_work.append(part_name)
        try:
            yield
        finally:
            self._at_work.remove(part_name)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _move(self, step: Step) -> None:
        """Change the state as the table says.

        Raises:
            AssertionError: The table has no such step from here; that is a bug of ours.
        """
        if step not in (steps := TRANSITIONS.get(self.state, {})):
            raise AssertionError(f"turn {self.turn_id} is {self.state.name}, from where no step {step!r} leads on")
        self.state = steps[step]

    def _begin(self, heard_s: float | None) -> None:
        """Enter history, report the beginning and what happened in the draft, and let playback go on."""
        for message in self._messages:
            self.session.history.append(message)
        if self.transcript is not None:
            self.timeline.mark("speech_ended", self.transcript.speech_ended_s)
            self.timeline.mark("endpoint", self.transcript.endpoint_s)
            self.timeline.mark("transcript", heard_s)
            if heard_s is not None and anyio.current_time() - heard_s > PROCESSING_S:
                self.timeline.mark("committed")
        for event in (TurnStarted(turn_id=self.turn_id, user_text=self.user_text), *self._held_events):
            self.session.emit(event)
        self.committed.set()

    def _settle_messages(self, *, was_cut: bool) -> str:
        """Write down what was heard, and return all of it."""
        heard = self.speech.heard()
        if self._unfinished is not None:
            self._unfinished.was_interrupted = True
        settle(self._segments, heard, was_cut=was_cut)
        for message in self._segments:
            if not message.generated and not message.calls:
                self.session.history.discard(message)
        return " ".join(text.strip() for text in heard.values())

    def __repr__(self) -> str:
        """Show the state and how much was written to the output."""
        return f"<Turn {self.turn_id} {self.state.name} written={self.speech.written_s:.2f}s>"
