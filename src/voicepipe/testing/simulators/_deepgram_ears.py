"""What the caller says on the audio clock, and which messages Deepgram sends about it, and when.

Rule 1: pure, and timed by audio alone: without further audio there is no further message, as in the service.
Rule 2: every word of the script that was heard is sent as final once.

Nova sends stretches of audio: with words that may change once a second, final ones after a silence or 3 s. Flux sends
the whole turn each time, and how sure it is that the turn is over. How that confidence grows is a guess: with the
silence, up to 0.95 after a finished sentence and up to 0.65 after anything else.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from voicepipe.testing.simulators._deepgram_messages import results, started, turn_info
from voicepipe.testing.simulators._stt_turns import TERMINAL, Message, Spoken, SpokenWord, in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from voicepipe.testing.simulators._deepgram_rules import Asked

__all__ = ["DeepgramEar", "DeepgramQuirks", "FluxEar", "NovaEar", "ear_for"]

ONSET_S: Final = 0.1
"""How much sound makes Nova report speech."""

INTERIM_S: Final = 1.0
LONGEST_S: Final = 3.0
"""Nova sends words that may change once a second, and ends a stretch of audio after three."""

UPDATE_S: Final = 0.25
SURE_S: Final = 0.5
"""After so much silence Flux would be entirely sure that a turn is over, ..."""

SUREST: Final = (0.95, 0.65)
"""... were it not for the words: after a sentence it is this sure at most, and after anything else."""

ROUNDING_S: Final = 1e-6
"""Times closer than this are equal: sums of decimal fractions differ from counted samples in the last bit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepgramQuirks:
    """What the service was seen to do; each is independent.

    Attributes:
        noises: When there is a noise without words, in seconds of audio: Nova reports speech, and silence after it.
        is_noisy: Nova finds no silence, so that only `UtteranceEnd` ends what was said.
        ignores_finalize: `Finalize` is not answered, as when nothing is left to transcribe.
        unknown_messages: A message of a type that does not exist follows each other one.
    """

    noises: Sequence[tuple[float, float]] = ()
    is_noisy: bool = False
    ignores_finalize: bool = False
    unknown_messages: bool = False


class DeepgramEar(Protocol):
    """Hears audio, and returns the messages about it."""

    asked: Asked

    async def hear(self, pcm: bytes, until_s: float) -> list[Message]:
        """Hear audio up to `until_s`, and return the messages about it, in order."""
        ...

    async def force(self) -> list[Message]:
        """End what is said with what was heard so far."""
        ...

    async def close(self) -> list[Message]:
        """Return the last words."""
        ...


def ear_for(script: Iterable[Spoken], asked: Asked, quirks: DeepgramQuirks) -> DeepgramEar:
    """Return what hears a script as the client asked for it."""
    return FluxEar(script, asked) if asked.is_flux else NovaEar(script, asked, quirks)


class _Ear(ABC):
    """The words of a script, as time goes on.

    Args:
        script: In order, without overlap.
        asked: The settings, which may change at any time.
    """

    def __init__(self, script: Iterable[Spoken], asked: Asked) -> None:
        self.asked = asked
        self._spoken = in_order(script)
        self._words = [word for spoken in self._spoken for word in spoken.words]
        self._done = 0  # how many of them were sent as final
        self._now_s = 0.0

    async def hear(self, pcm: bytes, until_s: float) -> list[Message]:
        """See `DeepgramEar.hear`."""
        del pcm
        sent: list[Message] = []
        while (due := min(self._due(), key=lambda one: one[0]))[0] <= until_s + ROUNDING_S:
            self._now_s = max(self._now_s, due[0])
            sent += due[1]()
        self._now_s = until_s
        return sent

    @abstractmethod
    def _due(self) -> list[tuple[float, Callable[[], list[Message]]]]:
        """Return what is sent next of each kind: when, and what makes its messages."""

    def _heard(self) -> list[SpokenWord]:
        """Return the words that were said completely and not sent as final."""
        return [word for word in self._words[self._done :] if word.end_s <= self._now_s + ROUNDING_S]

    def _next_start_s(self, after: int) -> float:
        """Return when the word after so many begins; inf for none."""
        return self._words[after].start_s if after < len(self._words) else math.inf


