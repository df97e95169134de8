"""When the caller hears the first sound of a turn, and the first one of its answer.

Rule 1: a sound is a sample out of `voicepipe.audio.pcm.QUIET`. What a voice begins with may be silence.
Rule 2: what was flushed before it was played was no sound; the turn is listened to further.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voicepipe.audio.pcm import first_audible

if TYPE_CHECKING:
    from voicepipe.timeline import Timeline

__all__ = ["FirstSound"]

OF_SOUND: Final = ("first_sample", "first_audible", "answer")


class FirstSound:
    """Listens to what one turn plays, until its answer is heard.

    Args:
        timeline: Gets the marks `first_sample`, `first_audible` and `answer`.
        sample_rate: Samples per second of what is played.

    Attributes:
        is_due: Whether there is still something to listen for: it looks at no frame after that.
    """

    def __init__(self, timeline: Timeline, sample_rate: int) -> None:
        self.is_due = "answer" not in timeline
        self._timeline = timeline
        self._rate = sample_rate

    def plays(self, pcm: bytes, at_s: float, *, is_filler: bool) -> None:
        """Take a frame that the output plays from `at_s` on."""
        timeline = self._timeline
        timeline.mark_speech("first_sample", at_s, is_filler=is_filler)
        if is_filler and "first_audible" in timeline:
            return
        if (before := first_audible(pcm)) is None:
            return
        heard_s = at_s + before / self._rate
        timeline.mark_speech("first_audible", heard_s, is_filler=is_filler)
        if not is_filler:
            timeline.mark("answer", heard_s)
            self.is_due = False

    def silenced(self, now: float) -> None:
        """Take note that the output was flushed: what it would have played after this moment was not heard."""
        self._timeline.withdraw(OF_SOUND, after_s=now)
        self.is_due = "answer" not in self._timeline

    def released(self) -> None:
        """Take note that the output plays again: if nothing was heard before, that is what the caller waited for."""
        if "first_audible" not in self._timeline:
            self._timeline.mark("released")
