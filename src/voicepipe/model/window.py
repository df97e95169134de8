"""How much of a long conversation a request holds. Pure: messages in, an index out.

Rule 1: messages are counted from the end, so a request costs the same however long the call is.
Rule 2: messages are dropped in blocks. A window that moved with every turn would change the beginning of every request,
        and a service's prompt cache helps only where a request begins like the one before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voicepipe.errors import ConfigurationError
from voicepipe.history import Message, UserMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Window", "estimated_tokens"]

KEPT: Final = 3 / 4
"""How much of the limits is used after messages were dropped: the rest lasts for several turns, so dropping is rare."""

BYTES_PER_TOKEN: Final = 4
"""In UTF-8: four English letters, or one and a third Chinese characters. Tokenizers deviate by a third either way."""

FRAME_TOKENS: Final = 4
"""What a message costs in addition to its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How much of the conversation is sent to the model; the history itself keeps everything.

    Beyond a limit the oldest messages are left out until three quarters of it are used. The request then begins with
    words of the caller. A call and its result stay together, and the caller's newest words and everything after them
    are always sent.

    Attributes:
        messages: The highest number of messages, as the service counts them: a reply that calls tools is one message,
            and so is each result. None for no limit.
        tokens: The highest number of tokens, estimated as a quarter of the text's bytes, plus four for each message.
            The system prompt and the tools' definitions are not counted. None for no limit.

    Raises:
        ConfigurationError: A limit is not a whole number above 0, or both are None.
    """

    messages: int | None = 100
    tokens: int | None = None

    def __post_init__(self) -> None:
        """Refuse invalid limits."""
        for name, limit in (("messages", self.messages), ("tokens", self.tokens)):
            if limit is not None and (type(limit) is not int or limit < 1):
                raise ConfigurationError(f"Window: {name} must be a whole number above 0, or None, not {limit!r}")
        if self.messages is None and self.tokens is None:
            raise ConfigurationError("Window needs messages, tokens or both; use window=None to send everything")

    def start(self, messages: Sequence[Message], since: int = 0) -> int:
        """Return the index of the first message to send.

        Args:
            messages: The conversation, oldest first.
            since: Where the previous request began. This one begins there, too, as long as everything since then fits.
        """
        count_limit, token_limit = self.messages or float("inf"), self.tokens or float("inf")
        count = tokens = 0
        begin: int | None = None
        for at in range(len(messages) - 1, since - 1, -1):
            message = messages[at]
            is_users = isinstance(message, UserMessage)
            count += 1 if is_users else _count(message)
            if self.tokens is not None:
                tokens += estimated_tokens(message)
            fits = count <= KEPT * count_limit and tokens <= KEPT * token_limit
            if is_users and (fits or begin is None):
                begin = at
            if begin is not None and (count > count_limit or tokens > token_limit):
                return begin
        return since


def _count(message: Message) -> int:
    """Return how many messages a service counts for this one."""
    if isinstance(message, UserMessage):
        return 1
    return 1 + len(message.calls) if message.calls else int(bool(message.text))


def estimated_tokens(message: Message) -> int:
    """Return about how many tokens a message has for a model."""
    texts = [message.text]
    if not isinstance(message, UserMessage):
        texts += [text for call in message.calls for text in (call.name, call.arguments, call.result)]
    size = sum(len(text) if text.isascii() else len(text.encode("utf-8", "replace")) for text in texts)
    return FRAME_TOKENS * _count(message) + -(-size // BYTES_PER_TOKEN)
