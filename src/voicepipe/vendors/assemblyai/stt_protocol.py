"""Turns the service's messages into what was heard.

Rule 1: pure: no await, no clock, no I/O. Messages and the time go in, events come out.
Rule 2: nothing a service sends can break it: a number that is out of range says nothing.
Rule 3: each of the caller's turns gives one `Transcript`, even if messages come twice or connections are replaced.

Source: the vendor's streaming reference ("Universal-3 Pro streaming", "Turn detection"), its specification of March
2026 and its Python SDK 1.8.2, read 2026-11-22.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from voicepipe.vendors.line.heard_turn import HeardTurn
from voicepipe.vendors.line.json_values import number

if TYPE_CHECKING:
    from assemblyai.streaming.v3 import EventMessage, SilenceEvent, SpeechStartedEvent, TurnEvent
    from assemblyai.streaming.v3 import Word as SpokenWord

    from voicepipe.flow import Hearing, Transcript, Word
    from voicepipe.vendors.line.audio_clock import AudioClock

__all__ = ["TurnReader"]

CONFIDENT: Final = 0.8
"""From this confidence on, the end of a turn is expected. A service that sends only 0 and 1 says nothing by it."""

FORMATTED_S: Final = 0.5
"""How long a finished turn waits for its formatted text, where that was asked for."""

REMEMBERED_TURNS: Final = 64
"""Finished turns that are remembered, to recognise repeated messages."""


@dataclass(frozen=True, slots=True)
class _Unformatted:
    """A finished turn whose formatted text is awaited."""

    order: int
    until_s: float
    transcript: Transcript


class TurnReader(HeardTurn):
    """Reads the messages of one call.

    Args:
        waits_for_format: A turn's end comes twice, and the second, formatted text counts.
    """

    def __init__(self, *, waits_for_format: bool) -> None:
        super().__init__()
        self._waits_for_format = waits_for_format
        self._ended: OrderedDict[int, float] = OrderedDict()  # turn_order -> when its speech ended
        self._unformatted: _Unformatted | None = None
        self._last_text = ""  # of the newest finished turn
        self._before = ""  # the same, of the connection before, until this one finishes a turn

    def connect(self, clock: AudioClock, *, oldest_s: float, newest_s: float) -> None:
        """See `HeardTurn.connect`."""
        super().connect(clock, oldest_s=oldest_s, newest_s=newest_s)
        self._ended.clear()
        self._before = self._last_text

    def receive(self, message: EventMessage | None, now: float) -> list[Hearing]:
        """Return what a message means, in order."""
        waiting, events = self._unformatted, cast("list[Hearing]", [])
        order = message.turn_order if message is not None and message.type == "Turn" else -1
        if waiting and (now >= waiting.until_s if order < 0 else order != waiting.order):
            events += self._end(waiting.order, waiting.transcript)
        if message is not None and message.type == "SpeechStarted":
            events += self._speech(message, now)
        elif message is not None and message.type == "Turn":
            events += self._turn(message, now)
        elif message is not None and message.type == "Silence":
            self._silence(message)
        return events

    def flush(self) -> list[Hearing]:
        """Return what still waited when the connection ended."""
        waiting = self._unformatted
        return self._end(waiting.order, waiting.transcript) if waiting else []

    def _speech(self, message: SpeechStartedEvent, now: float) -> list[Hearing]:
        return self.start(self.time(_seconds(message.timestamp), now))

    def _silence(self, message: SilenceEvent) -> None:
        self.silent_until(_seconds(message.end_ms))

    def _turn(self, message: TurnEvent, now: float) -> list[Hearing]:
        order, said = message.turn_order, message.transcript.strip()
        start_ms = min((start for word in message.words if (start := number(word.start)) is not None), default=None)
        if self._is_repeated(order, start_ms) or self._is_of_before(said, start_ms):
            return []
        words = tuple(self._word(word, now) for word in message.words if word.text)
        text = self.text(said)
        if message.end_of_turn and not (self._waits_for_format and text and not message.turn_is_formatted):
            return self._end(order, self.final(text, words, now))
        if not said:
            return []
        if message.end_of_turn:
            self._unformatted = _Unformatted(order, now + FORMATTED_S, self.final(text, words, now))
        return self.hear(text, words, is_stable=message.end_of_turn or self._is_stable(message, text))

    def _is_repeated(self, order: int, start_ms: float | None) -> bool:
        """Whether a turn has ended before: the same number, and no later words."""
        if order not in self._ended:
            return False
        start_s = -math.inf if start_ms is None or self.clock is None else self.clock.at(start_ms / 1e3)
        return start_s < self._ended[order]

    def _is_of_before(self, said: str, start_ms: float | None) -> bool:
        """Whether it repeats the previous connection's last turn, about audio that this one has not received."""
        sent_s = self.clock.sent_s if self.clock is not None else 0.0
        return bool(self._before) and said == self._before and (start_ms or 0) / 1e3 >= sent_s

    def _is_stable(self, message: TurnEvent, text: str) -> bool:
        utterance = getattr(message, "utterance", None)  # of a whole utterance; the SDK does not know it yet
        if self.looks_finished(text) or (isinstance(utterance, str) and utterance.strip()):
            return True
        return CONFIDENT <= message.end_of_turn_confidence < 1

    def _end(self, order: int, transcript: Transcript) -> list[Hearing]:
        if order >= 0:
            self._ended[order] = transcript.speech_ended_s
            if len(self._ended) > REMEMBERED_TURNS:
                self._ended.popitem(last=False)
        self._unformatted = None
        if transcript.text:
            self._last_text, self._before = transcript.text, ""
        return self.finish(transcript)

    def _word(self, word: SpokenWord, now: float) -> Word:
        return self.word(word.text, _seconds(word.start), _seconds(word.end), number(word.confidence) or 0.0, now)


def _seconds(position_ms: int) -> float | None:
    """Return a position in seconds; None for one that says nothing."""
    position = number(position_ms)
    return None if position is None else position / 1e3
