"""What a recogniser has understood of the caller's present turn, over any number of connections.

Rule 1: pure: no await, no clock, no I/O.
Rule 2: each of the caller's turns gives one `Transcript`, even if connections are replaced in the middle of it.
Rule 3: nothing a service sends can break it: a position that is out of range says nothing.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from voicepipe.flow import EarlyTranscript, SpeechEnded, SpeechStarted, Transcript, Word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.flow import Hearing
    from voicepipe.vendors.line.audio_clock import AudioClock

__all__ = ["HeardTurn"]

WORD_S: Final = 1.0
"""A word that ended so long before the end of the audio would have become longer by then, if it were to."""

UNHEARD_S: Final = 3.0
"""A new connection that understands nothing for so long has not heard the turn that broke off, which is over then."""

ONSET_S: Final = 1.0
"""The end of a silence that is sent again all the same: a word may have begun in it that is not recognised yet."""

TERMINAL: Final = re.compile("[.?!…。\uff1f\uff01؟।]['\")\\]»”\u2019]*$")
"""The end of a text that sounds finished."""


class HeardTurn:
    """The caller's turns in one call, one after the other.

    Attributes:
        clock: Maps positions in the present connection's audio to times; None before there is one.
        is_open: Whether somebody seems to be in the middle of a turn.
        settled_s: Until when audio belongs to turns that have ended, or was found silent before the next one, so that
            it need not be sent again.
        carried_until_s: Until when the next connection need not hear the open turn, since its words are kept from
            before.
    """

    def __init__(self) -> None:
        self.clock: AudioClock | None = None
        self.is_open = False
        self.settled_s = self.carried_until_s = -math.inf
        self._words: tuple[Word, ...] = ()  # the newest
        self._carried: tuple[Word, ...] = ()  # older than the audio that can be sent again
        self._early: EarlyTranscript | None = None
        self._is_speech = False
        self._speech_s = self._stopped_s = -math.inf  # the newest start and end of speech
        self._repeated_until_s = -math.inf
        self._unheard_until_s = math.inf

    def connect(self, clock: AudioClock, *, oldest_s: float, newest_s: float) -> None:
        """Continue on a new connection, which receives the audio between these times again.

        Words of which that audio holds no more than an end are kept from before, unless that was the end of all audio:
        such a word may have been the beginning of another.
        """
        sent_until_s = self.clock.at(self.clock.sent_s) if self.clock is not None else -math.inf
        self.clock = clock
        self._repeated_until_s = newest_s
        self._carried += tuple(
            word
            for word in self._words
            if word.end_s <= oldest_s or (word.start_s < oldest_s and word.end_s <= sent_until_s - WORD_S)
        )
        if self._carried:
            self.carried_until_s = self._carried[-1].end_s
            self._unheard_until_s = newest_s + UNHEARD_S
        self._words = ()
        self._early = None

    def due(self, now: float) -> list[Hearing]:
        """End a turn of which the present connection has heard nothing, so that it does not report its end."""
        return self.finish(self.final(self.text(""), (), now)) if now >= self._unheard_until_s else []

    # --- sounds -------------------------------------------------------------------------------------------------------

    def start(self, at_s: float) -> list[Hearing]:
        """Speech began; nothing is reported that was sent twice, or reported before a connection broke."""
        if at_s == self._speech_s or (self.is_open and at_s <= self._repeated_until_s):
            return []
        self.is_open = self._is_speech = True
        self._speech_s = at_s
        return [SpeechStarted(at_s=at_s)]

    def begin(self, words: Sequence[Word], now: float) -> list[Hearing]:
        """Speech began with words of which no start was reported."""
        if self._is_speech:
            return []
        starts = [word.start_s for word in words if word.start_s >= self._stopped_s] if words else [now]
        return self.start(starts[0]) if starts else []

    def stop(self, at_s: float) -> list[Hearing]:
        """Speech ended, if it was reported to have begun."""
        if not self._is_speech:
            return []
        self._is_speech = False
        self._stopped_s = max(at_s, self._speech_s)
        return [SpeechEnded(at_s=self._stopped_s)]

    def silent_until(self, position_s: float | None) -> None:
        """Settle audio in which no speech was recognised: a silent line would hold 5 s of it, 160 KB."""
        if position_s is not None and self.clock is not None and self.clock.sent_s and not self.is_open:
            self.settled_s = max(self.settled_s, self.clock.at(position_s) - ONSET_S)

    # --- words --------------------------------------------------------------------------------------------------------

    def text(self, said: str) -> str:
        """Return what this connection has understood of the turn, after the words from before it."""
        return " ".join([*(word.text for word in self._carried), said]).strip()

    def hear(self, text: str, words: Sequence[Word], *, is_stable: bool) -> list[Hearing]:
        """Report early words, unless nothing about them is new."""
        self.is_open = True
        self._unheard_until_s = math.inf
        self._words = tuple(words) or self._words
        early = EarlyTranscript(text, stable=is_stable)
        if early == self._early:
            return []
        self._early = early
        return [early]

    def retract(self) -> None:
        """Record that there were no words after all, but those from before this connection."""
        self._early, self._words = None, ()
        self.is_open = bool(self._carried)

    def looks_finished(self, text: str) -> bool:
        """Whether early words look like the last of the turn: a sentence's end, or the same words again."""
        return bool(TERMINAL.search(text)) or (self._early is not None and self._early.text == text)

    def final(self, text: str, words: Sequence[Word], now: float) -> Transcript:
        """Return the transcript of a turn whose end is known at `now`."""
        words = (*self._carried, *words)
        last_s = words[-1].end_s if words else self._words[-1].end_s if self._words else now
        # A service pads its last word by up to a quarter of a second, so it may end in the future.
        return Transcript(text, min(last_s, now), now, words)

    def finish(self, transcript: Transcript) -> list[Hearing]:
        """End the turn, and report its transcript if there is text in it."""
        self._early = None
        self._words = self._carried = ()
        self.is_open = self._is_speech = False
        self._unheard_until_s = math.inf
        if not transcript.text:
            return []
        self.settled_s = max(self.settled_s, transcript.speech_ended_s)
        return [transcript]

    # --- times --------------------------------------------------------------------------------------------------------

    def word(self, text: str, start_s: float | None, end_s: float | None, confidence: float, now: float) -> Word:
        """Return a word between two positions in the connection's audio."""
        began_s, ended_s = self.time(start_s, now), self.time(end_s, now)
        return Word(text, start_s=began_s, end_s=max(began_s, ended_s), confidence=confidence)

    def time(self, position_s: float | None, now: float) -> float:
        """Return when a position was spoken; `now` for none, and for one before any audio was sent."""
        if position_s is None or self.clock is None or not self.clock.sent_s:
            return now
        return min(now, self.clock.at(position_s))
