"""What one turn says: how much of it was written to the output, how much was played, and which words were heard.

Rule 1: this is the only place that compares what was written with what was played.
Rule 2: a word counts only when all of its audio was played. In doubt, less was heard.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.text.wording import WORD_END, written_until

if TYPE_CHECKING:
    from voicepipe.core.context import OutputLease
    from voicepipe.flow import Sentence

__all__ = ["Speech"]

SLOW_CHARACTERS_PER_S = 11.0
"""While a sentence's audio is still arriving its length is unknown: assume slow speech, so that too little counts as
heard rather than too much. Ordinary English speech runs at 14 to 17 characters a second."""

NEARLY_S: Final = 0.05
"""When a sentence is this close to being heard, the one before it is not said again: a breath of it is left."""


@dataclass(slots=True)
class _Sentence:
    sentence: Sentence
    segment: int
    start_s: float
    is_filler: bool = False
    duration_s: float = 0.0
    is_whole: bool = False
    marks: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    has_wrong_marks: bool = False
    audible_s: float = math.inf  # when it begins to be played, by the clock; infinite where that is not known


class Speech:
    """The sentences of one turn, in the order in which they are played.

    Attributes:
        lease: What plays them; None until the first one begins.
        fillers: The segments that are words of the application, such as a tool's `say`, and answer nothing.
    """

    def __init__(self) -> None:
        self.lease: OutputLease | None = None
        self.fillers: set[int] = set()
        self._sentences: list[_Sentence] = []
        self._unfinished = 0
        self._all_finished: anyio.Event | None = None  # of those that wait for it
        self._expected: anyio.Event | None = None

    def expect(self) -> None:
        """Count a sentence that was given to TTS; `finish` takes it off again."""
        self._unfinished += 1
        if self._expected is not None:
            self._expected.set()

    async def wait_expected(self) -> None:
        """Wait until TTS is given another sentence."""
        self._expected = anyio.Event()
        try:
            await self._expected.wait()
        finally:
            self._expected = None

    def give_up(self) -> None:
        """Take off the sentences that will not be finished, because something failed."""
        self._unfinished = 0
        self._wake()

    def begin(self, sentence: Sentence, segment: int, *, is_filler: bool = False) -> None:
        """Start a sentence where the last one ends."""
        self._sentences.append(_Sentence(sentence, segment, self.written_s, is_filler))

    def is_filler_at(self, at_s: float) -> bool:
        """Return whether the sentence that is spoken at this place of the turn's audio answers nothing."""
        spoken = [sentence for sentence in self._sentences if sentence.start_s <= at_s]
        return bool(spoken) and spoken[-1].is_filler

    def add_audio(self, duration_s: float) -> None:
        """Count audio of the current sentence that the output is given, or with a minus that it did not take."""
        sentence = self._sentences[-1]
        if not sentence.duration_s and self.lease is not None:
            sentence.audible_s = self.lease.next_audible_s
        sentence.duration_s += duration_s

    def silenced(self) -> None:
        """Note that the output drops what it has not played: a sentence of that begins at a time not yet known."""
        played_s = self.played_s
        for sentence in self._sentences:
            if sentence.start_s >= played_s:
                sentence.audible_s = math.inf

    @property
    def nearly_audible_s(self) -> float:
        """From when on the newest sentence counts as begun in `settled`; infinite where that is not known."""
        return self._sentences[-1].audible_s - NEARLY_S if self._sentences else math.inf

    def add_mark(self, char_end: int, end_s: float) -> None:
        """Note that the current sentence's first `char_end` characters take `end_s` seconds of its audio.

        A mark outside of the text was counted in another unit or in another text, as the marks around it were: what was
        heard of the sentence is then estimated, as it is without marks.
        """
        sentence = self._sentences[-1]
        sentence.marks.append((char_end, end_s))
        sentence.has_wrong_marks |= not 0 <= char_end <= len(sentence.sentence.text)

    def finish(self) -> None:
        """Note that the output has been given all audio of the current sentence."""
        self._sentences[-1].is_whole = True
        self._unfinished -= 1
        if not self._unfinished:
            self._wake()

    def _wake(self) -> None:
        if self._all_finished is not None:
            self._all_finished.set()
            self._all_finished = None

    @property
    def written_s(self) -> float:
        """Seconds of audio that the output has been given."""
        return self._sentences[-1].start_s + self._sentences[-1].duration_s if self._sentences else 0.0

    @property
    def played_s(self) -> float:
        """Seconds of audio that the output has played."""
        return self.lease.played_s if self.lease else 0.0

    @property
    def left_s(self) -> float:
        """Seconds of audio that the output has been given and has not played yet."""
        left = self.written_s - self.played_s
        return left if left > 1e-6 else 0.0  # sums of frame lengths are not exact

    @property
    def is_silent(self) -> bool:
        """Whether every sentence that was given to TTS has been played."""
        return not self._unfinished and not self.left_s

    async def wait_silent(self) -> None:
        """Wait until every sentence that was given to TTS has been played.

        Raises:
            LeaseRevoked: The turn has lost the output.
            AudioError: The output holds audio but plays none.
        """
        while not self.is_silent:
            while self._unfinished:
                self._all_finished = self._all_finished or anyio.Event()
                await self._all_finished.wait()
            if self.lease is not None:
                await self.lease.wait_played()

    def word_start_s(self, played_s: float) -> float | None:
        """Return where the word begins of which `played_s` is a part; None where that is not known.

        The word after the last one that was played whole: that is where a paused reply goes on.
        """
        for sentence in reversed(self._sentences):
            into_s = played_s - sentence.start_s
            if into_s < 0:
                continue
            if sentence.is_whole and into_s >= sentence.duration_s - 2.5e-6:
                return played_s
            if not sentence.marks or sentence.has_wrong_marks:
                return None
            ends = (end_s for _, end_s in sentence.marks if end_s <= into_s + 2.5e-6)
            return sentence.start_s + max(ends, default=0.0)
        return 0.0

    def sentence_start_s(self, played_s: float) -> float:
        """Return where the sentence begins of which `played_s` is a part."""
        return max((one.start_s for one in self._sentences if one.start_s <= played_s), default=0.0)

    def begins_at(self, at_s: float) -> bool:
        """Return whether a sentence begins there."""
        return any(sentence.start_s == at_s for sentence in self._sentences)

    @property
    def sentences(self) -> int:
        """How many sentences have begun to be given to the output."""
        return len(self._sentences)

    @property
    def heard_sentences(self) -> int:
        """How many of them have been heard to their end."""
        played_s = self.played_s + 2.5e-6  # sums of frame lengths are not exact
        return sum(one.is_whole and played_s >= one.start_s + one.duration_s for one in self._sentences)

    @property
    def heard_words(self) -> int:
        """How many words have been heard so far, as they were spoken."""
        ends = [(one.sentence.text, _heard_end(one, self.played_s - one.start_s)) for one in self._sentences]
        return sum(len(text[:end].split()) for text, end in ends)

    def heard(self) -> dict[int, str]:
        """Return what has been heard so far, by segment."""
        return self.heard_until(self.played_s)

    def settled(self, now: float) -> dict[int, str]:
        """Return what is not said again if the call breaks off now, by segment.

        That is what was heard, and the whole of each sentence before one that is heard by now or will be within 50 ms,
        also if the peer's report of that is still to come.
        """
        begun = [at for at, one in enumerate(self._sentences) if one.audible_s - NEARLY_S <= now + 1e-6]
        return self.heard_until(self.played_s, whole=max(begun, default=0))

    def heard_until(self, played_s: float, *, whole: int = 0) -> dict[int, str]:
        """Return what has been heard once `played_s` seconds of this turn's audio were played, by segment.

        The words are those that the model wrote, where others were spoken.

        Args:
            played_s: How much was played.
            whole: How many sentences count as heard to their end.
        """
        heard: dict[int, str] = {}
        for at, sentence in enumerate(self._sentences):
            into_s = math.inf if at < whole else played_s - sentence.start_s
            text = written_until(sentence.sentence, _heard_end(sentence, into_s))
            heard[sentence.segment] = heard.get(sentence.segment, "") + text
        return {segment: text for segment, text in heard.items() if any(c.isalnum() for c in text)}


def _heard_end(sentence: _Sentence, played_s: float) -> int:
    """Return how many characters of a sentence, as it was spoken, have been heard."""
    text = sentence.sentence.text
    # What is played after this sentence does not count for it, also if the sentence was cut off. And half a sample at
    # 192 kHz more: sums of frame lengths must not lose a sentence to rounding.
    played_s = min(played_s, sentence.duration_s) + 2.5e-6
    if not sentence.duration_s:
        return 0
    if sentence.is_whole and played_s >= sentence.duration_s:
        return len(text)
    if sentence.marks and not sentence.has_wrong_marks:
        return max((end for end, at_s in sentence.marks if at_s <= played_s), default=0)
    slow_s = len(text) / SLOW_CHARACTERS_PER_S
    length_s = sentence.duration_s if sentence.is_whole else max(sentence.duration_s, slow_s)
    characters = len(text) * min(1.0, played_s / length_s)
    ends = [match.end() for match in WORD_END.finditer(text)]
    return max((end for end in ends if end <= characters), default=0)
