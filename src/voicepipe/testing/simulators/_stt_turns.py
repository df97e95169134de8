"""What the caller says on the audio clock, and which messages the service sends about it, and when.

Rule 1: pure, and timed by audio alone: without further audio there is no further message, as in the service.
Rule 2: every word of the script that was heard is in exactly one final turn.

Universal-3 models transcribe the whole turn again with each partial, and end it after `min_turn_silence` if the text
ends in `.`, `?` or `!`, else after `max_turn_silence`. The older family sends word by word, and a confidence decides.

Source: the vendor's streaming reference and third-party measurements, read in September 2026.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from voicepipe.testing.simulators._stt_parameters import Parameters

__all__ = ["Listener", "Message", "Quirks", "Spoken", "SpokenWord", "TurnWriter", "in_order", "remaining"]

Message = dict[str, Any]
"""One message to a client, as it is sent."""

FIXED_DELAY_S: Final = 0.256
"""Added by the service to `interruption_delay`."""

RETRY_S: Final = 0.75
PARTIAL_STEP_S: Final = 1.0
SILENCE_STEP_S: Final = 1.0
TERMINAL: Final = (".", "?", "!")

ROUNDING_S: Final = 1e-6
"""Times closer than this are equal: sums of decimal fractions differ from counted samples in the last bit."""


# --- the script -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word on the audio clock."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Spoken:
    """Something the caller says without a pause. Times are seconds of audio since the session's first frame.

    Attributes:
        text: The words, with the punctuation the service would write; it decides how soon the turn ends.
        start_s: When the first word begins.
        end_s: When the last word ends.
        guess: The text that partials show until the turn is final; "" shows the words themselves.
        words: When each word is said; by default a word takes time in proportion to its letters.
    """

    text: str
    start_s: float
    end_s: float
    guess: str = ""
    words: tuple[SpokenWord, ...] = ()

    def __post_init__(self) -> None:
        if not self.text.strip() or not 0 <= self.start_s < self.end_s:
            raise ConfigurationError(
                f"Spoken needs words and an end after its beginning, not {self.text!r} from {self.start_s:g} "
                f"to {self.end_s:g} s; write e.g. Spoken('Four two.', 1.2, 1.8)"
            )
        if not self.words:
            object.__setattr__(self, "words", _spread(self.text, self.start_s, self.end_s))

    @property
    def guessed_words(self) -> tuple[SpokenWord, ...]:
        """The words as partials show them."""
        return _spread(self.guess, self.start_s, self.end_s) if self.guess else self.words


def remaining(script: Iterable[Spoken], from_s: float) -> list[Spoken]:
    """Return the rest of a script from `from_s` on, with times that count from there.

    Words that began before are left out: this is what a session hears that replaces a broken one.
    """
    return [
        _of([SpokenWord(word.text, word.start_s - from_s, word.end_s - from_s) for word in words])
        for spoken in script
        if (words := [word for word in spoken.words if word.start_s >= from_s])
    ]


def in_order(script: Iterable[Spoken]) -> list[Spoken]:
    """Return the script.

    Raises:
        ConfigurationError: Something begins before the entry in front of it ends.
    """
    script = list(script)
    for before, after in pairwise(script):
        if after.start_s < before.end_s:
            raise ConfigurationError(
                f"the script must be in order, but {after.text!r} begins at {after.start_s:g} s, before "
                f"{before.text!r} ends at {before.end_s:g} s; let one caller say one thing after the other"
            )
    return script


def _spread(text: str, start_s: float, end_s: float) -> tuple[SpokenWord, ...]:
    words = text.split()
    letters = sum(map(len, words))
    per_letter_s = (end_s - start_s) / letters
    spread: list[SpokenWord] = []
    said = 0
    for word in words:
        begin_s, said = start_s + said * per_letter_s, said + len(word)
        spread.append(SpokenWord(word, begin_s, end_s if said == letters else start_s + said * per_letter_s))
    return tuple(spread)


def _of(words: Sequence[SpokenWord]) -> Spoken:
    return Spoken(_joined(words), words[0].start_s, words[-1].end_s, words=tuple(words))


def _joined(words: Iterable[SpokenWord]) -> str:
    return " ".join(word.text for word in words)


# --- the messages -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirks:
    """What the service was seen to do, or may do one day; each switch is independent.

    Attributes:
        unknown_messages: A message of a type that does not exist follows each turn.
        extra_fields: Messages carry fields that do not exist.
        formatted_partials: `turn_is_formatted` is true on partials too, as with newer models.
        climbing_confidence: `end_of_turn_confidence` climbs while a turn is held; otherwise it is 0 until the end.
        utterances: A held partial carries its text as `utterance` too, as with newer models.
        warning: A `Warning` follows `Begin`.
        word_end_pad_s: The last word of a final turn is reported to end this much later than it did.
    """

    unknown_messages: bool = False
    extra_fields: bool = False
    formatted_partials: bool = True
    climbing_confidence: bool = False
    utterances: bool = False
    warning: bool = False
    word_end_pad_s: float = 0.0


class TurnWriter:
    """Writes the messages about turns, and numbers the turns."""

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self._order = 0

    def started(self, at_s: float) -> Message:
        """Write that speech began."""
        return {"type": "SpeechStarted", "timestamp": round(at_s * 1e3), "confidence": 0.93}

    def partial(
        self, words: Sequence[SpokenWord], parameters: Parameters, *, confidence: float = 0.0, is_held: bool = False
    ) -> Message:
        """Write what was heard so far."""
        if parameters.is_word_by_word:
            return self._turn(words, parameters, confidence, is_formatted=False, final_words=len(words) - 1)
        turn = self._turn(words, parameters, confidence if self._quirks.climbing_confidence else 0.0, final_words=0)
        turn["turn_is_formatted"] = self._quirks.formatted_partials
        if is_held and self._quirks.utterances:
            turn["utterance"] = turn["transcript"]
        return turn

    def final(
        self, words: Sequence[SpokenWord], parameters: Parameters, *, confidence: float = 1.0
    ) -> Iterator[Message]:
        """Write a turn that has ended: one message, or two from the older family that formats afterwards."""
        last = words[-1]
        padded = [*words[:-1], SpokenWord(last.text, last.start_s, last.end_s + self._quirks.word_end_pad_s)]
        formats = [False, True] if parameters.format_turns else [False]
        for is_formatted in formats if parameters.is_word_by_word else [True]:
            turn = self._turn(padded, parameters, confidence, is_formatted=is_formatted, final_words=len(words))
            yield turn | {"end_of_turn": True, "utterance": turn["transcript"]}
        self._order += 1

    def _turn(
        self,
        words: Sequence[SpokenWord],
        parameters: Parameters,
        confidence: float,
        *,
        final_words: int,
        is_formatted: bool = True,
    ) -> Message:
        if not is_formatted:
            words = [SpokenWord(_plain(word.text), word.start_s, word.end_s) for word in words]
        turn: Message = {
            "type": "Turn",
            "turn_order": self._order,
            "turn_is_formatted": is_formatted,
            "end_of_turn": False,
            "end_of_turn_confidence": round(confidence, 3),
            "transcript": _joined(words),
            "utterance": "",
            "words": [_word(word, is_final=at < final_words) for at, word in enumerate(words)],
        }
        if parameters.language_detection:
            turn |= {"language_code": "en", "language_confidence": 0.99}
        if parameters.speaker_labels:
            turn |= {"speaker_label": "A", "speaker_confidence": 0.9}
            turn["words"] = [word | {"speaker": "A"} for word in turn["words"]]
        return turn


def _plain(text: str) -> str:
    return text.lower().strip(".,?!;:") or text


def _word(word: SpokenWord, *, is_final: bool) -> Message:
    return {
        "start": round(word.start_s * 1e3),
        "end": round(word.end_s * 1e3),
        "text": word.text,
        "confidence": 0.98 if is_final else 0.95,
        "word_is_final": is_final,
    }


# --- the service ------------------------------------------------------------------------------------------------------


class Listener:
    """Plays a script, and returns what the service would send about it.

    Args:
        script: In order, without overlap.
        writer: Writes the messages.
        parameters: The session's configuration, which may change at any time.

    Attributes:
        spoke_until_s: When the newest speech ends; 0 before there was any.
    """

    def __init__(self, script: Iterable[Spoken], writer: TurnWriter, parameters: Parameters) -> None:
        self.parameters = parameters
        self.spoke_until_s = 0.0
        self._ahead = deque(in_order(script))
        self._writer = writer
        self._now_s = 0.0
        self._turn: list[Spoken] = []
        self._was_started = False  # `SpeechStarted` of this turn was sent
        self._is_held = False  # the partial at the present pause was sent
        self._partial_s = math.inf
        self._silent_since_s = 0.0

    def hear(self, until_s: float) -> list[Message]:
        """Hear audio up to `until_s`, and return the messages about it, in order."""
        sent: list[Message] = []
        while (due := self._next())[0] <= until_s + ROUNDING_S:
            self._now_s = max(self._now_s, due[0])
            sent += due[1]()
        self._now_s = until_s
        return sent

    def end_turn(self) -> list[Message]:
        """End the turn with the words heard so far, if there are any. The rest is heard later."""
        words = self._heard()
        if not words:
            return []
        last = self._turn[-1]
        rest = [word for word in last.words if word.end_s > self._now_s + ROUNDING_S]
        if rest:
            begin_s = max(rest[0].start_s, self._now_s)
            self._ahead.appendleft(_of([SpokenWord(rest[0].text, begin_s, rest[0].end_s), *rest[1:]]))
        return self._end(words)

    def _next(self) -> tuple[float, Any]:
        """Return what happens next, and when; of several things at the same time, the first in this list."""
        due: list[tuple[float, Any]] = []
        if self._ahead:
            due.append((self._ahead[0].start_s, self._begin))
        if self._turn:
            least_s, most_s = self.parameters.silences_s
            end_s = self._turn[-1].end_s
            due.append((end_s + most_s, self._give_up))
            if not self._is_held:
                due.append((end_s + least_s, self._pause))
            due.append((self._partial_s, self._guess))
        if self.parameters.acknowledge_silence:
            due.append((self._silent_since_s + SILENCE_STEP_S, self._silence))
        return min(due, key=lambda entry: entry[0], default=(math.inf, None))

    def _begin(self) -> list[Message]:
        spoken = self._ahead.popleft()
        if not self._turn:
            self._partial_s = self._first_partial_s(spoken)
        self._turn.append(spoken)
        if self.parameters.is_word_by_word:
            self._partial_s = spoken.guessed_words[0].end_s
        self._is_held = False
        self._silent_since_s = self.spoke_until_s = spoken.end_s
        return []

    def _first_partial_s(self, spoken: Spoken) -> float:
        return spoken.start_s + self.parameters.interruption_delay / 1e3 + FIXED_DELAY_S

    def _guess(self) -> list[Message]:
        """Send the words heard so far, if there are any."""
        words = self._heard(guessed=True)
        if self.parameters.is_word_by_word:
            ahead = (word.end_s for word in self._turn[-1].guessed_words if word.end_s > self._now_s + ROUNDING_S)
            self._partial_s = next(ahead, math.inf)
        elif not words:
            self._partial_s = self._now_s + RETRY_S
        else:
            self._partial_s = self._now_s + PARTIAL_STEP_S if self.parameters.continuous_partials else math.inf
        return [*self._start(), *self._partial(words)] if words else []

    def _pause(self) -> list[Message]:
        """The caller has been silent long enough for a finished sentence to end the turn."""
        confidence = self._confidence()
        threshold = self.parameters.end_of_turn_confidence_threshold if self.parameters.is_word_by_word else 1.0
        if confidence >= threshold:
            return self._end(self._heard())
        self._is_held = True
        if self.parameters.is_word_by_word:
            return []
        if self._partial_s < math.inf:
            self._partial_s = self._now_s + PARTIAL_STEP_S
        return [*self._start(), *self._partial(self._heard(guessed=True))]

    def _give_up(self) -> list[Message]:
        return self._end(self._heard())

    def _silence(self) -> list[Message]:
        start_s, self._silent_since_s = self._silent_since_s, self._now_s
        return [{"type": "Silence", "start_ms": round(start_s * 1e3), "end_ms": round(self._now_s * 1e3)}]

    def _end(self, words: list[SpokenWord]) -> list[Message]:
        confidence = self._confidence() if self.parameters.is_word_by_word else 1.0
        sent = [*self._start(), *self._writer.final(words, self.parameters, confidence=confidence)]
        self._turn = []
        self._was_started = False
        self._partial_s = math.inf
        return sent

    def _start(self) -> list[Message]:
        if self._was_started or self.parameters.is_word_by_word:
            return []
        self._was_started = True
        return [self._writer.started(self._turn[0].start_s)]

    def _partial(self, words: list[SpokenWord]) -> list[Message]:
        if not self.parameters.sends_partials:
            return []
        confidence = self._confidence()
        return [self._writer.partial(words, self.parameters, confidence=confidence, is_held=self._is_held)]

    def _confidence(self) -> float:
        """How sure the service is that the turn is over."""
        quiet_s = self._now_s - self._turn[-1].end_s
        if quiet_s < 0:
            return 0.0
        if self._turn[-1].text.endswith(TERMINAL):
            return 0.9 if self.parameters.is_word_by_word else 1.0
        return 0.2 if self.parameters.is_word_by_word else min(0.95, quiet_s / self.parameters.silences_s[1])

    def _heard(self, *, guessed: bool = False) -> list[SpokenWord]:
        """Return the words of the turn that have been said completely."""
        return [
            word
            for spoken in self._turn
            for word in (spoken.guessed_words if guessed else spoken.words)
            if word.end_s <= self._now_s + ROUNDING_S
        ]
