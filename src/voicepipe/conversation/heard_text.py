"""Audio played -> text heard.

Rule 1: pure: no clock, no output, no await.
Rule 2: a word counts only when all of its audio was played. In doubt, less was heard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["HeardText"]

SLOW_CHARACTERS_PER_S = 11.0
"""While a sentence's audio is still arriving its length is unknown: assume slow speech, so that too little counts as
heard rather than too much. Ordinary English speech runs at 14 to 17 characters a second."""

_WORD_END = re.compile(r"\S(?=\s|$)")


@dataclass(slots=True)
class _Spoken:
    text: str
    segment: int
    start_s: float
    duration_s: float = 0.0
    is_whole: bool = False
    marks: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])


class HeardText:
    """The record of one turn's speech, in the order in which it is played."""

    def __init__(self) -> None:
        self._spoken: list[_Spoken] = []

    def begin(self, text: str, segment: int) -> None:
        """Start a sentence where the last one ends."""
        last = self._spoken[-1] if self._spoken else None
        self._spoken.append(_Spoken(text, segment, last.start_s + last.duration_s if last else 0.0))

    def add_audio(self, duration_s: float) -> None:
        """More of the current sentence was handed to the output."""
        self._spoken[-1].duration_s += duration_s

    def add_mark(self, char_end: int, end_s: float) -> None:
        """The current sentence's first `char_end` characters take `end_s` seconds of its audio."""
        self._spoken[-1].marks.append((char_end, end_s))

    def finish(self) -> None:
        """All audio of the current sentence was handed to the output."""
        self._spoken[-1].is_whole = True

    @property
    def written_s(self) -> float:
        """Seconds of audio handed to the output."""
        return self._spoken[-1].start_s + self._spoken[-1].duration_s if self._spoken else 0.0

    def until(self, played_s: float) -> dict[int, str]:
        """Return what was heard by segment, after `played_s` seconds of this turn's audio were played."""
        heard: dict[int, str] = {}
        for spoken in self._spoken:
            text = _heard_of(spoken, played_s - spoken.start_s)
            heard[spoken.segment] = heard.get(spoken.segment, "") + text
        return {segment: text for segment, text in heard.items() if any(c.isalnum() for c in text)}


def _heard_of(spoken: _Spoken, played_s: float) -> str:
    # What is played after this sentence does not count for it, also if the sentence was cut off. And half a sample at
    # 192 kHz more: sums of frame lengths must not lose a sentence to rounding.
    played_s = min(played_s, spoken.duration_s) + 2.5e-6
    if not spoken.duration_s:
        return ""
    if spoken.is_whole and played_s >= spoken.duration_s:
        return spoken.text
    if spoken.marks:
        return spoken.text[: max((end for end, at_s in spoken.marks if at_s <= played_s), default=0)]
    slow_s = len(spoken.text) / SLOW_CHARACTERS_PER_S
    length_s = spoken.duration_s if spoken.is_whole else max(spoken.duration_s, slow_s)
    characters = len(spoken.text) * min(1.0, played_s / length_s)
    ends = [match.end() for match in _WORD_END.finditer(spoken.text)]
    return spoken.text[: max((end for end in ends if end <= characters), default=0)]
