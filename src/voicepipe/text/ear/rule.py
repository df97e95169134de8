# ruff: noqa: RUF001 - dashes, quotes and signs as replies have them
"""A rule of how something is read out, and what all rules look at."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from voicepipe.text.ear.numerals import Numerals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from voicepipe.text.ear.kinds import Kind
    from voicepipe.text.ear.table import Table

__all__ = ["GAP", "Language", "Rule", "any_of", "last_word"]

GAP: Final = r"[ \u00a0\u202f]"
"""A space that may stand inside of a sum or a date."""

LAST_WORD: Final = re.compile(r"([\w'’.]+)[\s(\"“„«]*$")


class Rule(NamedTuple):
    """One rule.

    Attributes:
        kind: What it reads.
        pattern: How that is written.
        say: Returns what is said; None to leave it to the rules that follow.
    """

    kind: Kind
    pattern: re.Pattern[str]
    say: Callable[[re.Match[str]], str | None]


class Language:
    """What rules know of a language.

    Args:
        table: Its words.

    Attributes:
        table: Its words.
        numerals: Its numbers.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.numerals = Numerals(table)
        self._range_words = frozenset(table.words("range_words"))

    def ranged(self, match: re.Match[str], low: str, high: str) -> str:
        """Return "from `low` to `high`", without the first word if it stands before the match."""
        template = self.table.text("range")
        if last_word(match.string[: match.start()]) in self._range_words:
            template = template[template.index("{") :]
        return template.format(low, high)


def any_of(words: Iterable[str]) -> str:
    """Return a pattern for one of some texts, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) or r"(?!)"


def last_word(text: str, number: int = 1) -> str:
    """Return the last word of a text in lower case, or one further back; "" if there is none."""
    end, word = len(text), ""
    for _ in range(number):
        found = LAST_WORD.search(text, max(0, end - 40), end)
        if found is None:
            return ""
        end, word = found.start(), found[1].lower()
    return word
