"""How long to wait for a reply. Pure: the time is an argument.

Rule 1: data events renew the deadline, bytes do not: comments and keep-alives are no progress.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voicepipe.errors import ConfigurationError
from voicepipe.flow import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.text.sentences import SentenceSplitter
from voicepipe.vendors.loose_json import is_object
from voicepipe.vendors.openai.completion import Unspoken

if TYPE_CHECKING:
    from voicepipe.vendors.openai.completion import Part

__all__ = ["Deadlines", "Patience", "PatienceForAll"]

WHOLE_S: Final = 10.0
"""How long a whole answer may take: nothing of it arrives before its end."""

SENTENCE_CHARACTERS: Final = 200
"""Text of this length counts as a sentence if no mark ends one, and arguments of this length count as a call: the reply
moves, and not every script has such marks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long to wait for the model, each per request and counted only while waiting for the network.

    Attributes:
        first_token_s: From sending a request to its first data event.
        gap_s: Between two data events.
        first_sentence_s: From sending a request to the end of its first sentence, or of its first call, which may
            arrive letter by letter. The time for which the model thinks does not count.
        next_words_s: After that, between two pieces of text or of calls, if data events without either arrive.
        thinking_s: For all thoughts of a reply, as long as they arrive without a gap.
    """

    first_token_s: float = 4.0
    gap_s: float = 3.0
    first_sentence_s: float = 6.0
    next_words_s: float = 6.0
    thinking_s: float = 20.0

    def __post_init__(self) -> None:
        """Refuse deadlines that no service can meet."""
        if not min(self.first_token_s, self.gap_s, self.next_words_s, self.thinking_s) > 0:
            raise ConfigurationError(f"deadlines must be positive seconds, not {self}")
        if not self.first_sentence_s >= self.first_token_s:
            raise ConfigurationError(f"a sentence cannot come before its first token: raise first_sentence_s in {self}")


class Patience:
    """What to wait for next, and until when.

    Args:
        limits: How long to wait.
        asked_s: When the request was sent.

    Attributes:
        head_s: How long the head of the response may take.
        until: When the wait ends.
    """

    def __init__(self, limits: Deadlines, asked_s: float) -> None:
        self.head_s = limits.first_token_s
        self.until = asked_s + limits.first_token_s
        self._late, self._late_s = "the first token", limits.first_token_s
        self._limits = limits
        self._sentence_due = self._words_due = asked_s + limits.first_sentence_s
        self._is_sentence = self._has_moved = False
        self._thinks = False
        self._thinks_since: float | None = None
        self._thinking_left_s = limits.thinking_s
        self._splitter: SentenceSplitter | None = None
        self._unsplit: list[str] = []
        self._words = self._written = 0
        self._calls: dict[int, str] = {}

    @property
    def waits_for(self) -> str:
        """What is late when the wait ends, and how long it may take."""
        return f"{self._late} ({self._late_s:g} s)"

    def saw(self, part: Part) -> None:
        """Take note of a part: the first sentence is there once the caller can hear something, or a tool can run."""
        if isinstance(part, TextDelta):
            self._thinks = False
            words = len(part.text.strip())
            self._has_moved |= words > 0
            if not self._is_sentence:
                self._words += words
                self._unsplit.append(part.text)
                self._is_sentence = self._words >= SENTENCE_CHARACTERS
        elif isinstance(part, ToolCallDelta):
            self._thinks = False
            self._has_moved |= bool(part.name or part.arguments)
            if not self._is_sentence:
                arguments = self._calls[part.index] = self._calls.get(part.index, "") + part.arguments
                self._written += len(part.arguments)
                # The words before a call are spoken at once.
                self._is_sentence = self._words > 0 or is_object(arguments) or self._written >= SENTENCE_CHARACTERS
        elif isinstance(part, Unspoken):
            self._thinks = True
        elif isinstance(part, ReplyEnd):
            self._thinks, self._is_sentence = False, True

    def _has_sentence(self) -> bool:
        """Return whether the first sentence is there. The text is split only when this is asked: hardly a reply is."""
        if not self._is_sentence and self._unsplit:
            splitter = self._splitter = self._splitter or SentenceSplitter()
            self._is_sentence = any(splitter.feed(text) for text in self._unsplit)
            self._unsplit.clear()
        return self._is_sentence

    def renew(self, now: float, *, held_s: float) -> None:
        """Wait for the next data event; the pipeline took `held_s` to accept the parts of the last one."""
        limits, free_s = self._limits, held_s
        came_s = now - held_s
        if self._thinks and self._thinks_since is None:
            self._thinks_since = came_s
        elif self._thinks_since is not None and not self._thinks:
            thought_s, self._thinks_since = came_s - self._thinks_since, None
            free_s += thought_s
            self._thinking_left_s -= thought_s
        self._sentence_due += free_s
        # As if the first sentence were there. It was not before something moved.
        self._words_due = now + limits.next_words_s if self._has_moved else self._words_due + free_s
        self._has_moved = False
        self.until, self._late, self._late_s = now + limits.gap_s, "the next piece", limits.gap_s
        if self._thinks_since is not None:
            self._end_by(self._thinks_since + self._thinking_left_s, "the end of its thoughts", limits.thinking_s)
        elif min(self._sentence_due, self._words_due) < self.until:
            if self._has_sentence():
                self._end_by(self._words_due, "the next words", limits.next_words_s)
            else:
                self._end_by(self._sentence_due, "the first sentence", limits.first_sentence_s)

    def _end_by(self, due: float, late: str, late_s: float) -> None:
        if due < self.until:
            self.until, self._late, self._late_s = due, late, late_s


class PatienceForAll(Patience):
    """Waits `WHOLE_S` for a whole answer, also for one that is streamed unasked."""

    def __init__(self, asked_s: float) -> None:
        super().__init__(Deadlines(first_token_s=WHOLE_S, first_sentence_s=WHOLE_S), asked_s)
        self._late = "the whole answer"

    def saw(self, part: Part) -> None:
        """Do nothing: one part of the answer is of no use."""

    def renew(self, now: float, *, held_s: float) -> None:
        """Extend the deadline by the time for which the parts were held up, and by nothing else."""
        del now
        self.until += held_s
