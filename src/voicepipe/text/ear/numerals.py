# ruff: noqa: RUF001 - dashes, quotes and signs as replies have them
"""Numbers as they are written in a language, and as they are said.

Rule 1: a number that is not written as its language writes numbers is none: "12.5" in German, "1,00" in English.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.text.ear.table import Table

__all__ = ["AFTER", "ALONE_AFTER", "ALONE_BEFORE", "BEFORE", "Number", "Numerals"]

BEFORE: Final = r"(?<![\w/@#:*.])(?<![\w)][-–−(])(?<![0-9][,'’])"
"""What may not stand before a number: it would be a part of something else."""

AFTER: Final = r"(?![\w/@(*])(?![-–.:'’]\w)(?![.,][-–—0-9])"
"""What may not stand after a number."""

ALONE_BEFORE: Final = r"(?<![0-9][ \u00a0\u202f])"
ALONE_AFTER: Final = r"(?![ \u00a0\u202f][0-9])"
"""What stands around digits that are no group of a longer number."""

LONGEST_DIGITS: Final = 15
"""Digits of a number that is said as one."""

VOWELS: Final = frozenset("aeiouAEIOU")

KEPT_WORDS: Final = 2048
"""Numbers whose words are kept: a German one takes up to 0.1 ms."""


class Number(NamedTuple):
    """A number.

    Attributes:
        whole: Its whole part.
        decimals: The digits after the point, as they are written.
    """

    whole: int
    decimals: str = ""

    @property
    def is_one(self) -> bool:
        """Whether a noun after it is in the singular."""
        return self.whole == 1 and not self.decimals

    @property
    def value(self) -> float:
        """The number, about."""
        return float(f"{self.whole}.{self.decimals or 0}")


class Numerals:
    """The numbers of a language.

    Args:
        table: What is known of the language.

    Attributes:
        pattern: A pattern for a number, without groups.
        decimal: The sign before decimals.
    """

    def __init__(self, table: Table) -> None:
        groups, self.decimal = table.separators
        point = re.escape(self.decimal)
        grouped = rf"[1-9][0-9]{{0,2}}(?:[{re.escape(groups)}][0-9]{{3}})+"
        self.pattern = rf"(?:(?:{grouped}|0|[1-9][0-9]*)(?:{point}[0-9]+)?)"
        self._table = table
        self._say = lru_cache(KEPT_WORDS)(self._said)
        self._feminine = frozenset(table.words("feminine", "nouns"))
        self._endings = {gender: table.agreement(gender) for gender in ("masculine", "feminine")}
        self._reads_decimals_whole = table.has("pairs") or table.has("whole_decimals")
        self._elided = table.words("elided", "nouns")
        self._point, self._zero = table.text("point"), table.text("zero")

    def read(self, text: str) -> Number | None:
        """Return a number that is written like this; None if it is too long to be said."""
        whole, _, decimals = text.partition(self.decimal)
        digits = re.sub(r"[^0-9]", "", whole)
        return Number(int(digits or 0), decimals) if len(digits) + len(decimals) <= LONGEST_DIGITS else None

    def cardinal(self, number: int, gender: str = "") -> str:
        """Return a whole number in words, before a noun of a gender or alone."""
        text = self._say("cardinal", number)
        for pattern, ending in self._endings.get(gender, ()):
            changed, count = pattern.subn(ending, text)
            if count:
                return changed
        return text

    def said(self, number: Number, noun: str = "") -> str:
        """Return a number in words.

        Args:
            number: The number.
            noun: What is counted, if that is known: "one" may have to agree with it.
        """
        if not number.decimals:
            return self.cardinal(number.whole, self.gender(noun))
        return f"{self.cardinal(number.whole)} {self._point} {self._decimals(number.decimals)}"

    def counted(self, number: Number, noun: str) -> str:
        """Return a number and what is counted."""
        said = self.said(number, noun)
        if self._elided and said == self._elided[0] and noun[:1] in VOWELS:
            return self._elided[1] + noun
        return f"{said} {noun}"

    def gender(self, noun: str) -> str:
        """Return the gender of a noun, "" without one."""
        return "" if not noun else "feminine" if noun.split(maxsplit=1)[0] in self._feminine else "masculine"

    def ordinal(self, number: int) -> str:
        """Return "third" for 3, in the masculine form."""
        return self._say("ordinal", number)

    def year(self, number: int) -> str:
        """Return a year in words."""
        return self._say("year", number)

    def digits(self, text: str) -> str:
        """Return digits one by one."""
        return " ".join(self.cardinal(int(digit)) for digit in text)

    def pair(self, text: str) -> str:
        """Return one or two digits as a number, with the zeros before it."""
        zeros = len(text) - len(text.lstrip("0"))
        rest = [self.cardinal(int(text[zeros:]))] if text[zeros:] else []
        return " ".join([self._zero] * zeros + rest)

    def is_sure(self, number: int) -> bool:
        """Return whether a number is said in the same way before every noun."""
        return all(self.cardinal(number, gender) == self.cardinal(number) for gender in self._endings)

    def _decimals(self, text: str) -> str:
        if self._reads_decimals_whole and len(text) <= 2 and not text.startswith("0"):
            return self.cardinal(int(text))
        return self.digits(text)

    def _said(self, form: str, number: int) -> str:
        say: Callable[[int], str] = getattr(self._table.converter, f"to_{form}")
        return say(number).replace(",", "")
