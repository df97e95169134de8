"""What a language model is to the row: a request goes in, pieces of a reply come out.

Rule 1: a model knows one request. Asking again after tools is the tool loop's business (`tool_router`).
Rule 2: retry and fallback live inside `Model.reply`, and only while nothing of the reply was used.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from voicepipe.events import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.part import Part

if TYPE_CHECKING:
    from voicepipe.channel import Outbox
    from voicepipe.history import Message
    from voicepipe.turn import Turn

__all__ = ["Model", "ReplyPart", "Request"]

ReplyPart: TypeAlias = TextDelta | ToolCallDelta | ReplyEnd
"""What a model sends: text and tool calls in pieces, then exactly one `ReplyEnd`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a model is asked.

    Attributes:
        messages: The conversation, oldest first; the last one is what to answer.
        tools: OpenAI-shaped definitions of the tools it may call.
        step: Counts the requests of one turn, from 0; higher ones follow tool results.
    """

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()
    step: int = 0


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
