"""How long to wait after the caller's last word before it is taken as the end of their turn.

Rule 1: pure. Rule 2: the table is the whole rule, read from above; times are for the eagerness "normal".

| the words so far | wait, in seconds after the last word |
|---|---|
| begin what is expected, which is not complete | 2.5 |
| complete it | 0 |
| are written like a sentence, but without its end: "Please take my order" | 1.5 |
| end with several digits, or with one and no full stop | 1.4 |
| break off at a word that leads on: "and", "my", "um" | 1.0 |
| are a whole sentence | 0 |
| anything else | 0.4 to 1.6, by this caller's own pauses; 0.6 at first |
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from voicepipe.turntaking.phrases import is_sentence, is_written

if TYPE_CHECKING:
    from voicepipe.turntaking.floor_view import FloorView
    from voicepipe.turntaking.phrases import Phrases
    from voicepipe.turntaking.rules import Eagerness

__all__ = ["EXPECTED_S", "FACTORS", "Patience"]

FACTORS: Final[dict[Eagerness, float]] = {"low": 1.5, "normal": 1.0, "high": 0.6}

EXPECTED_S: Final = 2.5

UNFINISHED_S: Final = 1.5
"""People pause for up to 1.2 s within a sentence, and it takes up to 0.2 s to notice that they go on."""

DIGITS_S: Final = 1.4
"""People pause for 1 s within a number; their last sound fades, and it takes up to 0.2 s to notice that they go on."""

OPENER_S: Final = 1.0
AT_FIRST_S: Final = 0.6
LEAST_S: Final = 0.4
MOST_S: Final = 1.6
MARGIN_S: Final = 0.2
QUANTILE: Final = 0.9
KEPT: Final = 20
"""Pauses to remember: a caller does not change their manner in the middle of a call, but their subject."""


class Patience:
    """What is known about one caller's pauses.

    Args:
        eagerness: How soon the agent answers.
        phrases: The words of the caller's language.
        floor: Knows what is expected of the caller's words.
        is_closed: Whether the recogniser forces all speech into phrases: each of its texts is a whole one.
    """

    def __init__(self, eagerness: Eagerness, phrases: Phrases, floor: FloorView, *, is_closed: bool = False) -> None:
        self._factor = FACTORS[eagerness]
        self._floor = floor
        self._phrases = phrases
        self._is_closed = is_closed
        self._pauses: list[float] = []

    def learn(self, pause_s: float) -> None:
        """Remember a pause after which the caller went on."""
        self._pauses = [*self._pauses[1 - KEPT :], pause_s]

    def after_s(self, text: str) -> float:
        """Return how many seconds after the last word of `text` the caller's turn is over."""
        return self._factor * self._normal_s(text)

    def sounds_finished(self, text: str) -> bool:
        """Return whether nothing has to be waited for."""
        return not self._normal_s(text)

    def _normal_s(self, text: str) -> float:
        if (progress := self._floor.progress(text)) in ("begun", "met"):
            return EXPECTED_S if progress == "begun" else 0.0
        is_whole = self._is_closed or is_sentence(text)
        if not is_whole and is_written(text):
            return UNFINISHED_S
        digits = self._phrases.digits_at_end(text)
        if digits > 1 or (digits and not is_whole):
            return DIGITS_S
        if self._phrases.opens(text) and not text.rstrip().endswith("?"):
            return OPENER_S
        if is_whole:
            return 0.0
        return self._own_s

    @property
    def _own_s(self) -> float:
        if not self._pauses:
            return AT_FIRST_S
        pauses = sorted(self._pauses)
        longest = pauses[math.ceil(QUANTILE * len(pauses)) - 1]
        return min(max(longest + MARGIN_S, LEAST_S), MOST_S)
