"""The span of one request to a model, from the question to the end of its turn, when all is known of it.

Rule 1: it ends at the time at which the model ended, although that is written later: tokens may be reported after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.trace import Status, StatusCode

from voicepipe.core.clock import loop_time
from voicepipe.flow import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.watching.telemetry import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span

    from voicepipe.errors import VoicepipeError
    from voicepipe.model_events import ModelUsage
    from voicepipe.observed import ModelAsked, ModelEnded, ModelGave
    from voicepipe.watching.telemetry.content import Content

__all__ = ["RequestSpan", "RequestTimes", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTimes:
    """What a request to a model took, for metrics.

    Attributes:
        model: Its model.
        provider: Who provides it.
        took_s: From the request to the end of the reply.
        first_s: From the request to the first piece of the reply; None if none came.
        error: The class of its error; "" without one.
        input_tokens: Tokens of the request.
        output_tokens: Tokens of the reply.
    """

    model: str
    provider: str
    took_s: float
    first_s: float | None
    error: str
    input_tokens: int
    output_tokens: int


class RequestSpan:
    """A request to a model.

    Args:
        span: Its span.
        asked: The request.
        ns: Turns a time of the loop into one of the trace.
        content: Writes what was said; None for no content.
        openinference: Whether to write the attributes of OpenInference as well.

    Attributes:
        span: Its span.
        step: Which of the turn's requests it is.
    """

    def __init__(
        self,
        span: Span,
        asked: ModelAsked,
        ns: Callable[[float], int],
        *,
        content: Content | None,
        openinference: bool,
    ) -> None:
        self.span = span
        self.step = asked.step
        self._asked = asked
        self._ns = ns
        self._content = content
        self._openinference = openinference
        self._first_s: float | None = None
        self._ended: ModelEnded | None = None
        self._finish_reason = ""
        self._input_tokens = self._output_tokens = 0
        self._text: list[str] = []
        self._calls: dict[int, tuple[str, str, str]] = {}

    def gave(self, gave: ModelGave) -> None:
        """Take a piece of the reply."""
        match gave.part:
            case TextDelta(text=text):
                if self._first_s is None and text:
                    self._first_s = gave.at_s
                if self._content is not None:
                    self._text.append(text)
            case ToolCallDelta(index=index, call_id=call_id, name=name, arguments=arguments):
                if self._first_s is None:
                    self._first_s = gave.at_s
                if self._content is not None:
                    known_id, known_name, so_far = self._calls.get(index, ("", "", ""))
                    self._calls[index] = (known_id or call_id, known_name or name, so_far + arguments)
            case ReplyEnd(finish_reason=reason):
                self._finish_reason = reason
            case _:
                pass

    def ended(self, ended: ModelEnded) -> None:
        """Take note that the model has ended."""
        self._ended = ended

    def count(self, usage: ModelUsage) -> None:
        """Take its tokens; a request that was sent twice at once has those of both."""
        self._input_tokens += usage.input_tokens
        self._output_tokens += usage.output_tokens
        self.span.set_attribute(names.RESPONSE_MODEL, usage.model)
        if usage.is_estimated:
            self.span.set_attribute(names.ESTIMATED, True)

    def end(self, cancelled_ns: int | None) -> RequestTimes:
        """End the span, and return what the request took.

        Args:
            cancelled_ns: When its turn ended, for a request that had not ended until then; None for now.
        """
        span, ended, began_s = self.span, self._ended, self._asked.at_s
        self._describe()
        error = ended.error if ended is not None else None
        if error is not None:
            failed(span, error, self._content)
        if ended is None:
            span.set_attribute(names.CANCELLED, True)
        span.end(self._ns(ended.at_s) if ended is not None else cancelled_ns)
        model, provider, _ = names.model_and_provider(self._asked.model)
        return RequestTimes(
            model=model,
            provider=provider,
            took_s=(ended.at_s if ended is not None else loop_time()) - began_s,
            first_s=None if self._first_s is None else self._first_s - began_s,
            error=type(error).__name__ if error is not None else "",
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
        )

    def _describe(self) -> None:
        span, given, made = self.span, self._input_tokens, self._output_tokens
        if given or made:
            span.set_attributes({names.INPUT_TOKENS: given, names.OUTPUT_TOKENS: made})
            if self._openinference:
                span.set_attributes({names.PROMPT_TOKENS: given, names.COMPLETION_TOKENS: made})
        if self._first_s is not None:
            span.set_attribute(names.TIME_TO_FIRST_CHUNK, self._first_s - self._asked.at_s)
        if self._finish_reason:
            span.set_attribute(names.FINISH_REASONS, [self._finish_reason])
        if self._content is not None:
            reply = self._content.reply("".join(self._text), [*self._calls.values()], self._finish_reason)
            span.set_attribute(names.OUTPUT_MESSAGES, reply)


def failed(span: Span, error: VoicepipeError, content: Content | None) -> None:
    """Write why something failed: always the class, and the message, which may quote, only with content."""
    span.set_attribute(names.ERROR, type(error).__name__)
    span.set_status(Status(StatusCode.ERROR, None if content is None else content.text(str(error), "error")))
