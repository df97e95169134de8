"""Turns the service's messages into what was heard.

Rule 1: pure: no await, no clock, no I/O. Messages and the time go in, events come out.
Rule 2: nothing a service sends can break it: a number that is out of range says nothing.
Rule 3: each of the caller's turns gives one `Transcript`, even if messages come twice or connections are replaced.

Source: the vendor's streaming reference ("Universal-3 Pro streaming", "Turn detection"), its specification of March
2026 and its Python SDK 1.8.2, read 2026-11-22.
"""

from __future__ import annotations

import json
import math
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from voicepipe.flow import EarlyTranscript, SpeechStarted, Transcript, Word
from voicepipe.vendors.line.json_values import number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from assemblyai.streaming.v3 import EventMessage, SilenceEvent, SpeechStartedEvent, TurnEvent
    from assemblyai.streaming.v3 import Word as SpokenWord
    from pydantic import JsonValue

    from voicepipe.flow import Hearing
    from voicepipe.vendors.assemblyai.stt_audio import AudioClock

__all__ = ["FORCE_ENDPOINT", "TERMINATE", "TurnReader", "Watch", "update_message"]

TERMINATE: Final = '{"type":"Terminate"}'

FORCE_ENDPOINT: Final = '{"type":"ForceEndpoint"}'

CONFIDENT: Final = 0.8
"""From this confidence on, the end of a turn is expected. A service that sends only 0 and 1 says nothing by it."""

FORMATTED_S: Final = 0.5
"""How long a finished turn waits for its formatted text, where that was asked for."""

ONSET_S: Final = 1.0
"""The end of a silence that is sent again all the same: a word may have begun in it that is not recognised yet."""

REMEMBERED_TURNS: Final = 64
"""Finished turns that are remembered, to recognise repeated messages."""

TERMINAL: Final = re.compile("[.?!…。\uff1f\uff01؟।]['\")\\]»”\u2019]*$")
"""The end of a text that sounds finished."""


def update_message(changes: Mapping[str, JsonValue]) -> str:
    """Return the message that changes settings in mid-session."""
    return json.dumps({"type": "UpdateConfiguration", **changes})


@dataclass(frozen=True, slots=True)
class _Unformatted:
    """A finished turn whose formatted text is awaited."""

    order: int
    until_s: float
    transcript: Transcript


class TurnReader:
    """Reads the messages of one call, over any number of connections.

    Args:
        waits_for_format: A turn's end comes twice, and the second, formatted text counts.

    Attributes:
        is_open: Whether somebody seems to be in the middle of a turn.
        settled_s: Until when audio belongs to turns that have ended, or was found silent before the next one, so that
            it need not be sent again.
    """

    def __init__(self, *, waits_for_format: bool) -> None:
        self._waits_for_format = waits_for_format
        self._clock: AudioClock | None = None
        self._ended: OrderedDict[int, float] = OrderedDict()  # turn_order -> when its speech ended
        self._words: tuple[Word, ...] = ()  # of the newest partial
        self._carried: tuple[Word, ...] = ()  # older than the audio that can be sent again
        self._early: EarlyTranscript | None = None
        self._unformatted: _Unformatted | None = None
        self._speech_s = -math.inf  # of the newest SpeechStarted
        self._repeated_until_s = -math.inf
        self._last_text = ""  # of the newest finished turn
        self._before = ""  # the same, of the connection before, until this one finishes a turn
        self.is_open = False
        self.settled_s = -math.inf

    def connect(self, clock: AudioClock, *, oldest_s: float, newest_s: float) -> None:
        """Continue on a new connection, which receives the audio between these times again."""
        self._clock = clock
        self._ended.clear()
        self._repeated_until_s = newest_s
        self._before = self._last_text
        self._carried += tuple(word for word in self._words if word.end_s <= oldest_s)
        self._words = ()
        self._early = None

    def receive(self, message: EventMessage | None, now: float) -> list[Hearing]:
        """Return what a message means, in order."""
        waiting, events = self._unformatted, cast("list[Hearing]", [])
        order = message.turn_order if message is not None and message.type == "Turn" else -1
        if waiting and (now >= waiting.until_s if order < 0 else order != waiting.order):
            events += self._finish(waiting.order, waiting.transcript)
        if message is not None and message.type == "SpeechStarted":
            events += self._speech(message, now)
        elif message is not None and message.type == "Turn":
            events += self._turn(message, now)
        elif message is not None and message.type == "Silence" and not self.is_open:
            self._silence(message)
        return events

    def flush(self) -> list[Hearing]:
        """Return what still waited when the connection ended."""
        waiting = self._unformatted
        return self._finish(waiting.order, waiting.transcript) if waiting else []

    def _speech(self, message: SpeechStartedEvent, now: float) -> list[Hearing]:
        at_s = self._time(message.timestamp, now)
        if at_s == self._speech_s or (self.is_open and at_s <= self._repeated_until_s):
            return []  # sent twice, or reported before the connection broke
        self.is_open = True
        self._speech_s = at_s
        return [SpeechStarted(at_s=at_s)]

    def _silence(self, message: SilenceEvent) -> None:
        """Settle audio in which no speech was recognised: a silent line would hold 5 s of it, 160 KB."""
        end_ms, clock = number(message.end_ms), self._clock
        if end_ms is not None and clock is not None and clock.sent_s:
            self.settled_s = max(self.settled_s, clock.at(end_ms / 1e3) - ONSET_S)

    def _turn(self, message: TurnEvent, now: float) -> list[Hearing]:
        order, said = message.turn_order, message.transcript.strip()
        start_ms = min((start for word in message.words if (start := number(word.start)) is not None), default=None)
        if self._is_repeated(order, start_ms) or self._is_of_before(said, start_ms):
            return []
        words = tuple(self._word(word, now) for word in message.words if word.text)
        text = " ".join([*(word.text for word in self._carried), said]).strip()
        if message.end_of_turn and not (self._waits_for_format and text and not message.turn_is_formatted):
            return self._finish(order, self._final(text, words, now))
        if not said:
            return []
        self.is_open = True
        self._words = words or self._words
        if message.end_of_turn:
            self._unformatted = _Unformatted(order, now + FORMATTED_S, self._final(text, words, now))
        early = EarlyTranscript(text, stable=message.end_of_turn or self._is_stable(message, text))
        if early == self._early:
            return []
        self._early = early
        return [early]

    def _is_repeated(self, order: int, start_ms: float | None) -> bool:
        """Whether a turn has ended before: the same number, and no later words."""
        if order not in self._ended:
            return False
        start_s = -math.inf if start_ms is None or self._clock is None else self._clock.at(start_ms / 1e3)
        return start_s < self._ended[order]

    def _is_of_before(self, said: str, start_ms: float | None) -> bool:
        """Whether it repeats the previous connection's last turn, about audio that this one has not received."""
        sent_s = self._clock.sent_s if self._clock is not None else 0.0
        return bool(self._before) and said == self._before and (start_ms or 0) / 1e3 >= sent_s

    def _is_stable(self, message: TurnEvent, text: str) -> bool:
        utterance = getattr(message, "utterance", None)  # of a whole utterance; the SDK does not know it yet
        if TERMINAL.search(text) or (isinstance(utterance, str) and utterance.strip()):
            return True
        if self._early is not None and self._early.text == text:
            return True
        return CONFIDENT <= message.end_of_turn_confidence < 1

    def _final(self, text: str, words: tuple[Word, ...], now: float) -> Transcript:
        words = (*self._carried, *words)
        last_s = words[-1].end_s if words else self._words[-1].end_s if self._words else now
        # The service pads its last word by up to a quarter of a second, so it may end in the future.
        return Transcript(text, min(last_s, now), now, words)

    def _finish(self, order: int, transcript: Transcript) -> list[Hearing]:
        if order >= 0:
            self._ended[order] = transcript.speech_ended_s
            if len(self._ended) > REMEMBERED_TURNS:
                self._ended.popitem(last=False)
        self._unformatted = self._early = None
        self._words = self._carried = ()
        self.is_open = False
        if not transcript.text:
            return []
        self._last_text, self._before = transcript.text, ""
        self.settled_s = max(self.settled_s, transcript.speech_ended_s)
        return [transcript]

    def _word(self, word: SpokenWord, now: float) -> Word:
        start_s, end_s = self._time(word.start, now), self._time(word.end, now)
        return Word(word.text, start_s=start_s, end_s=max(start_s, end_s), confidence=number(word.confidence) or 0.0)

    def _time(self, position_ms: int, now: float) -> float:
        position, clock = number(position_ms), self._clock
        # A position before any audio was sent has no time.
        return now if position is None or clock is None or not clock.sent_s else min(now, clock.at(position / 1e3))


