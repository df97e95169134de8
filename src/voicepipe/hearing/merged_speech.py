"""One account of the caller's speech from two: the recogniser's and the detector's.

Rule 1: pure: no await, clock or I/O.
Rule 2: starts and ends alternate: each stretch of speech starts once, by the earlier report, and ends once.
Rule 3: a stretch that the detector hears ends when the detector says so: the recogniser's report of it is late, or
        never comes. A stretch that the recogniser alone reports ends by its report, or by the transcript.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from voicepipe.flow import SpeechEnded, SpeechStarted, Transcript

if TYPE_CHECKING:
    from voicepipe.flow import Hearing

__all__ = ["MergedSpeech"]

SAME_SPEECH_S: Final = 0.25
"""A recogniser that dates a start up to this long after an end means the speech that has ended: services are not more
exact, and of new speech the detector knows sooner."""


class MergedSpeech:
    """The stretches of speech of one call that has a detector."""

    def __init__(self) -> None:
        self._started_s: float | None = None  # of the open stretch
        self._ended_s = -math.inf  # of the newest stretch that has ended
        self._is_detected = False  # the detector hears the open stretch
        self._recogniser_ends = False  # the recogniser is known to report ends

    @property
    def will_end(self) -> bool:
        """Whether the end of what is open is known to be reported without a transcript."""
        return self._is_detected or self._recogniser_ends

    def detected(self, event: SpeechStarted | SpeechEnded) -> list[Hearing]:
        """Return what a report of the detector adds."""
        if isinstance(event, SpeechEnded):
            self._is_detected = False
            return self._end(event)
        self._is_detected = True
        return self._start(replace(event, at_s=max(event.at_s, self._ended_s)))

    def reported(self, event: Hearing) -> list[Hearing]:
        """Return what a report of the recogniser adds, in order."""
        match event:
            case SpeechStarted(at_s=at_s):
                return [] if at_s <= self._ended_s + SAME_SPEECH_S else self._start(event)
            case SpeechEnded():
                self._recogniser_ends = True
                return [] if self._is_detected else self._end(event)
            case Transcript(speech_ended_s=ended_s) if not self._is_detected:
                return [*self._end(SpeechEnded(at_s=ended_s)), event]
            case _:
                return [event]

    def forget(self, at_s: float) -> None:
        """Take the open stretch as ended at `at_s`, without a report."""
        self._end(SpeechEnded(at_s=at_s))

    def _start(self, event: SpeechStarted) -> list[Hearing]:
        if self._started_s is not None:
            return []
        self._started_s = event.at_s
        return [event]

    def _end(self, event: SpeechEnded) -> list[Hearing]:
        if self._started_s is None:
            return []
        self._ended_s = max(event.at_s, self._started_s)
        self._started_s = None
        return [replace(event, at_s=self._ended_s)]