class NovaEar(_Ear):
    """Hears as /v1/listen does."""

    def __init__(self, script: Iterable[Spoken], asked: Asked, quirks: DeepgramQuirks) -> None:
        super().__init__(script, asked)
        self._quirks = quirks
        self._sounds = sorted([(one.start_s, one.end_s) for one in self._spoken] + list(quirks.noises))
        self._begun = self._over = 0  # how many sounds have begun, and have ended
        self._from_s = 0.0  # where the present stretch of audio begins
        self._interim_s = INTERIM_S
        self._end_s = math.inf  # when `UtteranceEnd` is due
        self._last_s = -1.0  # the end of the last final word

    async def force(self) -> list[Message]:
        """See `DeepgramEar.force`."""
        if self._quirks.ignores_finalize or not self._heard():
            return []
        return self._final(from_finalize=True)

    async def close(self) -> list[Message]:
        """See `DeepgramEar.close`."""
        return self._final() if self._heard() else []

    def _due(self) -> list[tuple[float, Callable[[], list[Message]]]]:
        due: list[tuple[float, Callable[[], list[Message]]]] = [
            (self._from_s + LONGEST_S, self._final),
            (self._interim_s, self._interim),
            (self._end_s, self._utterance_end),
        ]
        if self._begun < len(self._sounds):
            due.append((self._sounds[self._begun][0] + ONSET_S, self._start))
        if self._over < self._begun and self.asked.endpointing_s is not None and not self._quirks.is_noisy:
            due.append((self._sounds[self._over][1] + self.asked.endpointing_s, self._silence))
        return due

    def _start(self) -> list[Message]:
        start_s = self._sounds[self._begun][0]
        self._begun += 1
        return [started(start_s)] if self.asked.vad_events else []

    def _silence(self) -> list[Message]:
        self._over += 1
        goes_on = self._over < len(self._sounds) and self._sounds[self._over][0] < self._now_s
        return [] if goes_on else self._final(speech_final=True)

    def _interim(self) -> list[Message]:
        self._interim_s = self._now_s + INTERIM_S
        return [results(self.asked, self._heard(), self._from_s, self._now_s)] if self.asked.interim_results else []

    def _final(self, *, speech_final: bool = False, from_finalize: bool = False) -> list[Message]:
        words = self._heard()
        message = results(self.asked, words, self._from_s, self._now_s, is_final=True, speech_final=speech_final)
        message["from_finalize"] = from_finalize
        self._done += len(words)
        self._from_s = self._now_s
        self._interim_s = self._now_s + INTERIM_S
        if words and self.asked.utterance_end_s is not None:
            self._last_s = words[-1].end_s
            self._end_s = max(self._now_s, self._last_s + self.asked.utterance_end_s)
        return [message]

    def _utterance_end(self) -> list[Message]:
        self._end_s = math.inf
        if self._next_start_s(self._done) < self._now_s:
            return []  # somebody speaks again
        return [{"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": round(self._last_s, 3)}]


class FluxEar(_Ear):
    """Hears as /v2/listen does."""

    def __init__(self, script: Iterable[Spoken], asked: Asked) -> None:
        super().__init__(script, asked)
        self._index = 0
        self._known = 0  # how many words of the script were transcribed
        self._is_open = self._is_ending = False
        self._began_s = 0.0
        self._update_s = UPDATE_S

    async def force(self) -> list[Message]:
        """See `DeepgramEar.force`."""
        if self._is_open:
            return self._end("manual")
        return [{"type": "Warning", "code": "FORCE_END_TURN_NO_ACTIVE_TURN", "description": "There is no turn to end."}]

    async def close(self) -> list[Message]:
        """See `DeepgramEar.close`: no turn is ended."""
        return [self._info("Update")] if self._is_open else []

    def _due(self) -> list[tuple[float, Callable[[], list[Message]]]]:
        due: list[tuple[float, Callable[[], list[Message]]]] = []
        if self._known < len(self._words):
            due.append((self._words[self._known].end_s, self._transcribe))
        if self._is_open:
            due.append((self._quiet_at(self.asked.eot_threshold), lambda: self._end("model")))
            due.append((self._unless_spoken(self.asked.eot_timeout_s), lambda: self._end("timeout")))
            if self.asked.eager_eot_threshold is not None and not self._is_ending:
                due.append((self._quiet_at(self.asked.eager_eot_threshold), self._end_eagerly))
        return [*due, (self._update_s, self._update)]

    def _quiet_at(self, confidence: float) -> float:
        """Return when the service is so sure that the turn is over; inf for never."""
        return self._unless_spoken(SURE_S * confidence) if confidence <= self._surest else math.inf

    def _unless_spoken(self, silence_s: float) -> float:
        at_s = self._words[self._known - 1].end_s + silence_s
        return at_s if self._next_start_s(self._known) >= at_s else math.inf

    @property
    def _surest(self) -> float:
        return SUREST[0] if self._words[self._known - 1].text.endswith(TERMINAL) else SUREST[1]

    def _transcribe(self) -> list[Message]:
        """Understand another word."""
        self._known += 1
        if not self._is_open:
            self._is_open, self._began_s = True, self._words[self._known - 1].start_s
            return self._sent("StartOfTurn")
        if self._is_ending:
            self._is_ending = False
            return self._sent("TurnResumed")
        return []

    def _update(self) -> list[Message]:
        return self._sent("Update")

    def _end_eagerly(self) -> list[Message]:
        self._is_ending = True
        return self._sent("EagerEndOfTurn")

    def _end(self, trigger: str) -> list[Message]:
        sent = [self._info("EndOfTurn") | {"trigger": trigger}]
        self._is_open = self._is_ending = False
        self._done, self._began_s = self._known, self._now_s
        self._index += 1
        return sent

    def _sent(self, event: str) -> list[Message]:
        self._update_s = self._now_s + UPDATE_S
        return [self._info(event)]

    def _info(self, event: str) -> Message:
        words = self._words[self._done : self._known]
        quiet_s = self._now_s - words[-1].end_s if words else 0.0
        sure = min(self._surest, quiet_s / SURE_S) if words else 0.0
        return turn_info(event, self._index, words, self._began_s, self._now_s, sure)
