"""The replies of a scripted model; its requests are `ChatRequest`s.

    Script([Calls("get_weather", {"city": "Lyon"}), Says("Sunny, 22 degrees.", after_s=0.2)])
    Script(lambda request: Says(f"You said: {request.last_user_text}"))

Rule 1: the same vocabulary for a model over HTTP (`ScriptedGateway`) and within the process.
Rule 2: this module knows neither clock nor network: `schedule` returns what is due when, counted from the request.
"""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from voicepipe.flow import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.testing.request import ChatMessage, ChatRequest, ChatToolCall, InvalidRequest, parse_request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "Breaks",
    "Calls",
    "ChatMessage",
    "ChatRequest",
    "ChatToolCall",
    "InvalidRequest",
    "Piece",
    "Refuses",
    "Reply",
    "Says",
    "Script",
    "parse_request",
    "schedule",
    "tokens",
]


@dataclass(frozen=True, slots=True)
class Says:
    """A reply in words.

    Attributes:
        text: The whole reply; it is sent in `tokens`.
        after_s: Seconds from the request to the first token; 0 for the default of the model that plays the script.
        token_s: Seconds from one token to the next; 0 for the default.
        finish_reason: Why the model stopped, e.g. "length".
    """

    text: str
    after_s: float = 0.0
    token_s: float = 0.0
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Calls:
    """A reply that calls a tool. A tuple of these is one reply with several calls, one after another.

    Attributes:
        name: The tool.
        arguments: A mapping is sent as JSON; a string is sent unchanged, even if it is not JSON.
        call_id: The call's id; None numbers the calls of a script: "call_1", "call_2", ...
        after_s: As in `Says`; in a tuple, the pause after the previous call.
        token_s: As in `Says`. The call's opening (id and name) is one token, each piece of its arguments is another.
        say: Words before the call.
    """

    name: str
    arguments: Mapping[str, object] | str
    call_id: str | None = None
    after_s: float = 0.0
    token_s: float = 0.0
    say: str = ""


@dataclass(frozen=True, slots=True)
class Refuses:
    """An HTTP error instead of a reply.

    Attributes:
        status: The HTTP status, e.g. 429.
        message: The error's text.
        retry_after_s: Sent as `Retry-After` unless None.
        after_s: Seconds from the request to the error; 0 for immediately.
    """

    status: int
    message: str
    retry_after_s: float | None = None
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Breaks:
    """A reply that ends without a finish reason.

    Attributes:
        after_text: The text before the break.
        cleanly: Whether the response ends properly in HTTP; otherwise the connection is closed in the middle.
        after_s: As in `Says`.
        token_s: As in `Says`.
    """

    after_text: str = ""
    cleanly: bool = False
    after_s: float = 0.0
    token_s: float = 0.0


Reply: TypeAlias = Says | Calls | tuple[Calls, ...] | Breaks | Refuses
"""What a model can answer."""

Piece: TypeAlias = TextDelta | ToolCallDelta | ReplyEnd | Breaks
"""The pieces that a reply is sent in; the last one is a `ReplyEnd`, or the `Breaks` itself if the reply is cut."""


class Script:
    """The answers of a model: a sequence that is used up in order, or a function of the request.

    Args:
        replies: The answers.
        name: The script's name in errors.
    """

    def __init__(self, replies: Sequence[Reply] | Callable[[ChatRequest], Reply], *, name: str = "script") -> None:
        self._waiting: deque[Reply] = deque() if callable(replies) else deque(replies)
        self._function = replies if callable(replies) else None
        self._answered = 0
        self._calls = 0
        self.name = name

    def answer(self, request: ChatRequest) -> Reply:
        """Return the next reply, with ids filled in for calls that have none.

        Raises:
            AssertionError: All replies are used up.
        """
        if self._function is None and not self._waiting:
            raise AssertionError(
                f"{self.name} holds {self._answered} replies and was asked once more, after the user said "
                f"{request.last_user_text!r}; add a reply, or find out where the extra request comes from"
            )
        reply = self._function(request) if self._function else self._waiting.popleft()
        self._answered += 1
        if isinstance(reply, tuple):
            return tuple(self._numbered(call) for call in reply)
        return self._numbered(reply) if isinstance(reply, Calls) else reply

    @property
    def unused(self) -> tuple[Reply, ...]:
        """The replies that have not been asked for yet; always empty for a function."""
        return tuple(self._waiting)

    def _numbered(self, call: Calls) -> Calls:
        if call.call_id is not None:
            return call
        self._calls += 1
        return replace(call, call_id=f"call_{self._calls}")

    def __repr__(self) -> str:
        """Show how many replies were given and how many are left."""
        left = "by a function" if self._function else f"{len(self._waiting)} left"
        return f"<Script {self.name} answered={self._answered} {left}>"


def tokens(text: str) -> list[str]:
    """Split text the way models send it: a word with the space before it, or one punctuation mark.

    Joining the tokens gives the text back.
    """
    return re.findall(r"\s*\w+|\s*[^\w\s]|\s+", text)


def schedule(
    reply: Says | Calls | tuple[Calls, ...] | Breaks, *, first_token_s: float = 0.0, token_s: float = 0.0
) -> list[tuple[float, Piece]]:
    """Return the pieces of a reply, each with the seconds after the request at which it is due.

    Token k is due at `after_s + k * token_s`; the end is due with the last token.

    Args:
        reply: What to send.
        first_token_s: Used where the reply has no `after_s` of its own.
        token_s: Used where the reply has no `token_s` of its own.
    """
    steps = reply if isinstance(reply, tuple) else (reply,)
    due: list[tuple[float, Piece]] = []
    start_s = first_token_s if steps and not steps[0].after_s else 0.0
    for index, step in enumerate(steps):
        start_s += step.after_s
        pace_s = step.token_s or token_s
        pieces = list(_pieces(step, index))
        due += [(start_s + k * pace_s, piece) for k, piece in enumerate(pieces)]
        start_s += len(pieces) * pace_s
    end_s = due[-1][0] if due else start_s
    if isinstance(reply, Breaks):
        return [*due, (end_s, reply)]
    return [*due, (end_s, ReplyEnd(finish_reason=reply.finish_reason if isinstance(reply, Says) else "tool_calls"))]


def _pieces(step: Says | Calls | Breaks, index: int) -> Iterable[Piece]:
    match step:
        case Says(text=text) | Breaks(after_text=text) | Calls(say=text):
            yield from map(TextDelta, tokens(text))
    if isinstance(step, Calls):
        yield ToolCallDelta(index=index, call_id=step.call_id or "", name=step.name)
        arguments = step.arguments
        for piece in tokens(arguments if isinstance(arguments, str) else json.dumps(dict(arguments))):
            yield ToolCallDelta(index=index, arguments=piece)
