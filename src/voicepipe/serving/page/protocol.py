"""The protocol `voicepipe.v1` between a page and a server, as a pure codec; docs/browser.md describes it.

Rule 1: nothing here waits or knows a socket: messages in, typed messages out, and the other way round.
Rule 2: whatever a peer sends, `Reader.feed` returns a message or raises `Refused`, and a refusal repeats nothing of it.
Rule 3: what a server sends carries no error text, argument or result of the application.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from voicepipe.events import (
    SentenceStarted,
    ToolFinished,
    ToolStarted,
    TurnCompleted,
    TurnEmpty,
    TurnEnded,
    TurnFailed,
    TurnInterrupted,
    TurnStarted,
    UtteranceEnded,
)
from voicepipe.floor_events import Paused, Resumed
from voicepipe.flow import EarlyTranscript, SpeechEnded, SpeechStarted, Transcript
from voicepipe.serving.transport import Refused

if TYPE_CHECKING:
    from voicepipe.events import Event

__all__ = [
    "MOST_AUDIO_BYTES",
    "MOST_KEY",
    "MOST_TEXT",
    "SUBPROTOCOL",
    "TOKEN_PREFIX",
    "Audio",
    "Cleared",
    "End",
    "Hello",
    "Interrupt",
    "Message",
    "MicrophoneGone",
    "Ping",
    "Played",
    "Reader",
    "Text",
    "bye",
    "clear",
    "pong",
    "ready",
    "report",
]

SUBPROTOCOL: Final = "voicepipe.v1"
"""The websocket subprotocol that the server answers with."""

TOKEN_PREFIX: Final = "token."  # noqa: S105 - what stands in front of one
"""The page offers a second subprotocol, this and its token: a browser can set no header of a websocket."""

RATE: Final = 16_000
"""Samples per second of the caller's audio. Recognisers want this rate, so pages resample."""

MOST_AUDIO_BYTES: Final = RATE // 5
"""100 ms of audio. A page sends 20 ms at a time; what waited in a browser is sent in several messages."""

MOST_JSON_BYTES: Final = 16_384
MOST_TEXT: Final = 2_000
"""Characters that a caller can type at a time."""

MOST_KEY: Final = 512
"""Characters of the key with which a call is resumed."""

MOST_SAMPLES: Final = 2**53 - 1
"""The largest integer that a browser counts exactly."""


# --- what a page sends ------------------------------------------------------------------------------------------------


class _Sent(BaseModel):
    """Base of a text message: fields are exactly those that are described, of exactly their type."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class Capture(_Sent):
    """What the browser really does to the microphone's sound; None where it does not say.

    Browsers ignore wishes without a word, so a page reports the settings of the track that it got.
    """

    echo_cancellation: bool | None = None
    noise_suppression: bool | None = None
    auto_gain_control: bool | None = None


class Hello(_Sent):
    """The first message: the page is ready to speak and to listen.

    Attributes:
        microphone: How the microphone is captured; None for a caller who only types.
        resume: The key that the last `ready` gave, to go on with the call whose connection is gone; None for a new one.
    """

    type: Literal["hello"] = "hello"
    microphone: Capture | None = None
    resume: Annotated[str | None, Field(min_length=1, max_length=MOST_KEY, repr=False)] = None


class Played(_Sent):
    """What the caller has heard.

    Attributes:
        samples: The place in all audio that the server has sent, up to which it has been audible, in samples. Audio
            that was cleared counts, so that both sides count the same.
    """

    type: Literal["played"] = "played"
    samples: Annotated[int, Field(ge=0, le=MOST_SAMPLES)]


class Cleared(_Sent):
    """The page has become silent, as `clear` asked.

    Attributes:
        id: That of `clear`.
        samples: Up to where the caller has heard the audio; see `Played`.
    """

    type: Literal["cleared"] = "cleared"
    id: Annotated[int, Field(ge=0, le=MOST_SAMPLES)]
    samples: Annotated[int, Field(ge=0, le=MOST_SAMPLES)]


class Text(_Sent):
    """The caller typed something."""

    type: Literal["text"] = "text"
    text: Annotated[str, Field(min_length=1, max_length=MOST_TEXT)]


class Interrupt(_Sent):
    """The caller pressed the button that stops the agent's current words."""

    type: Literal["interrupt"] = "interrupt"


class Ping(_Sent):
    """The page asks whether the connection is alive, and how long an answer takes."""

    type: Literal["ping"] = "ping"
    id: Annotated[int, Field(ge=0, le=MOST_SAMPLES)]


class MicrophoneGone(_Sent):
    """The microphone was unplugged, or the browser took it back. The page sends silence until there is another one."""

    type: Literal["microphone_lost"] = "microphone_lost"


class End(_Sent):
    """The caller hangs up."""

    type: Literal["end"] = "end"


@dataclass(frozen=True, slots=True)
class Audio:
    """A binary message.

    Attributes:
        pcm: Little-endian signed 16-bit mono PCM at 16 kHz, up to 100 ms, ideally 20 ms.
    """

    pcm: bytes


TextMessage: TypeAlias = Hello | Played | Cleared | Text | Interrupt | Ping | MicrophoneGone | End
Message: TypeAlias = TextMessage | Audio
"""What a page sends."""

_TEXT: Final[TypeAdapter[TextMessage]] = TypeAdapter(Annotated[TextMessage, Field(discriminator="type")])