class Watch:
    """Notices a service that has stopped responding, by the messages it owes.

    A U3 service that acknowledges silence sends a message every second, whether somebody speaks or not, so a pause in
    its messages means that it is gone. For a service that never acknowledges, the caller's audio decides: when somebody
    speaks, a message is due. After each loss the watch waits twice as long, until a turn is understood again: a room in
    which a service hears neither silence nor words must not cost a session every few seconds.

    Args:
        acknowledges: Whether the service was asked to acknowledge silence.
        sends_partials: Whether messages come while somebody speaks; otherwise only a heartbeat comes, every 5 s.
    """

    LIMIT_S: Final = 4.5
    WITHOUT_PARTIALS_S: Final = 12.0
    MOST_S: Final = 60.0
    SPEECH_S: Final = 1.5
    """This much loud audio is speech, and the service owes a message about it."""

    def __init__(self, *, acknowledges: bool, sends_partials: bool) -> None:
        self._least_s = self.LIMIT_S if sends_partials else self.WITHOUT_PARTIALS_S
        self._limit_s = self._least_s
        self._acknowledges = acknowledges
        self._has_acknowledged = False
        self._since_s = 0.0
        self._sent_s = 0.0
        self._loud_s = 0.0
        self._loud_since_s = 0.0

    def connected(self, now: float) -> None:
        """Start again with a new connection."""
        self._since_s = self._sent_s = now
        self._loud_s = 0.0

    def received(self, kind: str, now: float) -> None:
        """Record a message, by its type."""
        self._since_s = now
        self._loud_s = 0.0
        if kind == "Silence":
            self._has_acknowledged = self._acknowledges = True
        elif kind == "Turn":
            self._limit_s = self._least_s

    def sent(self, duration_s: float, now: float, *, is_loud: bool) -> None:
        """Record audio that was sent."""
        if now - self._sent_s > 1.0:
            self._since_s = now  # no audio was sent, so no message was due
            self._loud_s = 0.0
        self._sent_s = now
        if is_loud:
            self._loud_since_s = self._loud_since_s if self._loud_s else now
            self._loud_s += duration_s
        elif now - self._loud_since_s > 2 * self._limit_s:
            self._loud_s = 0.0  # a noise that stopped a while ago was not speech

    def is_gone(self, now: float) -> bool:
        """Whether a message is overdue."""
        if now - self._since_s < self._limit_s:
            return False
        if self._acknowledges:
            return True
        return self._loud_s >= self.SPEECH_S and now - self._loud_since_s >= self._limit_s

    def lost(self) -> None:
        """Record that the connection was given up because of this."""
        self._acknowledges = self._has_acknowledged
        self._limit_s = min(2 * self._limit_s, self.MOST_S)
