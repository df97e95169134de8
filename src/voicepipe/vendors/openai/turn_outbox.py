"""Where a reply to a turn goes: words and calls to the pipeline, what was counted to the application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.core.cancellation import is_cancelled
from voicepipe.flow import ReplyEnd, ReplyState, TextDelta, ToolCallDelta
from voicepipe.model.model import Usage
from voicepipe.model.window import BYTES_PER_TOKEN
from voicepipe.model_events import ModelUsage, RateLimitNear
from voicepipe.vendors.openai.answer import empty_reply
from voicepipe.vendors.openai.completion import Unspoken
from voicepipe.vendors.openai.conversation_json import was_answered
from voicepipe.vendors.openai.usage import RateLimit

if TYPE_CHECKING:
    from voicepipe.conversation.turn import Turn
    from voicepipe.core.channel import Outbox
    from voicepipe.model.model import ReplyPart, Request
    from voicepipe.vendors.openai.completion import Part

__all__ = ["TurnOutbox"]


class TurnOutbox:
    """Takes the parts of a reply.

    Args:
        outbox: Takes words, calls and the end.
        turn: The turn that has asked.
        asked: What it has asked.
        vendor: Named in errors.
        request_bytes: The length of the request.

    Attributes:
        is_used: Whether the pipeline has something of the reply.
    """

    def __init__(self, outbox: Outbox[ReplyPart], turn: Turn, asked: Request, vendor: str, request_bytes: int) -> None:
        self.is_used = False
        self._outbox = outbox
        self._turn = turn
        self._asked = asked
        self._vendor = vendor
        self._request_bytes = request_bytes
        self._reply_bytes = 0
        self._usage: Usage | None = None
        self._has_ended = False
        self._is_reported = False

    async def send(self, item: Part, /) -> None:
        """Take a part of the reply. See `Outbox.send`.

        Raises:
            VendorError: The reply ends and was empty.
        """
        match item:
            case TextDelta(text=text) if not self.is_used and not text.strip():
                return  # blanks ahead of the first word say nothing, and another try may follow
            case TextDelta(text=text) | ToolCallDelta(arguments=text):
                self.is_used = True
                self._reply_bytes += len(text.encode("utf-8", "replace"))
            case Usage():
                self._usage = item  # some services count in each event; the last one is right
                return
            case RateLimit():
                if item.is_near:
                    near = RateLimitNear(
                        turn_id=self._turn.turn_id, remaining=item.remaining, limit=item.limit, reset_s=item.reset_s
                    )
                    self._turn.emit(near)
                return
            case Unspoken():
                return
            case ReplyEnd():
                self._has_ended = True
                if not self.is_used and not (self._turn.has_text or was_answered(self._asked.messages)):
                    raise empty_reply(self._vendor, item)
            case ReplyState():
                pass  # it comes after a call
        await self._outbox.send(item)

    def close(self) -> None:
        """Report the tokens. Of a request that was refused, and so not billed, there are none.

        One that was cancelled while its turn goes on has lost to another one, and may be billed all the same.
        """
        if self._usage or self.is_used or is_cancelled():
            self.report()
        self._is_reported = True

    def report(self) -> None:
        """Report the tokens, unless that is done: what the service counted, or an estimate of a reply that is cut."""
        if self._is_reported or self._turn.is_over or not (self._usage or not self._has_ended):
            return
        self._is_reported = True
        model = self._asked.model
        usage = self._usage or Usage(
            model=model,
            input_tokens=-(-self._request_bytes // BYTES_PER_TOKEN),
            output_tokens=-(-self._reply_bytes // BYTES_PER_TOKEN),
        )
        event = ModelUsage(
            turn_id=self._turn.turn_id,
            model=usage.model or model,
            step=self._asked.step,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            is_estimated=self._usage is None,
        )
        self._turn.emit(event)
