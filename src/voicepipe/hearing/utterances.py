"""What callers say, cut out of a call's audio where they are silent.

Rule 1: pure. Frames and a detector's reports go in; the same reports come out, and an `Endpoint` after the last one of
        a turn. Time is that of the frames.
Rule 2: no sound is lost: an utterance begins before the first sample that the detector took for speech.
Rule 3: an utterance is never longer than a model takes: the longer it is, the shorter a pause ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from voicepipe.errors import ConfigurationError
from voicepipe.flow import SpeechEnded, SpeechStarted
from voicepipe.hearing.speech_detection import ENDS_AFTER_S, EXACT_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicepipe.flow import AudioFrame

__all__ = ["Cut", "Endpoint", "Utterance", "UtteranceCutter"]

PRE_ROLL_S: Final = 0.4
"""Kept before the first sample of speech, so that a soft first sound is not lost."""

NOTICED_S: Final = 0.2
"""How late a detector may report the start of speech; so much more is kept while nobody speaks."""

LONG_S: Final = 20.0
"""From this length on, an utterance ends at its next pause, however short."""

LONGEST_S: Final = 28.0
"""An utterance ends at this length in any case: Whisper hears 30 s at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """What a caller says in one turn, so far or in all.

    Attributes:
        pcm: Little-endian signed 16-bit mono samples, from 0.4 s before the first sound on.
        sample_rate: Samples per second.
        speech_s: How much of it is speech, as the detector found; the rest is pauses.
        is_early: Whether the caller is still speaking, so that its words matter less than those of others.
    """

    pcm: bytes
    sample_rate: int
    speech_s: float
    is_early: bool = False

    @property
    def duration_s(self) -> float:
        """Its length in seconds."""
        return len(self.pcm) / 2 / self.sample_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The caller's turn is over.

    Attributes:
        utterance: What was said in it.
        speech_ended_s: Time of the last speech sample, as `SpeechEnded` reported it.
    """

    utterance: Utterance
    speech_ended_s: float


Cut: TypeAlias = "SpeechStarted | SpeechEnded | Endpoint"


class UtteranceCutter:
    """Cuts one call's audio.

    Args:
        sample_rate: Samples per second of the frames.
        silence_s: From the last speech sample to the end of a turn; may be changed between two frames.

    Raises:
        ConfigurationError: `silence_s` is shorter than the detector needs to notice silence.
    """

    def __init__(self, sample_rate: int, silence_s: float) -> None:
        check_silence(silence_s)
        self.silence_s = silence_s
        self._rate = sample_rate
        self._audio = bytearray()  # of the utterance; before one begins, what has just been heard
        self._end_s = 0.0  # of the audio
        self._in_utterance = self._is_speaking = False
        self._since_s = self._until_s = 0.0  # the newest stretch of speech
        self._before_s = 0.0  # how long the stretches before it were

    @property
    def in_utterance(self) -> bool:
        """Whether the caller's turn has begun and not ended."""
        return self._in_utterance

    @property
    def is_speaking(self) -> bool:
        """Whether the caller is speaking, as far as the detector has noticed."""
        return self._is_speaking

    @property
    def length_s(self) -> float:
        """How long the present utterance is so far."""
        return len(self._audio) / 2 / self._rate

    def feed(self, frame: AudioFrame, found: Iterable[SpeechStarted | SpeechEnded]) -> list[Cut]:
        """Take a frame and what the detector has found in it, and return what it means, in order."""
        self._audio += frame.pcm
        self._end_s = frame.start_s + frame.duration_s
        cuts = self._take(found)
        if not self._in_utterance:
            self._keep(PRE_ROLL_S + NOTICED_S)
        elif self._is_speaking:
            if self.length_s >= LONGEST_S:
                cuts += [*self._stop(self._end_s), *self._end()]
                self._audio.clear()
                cuts += self._start(self._end_s)
        elif self.length_s >= LONG_S or self._end_s >= self._until_s + self.silence_s - EXACT_S:
            cuts += self._end()
        return cuts

    def hang_up(self, found: Iterable[SpeechStarted | SpeechEnded]) -> list[Cut]:
        """Take the end of the audio, or of the turn, with what the detector says to it, and end what is pending."""
        cuts = self._take(found)
        if self._in_utterance:
            cuts += [*self._stop(self._end_s), *self._end()] if self._is_speaking else self._end()
        return cuts

    def utterance(self) -> Utterance:
        """Return what has been said so far."""
        speech_s = self._before_s + (self._end_s if self._is_speaking else self._until_s) - self._since_s
        return Utterance(pcm=bytes(self._audio), sample_rate=self._rate, speech_s=speech_s, is_early=self._is_speaking)

    def _take(self, found: Iterable[SpeechStarted | SpeechEnded]) -> list[Cut]:
        cuts: list[Cut] = []
        for event in found:
            cuts += self._start(event.at_s) if isinstance(event, SpeechStarted) else self._stop(event.at_s)
        return cuts

    def _start(self, at_s: float) -> list[Cut]:
        if not self._in_utterance:
            self._keep(self._end_s - at_s + PRE_ROLL_S)
            self._before_s = 0.0
        else:
            self._before_s += self._until_s - self._since_s
        self._in_utterance = self._is_speaking = True
        self._since_s = at_s
        return [SpeechStarted(at_s=at_s)]

    def _stop(self, at_s: float) -> list[Cut]:
        self._is_speaking = False
        self._until_s = at_s
        return [SpeechEnded(at_s=at_s)]

    def _end(self) -> list[Cut]:
        self._in_utterance = False
        return [Endpoint(utterance=self.utterance(), speech_ended_s=self._until_s)]

    def _keep(self, seconds: float) -> None:
        """Forget all audio but the newest."""
        del self._audio[: -2 * round(max(0.0, seconds) * self._rate) or len(self._audio)]


def check_silence(silence_s: float) -> None:
    """Refuse a silence that is too short to be noticed.

    Raises:
        ConfigurationError: It is.
    """
    if not silence_s >= ENDS_AFTER_S:
        raise ConfigurationError(
            f"silence_s must be at least {ENDS_AFTER_S:g}, which a detector needs to notice silence, not "
            f"{silence_s:g}; 0.5 is usual, and people pause 0.2 to 0.5 s within a sentence"
        )
