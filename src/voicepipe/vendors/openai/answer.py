"""What becomes of a reply as a whole: the answer that it is, or the error for one that is empty or has no end. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voicepipe.errors import IncompleteReply
from voicepipe.flow import CUT_REASONS, ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.http.refusals import failure
from voicepipe.model.model import Completion, Usage

if TYPE_CHECKING:
    from voicepipe.errors import VendorError
    from voicepipe.vendors.openai.completion import Part

__all__ = ["Answer", "empty_reply", "unfinished"]

MAX_ANSWER_CHARACTERS: Final = 1 << 18
"""The longest answer that is put together from a stream."""


class Answer:
    """An outbox that puts a whole answer together.

    Args:
        vendor: Named in errors.
    """

    def __init__(self, vendor: str) -> None:
        self._vendor = vendor
        self._text: list[str] = []
        self._calls: dict[int, list[str]] = {}
        self._finish_reason = ""
        self._usage: Usage | None = None
        self._characters = 0

    async def send(self, item: Part, /) -> None:
        """Take a part of the reply. See `Outbox.send`."""
        match item:
            case TextDelta(text=piece):
                self._text.append(piece)
            case ToolCallDelta(index=index, arguments=piece):
                self._calls.setdefault(index, []).append(piece)
            case ReplyEnd(finish_reason=reason):
                self._finish_reason = self._finish_reason or reason
                return
            case Usage():
                self._usage = item
                return
            case _:
                return  # a whole answer reports no limit of requests
        self._characters += len(piece)
        if self._characters > MAX_ANSWER_CHARACTERS:
            raise IncompleteReply(f"the answer is longer than {MAX_ANSWER_CHARACTERS} characters", vendor=self._vendor)

    def close(self) -> None:
        """Do nothing: the answer ends with its request."""

    def completion(self) -> Completion:
        """Return the whole answer.

        Raises:
            IncompleteReply: The model was stopped before its end.
            VendorError: The answer is empty.
        """
        if remedy := CUT_REASONS.get(self._finish_reason):
            raise IncompleteReply(
                f"{self._vendor} cut the answer short ({self._finish_reason}): {remedy}", vendor=self._vendor
            )
        if not self._calls and not "".join(self._text).strip():
            raise empty_reply(self._vendor, ReplyEnd(finish_reason=self._finish_reason))
        first_call = next(iter(self._calls.values()), None)
        arguments = "" if first_call is None else "".join(first_call) or "{}"
        return Completion(
            text="".join(self._text), arguments=arguments, finish_reason=self._finish_reason, usage=self._usage
        )


def empty_reply(vendor: str, end: ReplyEnd) -> VendorError:
    """Return the error for a reply without words and calls. Asking again may help, unless the service cut it."""
    if end.is_cut:
        what = f"stopped the reply before its first word ({end.finish_reason}): {CUT_REASONS[end.finish_reason]}"
    else:
        what = f"sent an empty reply (finish reason {end.finish_reason or None!r})"
    return failure(vendor, what, retryable=not end.is_cut)


def unfinished(vendor: str) -> IncompleteReply:
    """Return the error for a reply without an end. It is retryable while nothing of the reply was used."""
    error = IncompleteReply(f"{vendor} closed the connection without an end of the reply", vendor=vendor)
    error.retryable = True
    return error
