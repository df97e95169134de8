# ruff: noqa: RUF001 - apostrophes of both kinds
"""What follows a held mark, and whether the mark ends its sentence.

Rule: at most one word is read, and of that as many letters as no list can do without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voicepipe.text.holds import CERTAIN, COUNTED, DAY, GLUED, ITEM, LIVELY, ORDINAL, Hold, Needs
from voicepipe.text.left import DOTS, NEWLINES, QUOTES, WIDE, Left, is_letter

if TYPE_CHECKING:
    from voicepipe.text.languages import Words

__all__ = ["Follower"]


class Follower:
    """The word after a held mark, as far as it is there and decides.

    Attributes:
        word: Its letters so far, "" while none has come.
    """

    __slots__ = ("_known", "_marks", "word")

    def __init__(self, known: Words, marks: frozenset[str]) -> None:
        self._known = known
        self._marks = marks
        self.word = ""

    def begin(self) -> None:
        """Forget the word, for the next mark."""
        self.word = ""

    def verdict(self, character: str, hold: Hold, left: Left, *, is_spaced: bool) -> bool | None:
        """Return whether the held mark ends a sentence now that `character` follows it; None: not decided."""
        if self.word:
            return self._go_on(character, hold)
        if character.isspace():
            return hold is not ITEM if character in NEWLINES else None
        if not is_spaced and hold is not GLUED:
            return self._verdict_without_space(character, hold, left)
        if hold.needs is Needs.SPACE:
            return True
        if not character.isalnum():
            if character in "¿¡":
                return hold.needs is not Needs.NEWLINE
            return False if character in self._marks else None  # after a quote, a dash, a bullet the next one tells
        if character.islower():
            return False
        if left.last in DOTS and ("\u0900" <= character <= "\u0fff" or character >= _CJK):
            return False  # sentences of these scripts end with marks of their own
        if character.isdigit():
            if character.isdecimal() and (hold is DAY or hold is ORDINAL):
                self.word = character
                return None
            return not hold.takes_number
        if hold.needs is Needs.NEWLINE:
            return False
        if hold.needs is Needs.CAPITAL and not (hold is COUNTED and character in _LETTERS):
            return True
        self.word = character
        return None if hold is COUNTED else self._ruled_out(hold)

    def _go_on(self, character: str, hold: Hold) -> bool | None:
        """Take the next character of the word, or judge the word if it is complete."""
        word = self.word
        if word.isdecimal():
            if not character.isdecimal():
                return self.begins_sentence(hold, character)
            self.word += character
            return None
        if hold is COUNTED:
            return is_letter(character) or character in _APOSTROPHES  # "no. Please", "no. C'est", but "fig. B"
        if word[-1] in _APOSTROPHES:
            return character.islower() and character != "s"  # "L'hôtel", "Don't", but "D'Angelo" and "Mia's"
        if is_letter(character):
            self.word += character
            return self._ruled_out(hold)
        if character in _APOSTROPHES and hold.needs is Needs.STARTER and not self.begins_sentence(hold):
            self.word += character
            return None
        return self.begins_sentence(hold, character)

    def is_glued(self, character: str, hold: Hold, left: Left) -> bool:
        """Return whether a word follows the mark at once, as in "done.There" and "Acme.Shop"."""
        return hold in (CERTAIN, LIVELY) and not self.word and character.isupper() and left.word[-2:-1].islower()

    def begins_sentence(self, hold: Hold, character: str = "") -> bool:
        """Return whether the word, which is complete because `character` or nothing follows it, begins a sentence."""
        if self.word.isdecimal():
            return character not in DOTS or int(self.word) > _MONTHS  # "3. 5. 2024"
        if hold is COUNTED:
            return len(self.word) > 1
        if character in DOTS and (len(self.word) == 1 or self.word.lower() in self._known.counted):
            return False  # "J. A. Smith", "the U.S. No. 1"
        return (self.word.lower() in self._listed(hold)) is (hold.needs is Needs.STARTER)

    def _verdict_without_space(self, character: str, hold: Hold, left: Left) -> bool | None:
        """Go on with "3.5", "example.com", "etc.,"; end in scripts that write no spaces."""
        if left.open or character in _QUOTATIVE or hold.needs not in (Needs.SPACE, Needs.CAPITAL, Needs.NO_LINK):
            return False
        uncased = character.isalpha() and not character.isupper() and not character.islower()
        is_spaced = left.last in DOTS and character < _CJK  # "कि.मी."
        return (uncased and not is_spaced) or (left.last in WIDE and (character.isalnum() or character in QUOTES))

    def _ruled_out(self, hold: Hold) -> bool | None:
        """Decide about a mark before the word after it is complete, if no list has a word that begins so."""
        word = self.word
        if hold.needs is Needs.STARTER and len(word) < _CONTRACTED:
            return None  # "Don" is a name, and the beginning of "Don't"
        is_open = word.lower() in self._known.prefixes[self._listed(hold)]
        return None if is_open else hold.needs is not Needs.STARTER

    def _listed(self, hold: Hold) -> frozenset[str]:
        """Return the words that decide about a mark."""
        if hold.needs is Needs.STARTER:
            return self._known.starters
        return self._known.links if hold.needs is Needs.NO_LINK else self._known.dates


_QUOTATIVE: Final = frozenset("とっ")  # Japanese goes on after a quotation: "...」と言いました。"
_APOSTROPHES: Final = frozenset("'’")
_LETTERS: Final = frozenset("BCDFGHJKLMNPQRSTVWXZ")  # those that are no words
_CONTRACTED: Final = 8  # letters before which an apostrophe may stand: "Shouldn't"
_MONTHS: Final = 12
_CJK: Final = "\u2e80"  # from here on scripts write no spaces