class Reader:
    """Reads what one page sends: the first message is `Hello`, and no other one is."""

    def __init__(self) -> None:
        self._is_greeted = False

    def feed(self, message: str | bytes) -> Message:
        """Return what a message says.

        Raises:
            Refused: The message is not of the protocol, too big, or out of order. The connection cannot go on.
        """
        said = _audio(message) if isinstance(message, bytes) else _parsed(message)
        if isinstance(said, Hello) == self._is_greeted:
            raise _malformed('the first message is "hello", and no other one is')
        self._is_greeted = True
        return said


def _audio(message: bytes) -> Audio:
    if len(message) > MOST_AUDIO_BYTES:
        raise _too_big(f"audio of {len(message)} bytes; a message has {MOST_AUDIO_BYTES} at most, which is 100 ms")
    if not message or len(message) % 2:
        raise _malformed(f"audio of {len(message)} bytes; it comes in whole 16-bit samples")
    return Audio(message)


def _parsed(message: str) -> TextMessage:
    if len(message) > MOST_JSON_BYTES:
        raise _too_big(f"a text message of {len(message)} characters; the most is {MOST_JSON_BYTES}")
    try:
        return _TEXT.validate_json(message)
    except ValidationError as error:
        # Only the kind of the first fault: places and inputs are the peer's words.
        raise _malformed(f"a text message that is not in the protocol ({error.errors()[0]['type']})") from None
    except ValueError:  # half of a surrogate pair cannot be encoded
        raise _malformed("a text message that is not Unicode") from None


def _malformed(found: str) -> Refused:
    return Refused("malformed", f"{SUBPROTOCOL}: {found}", status=400, code=1008)


def _too_big(found: str) -> Refused:
    return Refused("size", f"{SUBPROTOCOL}: {found}", status=413, code=1009)


# --- what a server sends ----------------------------------------------------------------------------------------------


def ready(
    session_id: str, *, rate_out: int, resume: str = "", resume_s: float = 0.0, resumed: bool = False, why: str = ""
) -> str:
    """Return the answer to `Hello`: the call has begun, or goes on.

    Args:
        session_id: What the application's log calls the call.
        rate_out: Samples per second of the agent's audio.
        resume: The key with which the page may resume this call; "" if it cannot be resumed.
        resume_s: For how long after the connection has broken.
        resumed: Whether this is the call that `Hello.resume` names.
        why: Why it is not, in a word, e.g. "expired"; "" if it is, or if the page named none.
    """
    fields: dict[str, object] = {"session": session_id, "rate_in": RATE, "rate_out": rate_out, "resumed": resumed}
    if resume:
        fields |= {"resume": resume, "resume_s": resume_s}
    if why:
        fields["why"] = why
    return _json("ready", **fields)


def clear(number: int) -> str:
    """Return the request to become silent and to drop all audio that came before; the page answers with `Cleared`."""
    return _json("clear", id=number)


def pong(number: int) -> str:
    """Return the answer to `Ping`."""
    return _json("pong", id=number)


def bye(reason: str, *, resumable: bool = False) -> str:
    """Return the last message before the server closes the connection in order.

    Args:
        reason: "ended", or "restarting" if the page may call again at once.
        resumable: Whether the call goes on where the page shows its key next. Then the page need not wait until the
            connection is closed.
    """
    return _json("bye", reason=reason, resumable=resumable)


def report(event: Event) -> str | None:
    """Return the message that reports an event of the session to the page; None for what a caller need not know."""
    match event:
        case SpeechStarted():
            return _json("speech_started")
        case SpeechEnded():
            return _json("speech_ended")
        case EarlyTranscript(text=text):
            return _json("transcript", text=text, final=False)
        case Transcript(text=text):
            return _json("transcript", text=text, final=True)
        case TurnStarted():
            return _json("turn_started", turn=event.turn_id)
        case SentenceStarted():
            return _json("sentence", turn=event.turn_id, text=event.text)
        case UtteranceEnded():
            return _json("utterance_ended", turn=event.turn_id)
        case Paused():
            return _json("paused", turn=event.turn_id)
        case Resumed():
            return _json("resumed", turn=event.turn_id)
        case ToolStarted():
            return _json("tool", turn=event.turn_id, call=event.call_id, name=event.name, state="started")
        case ToolFinished():
            return _json("tool", turn=event.turn_id, call=event.call_id, name=event.name, state=event.status)
        case TurnEnded():
            return _turn_ended(event)
        case _:
            return None


OUTCOMES: Final[tuple[tuple[type[TurnEnded], str], ...]] = (
    (TurnCompleted, "completed"),
    (TurnInterrupted, "interrupted"),
    (TurnFailed, "failed"),
    (TurnEmpty, "empty"),
)


def _turn_ended(event: TurnEnded) -> str:
    timeline = event.timeline
    waited_us = timeline.waited_us
    return _json(
        "turn_ended",
        turn=event.turn_id,
        outcome=next(name for kind, name in OUTCOMES if isinstance(event, kind)),
        joined=isinstance(event, TurnInterrupted) and event.joined,
        heard=event.heard,
        heard_s=round(event.heard_s, 3),
        waited_s=None if waited_us is None else waited_us / 1e6,
        spent_s={name: us / 1e6 for name, us in timeline.contributions_us.items()},
    )


def _json(kind: str, **fields: object) -> str:
    return json.dumps({"type": kind, **fields}, ensure_ascii=False, separators=(",", ":"))
