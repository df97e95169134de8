"""Numbers and codes as people say them: how many digits and letters a text holds, and whether they may go on.

Rule 1: pure: text goes in, counts come out. The words of a language are data, in `languages/`.
Rule 2: in doubt fewer are counted: the agent then waits, and talks over nobody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.turntaking.phrases import Numbers, Phrases

__all__ = ["Run", "runs"]

LONGEST_NUMBER: Final = 4
"""Words of the longest phrase for a number; "quatre-vingt-dix-neuf" has four."""

THOUSAND_ROOM: Final = 3

_WORD: Final = re.compile(r"\w+")
_APOSTROPHES: Final = re.compile("['\u2018\u2019]")


@dataclass(slots=True)
class Run:
    """Digits and letters in a row; words that only lead on, such as "um" and "and", do not end it.

    Attributes:
        digits: The digits: three of "double seven 4".
        letters: The letters that were spelled: two of "A B".
        either: Those that may be both, as "o" in English.
        is_begun: Whether it has any, or a word that stands before them.
        is_open: Whether the last number may go on, as "twenty" and "double" do.
        is_last: Whether no other words follow.
    """

    digits: int = 0
    letters: int = 0
    either: int = 0
    is_begun: bool = False
    is_open: bool = False
    is_last: bool = False


def runs(text: str, phrases: Phrases, *, spells: bool = False, prefixes: frozenset[str] = frozenset()) -> list[Run]:
    """Return the digits of a text, and what was spelled, by what follows each other without other words.

    Args:
        text: What was said.
        phrases: The words of the language.
        spells: Whether letters count: single ones, capitals such as "ABC", and those next to a digit.
        prefixes: Words that begin a value and are no part of what is counted.

    >>> from voicepipe.turntaking.phrases import phrases_for
    >>> [run.digits for run in runs("It is twenty five, double oh... no, seven two.", phrases_for("en"))]
    [4, 2]
    """
    return _Reader(text, phrases, prefixes, spells=spells).runs()


class _Reader:
    def __init__(self, text: str, phrases: Phrases, prefixes: frozenset[str], *, spells: bool) -> None:
        self._phrases = phrases
        self._prefixes = prefixes
        self._spells = spells
        self._words = _WORD.findall(_APOSTROPHES.sub("", text))
        is_capital = text == text.upper()  # then capitals say nothing, unless they are all that there is
        self._shouts = is_capital and sum(len(word) > 1 and word.isalpha() for word in self._words) > 1
        self._run = Run()
        self._room = 0  # digits that the next number word may fill: one after "twenty", three after "thousand"
        self._times = 1  # 2 after "double"
        self._fits_hundred = False  # whether "hundred" adds nothing, as in "two thousand five hundred"

    def runs(self) -> list[Run]:
        found = [*self._runs()]
        if found and self._run.is_begun:
            found[-1].is_last = True
            found[-1].is_open = bool(self._room) or self._times > 1
        return found

    def _runs(self) -> Iterator[Run]:
        at = 0
        while at < len(self._words):
            if length := self._number(at):
                at += length
            elif not self._token(at):
                if self._run.is_begun:
                    yield self._run
                self._run, self._room, self._times = Run(), 0, 1
                at += 1
            else:
                at += 1
        if self._run.is_begun:
            yield self._run

    def _number(self, at: int) -> int:
        """Take a number that is said in words, and return how many words it has; 0 if there is none."""
        numbers = self._phrases.numbers
        for length in range(min(LONGEST_NUMBER, len(self._words) - at), 0, -1):
            words = tuple(word.casefold() for word in self._words[at : at + length])
            if kind := numbers.kinds.get(words):
                self._say(kind, may_be_letter=length == 1 and len(words[0]) == 1)
                return length
        word = self._words[at].casefold()
        if is_compound(word, numbers):
            self._say("teen")
            return 1
        return 0

    def _say(self, kind: str, *, may_be_letter: bool = False) -> None:
        run, times = self._run, self._times
        if kind in ("double", "triple"):
            run.is_begun = True
            self._times = 2 if kind == "double" else 3
            return
        if kind == "zero" and may_be_letter and self._spells:
            run.either += times
        elif kind in ("hundred", "thousand"):
            self._scale(kind)
        else:
            size = 2 if kind in ("teen", "ten") else 1
            fills = times == 1 and size <= self._room and kind != "zero"
            run.digits += 0 if fills else size * times
            self._fits_hundred = fills and self._room == THOUSAND_ROOM
            self._room = 1 if kind == "ten" else 0
        run.is_begun = True
        self._times = 1

    def _scale(self, kind: str) -> None:
        """Take "hundred" or "thousand"."""
        run = self._run
        if kind == "thousand":
            run.digits += 3 if run.digits else 4
            self._room = THOUSAND_ROOM
        else:
            fills = self._fits_hundred or self._room == THOUSAND_ROOM
            run.digits += 0 if fills else 2 if run.digits else 3
            self._room = 2
        self._fits_hundred = False

    def _token(self, at: int) -> bool:
        """Take a word that is no number, and return whether the run goes on."""
        run, word = self._run, self._words[at]
        folded = word.casefold()
        digits = sum(character.isdecimal() for character in word)
        is_opener = (folded,) in self._phrases.openers
        if folded in self._prefixes:
            run.is_begun = True
        elif digits:
            prefix = next((one for one in self._prefixes if folded.startswith(one)), "")
            run.digits += digits * (self._times if len(word) == 1 else 1)
            run.letters += sum(map(str.isalpha, folded[len(prefix) :])) if self._spells else 0
            run.is_begun = True
        elif self._spells and self._is_spelled(at, is_opener=is_opener):
            run.letters += len(word) * self._times
            run.is_begun = True
        else:
            # "and" in "thirty and five" joins the two; any other word ends the number before it.
            self._room = self._room if folded in self._phrases.numbers.links else 0
            return is_opener or folded in self._phrases.numbers.links
        self._room, self._times = 0, 1
        return True

    def _is_spelled(self, at: int, *, is_opener: bool) -> bool:
        word, after = self._words[at], self._words[at + 1 : at + 2]
        if len(word) == 1:  # "a" and "I" are words as well
            return word.isalpha() and (self._run.is_begun or not is_opener or (bool(after) and len(after[0]) == 1))
        return word.isalpha() and word.isupper() and not self._shouts


def is_compound(word: str, numbers: Numbers) -> bool:
    """Return whether a word is a number of two digits in one: "fünfundzwanzig", "tjugofem", "ventuno"."""
    for ten in numbers.tens:
        if word.startswith(ten) and word[len(ten) :] in numbers.units:
            return True
        if word.startswith(ten[:-1]) and word[len(ten) - 1 :] in numbers.units:
            return True
        if word.endswith(ten):
            before = word.removesuffix(ten)
            if any(before.endswith(link) and before.removesuffix(link) in numbers.units for link in numbers.links):
                return True
    return False
