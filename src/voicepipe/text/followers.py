"""What follows a held mark, and whether the mark ends its sentence.

Rule: at most one word is read, and of that as many letters as no list can do without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voicepipe.text.holds import CERTAIN, COUNTED, GLUED, ITEM, LIVELY, Hold, Needs
from voicepipe.text.left import DOTS, MARKS, NEWLINES, QUOTES, WIDE, Left, is_letter

if TYPE_CHECKING:
    from voicepipe.text.languages import Words

__all__ = ["Follower"]


class Follower:
    """The word after a held mark, as far as it is there and decides.

    Attributes:
        word: Its letters so far, "" while none has come.
    """

    __slots__ = ("_known", "_marks", "word")

    def __init__(self, known: Words) -> None:
        self._known = known
        self._marks = MARKS | known.marks
        self.word = ""

    def begin(self) -> None:
        """Forget the word, for the next mark."""
        self.word = ""

    def verdict(self, character: str, hold: Hold, left: Left, *, is_spaced: bool) -> bool | None:
        """Return whether the held mark ends a sentence now that `character` follows it; None: not decided."""
        if self.word:
            if not is_letter(character):
                return self.begins_sentence(hold, character)
            self.word += character
            return self._ruled_out(hold)
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
        if hold.needs is Needs.NEWLINE or character.islower():
            return False
        if left.last in DOTS and ("\u0900" <= character <= "\u0fff" or character >= _CJK):
            return False  # sentences of these scripts end with marks of their own
        if character.isdigit():
            return hold.needs in (Needs.CAPITAL, Needs.NO_LINK) and hold is not COUNTED
        if hold.needs is Needs.CAPITAL:
            return True
        self.word = character
        return self._ruled_out(hold)

    def is_glued(self, character: str, hold: Hold, left: Left) -> bool:
        """Return whether a word follows the mark at once, as in "done.There" and "Acme.Shop"."""
        return hold in (CERTAIN, LIVELY) and not self.word and character.isupper() and left.word[-2:-1].islower()

    def begins_sentence(self, hold: Hold, character: str = "") -> bool:
        """Return whether the word, which is complete because `character` or nothing follows it, begins a sentence."""
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
        is_open = self.word.lower() in self._known.prefixes[self._listed(hold)]
        return None if is_open else hold.needs is not Needs.STARTER

    def _listed(self, hold: Hold) -> frozenset[str]:
        """Return the words that decide about a mark."""
        if hold.needs is Needs.STARTER:
            return self._known.starters
        return self._known.links if hold.needs is Needs.NO_LINK else self._known.dates


_QUOTATIVE: Final = frozenset("とっ")  # Japanese goes on after a quotation: "...」と言いました。"
_CJK: Final = "\u2e80"  # from here on scripts write no spaces
