"""Deepgram's /v1/listen, the models called Nova: what is sent, and what its messages mean. Pure.

| the service sends | it means |
|---|---|
| `SpeechStarted` | sound that may be speech: noise does it too, and no end need follow |
| `Results` | the words of a stretch of audio, which may still change |
| with `is_final` | those that will not change; a turn has several of these |
| with `speech_final` | silence of `endpointing` has come: the turn is over |
| with `from_finalize` | the answer to `Finalize`, which does not always come |
| `UtteranceEnd` | no word for `utterance_end_ms`, whatever noise there is: the turn is over, if it still was not |
| `Metadata` | the session is over |

Source: the vendor's references ("Endpointing", "Utterance End", "Finalize", "Audio Keep Alive", "Configure"), its
Python SDK 7.17.0 and the issues of its users, read 2026-11-30.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from voicepipe.vendors.deepgram.key import VENDOR
from voicepipe.vendors.deepgram.refusals import refusal
from voicepipe.vendors.deepgram.session import CLOSE_STREAM, DeepgramSession, Message, text_of, words_of
from voicepipe.vendors.line.heard_turn import HeardTurn
from voicepipe.vendors.line.hearing_protocol import HearingProtocol
from voicepipe.vendors.line.hearing_watch import HearingWatch, Sign
from voicepipe.vendors.line.json_values import number
from voicepipe.vendors.loose_json import as_object, as_objects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.errors import VendorError
    from voicepipe.flow import Hearing, Word
    from voicepipe.vendors.deepgram.parameters import NovaParameters
    from voicepipe.vendors.line.audio_clock import AudioClock

__all__ = ["ENDPOINTING_S", "NovaHearing", "NovaReader"]

ENDPOINTING_S: Final = 0.3
"""People pause for less within a phrase, mostly; turn-taking waits longer where the words say that more will come."""

FINALIZE: Final = '{"type":"Finalize"}'

KEEP_ALIVE: Final = '{"type":"KeepAlive"}'

IDLE_S: Final = 4.0
"""The service closes a connection after 10 s without audio, and recommends a sign of life each 3 to 5 s."""

LATE_S: Final = 3.5
"""Results come once a second while somebody speaks. Noticed so soon, all that was said meanwhile can be sent again."""

SILENT_S: Final = 6.0
"""In silence they have no words, and come each 3 s at least."""

NOISE_S: Final = 1.0
"""The first word of a turn comes sooner."""

FINALIZED_S: Final = 1.0
"""How long a turn that was ended on request waits for the answer; with nothing left to transcribe there is none."""


class NovaReader(HeardTurn):
    """Reads the messages of one call.

    Attributes:
        waits_for_utterance_end: Whether a turn goes on after a short silence, until `UtteranceEnd`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits_for_utterance_end = False
        self._texts: list[str] = []  # of the turn, on this connection, that will not change
        self._final_words: list[Word] = []
        self._forced_until_s = math.inf
        self._heard_s = 0.0  # position of the end of the newest word
        self._taken_s = 0.0  # up to this position, words have ended a turn without the service's word for it

    def connect(self, clock: AudioClock, *, oldest_s: float, newest_s: float) -> None:
        """See `HeardTurn.connect`."""
        super().connect(clock, oldest_s=oldest_s, newest_s=newest_s)
        self._texts, self._final_words = [], []
        self._heard_s = self._taken_s = 0.0

    def force(self, now: float) -> None:
        """Record that the turn was ended on request, if there is one."""
        if self.is_open:
            self._forced_until_s = now + FINALIZED_S

    def receive(self, message: Message, now: float) -> list[Hearing]:
        """Return what a message means, in order."""
        match message.get("type"):
            case "Results":
                return self._results(message, now)
            case "SpeechStarted" if not self._is_speech:  # it may come again while somebody speaks
                return self.start(self.time(number(message.get("timestamp")), now))
            case "UtteranceEnd" if self._texts:
                return self._end(now)
            case "UtteranceEnd" if self._early is None:  # else words are on their way
                return self.stop(now)
            case _:
                return []

    def due(self, now: float) -> list[Hearing]:
        """End a turn whose end was asked for, with the words so far, if the service does not answer."""
        if now < self._forced_until_s:
            return super().due(now)
        self._taken_s = self._heard_s
        return self._end(now, self._early.text if self._early is not None else "", self._words)

    def flush(self, now: float) -> list[Hearing]:
        """Return the words whose end never came."""
        return self._end(now, self._early.text if self._early is not None else "", self._words)

    def _results(self, message: Message, now: float) -> list[Hearing]:
        best = _best(message)
        start_s, duration_s = number(message.get("start")) or 0.0, number(message.get("duration")) or 0.0
        words, said = words_of(best.get("words"), self, now, after_s=self._taken_s), text_of(best.get("transcript"))
        if start_s < self._taken_s:
            said = " ".join(word.text for word in words)
        if said:
            last_s = max((number(one.get("end")) or 0.0 for one in as_objects(best.get("words"))), default=0.0)
            self._heard_s = last_s or start_s + duration_s
        is_final, is_pause = message.get("is_final") is True, message.get("speech_final") is True
        if is_final and said:
            self._texts.append(said)
            self._final_words += words
            words, said = [], ""
        is_over = (is_pause and not self.waits_for_utterance_end) or message.get("from_finalize") is True
        is_forced = is_final and self._forced_until_s < math.inf
        if is_final and is_over and (self._texts or is_forced):
            return self._end(now)
        if said or (is_final and self._texts):
            text = self.text(" ".join([*self._texts, *([said] if said else [])]))
            return self._go_on(text, [*self._final_words, *words], now, is_settled=is_final, is_pause=is_pause)
        return self._nothing(start_s + duration_s, now, is_pause=is_pause) if is_final else []

    def _nothing(self, until_s: float, now: float, *, is_pause: bool) -> list[Hearing]:
        """A stretch of audio holds no words, so what began well before its end was no speech."""
        self.retract()
        self.silent_until(until_s)
        ended_s = self.time(until_s, now)
        return self.stop(ended_s) if is_pause or ended_s - self._speech_s >= NOISE_S else []

    def _go_on(
        self, text: str, words: Sequence[Word], now: float, *, is_settled: bool, is_pause: bool
    ) -> list[Hearing]:
        """Report the words so far."""
        began = self.begin(words, now)
        is_same = self._early is not None and self._early.text == text
        # A sentence's end that may still change is no sign: it is put after any word that nothing follows yet.
        is_stable = is_pause or is_same or (is_settled and self.looks_finished(text))
        heard = self.hear(text, words, is_stable=is_stable)
        return [*began, *heard, *(self.stop(words[-1].end_s) if is_pause and words else [])]

    def _end(self, now: float, text: str = "", words: Sequence[Word] = ()) -> list[Hearing]:
        """End the turn, with the words that will not change unless others are given."""
        text, words = text or self.text(" ".join(self._texts)), words or self._final_words
        self._texts, self._final_words = [], []
        self._forced_until_s = math.inf
        final = self.final(text, words, now)
        began = self.begin(words, now) if text else []
        return [*began, *self.stop(final.speech_ended_s), *self.finish(final)]


