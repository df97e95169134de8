"""How much of a long conversation a request holds. Pure: messages in, an index out.

Rule 1: messages are counted from the end, so a request costs the same however long the call is.
Rule 2: messages are dropped in blocks. A window that moved with every turn would change the beginning of every request,
        and a service's prompt cache helps only where a request begins like the one before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from voicepipe.errors import ConfigurationError
from voicepipe.history import Message, UserMessage
from voicepipe.model.model import Model

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Window", "estimated_tokens", "surplus"]

KEPT: Final = 3 / 4
"""How much of the limits is used after messages were dropped: the rest lasts for several turns, so dropping is rare."""

KEPT_WITH_SUMMARY: Final = 1 / 2
"""How much of the limits is used after messages were summarised."""

SUMMARY_S: Final = 20.0
"""How long a summary may take; the conversation goes on meanwhile."""

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

    With `summarise`, the oldest messages are replaced by a summary. It is written in the background, after the turn
    with which the conversation passes three quarters of a limit, and covers all but the newest half. Requests hold it
    as their first message, marked as a summary, once it is there; until then, and if it fails, they hold what they
    would hold without it. A tool's call and result are summarised together, once the result is there. The history keeps
    every message. The session reports `Summarised` or `SummaryFailed`, and the tokens as `ModelUsage`. The end of the
    session cancels a summary that is being written.

    Attributes:
        messages: The highest number of messages, as the service counts them: a reply that calls tools is one message,
            and so is each result. None for no limit.
        tokens: The highest number of tokens, estimated as a quarter of the text's bytes, plus four for each message.
            The system prompt, the tools' definitions and the summary are not counted. None for no limit.
        summarise: A model that writes summaries, such as a small `LLMStreamStage`; None for none. It is open as long as
            the pipeline is, and needs the method `complete`.
        summary_prompt: The system prompt for summaries; "" for `SUMMARY_PROMPT` of `voicepipe.model.summary`.
        summary_s: Seconds that a summary may take.

    Raises:
        ConfigurationError: A limit is not a whole number above 0, or both are None; or the model, the prompt or the
            time for summaries is invalid.
    """

    messages: int | None = 100
    tokens: int | None = None
    summarise: Model | None = None
    summary_prompt: str = ""
    summary_s: float = SUMMARY_S

    def __post_init__(self) -> None:
        """Refuse invalid limits."""
        for name, limit in (("messages", self.messages), ("tokens", self.tokens)):
            if limit is not None and (type(limit) is not int or limit < 1):
                raise ConfigurationError(f"Window: {name} must be a whole number above 0, or None, not {limit!r}")
        if self.messages is None and self.tokens is None:
            raise ConfigurationError("Window needs messages, tokens or both; use window=None to send everything")
        model, prompt, seconds = (
            cast("object", value) for value in (self.summarise, self.summary_prompt, self.summary_s)
        )
        if model is not None and (not isinstance(model, Model) or type(model).complete is Model.complete):
            raise ConfigurationError(f"Window: summarise must be a model with `complete`, or None, not {model!r}")
        if not isinstance(prompt, str):
            raise ConfigurationError(f"Window: summary_prompt must be a text, not {prompt!r}")
        if not (type(seconds) in (int, float) and 0 < self.summary_s < float("inf")):
            raise ConfigurationError(f"Window: summary_s must be positive seconds, not {seconds!r}")

    def start(self, messages: Sequence[Message], since: int = 0) -> int:
        """Return the index of the first message to send.

        Args:
            messages: The conversation, oldest first.
            since: Where the previous request began. This one begins there, too, as long as everything since then fits.
        """
        return self._begin(messages, since, most=1, kept=KEPT)

    def _begin(self, messages: Sequence[Message], since: int, *, most: float, kept: float) -> int:
        """Return where messages begin that use no more than `kept` of the limits; `since` unless `most` is exceeded."""
        count_limit, token_limit = self.messages or float("inf"), self.tokens or float("inf")
        count = tokens = 0
        begin: int | None = None
        for at in range(len(messages) - 1, since - 1, -1):
            message = messages[at]
            is_users = isinstance(message, UserMessage)
            count += 1 if is_users else _count(message)
            if self.tokens is not None:
                tokens += estimated_tokens(message)
            fits = count <= kept * count_limit and tokens <= kept * token_limit
            if is_users and (fits or begin is None):
                begin = at
            if begin is not None and (count > most * count_limit or tokens > most * token_limit):
                return begin
        return since


def surplus(window: Window, messages: Sequence[Message], settled: int = 0) -> int:
    """Return how many of the oldest messages are to be summarised; 0 as long as there is room.

    Args:
        window: Its limits.
        messages: The conversation, from what was last summarised on.
        settled: How many of them were there before the session, so that they cannot change.
    """
    end = window._begin(messages, 0, most=KEPT, kept=KEPT_WITH_SUMMARY)
    unsettled = (at for at, message in enumerate(messages[:end]) if not _is_final(message, is_old=at < settled))
    first = next(unsettled, end)
    while first and first < end and not isinstance(messages[first], UserMessage):
        first -= 1
    return first


def _is_final(message: Message, *, is_old: bool) -> bool:
    """Return whether a message can no longer change."""
    if isinstance(message, UserMessage):
        return True
    return (message.is_settled or is_old) and all(call.status not in ("pending", "unknown") for call in message.calls)


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
