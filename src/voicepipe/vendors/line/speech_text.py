"""Turns sentences into texts that a text-to-speech service accepts, and its word times into ours.

Rule 1: pure: text and times in, text and marks out.
Rule 2: the text that is sent has the sentence's words, in order, so that the word times can be matched one by one.
Rule 3: a mark never says too much: times that do not fit the text or the audio give none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from voicepipe.flow import WordMark

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SpokenPart", "TimedWord", "is_unspaced", "parts_of"]

PADDING_S: Final = 0.1
"""The last word may end in the padding of a frame, this long after the counted audio."""

UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"  # Japanese and Chinese
)


def is_unspaced(character: str) -> bool:
    """Return whether words are written without spaces in the script of this character."""
    return UNSPACED.match(character) is not None


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word, and when the service has spoken it.

    Attributes:
        word: A run of the text that was sent, between white space, or a piece of one; with or without punctuation.
        end_s: When it ends, in seconds after the request's first sample.
    """

    word: str
    end_s: float


@dataclass(frozen=True, slots=True)
class SpokenPart:
    """A part of a sentence that is one request.

    Attributes:
        words: The words that are sent.
        ends: For each word, after how many characters of the sentence it is complete; None for every piece but the last
            of a word that had to be cut.
    """

    words: tuple[str, ...]
    ends: tuple[int | None, ...]

    @property
    def text(self) -> str:
        """The text that is sent."""
        return " ".join(self.words)

    def marks(self, timed: Sequence[TimedWord], *, audio_s: float, start_s: float) -> list[WordMark]:
        """Return how far the sentence has come after each word; no marks when the times do not fit the text.

        Args:
            timed: The service's word times of this part, as far as they are known.
            audio_s: Length of this part's audio, as far as it has come.
            start_s: Length of the sentence's audio before this part.
        """
        times = [0.0, *(one.end_s for one in timed), audio_s + PADDING_S]
        if any(after < before for before, after in pairwise(times)):
            return []
        marks: list[WordMark] = []
        place = (0, 0)
        for one in timed:
            if (found := self._after(one.word, *place)) is None:
                if any(map(str.isalnum, one.word)):
                    return []
                continue  # punctuation that was counted with the word before it
            place = found
            if (char_end := self._complete_at(*place)) is not None:
                marks.append(WordMark(char_end=char_end, end_s=start_s + min(one.end_s, audio_s)))
        return marks

    def _after(self, timed: str, at: int, into: int) -> tuple[int, int] | None:
        """Return the place after a timed word, as a word and characters into it; None if it does not come next."""
        # A dash between spaces is not spoken, so it may have no time; nor may what surrounds a word.
        while at < len(self.words) and not self.words[at].startswith(timed, into):
            if into < len(self.words[at]) and not self.words[at][into].isalnum():
                into += 1
            elif into < len(self.words[at]):
                return None
            if into == len(self.words[at]):
                at, into = at + 1, 0
        if at == len(self.words) or not timed:
            return None
        into += len(timed)
        return at, into if any(map(str.isalnum, self.words[at][into:])) else len(self.words[at])

    def _complete_at(self, at: int, into: int) -> int | None:
        """Return how many characters of the sentence are spoken at this place; None within a word."""
        word, end = self.words[at], self.ends[at]
        if end is None or (into < len(word) and not (is_unspaced(word[into - 1]) or is_unspaced(word[into]))):
            return None
        return end - len(word) + into


def parts_of(sentence: str, *, max_characters: int, max_run: int | None = None) -> list[SpokenPart]:
    """Cut a sentence into parts that a service accepts; nearly always one. Blank text has none.

    Args:
        sentence: The text.
        max_characters: The longest text of one part.
        max_run: The longest run without white space; None for no limit below `max_characters`.
    """
    parts: list[SpokenPart] = []
    words: list[str] = []
    ends: list[int | None] = []
    length, most = 0, max_run or max_characters
    for found in re.finditer(r"\S+", sentence):
        for at in range(found.start(), found.end(), most):
            word = sentence[at : min(at + most, found.end())]
            if words and length + len(word) > max_characters:
                parts.append(SpokenPart(tuple(words), tuple(ends)))
                words, ends, length = [], [], 0
            words.append(word)
            ends.append(at + len(word) if at + len(word) == found.end() else None)
            length += len(word) + 1
    if words:
        parts.append(SpokenPart(tuple(words), tuple(ends)))
    return parts
