"""What the caller is saying at present: sounds and early words, until the final words come.

Rule 1: pure. Recognisers differ: some report no end of speech, some no beginning, some no early words.
Rule 2: words that were taken before their final came are not taken again from it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from voicepipe.turntaking.phrases import is_sentence, normal

if TYPE_CHECKING:
    from voicepipe.flow import Transcript

__all__ = ["Utterance"]

STABLE_SILENCE_S: Final = 0.1
STABLE_REPEATS: Final = 2
STABLE_REPEATED_S: Final = 0.3
"""Early words are stable after so much silence, or once they have come again so often and for so long: some
recognisers repeat theirs with each frame, and a long word takes half a second."""

WORD_S: Final = 0.2
"""Silence makes early words stable only if they came no sooner than this before it: otherwise a word is missing."""

LOST_S: Final = 5.0
"""Early words whose final has not come for so long are taken as they are."""


class Utterance:
    """One utterance after another; `close` ends one.

    Attributes:
        text: The early words so far, without those that were taken before.
        ended_s: When the newest stretch of speech ended.
        is_noise: Whether the present stretch held up a reply for nothing.
        is_reported: Whether the present utterance was reported as a back-channel.
        is_cut: Whether the caller goes on speaking although they were answered.
        is_forced: Whether the recogniser was asked to end the present utterance.
        was_drafted: Whether the early words have been considered for a draft since they changed.
        is_revised: Whether the newest words replace those that were taken before, because the recogniser has changed
            its mind about the same sound.
    """

    def __init__(self) -> None:
        self.text = ""
        self.ended_s = -math.inf
        self.is_noise = self.is_reported = self.is_cut = self.was_drafted = self.is_revised = False
        self.is_forced = False
        self._began_s = math.inf  # when the caller's words began that nobody has answered
        self._started_s: float | None = None  # of the open stretch
        self._last_start_s = -math.inf
        self._changed_s = -math.inf  # when something was last heard
        self._repeats = 0
        self._first_s = -math.inf  # when the present early words came for the first time
        self._words_s = -math.inf  # when the newest early words came
        self._taken: list[str] = []
        self._is_same_sound = False  # as that of the words taken

    @property
    def is_open(self) -> bool:
        """Whether speech has begun and is not known to have ended."""
        return self._started_s is not None

    @property
    def started_s(self) -> float:
        """When the newest stretch of speech began; -inf if that was never reported."""
        return self._last_start_s

    @property
    def is_stable(self) -> bool:
        """Whether the early words will hardly change, by the words alone."""
        if is_sentence(self.text):
            return True
        return self._repeats >= STABLE_REPEATS and self._changed_s - self._first_s >= STABLE_REPEATED_S - 1e-6

    @property
    def has_ended(self) -> bool:
        """Whether the sound is known to be over, and the early words came after it: they are probably all of it."""
        return bool(self.text) and -math.inf < self._last_start_s <= self.ended_s <= self._words_s and not self.is_open

    @property
    def stable_at_s(self) -> float:
        """When the early words are stable because silence follows them; inf if they are not or were considered."""
        if self.is_open or not self.text or self.was_drafted or self._words_s < self.ended_s - WORD_S:
            return math.inf
        return self.ended_s + STABLE_SILENCE_S

    @property
    def lost_at_s(self) -> float:
        """When the early words are taken although their final has not come; inf without words."""
        return self._changed_s + LOST_S if self.text else math.inf

    def lasted_s(self, now: float) -> float:
        """Return how long the newest stretch of speech has lasted by now; inf if its beginning is unknown."""
        return (now if self.is_open else self.ended_s) - self._last_start_s

    def spoken_s(self, now: float) -> float:
        """Return for how long the caller has been saying what nobody has answered; 0 without words."""
        return now - self._began_s if self.text and self._began_s < now else 0.0

    def spoken_at_s(self, seconds: float) -> float:
        """Return when `spoken_s` reaches a length; inf without words."""
        return self._began_s + seconds if self.text else math.inf

    def start(self, at_s: float, now: float) -> None:
        """Speech began."""
        self._started_s = self._last_start_s = at_s
        self._changed_s = now
        self._began_s = min(self._began_s, at_s)
        self.is_noise = self.is_reported = self._is_same_sound = False

    def end(self, at_s: float, now: float) -> None:
        """Speech ended."""
        self._started_s = None
        self.ended_s, self._changed_s = at_s, now
        self.is_cut = False
        if not self.text:
            self._began_s = math.inf

    def hear(self, text: str, now: float) -> bool:
        """Take early words, and return whether there are any that were not taken before."""
        text = self._untaken(text)
        if not any(c.isalnum() for c in text):
            return False
        if normal(text) == normal(self.text):
            self._repeats += 1
        else:
            self._repeats, self._first_s, self.was_drafted = 0, now, False
        self.text, self._changed_s = text, now
        self._words_s = now
        self._began_s = min(self._began_s, now)
        return True

    def take(self) -> str:
        """Return the early words, which count as answered from now on."""
        text, self.text = self.text, ""
        self._taken += normal(text).split()
        self._is_same_sound = not self.is_open
        return text

    def give_back(self) -> None:
        """Let what was taken count as unanswered if the recogniser has revised it."""
        if self.is_revised:
            self._taken = []
        self.is_revised = False

    def close(self, final: Transcript) -> Transcript | None:
        """End the utterance with its final words, and return what of them was not taken before; None if nothing."""
        if self._started_s is not None and self._started_s < final.speech_ended_s:
            self._started_s = None  # otherwise the open stretch belongs to the words that come next
            self.ended_s = max(self.ended_s, final.speech_ended_s)
            self.is_cut = False
        text = self._untaken(final.text)
        self.text, self._taken, self._repeats, self.is_forced = "", [], 0, False
        if not any(c.isalnum() for c in text):
            return None
        return final if text == final.text else replace(final, text=text, words=())

    def answer(self) -> None:
        """Note that what the caller has said is answered."""
        self._began_s = math.inf

    def _untaken(self, text: str) -> str:
        """Return a text without the words at its beginning that were taken before."""
        self.is_revised = False
        if not self._taken:
            return text
        words, taken = text.split(), list(self._taken)
        while words and taken:
            for word in normal(words[0]).split():
                if not taken or taken.pop(0) != word:
                    self.is_revised = self._is_same_sound
                    return text  # the recogniser has changed its mind: nothing can be left out
            words.pop(0)
        return " ".join(words)
