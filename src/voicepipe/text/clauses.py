# ruff: noqa: RUF001, RUF003 - marks and words of many scripts, look-alikes included
"""Where a sentence that has not ended may be cut, known at any moment.

Rule 1: a character costs the same whatever is held: places are counted, no text is kept, nothing is read again.
Rule 2: a cut leaves the clause mark on its left and white space on its right, as a speaker pauses.
Rule 3: in doubt the first words wait for their sentence; the longest chunk waits for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from unicodedata import category

if TYPE_CHECKING:
    from voicepipe.text.languages import Words

__all__ = ["FIRST_WORDS", "LONGEST", "LONGEST_WITH_MARKS", "SHORTEST", "Clauses"]

LONGEST: Final = 300
"""Characters held at most since the latest clause mark that counts, or the beginning: some 20 s of speech."""

LONGEST_WITH_MARKS: Final = 600
"""Characters held at most, whatever they are: written sentences of more than 300 exist, with commas, and end well."""

SHORTEST: Final = 40
"""A clause mark counts if so many characters are in front of it: no long chunk is cut after "Well,"."""

FIRST_WORDS: Final = 12
"""Columns that the first words have at least, their mark included (a Chinese character has two), beside two words."""


class Clauses:
    """Follow a text character by character and know where it may be cut before its sentence ends.

    Args:
        words: The language, which decides what begins a clause.
        first_words: Whether to look for the place where the first words of the text may leave.

    Places are counted from the beginning of the text, answers from the latest cut.

    Attributes:
        first: How many of the held characters may leave as the first words; 0 if none, and after any cut.
    """

    def __init__(self, words: Words, *, first_words: bool = False) -> None:
        self._words = words
        self._start = self._at = 0  # where what is held begins and ends
        self._clause = self._conjunction = self._space = self._between = self._safe = 0  # where it may be cut
        self._last = self._word = ""  # of the latest word, as many characters as matter
        self._is_unspaced = False  # whether the latest character is of a script that writes no spaces
        self._mark = self._before_mark = ""  # a clause mark about which the next word decides, and what it follows
        self._mark_at = 0
        self.first = 0
        self._seeks_first = first_words
        self._text_at = -1  # where the text begins, after white space
        self._count = self._wide = 0  # its words, and its characters of two columns
        self._can_be_first = False  # whether the text up to the mark is long enough
        self._may_be_list = False  # whether a comma looked like that of a list: "red," + " green"

    def take(self, character: str, *, in_quotes: bool = False) -> int:
        """Note the next character; return how many of the held ones have to leave now, nearly always 0.

        The first words are not taken out of quotes or brackets, which sound as one.
        """
        last, self._last = self._last, character
        self._at += 1
        if character.isspace():
            if not last.isspace():
                self._end_word()
                self._space = self._at - 1
        elif character in _MARKS and (character != "-" or not last or last.isspace()):
            self._note_mark(character, last, in_quotes=in_quotes)
        else:
            if not self._word:
                self._begin_word(character, last)
            if len(self._word) < _KEPT:
                self._word += character
        if character.isascii():
            self._safe = self._at - 1
            if self._is_unspaced and character.isalnum():
                self._between = self._at - 1
            self._is_unspaced = False
        else:
            self._note_script(character, last)
        if self._at - self._start < LONGEST:
            return 0
        place = self._clause if self._clause - self._start >= SHORTEST else self._start
        is_long = self._at - place >= LONGEST or self._at - self._start >= LONGEST_WITH_MARKS
        return self._best() if is_long else 0

    def take_letters(self, run: str) -> bool:
        """Note the next letters, all of ASCII, as `take` would one by one; return False if that has to be done."""
        end = self._at + len(run)
        if self._is_unspaced or end - self._start >= LONGEST:
            return False
        if not self._word:
            self._at += 1
            self._begin_word(run[0], self._last)
        self._last, self._at = run[-1], end
        self._word = (self._word + run)[:_KEPT]
        self._safe = self._at - 1
        return True

    def cut(self, count: int) -> None:
        """Note that the first `count` held characters have left."""
        self._start += count
        self._seeks_first = self._can_be_first = False
        self.first = 0

    # --- words and marks ----------------------------------------------------------------------------------------------

    def _begin_word(self, character: str, last: str) -> None:
        if self._text_at < 0:
            self._text_at = self._at - 1
        if not self._mark:
            return
        mark = self._mark
        if not last.isspace() and mark not in _UNSPACED_MARKS:
            self._mark = ""  # "1,000", "3:30", ":)", "4–5"
            return
        if character.isdigit() and self._before_mark[-1:].isdigit():
            self._decide(is_pause=False)  # "May 5, 2024", "4, 5 or 6"
            return
        self._clause = self._mark_at
        if mark in _LISTING:
            is_pause = self._before_mark.endswith(_AFTER_CLAUSES)
        elif mark in _STOPS or (character in _OPENING and mark not in _DASHES):
            is_pause = True
        elif character.isalpha():
            return  # the whole word tells
        else:  # "two pens," + " 3 pads"
            is_pause = character.isdigit() and _is_plain(self._before_mark)
        self._decide(is_pause=is_pause)

    def _end_word(self) -> None:
        word, self._word = self._word, ""
        if not word:
            return
        stem = word
        if word.isalnum():
            self._count += 1
        else:
            self._count += any(map(str.isalnum, word))
            stem = word.replace("’", "'").partition("'")[0].partition("-")[0]  # "I'll", "puis-je"
        if stem in self._words.conjunctions or stem in self._words.joining:
            self._conjunction = self._space
        if self._mark:
            self._decide(is_pause=self._opens(stem) or (self._mark in _DASHES and word[0].islower()))

    def _opens(self, word: str) -> bool:
        """Return whether a word after a clause mark begins a clause."""
        if word in self._words.joining:
            return not self._may_be_list
        return word in self._words.opening or word in self._words.conjunctions

    def _note_mark(self, mark: str, last: str, *, in_quotes: bool) -> None:
        before = self._word if len(self._word) < _KEPT else last
        self._end_word()
        self._mark, self._mark_at, self._before_mark = mark, self._at, before
        is_long = self._at + self._wide - self._text_at >= FIRST_WORDS and (self._count >= 2 or self._is_unspaced)
        hangs = before in self._words.conjunctions or before in self._words.joining  # "and, as you know, ..."
        self._can_be_first = self._seeks_first and is_long and not (in_quotes or hangs)

    def _decide(self, *, is_pause: bool) -> None:
        """Settle whether a speaker would pause at the mark, now that what follows it is known."""
        if is_pause and self._can_be_first:
            self.first = self._mark_at
        self._may_be_list = self._may_be_list or not is_pause
        self._mark = ""

    # --- the longest chunk --------------------------------------------------------------------------------------------

    def _note_script(self, character: str, last: str) -> None:
        """Note whether a text without white space may be cut before this character, which is none of ASCII."""
        kind = category(character)
        if kind[0] == "M" or kind in _JOINED_KINDS or last == _JOINER or character in _CLING or last in _LEAD:
            return  # one letter, syllable or emoji with what came before
        if character in _FLAGS and last in _FLAGS:
            return
        was_unspaced = self._is_unspaced
        self._is_unspaced = kind[0] == "L" and any(low <= character <= high for low, high in _UNSPACED)
        self._safe = self._at - 1
        if character.isalnum() and was_unspaced:
            self._between = self._at - 1
        if self._is_unspaced and character >= _IDEOGRAPHIC:
            self._wide += 1

    def _best(self) -> int:
        """Return how many characters leave when no more may be held.

        The latest clause mark that counts; or else the latest conjunction or else white space in the second half; or
        else the latest place between two words at all. A single word this long, an address say, leaves in pieces.
        """
        if self._clause - self._start >= SHORTEST:
            return self._clause - self._start
        places = self._conjunction, self._space, self._between
        half = self._start + LONGEST // 2
        best = next((place for place in places if place >= half), max(places))
        if best <= self._start:
            best = self._safe if self._safe > self._start else self._at
        return best - self._start


def _is_plain(word: str) -> bool:
    return word.isalpha() and word.islower()


_KEPT: Final = 40  # characters of a word that are kept; no word in the lists is longer

_DASHES: Final = frozenset("-–—")
_STOPS: Final = frozenset(":;؛：；，")  # pauses, whatever follows
_LISTING: Final = frozenset("、")  # between clauses in Japanese, between the items of a list in Chinese and Japanese
_MARKS: Final = frozenset(",،") | _DASHES | _STOPS | _LISTING
_UNSPACED_MARKS: Final = frozenset("—：；，、")  # no white space follows them
_OPENING: Final = frozenset('"“„«‘¿¡「『《')
_AFTER_CLAUSES: Final = tuple("てでがはとらしばずにもどの")  # how Japanese clauses end, and lists of nouns hardly do

_UNSPACED: Final = (
    ("\u0e00", "\u0eff"),  # Thai, Lao
    ("\u1000", "\u109f"),  # Burmese
    ("\u1780", "\u17ff"),  # Khmer
    ("\u3005", "\u30ff"),  # Japanese syllables
    ("\u3400", "\u9fff"),  # Chinese characters
    ("\uf900", "\ufaff"),
    ("\U00020000", "\U0003ffff"),
)
_IDEOGRAPHIC: Final = "\u3000"  # from here on a character is as wide as two letters
_JOINER: Final = "\u200d"
_JOINED_KINDS: Final = frozenset(("Cf", "Lm", "Sk"))  # Unicode categories: joiners, "ー", skin tones
_CLING: Final = frozenset("ะาำぁぃぅぇぉっゃゅょァィゥェォッャュョ")  # letters that never begin a syllable
_LEAD: Final = frozenset("เแโใไ")  # Thai vowels written before their consonant
_FLAGS: Final = frozenset(map(chr, range(0x1F1E6, 0x1F200)))
