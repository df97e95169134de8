"""Whether a call is between two turns, so that another worker can go on with it and nobody notices.

Rule 1: pure. Events and times are arguments.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from voicepipe.flow import Digit, EarlyTranscript, SpeechEnded, SpeechStarted, Transcript

if TYPE_CHECKING:
    from voicepipe.events import Event

__all__ = ["Quiet"]

WORDS_S: Final = 1.5
"""How long the words of a caller who has stopped speaking may take, and the rest of what they have begun to say."""


class Quiet:
    """What the caller does between the turns.

    Attributes:
        from_s: When the caller has said nothing for so long that nothing more is to come of it; inf while they speak.
    """

    def __init__(self) -> None:
        self.from_s = -math.inf

    def note(self, event: Event, now: float) -> bool:
        """Take an event of the session, and return whether it is the caller's."""
        match event:
            case SpeechStarted():
                self.from_s = math.inf
            case SpeechEnded() | EarlyTranscript() | Transcript() | Digit():
                self.from_s = now + WORDS_S
            case _:
                return False
        return True

    def is_quiet(self, now: float) -> bool:
        """Return whether the caller is neither speaking nor about to go on."""
        return now >= self.from_s
