"""Decides whether a recogniser's event is the agent's own voice, picked up from a loudspeaker.

Rule 1: pure: the agent's sentences and the recogniser's events go in with their times, and a verdict comes out.
Rule 2: speech that began while the agent was inaudible is the caller's, whatever its words are.
Rule 3: of speech that began while the agent was audible, only words that the agent did not just say count.
Rule 4: in doubt, a final transcript is an echo while the agent speaks, and the caller's once the agent has ended: an
        agent that talks to itself never stops, whereas a caller can repeat an answer that was ignored.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voicepipe.flow import EarlyTranscript, SpeechEnded, SpeechStarted, Transcript
from voicepipe.turntaking.echo_words import are_enough, new_words, words_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.flow import Hearing

__all__ = ["ECHO_S", "EchoGuard"]

ECHO_S: Final = 0.25
"""How long after a sample was handed to the output the microphone may pick it up: the latencies of loudspeaker and
microphone, and of the room. A wired pair has 0.1 s; what `voicepipe devices --loopback` measures must be less."""

EARLY_S: Final = 0.1
"""How far too early a recogniser may date the beginning of speech."""

REPORTED_S: Final = 2.0
"""How late the words may come from a recogniser that does not report when speech began."""

PAUSED_S: Final = 2.0
"""Speech after a longer pause than this belongs to another utterance, even if nothing was recognised before it."""

KEPT: Final = 50
"""Sentences to remember: more than are said during one utterance."""

COMPARED_WORDS: Final = 40
"""Only the last words of an utterance are compared: a caller who cuts in comes after the echo."""

SLOWEST: Final = 8.0
FASTEST: Final = 25.0
"""Characters a second; every voice speaks at a rate between the two. A word that cannot have been said yet, or was
already over, is not an echo."""

ESTIMATE_S: Final = 0.3
"""How far a word may be from its place in a sentence whose characters all take equally long."""


@dataclass(slots=True)
class _Said:
    """A sentence of the agent's, and when it was audible."""

    text: str
    start_s: float
    end_s: float
    is_newest: bool = True

    def between(self, since_s: float, until_s: float) -> str:
        """Return the part that may have been said within a period, in whole words."""
        if self.is_newest and self.end_s >= until_s:
            rate = SLOWEST  # the sentence is still being said
        else:  # a sentence that was cut off was no faster than others
            rate = len(self.text) / max(self.end_s - self.start_s, len(self.text) / 18)
        first = int(max(0.0, since_s - ESTIMATE_S - self.start_s) * rate)
        last = int(max(0.0, until_s + ESTIMATE_S - self.start_s) * FASTEST)
        if first >= len(self.text):
            return ""
        end = self.text.find(" ", last)
        return self.text[self.text.rfind(" ", 0, first + 1) + 1 : end if end >= 0 else None]


class EchoGuard:
    """Remembers what one session's agent has just said.

    Args:
        audible_until: Returns when the last sample that was handed to the output will have been played, on the loop's
            clock; -inf before the first sample.
        is_over: Whether the microphone no longer picks up the agent, from now on; None if it always does.
    """

    def __init__(self, audible_until: Callable[[], float], is_over: Callable[[], bool] | None = None) -> None:
        self._audible_until = audible_until
        self._is_over = is_over
        self._all_said: deque[_Said] = deque(maxlen=KEPT)
        self._began_s: float | None = None  # when the first stretch of speech of this utterance began
        self._stretch_s: float | None = None  # when the newest stretch began
        self._paused_s: float | None = None
        self._utterance_ended_s = -math.inf  # of the previous utterance

    def is_audible(self, now: float) -> bool:
        """Return whether the agent or its echo is audible now."""
        return now <= self._audible_until() + ECHO_S and not (self._is_over and self._is_over())

    def says(self, sentence: str, now: float) -> None:
        """Remember a sentence whose first sample is being handed to the output."""
        for before in self._said():
            before.is_newest = False
        self._all_said.append(_Said(sentence, now, now))

    def is_echo(self, event: Hearing, now: float) -> bool:
        """Return whether an event may be the agent's own voice, so that it must neither interrupt nor be answered."""
        if self._is_over is not None and self._is_over():
            return False
        match event:
            case SpeechStarted(at_s=at_s):
                return self._starts(at_s)
            case SpeechEnded(at_s=at_s):
                self._paused_s = at_s
                return False
            case EarlyTranscript(text=text):
                return self._is_early_echo(text, now)
            case Transcript():
                is_echo = self._is_final_echo(event, now)
                self._began_s = self._stretch_s = self._paused_s = None
                self._utterance_ended_s = event.speech_ended_s
                return is_echo
            case _:
                return False

    def _starts(self, at_s: float) -> bool:
        # A recogniser that does not report the end of speech reports only the beginning of each utterance.
        if self._paused_s is None or at_s - self._paused_s > PAUSED_S:
            self._began_s = at_s
        self._stretch_s, self._paused_s = at_s, None
        return self._was_audible(at_s, at_s)

    def _is_early_echo(self, text: str, now: float) -> bool:
        began_s = now - REPORTED_S if self._began_s is None else self._began_s
        if not self._was_audible(began_s, now):
            return False
        return not self._has_new_words(text, now, is_sure=self._began_in_silence())

    def _is_final_echo(self, event: Transcript, now: float) -> bool:
        ended_s = event.speech_ended_s
        if self._began_s is None:
            self._began_s = self._stretch_s = event.words[0].start_s if event.words else None
        stretch_s = ended_s - REPORTED_S if self._stretch_s is None else self._stretch_s
        if not self._was_audible(stretch_s, ended_s):
            return False
        # The caller began before the agent had ended, and continued. Words are dated too early rather than too late.
        if event.words and not self._was_audible(event.words[-1].start_s, ended_s):
            return False
        silent_s = self._audible_until() + ECHO_S
        if self._began_s is not None and ended_s - silent_s > silent_s - self._began_s:
            return False
        return not self._has_new_words(event.text, now, is_sure=ended_s > silent_s or self._began_in_silence())

    def _began_in_silence(self) -> bool:
        """Return whether the utterance, or its newest stretch, began while the agent was inaudible."""
        begins = (self._began_s, self._stretch_s)
        return any(at_s is not None and not self._was_audible(at_s, at_s) for at_s in begins)

    def _was_audible(self, since_s: float, until_s: float) -> bool:
        """Return whether the agent was audible at some moment of a period."""
        return any(said.start_s - EARLY_S <= until_s and since_s <= said.end_s + ECHO_S for said in self._said())

    def _has_new_words(self, text: str, now: float, *, is_sure: bool) -> bool:
        since_s = (self._utterance_ended_s if self._began_s is None else self._began_s) - ECHO_S
        said = [word for one in self._said() if one.end_s >= since_s for word in words_of(one.between(since_s, now))]
        return are_enough(new_words(words_of(text)[-COMPARED_WORDS:], said), is_sure=is_sure)

    def _said(self) -> deque[_Said]:
        """Return the agent's sentences, with the end of the newest one as it is known now."""
        if self._all_said and self._all_said[-1].is_newest:
            self._all_said[-1].end_s = max(self._all_said[-1].start_s, self._audible_until())
        return self._all_said
