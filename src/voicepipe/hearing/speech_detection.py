"""From a detector's probabilities to stretches of speech.

Rule 1: pure: no await, clock or I/O. A frame's probability and time go in; the start or the end of speech comes out.
Rule 2: starts and ends alternate. Both are dated to the sound, not to the moment at which they were certain.
Rule 3: a click starts nothing: speech has started once three of five frames are speech.
"""

from __future__ import annotations

import math
from typing import Final

from voicepipe.audio.pcm import FRAME_S
from voicepipe.flow import SpeechEnded, SpeechStarted

__all__ = ["ENDS_AFTER_S", "SpeechDetection"]

START_FRAMES: Final = 3
START_AMONG: Final = 5
"""Frames: so many of speech among so many begin a stretch."""

ENDS_AFTER_S: Final = 0.2
"""Silence that ends a stretch. Shorter ones are inside words: the closed lips before a p or a t last up to 0.15 s."""

EXACT_S: Final = 1e-6
"""Times within this are the same: they are sums of frame lengths."""


class SpeechDetection:
    """The stretches of speech of one call, frame by frame.

    Args:
        start_threshold: The probability from which a frame counts as speech while nobody speaks.
        end_threshold: The probability below which a frame counts as silence while somebody speaks.
        hang_over_s: For how long after speech the detector goes on to report it; an end is dated back by it.
    """

    def __init__(self, start_threshold: float, end_threshold: float, hang_over_s: float = 0.0) -> None:
        self._start_threshold = start_threshold
        self._end_threshold = end_threshold
        self._hang_over_s = hang_over_s
        self._onsets: list[float] = []  # when the newest frames of speech began, while nobody is known to speak
        self._started_s: float | None = None
        self._spoke_until_s = -math.inf

    @property
    def is_speech(self) -> bool:
        """Whether somebody speaks."""
        return self._started_s is not None

    def feed(self, start_s: float, probability: float) -> SpeechStarted | SpeechEnded | None:
        """Take the probability of speech in the 20 ms from `start_s`, and return what it means, if anything."""
        if self.is_speech:
            if probability >= self._end_threshold:
                self._spoke_until_s = start_s + FRAME_S
            elif start_s + FRAME_S - (ended_s := self._spoke_until_s - self._hang_over_s) >= ENDS_AFTER_S - EXACT_S:
                return self._end(ended_s)
            return None
        if probability < self._start_threshold:
            return None
        onsets = self._onsets
        onsets.append(start_s)
        while onsets[0] < start_s - (START_AMONG - 1) * FRAME_S - EXACT_S:
            del onsets[0]
        if len(onsets) < START_FRAMES:
            return None
        self._started_s, self._spoke_until_s = onsets[0], start_s + FRAME_S
        onsets.clear()
        return SpeechStarted(at_s=self._started_s)

    def hang_up(self) -> SpeechEnded | None:
        """Take the end of the audio, and return the end of the speech in it, if somebody speaks."""
        return self._end(self._spoke_until_s) if self.is_speech else None

    def _end(self, at_s: float) -> SpeechEnded:
        assert self._started_s is not None  # noqa: S101 - only what has started ends
        started_s, self._started_s = self._started_s, None
        return SpeechEnded(at_s=max(started_s, at_s))  # a stretch may be shorter than the hang-over
