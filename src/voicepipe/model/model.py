"""A language model as the pipeline sees it: a request goes in, pieces of a reply come out.

Rule 1: a model knows one request. The tool loop (`tool_router`) asks it again after tools have run.
Rule 2: retry and fallback happen inside `Model.reply`, and only while none of the reply has been used.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from voicepipe.core.part import Part
from voicepipe.errors import ConfigurationError
from voicepipe.flow import ReplyEnd, ReplyState, TextDelta, ToolCallDelta

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Outbox
    from voicepipe.history import Message

__all__ = ["Completion", "Model", "ReplyPart", "Request", "Usage"]

ReplyPart: TypeAlias = TextDelta | ToolCallDelta | ReplyState | ReplyEnd
"""A piece of a reply. A model sends text and tool calls in pieces, then exactly one `ReplyEnd`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a model is asked.

    Attributes:
        messages: The conversation, oldest first; the last message is the one to answer.
        tools: Definitions of the tools it may call, in OpenAI's form.
        step: Counts the requests of one turn, from 0; those after the first follow tool results.
        system: The system prompt; None for the `Model`'s own.
        model: Which model of the service; "" for the one that the `Model` was given.
        max_tokens: Limit of the reply; None for the `Model`'s own.
        temperature: 0 to 2; None for the `Model`'s own.
        extra_body: Further fields of the request's body, which replace the `Model`'s own.
        response_format: The format that the answer must have, in OpenAI's form; None for plain text.
        must_call: Name of the tool that has to be called; "" leaves the choice to the model.
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
class Usage:
    """The tokens of one request, as the service counted them.

    Attributes:
        model: The model that replied, as the service names it.
        input_tokens: Tokens of the request.
        output_tokens: Tokens of the reply.
    """

    model: str
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole answer, not streamed.

    Attributes:
        text: The answer's text.
        arguments: JSON text of the arguments of its first tool call; "" if it calls no tool.
        finish_reason: Why the model stopped, in the vendor's word.
        usage: The tokens; None if the service did not count them.
    """

    text: str = ""
    arguments: str = ""
    finish_reason: str = ""
    usage: Usage | None = None


class Model(Part):
    """Base of language models, from `Transcript` to `TextDelta`; subclasses write `reply`.

    The pipeline puts the tool loop around a model: it asks the model, with the tools of the `ToolRouter` after it.
    """

    @abstractmethod
    async def reply(self, request: Request, outbox: Outbox[ReplyPart], turn: Turn) -> None:
        """Send the reply to one request, piece by piece as it comes, and a `ReplyEnd` when the model has finished.

        Cancelled with the turn; cancelling closes the request.

        Raises:
            VendorError: The service failed. If it is raised after text was sent, the reply counts as cut off.
        """

    @property
    def label(self) -> str:
        """How events call this model where several may reply: its name, or its id and service."""
        return self.name

    async def complete(self, request: Request) -> Completion:
        """Return the whole answer to one request, as `structured` needs it. A model need not support this.

        Cancelling closes the request.

        Raises:
            VendorError: The service failed, and failed again when it was retried.
            ConfigurationError: This model does not support it.
        """
        del request
        raise ConfigurationError(f"{self.name} gives no structured output; write its method `complete`")