def _best(message: Message) -> Message:
    """Return the likeliest reading of a stretch of audio."""
    return next(iter(as_objects(as_object(message.get("channel")).get("alternatives"))), {})


class NovaHearing(HearingProtocol[Message]):
    """One call.

    Args:
        model: The model's name.
        parameters: The settings; they may be replaced at any time.
        endpointing_s: Silence after which a turn ends, unless the settings say it.
    """

    vendor = VENDOR
    piece_s = 0.05
    closing = CLOSE_STREAM
    idle_s = IDLE_S
    keep_alive = KEEP_ALIVE

    def __init__(self, model: str, parameters: NovaParameters, endpointing_s: float = ENDPOINTING_S) -> None:
        self.endpointing_s = endpointing_s
        self.model = model
        self.parameters = parameters
        self.sample_rate = parameters.sample_rate
        self.reader = NovaReader()
        self.turns = self.reader
        self.watch = HearingWatch(acknowledges=False, sends_partials=True, limit_s=LATE_S, silent_s=SILENT_S)

    def dial(self) -> NovaSession:
        """See `HearingProtocol.dial`."""
        return NovaSession(self)

    def receive(self, message: Message | None, now: float) -> Sequence[Hearing]:
        """See `HearingProtocol.receive`."""
        return self.reader.receive(message, now) if message is not None else ()

    def due(self, now: float) -> Sequence[Hearing]:
        """See `HearingProtocol.due`."""
        return self.reader.due(now)

    def flush(self, now: float) -> Sequence[Hearing]:
        """See `HearingProtocol.flush`."""
        return self.reader.flush(now)

    def force_endpoint(self, now: float) -> str:
        """See `HearingProtocol.force_endpoint`."""
        self.reader.force(now)
        return FINALIZE

    def refusal(self, code: int | None, said: str) -> VendorError:
        """See `HearingProtocol.refusal`."""
        return refusal(code, said)


class NovaSession(DeepgramSession):
    """One connection. It counts from the handshake on, in which the service checks everything.

    Args:
        call: The call.
    """

    has_begun = True

    def __init__(self, call: NovaHearing) -> None:
        self._call = call
        query = urlencode(call.parameters.query(call.model, endpointing_s=call.endpointing_s))
        super().__init__(call.sample_rate, query, self._wanted())

    def _wanted(self) -> Message:
        parameters = self._call.parameters
        wanted: Message = {"keyterms": list(parameters.keyterms)}
        if parameters.numerals is not None:
            wanted["features"] = {"numerals": parameters.numerals}
        return wanted

    def _sign(self, message: Message) -> Sign:
        match message.get("type"):
            case "Results":
                self.name = self.name or text_of(as_object(message.get("metadata")).get("request_id"))
                return Sign.WORDS if text_of(_best(message).get("transcript")) else Sign.SILENCE
            case "Metadata":
                return Sign.ENDED
            case "Error":
                self._report("reports an error", message)  # a close frame follows if it ends the session
                return Sign.OTHER
            case _:
                return Sign.OTHER
