"""How fast a voice gives its audio, and how long after its first audio a sentence has to be played.

Rule 1: pure: no await, clock or I/O. Only time in which the voice is waited for counts, never time in which it waits.
Rule 2: what is learned belongs to a voice: all sessions of a host share it.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal, TypeAlias, cast

from voicepipe.audio.pcm import FRAME_S
from voicepipe.errors import ConfigurationError

__all__ = ["REBUFFER_S", "ClipPace", "StartBuffer", "VoicePace", "checked_start_buffer"]

StartBuffer: TypeAlias = float | Literal["learned"]

LONGEST_START_S: Final = 5.0
"""A caller who waits longer for each sentence hangs up; such a voice cannot be helped by a buffer."""

LEARNED_MOST_S: Final = 2.0
"""What is learned is bounded by this, so that one stall of a voice does not delay every sentence after it."""

LEARNED_FROM: Final = 8
"""Sentences that are remembered: a slow minute of a service is forgotten a minute later."""

HEARD_S: Final = 0.001
"""A shorter gap cannot be told from the rounding of times."""

REBUFFER_S: Final = 0.2
"""A sentence that runs dry before anything was learned goes on this much later: one gap, not one for each piece."""


def checked_start_buffer(voice: str, start_buffer_s: object) -> None:
    """Refuse what is not a start buffer.

    Raises:
        ConfigurationError: It is neither 0 to 5 seconds nor "learned".
    """
    if start_buffer_s == "learned":
        return
    is_number = isinstance(start_buffer_s, (int, float)) and not isinstance(start_buffer_s, bool)
    if not is_number or not 0 <= cast("float", start_buffer_s) <= LONGEST_START_S:
        raise ConfigurationError(
            f"{voice}: start_buffer_s must be 0 to {LONGEST_START_S:g} seconds or 'learned', not {start_buffer_s!r}"
        )


class ClipPace:
    """The pace of one sentence.

    Attributes:
        audio_s: Seconds of audio so far.
        behind_s: How long playback would have had to wait in the middle, had it begun with the first audio.
    """

    def __init__(self) -> None:
        self.audio_s = self.behind_s = 0.0
        self._waited_s = 0.0

    def came(self, duration_s: float, waited_s: float) -> None:
        """Note a piece of audio, and for how long the voice was waited for since the piece before it."""
        if self.audio_s:
            self._waited_s += waited_s
            self.behind_s = max(self.behind_s, self._waited_s - self.audio_s)
        self.audio_s += duration_s

    def is_slow(self, silent_s: float) -> bool:
        """Return whether this is worth an event: a frame would be missing, or the caller heard something of it."""
        return self.behind_s >= FRAME_S or (self.behind_s > 0 and silent_s >= HEARD_S)


class VoicePace:
    """What is known of a voice, from the newest sentences."""

    def __init__(self) -> None:
        self._known: deque[tuple[int, float]] = deque(maxlen=LEARNED_FROM)

    def learn(self, characters: int, clip: ClipPace) -> None:
        """Take note of a sentence of so many characters that came whole."""
        self._known.append((max(characters, 1), clip.behind_s))

    def start_buffer_s(self, characters: int) -> float:
        """Return how long after its first audio a sentence of so many characters should be played.

        A voice that is slower than speech falls behind further in a longer sentence; one that stalls does so anywhere.
        """
        behind_s = max((behind * max(1.0, characters / length) for length, behind in self._known), default=0.0)
        return min(behind_s + FRAME_S, LEARNED_MOST_S) if behind_s > 0 else 0.0
