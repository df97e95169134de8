"""Stretches of speech, when audio may stop in the middle of one.

Rule 1: pure: no await, clock or I/O. What the recogniser reports goes in, merged with what a detector reports if there
        is one; what the turn rules hear comes out.
Rule 2: audio that stops ends the stretch for the turn rules, not for the recogniser. The recogniser's own report of
        the end is then dropped, so that each stretch ends once.
Rule 3: a stretch goes on when audio comes back, provided that the recogniser is known to report ends: otherwise a
        stretch that ended a minute ago would seem to begin again with each hiccup of the network.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from voicepipe.flow import SpeechEnded, SpeechStarted, Transcript

if TYPE_CHECKING:
    from voicepipe.flow import Hearing

__all__ = ["SpeechStretches"]


class SpeechStretches:
    """The stretches of speech of one call.

    Args:
        is_detected: Whether starts and ends are known to alternate, as `MergedSpeech` sees to with a detector. Each
            start is then followed by an end, and a transcript ends nothing.
    """

    def __init__(self, *, is_detected: bool = False) -> None:
        self._is_open = False  # for the recogniser
        self._was_ended = False  # the present stretch, by audio that stopped
        self._is_detected = is_detected
        self._reports_ends = is_detected

    @property
    def is_open(self) -> bool:
        """Whether somebody speaks, as far as the turn rules know."""
        return self._is_open and not self._was_ended

    def reported(self, event: Hearing, stopped_s: float | None) -> list[Hearing]:
        """Return what a report of the recogniser means.

        Args:
            event: The report.
            stopped_s: The end of the audio if it has stopped; None while it comes.
        """
        match event:
            case SpeechStarted(at_s=at_s):
                self._is_open, self._was_ended = True, stopped_s is not None
                if stopped_s is None:
                    return [event]
                until_s = max(at_s, stopped_s)
                return [replace(event, until_s=until_s), SpeechEnded(at_s=until_s)]
            case SpeechEnded():
                is_known = self._was_ended
                self._is_open, self._was_ended, self._reports_ends = False, False, True
                return [] if is_known else [event]
            case Transcript() if not self._is_detected:
                self._is_open = False
                return [event]
            case _:
                return [event]

    def stopped(self, at_s: float) -> list[Hearing]:
        """Audio has stopped; it ended at `at_s`."""
        if not self.is_open:
            return []
        self._was_ended = True
        return [SpeechEnded(at_s=at_s)]

    def resumed(self, at_s: float) -> list[Hearing]:
        """Audio came back at `at_s`, and the recogniser has heard nothing of the gap."""
        if not (self._is_open and self._was_ended and self._reports_ends):
            return []
        self._was_ended = False
        return [SpeechStarted(at_s=at_s)]

    def silenced(self) -> None:
        """The recogniser was given silence: whatever was open, only a new stretch counts from here on."""
        self._is_open = False
