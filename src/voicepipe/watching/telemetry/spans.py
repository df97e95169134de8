"""The spans of one call: the call, its turns, and in each turn what the model, the tools and the services did.

Rule 1: a span has the times of what it stands for, by the loop's clock; when it is made and ended does not matter.
Rule 2: the spans of a turn are ended, and so exported, when the turn has ended. A tool that goes on ends by itself.
Rule 3: what was done for a draft that was dropped is a turn of its own, to which the next one links.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import context, trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from voicepipe.core.clock import loop_time
from voicepipe.events import TurnEnded, TurnFailed, TurnInterrupted, TurnStarted
from voicepipe.flow import Transcript
from voicepipe.listening_events import AgentLost, MicrophoneLost, RecogniserLost
from voicepipe.model_events import HedgeStarted, ModelUsage, RequestRetried
from voicepipe.observed import (
    DraftDropped,
    Heard,
    ModelAsked,
    ModelEnded,
    ModelGave,
    ToolAsked,
    ToolGave,
    VoiceAsked,
    VoiceEnded,
    VoiceGave,
)
from voicepipe.watching.telemetry import names
from voicepipe.watching.telemetry.outcomes import UNWATCHED, outcome_of, why_ended
from voicepipe.watching.telemetry.request_span import RequestSpan, failed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from opentelemetry.trace import Span, Tracer
    from opentelemetry.util.types import AttributeValue

    from voicepipe.events import Event
    from voicepipe.observed import Exchange
    from voicepipe.watching.telemetry.content import Content
    from voicepipe.watching.telemetry.request_span import RequestTimes

__all__ = ["CallSpans"]

LOST: Final = {AgentLost: "agent_lost", MicrophoneLost: "microphone_lost", RecogniserLost: "recogniser_lost"}


@dataclass(slots=True)
class _Sentence:
    span: Span
    asked_s: float


@dataclass(slots=True)
class _Turn:
    span: Span
    context: context.Context
    is_draft: bool
    requests: dict[int, RequestSpan] = field(default_factory=dict[int, RequestSpan])
    sentences: dict[int, _Sentence] = field(default_factory=dict[int, _Sentence])


class CallSpans:
    """The spans of one call.

    Args:
        tracer: Makes them.
        session_id: The call.
        agent: What the agent is called.
        recogniser: The name of the recogniser; "" if it is no `Recogniser`.
        content: Writes what was said; None for no content.
        attributes: On each span.
        transport: How the caller reached the agent; "" if nobody says.
        openinference: Whether to write the attributes of OpenInference as well.
        measured: Gets what each request to a model took.
    """

    def __init__(
        self,
        tracer: Tracer,
        session_id: str,
        *,
        agent: str,
        recogniser: str,
        content: Content | None,
        attributes: Mapping[str, AttributeValue],
        transport: str,
        openinference: bool,
        measured: Callable[[RequestTimes], None],
    ) -> None:
        self._tracer = tracer
        self._agent = agent
        self._recogniser = recogniser
        self._content = content
        self._openinference = openinference
        self._measured = measured
        self._common = {names.CONVERSATION: session_id, names.SESSION: session_id, **attributes}
        # A trace has dates, and the loop's clock has none: the machine's clock is read once for each call.
        self._epoch_ns = time.time_ns() - round(loop_time() * 1e9)
        self._turns: dict[int, _Turn] = {}
        self._dropped: list[Link] = []
        self._tools: dict[str, Span] = {}
        self._unheard: dict[int, _Sentence] = {}  # of which no audio has come
        self._heard: Heard | None = None
        self._is_ended = False
        given = {names.TRANSPORT: transport} if transport else {}
        begins_ns = self._ns(loop_time())
        self._call = tracer.start_span("voicepipe.session", attributes=self._common | given, start_time=begins_ns)
        self._context = trace.set_span_in_context(self._call)

    # --- events -------------------------------------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        """Take an event of the session."""
        match event:
            case TurnStarted():
                self._begin(event)
            case TurnEnded():
                self._end_turn(event)
            case ModelUsage(turn_id=turn_id, step=step):
                turn = self._turns.get(turn_id)
                for request in turn.requests.values() if turn is not None else ():
                    if request.step == step:
                        request.count(event)
            case RequestRetried(turn_id=turn_id, error=error):
                self._note(turn_id, "voicepipe.request_retried", {names.ERROR: type(error).__name__})
            case RecogniserLost(error=error) | MicrophoneLost(error=error) | AgentLost(error=error):
                lost = LOST[type(event)]
                about = {names.ERROR: type(error).__name__}
                self._call.add_event(f"voicepipe.{lost}", about, self._ns(loop_time()))
            case HedgeStarted(turn_id=turn_id):
                self._note(turn_id, "voicepipe.hedge_started", {})
            case _:
                pass

    def ended(self, reason: str) -> None:
        """End the call itself, and what is left."""
        now = self._ns(loop_time())
        self._call.set_attribute(names.ENDED_BY, why_ended(reason, self._content))
        self._call.end(now)
        self._is_ended = True
        for turn in self._turns.values():
            self._finish(turn, now)
        self._turns.clear()

    def closed(self) -> None:
        """End the spans of tools that outlived the call, and a call that was not watched to its end."""
        for span in self._tools.values():
            span.end(self._ns(loop_time()))
        self._tools.clear()
        if not self._is_ended:
            self.ended(UNWATCHED)

    # --- exchanges ----------------------------------------------------------------------------------------------------

    def exchange(self, exchange: Exchange) -> None:
        """Take what a part was given, or gave."""
        match exchange:
            case VoiceGave():
                self._voice_gave(exchange)
            case ModelGave():
                if (request := self._request(exchange.request_id)) is not None:
                    request.gave(exchange)
            case Heard(hearing=Transcript()):
                self._heard = exchange
            case ModelAsked():
                self._model_asked(exchange)
            case ModelEnded():
                if (request := self._request(exchange.request_id)) is not None:
                    request.ended(exchange)
            case VoiceAsked():
                self._voice_asked(exchange)
            case VoiceEnded():
                self._voice_ended(exchange)
            case ToolAsked():
                self._tool_asked(exchange)
            case ToolGave():
                self._tool_gave(exchange)
            case DraftDropped():
                self._drop(exchange)
            case _:
                pass

    @contextmanager
    def around_tool(self, call: ToolAsked) -> Generator[None]:
        """Make the span of a tool the current one, while the tool runs."""
        span = self._tools[call.call_id]
        token = context.attach(trace.set_span_in_context(span))
        try:
            yield
        except BaseException as error:
            span.set_attribute(names.ERROR, type(error).__name__)
            raise
        finally:
            context.detach(token)

    # --- turns --------------------------------------------------------------------------------------------------------

    def _begin(self, event: TurnStarted) -> None:
        heard = self._heard if event.user_text else None
        hearing = heard.hearing if heard is not None else None
        turn = self._turns.get(event.turn_id)
        if turn is None:
            begins_s = hearing.speech_ended_s if isinstance(hearing, Transcript) else loop_time()
            turn = self._turn(event.turn_id, begins_s, is_draft=False)
        if heard is not None and isinstance(hearing, Transcript):
            self._heard = None
            if not heard.is_typed:
                self._recognised(turn, hearing, heard.at_s)

    def _turn(self, turn_id: int, at_s: float, *, is_draft: bool) -> _Turn:
        """Return a turn; one that nobody has announced is a draft."""
        if (known := self._turns.get(turn_id)) is not None:
            return known
        span = self._span(
            f"invoke_agent {self._agent}",
            "invoke_agent",
            self._context,
            at_s,
            {names.AGENT: self._agent, names.TURN: turn_id, names.OUTPUT_TYPE: "speech", names.DRAFT: is_draft},
            links=self._dropped,
        )
        self._dropped = []
        turn = self._turns[turn_id] = _Turn(span, trace.set_span_in_context(span), is_draft)
        return turn

    def _recognised(self, turn: _Turn, hearing: Transcript, at_s: float) -> None:
        attributes: dict[str, AttributeValue] = {names.CHARACTERS: len(hearing.text)}
        if self._recogniser:
            attributes[names.PROVIDER] = names.provider_of_part(self._recogniser)
        if self._content is not None:
            attributes[names.TEXT] = self._content.text(hearing.text, "input")
        name = f"speech_to_text {self._recogniser}".rstrip()
        span = self._span(name, "speech_to_text", turn.context, hearing.speech_ended_s, attributes)
        span.end(self._ns(at_s))

    def _end_turn(self, event: TurnEnded) -> None:
        if (turn := self._turns.pop(event.turn_id, None)) is None:
            return
        span, timeline, outcome = turn.span, event.timeline, outcome_of(event)
        marks = timeline.marks
        about: dict[str, AttributeValue] = {
            names.OUTCOME: outcome,
            names.HEARD_CHARACTERS: len(event.heard),
            names.END_REASON: "completed",
        }
        if timeline.waited_us is not None:
            about[names.SILENCE_HEARD] = timeline.waited_us / 1e6
            about |= {names.WAIT.format(part): us / 1e6 for part, us in timeline.contributions_us.items()}
        if timeline.answered_us is not None:
            about[names.ANSWERED] = timeline.answered_us / 1e6
        if isinstance(event, TurnInterrupted):
            about[names.INTERRUPTED_BY] = event.by
            about[names.END_REASON] = "session_closed" if event.by == "end" else "interrupted"
        span.set_attributes(about)
        for mark, at_s in marks.items():
            span.add_event(mark, timestamp=self._ns(at_s))
        if isinstance(event, TurnFailed):
            failed(span, event.error, self._content)
        if self._content is not None:
            span.set_attribute(names.HEARD, self._content.text(event.heard, "heard"))
            if self._openinference:
                span.set_attribute(names.INPUT_VALUE, self._content.text(event.user_text, "input"))
                span.set_attribute(names.OUTPUT_VALUE, self._content.text(event.heard, "heard"))
        self._finish(turn, self._ns(marks["ended"]) if "ended" in marks else None)

    def _drop(self, dropped: DraftDropped) -> None:
        if (turn := self._turns.pop(dropped.turn_id, None)) is not None:
            turn.span.set_attribute(names.OUTCOME, "dropped")
            self._finish(turn, self._ns(dropped.at_s))
            self._dropped.append(Link(turn.span.get_span_context()))

    def _finish(self, turn: _Turn, end_ns: int | None) -> None:
        """End the spans of a turn."""
        for request in turn.requests.values():
            self._measured(request.end(end_ns))
        for sentence_id, sentence in turn.sentences.items():
            self._unheard.pop(sentence_id, None)
            sentence.span.set_attribute(names.CANCELLED, True)
            sentence.span.end(end_ns)
        turn.span.end(end_ns)

    # --- models -------------------------------------------------------------------------------------------------------

    def _model_asked(self, asked: ModelAsked) -> None:
        turn = self._turn(asked.turn_id, asked.at_s, is_draft=True)
        model, provider, host = names.model_and_provider(asked.model)
        attributes: dict[str, AttributeValue] = {
            names.PROVIDER: provider,
            names.REQUEST_MODEL: model,
            names.STEP: asked.step,
        }
        if host:
            attributes[names.SERVER] = host
        if self._content is not None:
            attributes[names.INPUT_MESSAGES] = self._content.messages(asked.messages)
            if asked.system:
                attributes[names.SYSTEM] = self._content.instructions(asked.system)
        if self._openinference:
            attributes[names.LLM_MODEL] = model
        span = self._span(f"chat {model}", "chat", turn.context, asked.at_s, attributes, kind=SpanKind.CLIENT)
        turn.requests[asked.request_id] = RequestSpan(
            span, asked, self._ns, content=self._content, openinference=self._openinference
        )

    def _request(self, request_id: int) -> RequestSpan | None:
        for turn in self._turns.values():
            if (request := turn.requests.get(request_id)) is not None:
                return request
        return None

    # --- tools and voices ---------------------------------------------------------------------------------------------

    def _tool_asked(self, asked: ToolAsked) -> None:
        turn = self._turn(asked.turn_id, asked.at_s, is_draft=True)
        attributes: dict[str, AttributeValue] = {
            names.TOOL_NAME: asked.name,
            names.TOOL_CALL: asked.call_id,
            names.TOOL_TYPE: "function",
        }
        if self._content is not None:
            attributes[names.TOOL_ARGUMENTS] = self._content.text(asked.arguments, "arguments")
        name = f"execute_tool {asked.name}"
        self._tools[asked.call_id] = self._span(name, "execute_tool", turn.context, asked.at_s, attributes)

    def _tool_gave(self, gave: ToolGave) -> None:
        if (span := self._tools.pop(gave.call_id, None)) is None:
            return
        span.set_attribute(names.STATUS, gave.status)
        if self._content is not None:
            span.set_attribute(names.TOOL_RESULT, self._content.text(gave.result, "result"))
        if gave.status != "done":
            span.set_status(Status(StatusCode.ERROR))
        span.end(self._ns(gave.at_s))

    def _voice_asked(self, asked: VoiceAsked) -> None:
        turn = self._turn(asked.turn_id, asked.at_s, is_draft=True)
        attributes: dict[str, AttributeValue] = {
            names.PROVIDER: names.provider_of_part(asked.voice),
            names.CHARACTERS: len(asked.spoken),
            names.OUTPUT_TYPE: "speech",
        }
        if self._content is not None:
            attributes[names.TEXT] = self._content.text(asked.text, "sentence")
        name = f"text_to_speech {asked.voice}"
        span = self._span(name, "text_to_speech", turn.context, asked.at_s, attributes, kind=SpanKind.CLIENT)
        sentence = turn.sentences[asked.sentence_id] = _Sentence(span, asked.at_s)
        self._unheard[asked.sentence_id] = sentence

    def _voice_gave(self, gave: VoiceGave) -> None:
        if isinstance(gave.piece, bytes) and (waiting := self._unheard.pop(gave.sentence_id, None)) is not None:
            waiting.span.set_attribute(names.TIME_TO_FIRST_CHUNK, gave.at_s - waiting.asked_s)

    def _voice_ended(self, ended: VoiceEnded) -> None:
        for turn in self._turns.values():
            if (sentence := turn.sentences.pop(ended.sentence_id, None)) is not None:
                if ended.error is not None:
                    failed(sentence.span, ended.error, self._content)
                sentence.span.end(self._ns(ended.at_s))

    # --- all of them --------------------------------------------------------------------------------------------------

    def _span(
        self,
        name: str,
        operation: str,
        parent: context.Context,
        at_s: float,
        attributes: Mapping[str, AttributeValue],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        links: list[Link] | None = None,
    ) -> Span:
        given: dict[str, Any] = {names.OPERATION: operation, **self._common, **attributes}
        if self._openinference:
            given[names.KIND] = names.KINDS[operation]
        return self._tracer.start_span(
            name, parent, kind=kind, attributes=given, links=links or (), start_time=self._ns(at_s)
        )

    def _note(self, turn_id: int, name: str, attributes: Mapping[str, AttributeValue]) -> None:
        """Write an event on the newest request of a turn."""
        if (turn := self._turns.get(turn_id)) is not None and turn.requests:
            newest = turn.requests[max(turn.requests)]
            newest.span.add_event(name, attributes, self._ns(loop_time()))

    def _ns(self, at_s: float) -> int:
        return self._epoch_ns + round(at_s * 1e9)
