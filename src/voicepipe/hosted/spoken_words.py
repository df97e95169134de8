"""When the words of a hosted agent's reply are spoken. Pure: text with and without times in, pieces to play out.

Rule 1: what went in comes out once, in order.
Rule 2: a service that gives times is believed. For one that does not, a sentence begins where it would in slow speech,
        or, once the reply is whole, at its share of the audio: in doubt, less was heard.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Piece", "SpokenWords", "joined"]

SLOW_CHARACTERS_PER_S: Final = 11.0
"""Slow speech, as in `conversation.speech`: words whose time nobody knows are taken to come late."""

FAR_OFF_S: Final = 2.0
"""Times count from the reply's beginning. If the first one is this far beyond all audio so far, they count from
somewhere else, such as the session's beginning, and the first one is where the reply begins."""

STOPS: Final = ".!?\u3002\uff01\uff1f\u2026"
CLOSERS: Final = "\"')]\u00bb\u201d\u2019"

SENTENCE_END: Final = re.compile(rf"(?<![{STOPS}])[{STOPS}]+[{re.escape(CLOSERS)}]*(?=\s|$)")
"""It begins where a row of stops begins, or a long row of dots would be tried from each of them."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Words that are spoken together.

    Attributes:
        text: The words, with their white space.
        marks: Characters spoken completely, and after how many seconds of the piece's audio.
    """

    text: str
    marks: tuple[tuple[int, float], ...] = ()


def joined(pieces: Sequence[Piece]) -> Piece:
    """Return pieces that begin at the same time as one: each would leave none of the sound to the one before it."""
    text, marks = "", list[tuple[int, float]]()
    for piece in pieces:
        marks += [(len(text) + char_end, end_s) for char_end, end_s in piece.marks]
        text += piece.text
    return Piece(text, tuple(marks) if all(piece.marks for piece in pieces) else ())


@dataclass(slots=True)
class _Words:
    text: str
    start_s: float | None
    end_s: float | None


class SpokenWords:
    """The words of one reply that have not been played yet.

    Attributes:
        is_empty: Whether none wait.
    """

    def __init__(self) -> None:
        self._waiting: deque[_Words] = deque()
        self._passed = 0  # characters that were handed out
        self._offset_s: float | None = None  # what is subtracted from the service's times

    @property
    def is_empty(self) -> bool:
        """Whether no words wait."""
        return not self._waiting

    def add(self, text: str, start_s: float | None, end_s: float | None, audio_s: float) -> None:
        """Add words, as they come.

        Args:
            text: The words.
            start_s: When they begin in the reply's audio; None if the service does not say.
            end_s: When they end.
            audio_s: How much audio of the reply has come.
        """
        if not text:
            return
        if start_s is None or end_s is None or not 0 <= start_s <= end_s:
            self._add_untimed(text)
            return
        if self._offset_s is None:
            self._offset_s = start_s if start_s > audio_s + FAR_OFF_S else 0.0
        self._waiting.append(_Words(text, max(0.0, start_s - self._offset_s), max(0.0, end_s - self._offset_s)))

    def _add_untimed(self, text: str) -> None:
        """Cut words into sentences, because each of them gets an estimated time of its own."""
        at = seen = 0
        if self._waiting and self._waiting[-1].start_s is None:
            before = self._waiting.pop().text
            text, seen = before + text, len(before.rstrip().rstrip(CLOSERS).rstrip(STOPS))
        for end in [match.end() for match in SENTENCE_END.finditer(text, seen)]:
            if text[end:].strip():
                self._waiting.append(_Words(text[at:end], None, None))
                at = end
        self._waiting.append(_Words(text[at:], None, None))

    def due(self, at_s: float, audio_s: float, *, is_whole: bool) -> Piece | None:
        """Take the words that begin at this place of the reply's audio; None if none do.

        With their times known, these are as many as are known up to the end of a sentence.

        Args:
            at_s: How much of the audio comes before.
            audio_s: How much audio has come.
            is_whole: Whether all of the reply has come.
        """
        if not self._waiting or self._start_s(audio_s, is_whole=is_whole) > at_s + 1e-6:
            return None
        first = self._waiting[0].start_s
        return self._untimed(is_whole=is_whole) if first is None else self._timed(first)

    def rest(self) -> Piece | None:
        """Take all words that wait: the audio ends here."""
        text = "".join(words.text for words in self._waiting)
        self._waiting.clear()
        self._passed += len(text)
        return Piece(text) if text else None

    def _start_s(self, audio_s: float, *, is_whole: bool) -> float:
        if (start_s := self._waiting[0].start_s) is not None:
            return start_s
        if not is_whole:
            return self._passed / SLOW_CHARACTERS_PER_S
        return audio_s * self._passed / (self._passed + sum(len(words.text) for words in self._waiting))

    def _untimed(self, *, is_whole: bool) -> Piece:
        text, rest = self._waiting.popleft().text, ""
        if not is_whole and not self._waiting and not SENTENCE_END.search(text):
            cut = len(text.rstrip()) if text[-1:].isspace() else text.rfind(" ")
            if text[:cut].strip():  # half a word waits for its other half
                text, rest = text[:cut], text[cut:]
        if rest:
            self._waiting.append(_Words(rest, None, None))
        self._passed += len(text)
        return Piece(text)

    def _timed(self, start_s: float) -> Piece:
        words, marks, size, spoken = list[str](), list[tuple[int, float]](), 0, 0
        while self._waiting and (end_s := self._waiting[0].end_s) is not None:
            word = self._waiting.popleft().text
            bare = word.rstrip()
            spoken = size + len(bare) if bare else spoken
            size += len(word)
            words.append(word)
            marks.append((spoken, round(max(0.0, end_s - start_s), 6)))
            if SENTENCE_END.search(bare[-4:]):
                break
        self._passed += size
        return Piece("".join(words), tuple(marks))
