"""What a caller of `fleet` has heard, word by word. Pure: time is an argument.

Rule 1: a word counts as heard when half of it has been played by the caller's clock.
Rule 2: what lies in the buffer when a connection breaks is dropped: it was never played.
Rule 3: the sentence in which a connection broke may be said again from its beginning; any other word that is heard on
        both sides of the break was heard twice.
"""

from __future__ import annotations

import struct
from collections import Counter, deque

from benchmarks.fleet_app import RATE_OUT, WORD_S, question_of, sentence_of

__all__ = ["Ear"]

HALF_A_WORD = round(RATE_OUT * WORD_S / 2)


class Ear:
    """Plays what comes, and counts the words of the reply to one question at a time.

    Attributes:
        heard: The words of the present reply that were heard, as far as `settle` has counted them.
        twice: Those of them that were heard twice beyond a sentence that was cut.
        cuts: How often the connection broke since the question.
        last_s: When the newest sound ended that was played.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._until_s = 0.0
        self.last_s = 0.0
        self.begin(0)

    def begin(self, question: int) -> None:
        """Listen for the reply to another question."""
        self.heard: set[int] = set()
        self.twice: set[int] = set()
        self.cuts = 0
        self._question = question % 64
        self._samples: Counter[int] = Counter()  # of each word, played since the newest cut
        self._newest = 0  # the word that is being played, or was at last
        self._cut_sentence = -1  # in which the connection broke at last

    def add(self, pcm: bytes, now: float) -> None:
        """Take a frame; it is played when all before it has been."""
        self.play(now)
        begins_s = max(self._until_s, now)
        self._waiting.append((begins_s, pcm))
        self._until_s = begins_s + len(pcm) / 2 / RATE_OUT

    def play(self, now: float) -> None:
        """Play what is due by now."""
        while (
            self._waiting and (until_s := self._waiting[0][0] + len(self._waiting[0][1]) / 2 / RATE_OUT) <= now + 1e-6
        ):
            _, pcm = self._waiting.popleft()
            samples, (first, last) = len(pcm) // 2, ends(pcm)
            self._note(first, samples // 2, until_s)
            self._note(last, samples - samples // 2, until_s)

    def _note(self, value: int, samples: int, until_s: float) -> None:
        if not value:
            return
        self.last_s = until_s
        if question_of(value) == self._question:
            self._samples[value] += samples
            self._newest = value

    def clear(self) -> None:
        """Drop what was not played, as the server asks."""
        self._waiting.clear()
        self._until_s = 0.0

    def cut(self, now: float) -> None:
        """Drop what was not played when the connection broke."""
        self.play(now)
        self.clear()
        was_speaking = bool(self._samples)
        self.settle()
        if was_speaking:
            self._cut_sentence = sentence_of(self._newest)
        self.cuts += 1

    def settle(self) -> None:
        """Count what was played since the newest cut."""
        heard = {value for value, samples in self._samples.items() if samples >= HALF_A_WORD}
        self.twice |= {value for value in heard & self.heard if sentence_of(value) != self._cut_sentence}
        self.heard |= heard
        self._samples.clear()

    @property
    def is_playing(self) -> bool:
        """Whether there is something left to play."""
        return bool(self._waiting)

    @property
    def has_begun(self) -> bool:
        """Whether some of the present reply was played."""
        return bool(self._samples or self.heard or self._cut_sentence >= 0)


def ends(pcm: bytes) -> tuple[int, int]:
    """Return the first and the last sample of a frame."""
    return struct.unpack_from("<h", pcm)[0], struct.unpack_from("<h", pcm, len(pcm) - 2)[0]
