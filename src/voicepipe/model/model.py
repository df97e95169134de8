"""What a language model is to the row: a request goes in, pieces of a reply come out.

Rule 1: a model knows one request. Asking again after tools is the tool loop's business (`tool_router`).
Rule 2: retry and fallback live inside `Model.reply`, and only while nothing of the reply was used.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from voicepipe.core.part import Part
from voicepipe.errors import ConfigurationError
from voicepipe.flow import ReplyEnd, TextDelta, ToolCallDelta

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Outbox
    from voicepipe.history import Message

__all__ = ["Completion", "Model", "ReplyPart", "Request"]

ReplyPart: TypeAlias = TextDelta | ToolCallDelta | ReplyEnd
"""What a model sends: text and tool calls in pieces, then exactly one `ReplyEnd`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a model is asked.

    Attributes:
        messages: The conversation, oldest first; the last one is what to answer.
        tools: OpenAI-shaped definitions of the tools it may call.
        step: Counts the requests of one turn, from 0; higher ones follow tool results.
        system: The system prompt; None for the model's own.
        model: Which model of the service; "" for the model's own choice.
        max_tokens: Limit of the reply; None for the model's own.
        temperature: 0 to 2; None for the model's own.
        extra_body: Further fields of the request's body, over the model's own.
        response_format: The format that the answer must have, OpenAI-shaped; None for plain text.
        must_call: Name of the one tool that has to be called; "" leaves it to the model.
    """

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    step: int = 0
    system: str | None = None
    model: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    response_format: Mapping[str, Any] | None = None
    must_call: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole answer, not streamed.

    Attributes:
        text: Its words.
        arguments: JSON text of the arguments of its first tool call; "" when it calls none.
        finish_reason: Why the model stopped, in the vendor's word.
    """

    text: str = ""
    arguments: str = ""
    finish_reason: str = ""


class Model(Part):
    """Base of language models, from `Transcript` to `TextDelta`; subclasses write `reply`.

    A model is asked by the tool loop, which the pipeline puts around it, with the tools of the `ToolRouter` behind it.
    """

    @abstractmethod
    async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        """Send the reply to one request, piece by piece as it comes, and a `ReplyEnd` when the model has finished.

        Cancelled with the turn; cancelling closes the request.

        Raises:
            VendorError: The service failed. Raised after text was sent, it means that the reply is cut.
        """

    async def complete(self, request: Request) -> Completion:
        """Return the answer to one request as a whole: what `structured` asks for. A model may do without.

        Cancelling closes the request.

        Raises:
            VendorError: The service failed, also when it was asked again.
            ConfigurationError: This model gives no whole answers.
        """
        del request
        raise ConfigurationError(f"{self.name} gives no structured output; write its method `complete`")
