"""Deepgram's /v2/listen, the models called Flux: what is sent, and what its messages mean. Pure.

Flux decides about turns itself. Each `TurnInfo` has all words of the turn so far and one event:

| event | it means | reported as |
|---|---|---|
| `StartOfTurn` | somebody speaks | `SpeechStarted`, the words |
| `Update` | each 0.25 s of audio, also in silence | the words, if they are new |
| `EagerEndOfTurn` | the turn is probably over | the words as stable, so that a reply is drafted; `SpeechEnded` |
| `TurnResumed` | it was not | `SpeechStarted`, the words as not stable, so that the draft is dropped |
| `EndOfTurn` | it is over, with the words of the last `EagerEndOfTurn` | `Transcript` |

There is no `KeepAlive`, and the service ends a connection on one: only audio keeps it alive. `CloseStream` ends no
turn, and is answered by a closed connection without a code.

Source: the vendor's references ("Understanding the Flux State Machine", "Configure", "Force End Turn", "Close Stream"),
its Python SDK 7.17.0 and the issues of its users, read 2026-11-30.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from voicepipe.vendors.deepgram.key import VENDOR
from voicepipe.vendors.deepgram.parameters import MULTILINGUAL_FLUX
from voicepipe.vendors.deepgram.refusals import refusal
from voicepipe.vendors.deepgram.session import CLOSE_STREAM, DeepgramSession, Message, text_of, words_of
from voicepipe.vendors.line.heard_turn import HeardTurn
from voicepipe.vendors.line.hearing_protocol import HearingProtocol, Reading
from voicepipe.vendors.line.hearing_watch import HearingWatch, Sign
from voicepipe.vendors.line.json_values import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.errors import VendorError
    from voicepipe.flow import Hearing, Word
    from voicepipe.vendors.deepgram.parameters import FluxParameters
    from voicepipe.vendors.line.audio_clock import AudioClock

__all__ = ["FluxHearing", "FluxReader"]

FORCE_END_TURN: Final = '{"type":"ForceEndTurn"}'

PIECE_S: Final = 0.08
"""The service recommends this length strongly."""

SILENT_S: Final = 3.5
"""An `Update` comes each 0.25 s. Noticed so soon, all that was said meanwhile can be sent again."""

IDLE_S: Final = 4.0
"""The service closes a connection that gets no audio for some ten seconds."""


class FluxReader(HeardTurn):
    """Reads the messages of one call."""

    def __init__(self) -> None:
        super().__init__()
        self._ended = -1.0  # index of the newest turn that has ended on this connection
        self._is_ending = False  # the turn is probably over
        self._ending_words = 0  # how many words it had then

    def connect(self, clock: AudioClock, *, oldest_s: float, newest_s: float) -> None:
        """See `HeardTurn.connect`."""
        super().connect(clock, oldest_s=oldest_s, newest_s=newest_s)
        self._ended, self._is_ending = -1.0, False

    def receive(self, message: Message, now: float) -> list[Hearing]:
        """Return what a message means, in order."""
        if message.get("type") != "TurnInfo":
            return []
        index = number(message.get("turn_index"))
        if index is not None and index <= self._ended:
            return []
        words, said = words_of(message.get("words"), self, now), text_of(message.get("transcript"))
        text = self.text(said)
        match message.get("event"):
            case "EndOfTurn":
                self._ended = self._ended if index is None else index
                return self._end(text, words, now)
            case "EagerEndOfTurn" if said:
                self._is_ending, self._ending_words = True, len(words)
                heard = [*self.begin(words, now), *self.hear(text, words, is_stable=True)]
                return [*heard, *self.stop(words[-1].end_s if words else now)]
            case "TurnResumed":
                self._is_ending = False
                more = words[self._ending_words :]
                at_s = more[0].start_s if more else self.time(number(message.get("audio_window_end")), now)
                return [*self.start(at_s), *(self.hear(text, words, is_stable=False) if said else [])]
            case "StartOfTurn" | "Update" if said:
                return [] if self._is_ending else self._grow(text, words, now)
            case "StartOfTurn":
                return self.begin(words, now)
            case "Update":
                self.silent_until(number(message.get("audio_window_end")))
                return []
            case _:
                return []

    def flush(self, now: float) -> list[Hearing]:
        """Return the words of a turn that the end of the call cut short."""
        return self._end(self._early.text if self._early is not None else self.text(""), self._words, now)

    def _grow(self, text: str, words: Sequence[Word], now: float) -> list[Hearing]:
        """Report the words so far."""
        return [*self.begin(words, now), *self.hear(text, words, is_stable=False)]

    def _end(self, text: str, words: Sequence[Word], now: float) -> list[Hearing]:
        self._is_ending = False
        began = self.begin(words, now) if text and not self.is_open else []
        final = self.final(text, words, now)
        return [*began, *self.stop(final.speech_ended_s), *self.finish(final)]


class FluxHearing(HearingProtocol[Message]):
    """One call.

    Args:
        model: The model's name.
        parameters: The settings; they may be replaced at any time.
    """

    vendor = VENDOR
    piece_s = PIECE_S
    closing = CLOSE_STREAM
    idle_s = IDLE_S

    def __init__(self, model: str, parameters: FluxParameters) -> None:
        self.model = model
        self.parameters = parameters
        self.sample_rate = parameters.sample_rate
        self._reader = FluxReader()
        self.turns = self._reader
        self.watch = HearingWatch(acknowledges=False, sends_partials=True, limit_s=SILENT_S)

    def dial(self) -> FluxSession:
        """See `HearingProtocol.dial`."""
        return FluxSession(self)

    def receive(self, message: Message | None, now: float) -> Sequence[Hearing]:
        """See `HearingProtocol.receive`."""
        return self._reader.receive(message, now) if message is not None else ()

    def flush(self, now: float) -> Sequence[Hearing]:
        """See `HearingProtocol.flush`."""
        return self._reader.flush(now)

    def force_endpoint(self, now: float) -> str:
        """See `HearingProtocol.force_endpoint`."""
        del now
        return FORCE_END_TURN

    def refusal(self, code: int | None, said: str) -> VendorError:
        """See `HearingProtocol.refusal`."""
        return refusal(code, said)


class FluxSession(DeepgramSession):
    """One connection. It counts from `Connected` on.

    Args:
        call: The call.
    """

    def __init__(self, call: FluxHearing) -> None:
        self._call = call
        query = urlencode(call.parameters.query(call.model))
        super().__init__(call.sample_rate, query, self._wanted())

    def read(self, raw: bytes) -> Reading[Message]:
        """See `HearingSession.read`."""
        reading = super().read(raw)
        message = reading.message or {}
        if reading.sign is Sign.BEGUN:
            self.has_begun, self.name = True, self.name or text_of(message.get("request_id"))
        if reading.sign is Sign.REFUSED:
            said = f"{text_of(message.get('code'))} {text_of(message.get('description'))}".strip()
            return Reading(Sign.REFUSED, said=said)
        return reading

    def _wanted(self) -> Message:
        parameters = self._call.parameters
        wanted: Message = {"thresholds": parameters.thresholds(), "keyterms": list(parameters.keyterms)}
        if self._call.model == MULTILINGUAL_FLUX:
            wanted["language_hints"] = list(parameters.language_hints)
        if parameters.numerals is not None:
            wanted["numerals"] = parameters.numerals
        return wanted

    def _sign(self, message: Message) -> Sign:
        match message.get("type"):
            case "Connected":
                return Sign.BEGUN
            case "TurnInfo":
                return Sign.WORDS if text_of(message.get("transcript")) else Sign.SILENCE
            case "Error":
                return Sign.REFUSED
            case _:
                return Sign.OTHER
