"""How long a voice may take for the audio of one sentence. Pure: times go in, the limit of the next wait comes out.

Rule 1: only audio is progress: marks and empty pieces renew nothing.
Rule 2: only the voice's own time counts, and none for which its audio waits to be played.
"""

from __future__ import annotations

from typing import Final

__all__ = ["VoiceTime"]

NO_AUDIO_S: Final = 5.0
"""How long TTS may take until the first audio of a sentence, and between two pieces of it."""

BEHIND_S: Final = 5.0
"""How far the audio of a sentence may fall behind speech: seconds waited for it since its first piece, less seconds of
audio. A voice that is slower than speech is heard with gaps, and one that drips is silence."""

LONGEST_S: Final = 10.0
SLOWEST_CHARACTER_S: Final = 1.0
"""The audio of a sentence may last 10 s and a second for each character; a voice that goes on is stuck."""


class VoiceTime:
    """The time that one sentence has taken so far.

    Args:
        text: What is synthesised.
        longest_s: How long its audio may last; None follows from the text.
    """

    def __init__(self, text: str, *, longest_s: float | None = None) -> None:
        self._longest_s = LONGEST_S + SLOWEST_CHARACTER_S * len(text) if longest_s is None else longest_s
        self._audio_s = 0.0
        self._waited_s = 0.0  # since the first audio
        self._silent_s = 0.0  # since the last audio

    @property
    def limit_s(self) -> float:
        """Seconds that the voice may take for its next piece; not positive if it has no time left."""
        left_s = NO_AUDIO_S - self._silent_s
        return min(left_s, BEHIND_S + self._audio_s - self._waited_s) if self._audio_s else left_s

    @property
    def is_endless(self) -> bool:
        """Whether there is more audio than the sentence can need."""
        return self._audio_s > self._longest_s

    def waited(self, seconds: float) -> None:
        """Count time for which a piece was waited for."""
        self._silent_s += seconds
        self._waited_s += seconds if self._audio_s else 0.0

    def came(self, audio_s: float) -> None:
        """Count audio that has come."""
        if audio_s:
            self._audio_s += audio_s
            self._silent_s = 0.0

    def problem(self) -> str:
        """Return what is wrong with a voice that has no time left, or does not end."""
        if self.is_endless:
            return f"gave more than {self._longest_s:g} s of audio for one sentence"
        if self._audio_s and BEHIND_S + self._audio_s - self._waited_s < NO_AUDIO_S - self._silent_s:
            return f"is slower than speech by more than {BEHIND_S:g} s"
        return f"sent no audio for {NO_AUDIO_S:g} s"
