"""Turns sentences into texts that AssemblyAI's text-to-speech accepts, and its word times into ours.

Rule 1: pure: text and times in, text and marks out.
Rule 2: the text that is sent has the sentence's words, in order, so that the word times can be matched one by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from voicepipe.flow import WordMark

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SpokenPart", "TimedWord", "parts_of"]

MAX_CHARACTERS: Final = 1000
"""The longest text of one request: about a minute of speech. The service takes 2000, but only 1500 without a pause, and
a barge-in drops a whole request."""

MAX_RUN: Final = 40
"""The longest run without white space; the service refuses somewhere between 40 and 60."""


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word, and when the service has spoken it.

    Attributes:
        word: A run of the text that was sent, between white space.
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
            timed: The service's word times of this part.
            audio_s: Length of this part's audio.
            start_s: Length of the sentence's audio before this part.
        """
        # The last word may end in the padding of a frame, beyond the counted audio.
        times = [0.0, *(one.end_s for one in timed), audio_s + 0.1]
        if any(after < before for before, after in pairwise(times)):
            return []
        marks: list[WordMark] = []
        at = 0
        for one in timed:
            # A dash between spaces is not spoken, so it may have no time.
            while at < len(self.words) and self.words[at] != one.word and not any(map(str.isalnum, self.words[at])):
                at += 1
            if at == len(self.words) or self.words[at] != one.word:
                return []
            if (char_end := self.ends[at]) is not None:
                marks.append(WordMark(char_end=char_end, end_s=start_s + min(one.end_s, audio_s)))
            at += 1
        return marks


def parts_of(sentence: str) -> list[SpokenPart]:
    """Cut a sentence into parts that the service accepts; nearly always one. Blank text has none."""
    parts: list[SpokenPart] = []
    words: list[str] = []
    ends: list[int | None] = []
    length = 0
    for found in re.finditer(r"\S+", sentence):
        for at in range(found.start(), found.end(), MAX_RUN):
            word = sentence[at : min(at + MAX_RUN, found.end())]
            if words and length + len(word) > MAX_CHARACTERS:
                parts.append(SpokenPart(tuple(words), tuple(ends)))
                words, ends, length = [], [], 0
            words.append(word)
            ends.append(at + len(word) if at + len(word) == found.end() else None)
            length += len(word) + 1
    if words:
        parts.append(SpokenPart(tuple(words), tuple(ends)))
    return parts
