"""The messages of Twilio Media Streams, both ways, for one call.

Rule 1: sends nothing but `media`, `mark` and `clear`: Twilio ends a stream at anything else, with its error 31924.
Rule 2: believes the format that `start` names, and refuses a call whose audio it could only play as noise.

Source: Twilio's reference "Media Streams: WebSocket messages", read in November 2026.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic_core import from_json

from voicepipe.audio.g711 import from_ulaw, to_ulaw
from voicepipe.flow import KEYS
from voicepipe.serving.telephony import AudioIn, Ended, KeyPressed, LineEvent, LineProtocol, Played, Started
from voicepipe.serving.transport import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["TwilioProtocol"]

MOST_DIGITS: Final = 12
"""Of a stamp in milliseconds: thirty years."""

UNREADABLE: Final = 1007
"""The close code for data that is not what it says it is."""

UNSUPPORTED: Final = 1003
"""The close code for data of a kind that is not accepted."""


class TwilioProtocol(LineProtocol):
    """One call over Twilio Media Streams. Audio is G.711 u-law with 8,000 samples per second."""

    sample_rate = 8_000

    def __init__(self) -> None:
        self._has_ended = False
        self._media: str | None = None  # how each message with audio begins; None before the call

    def feed(self, message: str | bytes) -> Sequence[LineEvent]:
        """Take a message of Twilio. See `LineProtocol.feed`.

        Raises:
            Refused: The message is not JSON, its audio is not base64, or the call has another format.
        """
        match _read(message):
            case {"event": "media", "media": dict(media)}:
                return self._take_audio(cast("dict[str, Any]", media))
            case {"event": "mark", "mark": {"name": str(name)}} if self._is_live:
                return (Played(name),)
            case {"event": "dtmf", "dtmf": {"digit": str(key)}} if self._is_live and len(key) == 1 and key in KEYS:
                return (KeyPressed(key),)
            case {"event": "start", "start": dict(start)} if self._media is None and not self._has_ended:
                return (self._begin(cast("dict[str, Any]", start)),)
            case {"event": "stop"} if not self._has_ended:
                self._has_ended = True
                return (Ended("stop"),)
            case {"event": "connected"}:
                return ()
            case _:
                self.ignored += 1
                return ()

    def audio(self, pcm: bytes) -> str:  # noqa: D102 - the base class says it
        assert self._media is not None  # noqa: S101 - a line exists only after `start`
        return f'{self._media}{base64.b64encode(to_ulaw(pcm)).decode()}"}}}}'

    def clear(self) -> str:  # noqa: D102 - the base class says it
        return self._clear

    def mark(self, name: str) -> str:  # noqa: D102 - the base class says it
        return f'{{"event":"mark","streamSid":{self._stream},"mark":{{"name":{json.dumps(name)}}}}}'

    @property
    def _is_live(self) -> bool:
        return self._media is not None and not self._has_ended

    def _begin(self, start: Mapping[str, Any]) -> Started:
        match start:
            case {"callSid": str(call), "streamSid": str(stream)} if call and stream:
                pass
            case _:
                raise Refused("malformed", "expected callSid and streamSid in the message start", code=UNREADABLE)
        _check_format(start.get("mediaFormat"))
        # Written once, because a message with audio goes out fifty times a second.
        self._stream = json.dumps(stream)
        self._media = f'{{"event":"media","streamSid":{self._stream},"media":{{"payload":"'
        self._clear = f'{{"event":"clear","streamSid":{self._stream}}}'
        account, given = start.get("accountSid"), start.get("customParameters")
        pairs = cast("dict[str, object]", given).items() if isinstance(given, dict) else ()
        return Started(
            call_id=call,
            stream_id=stream,
            account_id=account if isinstance(account, str) else "",
            parameters={name: value for name, value in pairs if isinstance(value, str)},
        )

    def _take_audio(self, media: Mapping[str, Any]) -> Sequence[LineEvent]:
        if not self._is_live:
            self.dropped += 1
            return ()
        payload = media.get("payload")
        if media.get("track") == "outbound":
            return ()  # the agent's own voice, of a line that sends both tracks
        if not isinstance(payload, str) or not payload:
            self.ignored += 1
            return ()
        try:
            pcm = from_ulaw(base64.b64decode(payload, validate=True))
        except ValueError:
            raise Refused("malformed", "expected base64 in the payload of a message media", code=UNREADABLE) from None
        return (AudioIn(pcm, _seconds(media.get("timestamp"))),)


def _read(message: str | bytes) -> object:
    if isinstance(message, bytes):
        raise Refused("malformed", "expected messages of text, not binary ones", code=UNSUPPORTED)
    try:
        fields = from_json(message)
    except ValueError:
        raise Refused("malformed", "expected JSON", code=UNREADABLE) from None
    if not isinstance(fields, dict):
        raise Refused("malformed", "expected an object of JSON", code=UNREADABLE)
    return cast("dict[str, object]", fields)


def _seconds(stamp: object) -> float | None:
    """Return the stamp of a message; None for one that is not in milliseconds."""
    if isinstance(stamp, str) and len(stamp) <= MOST_DIGITS and stamp.isascii() and stamp.isdigit():
        return int(stamp) / 1_000
    return None


def _check_format(found: object) -> None:
    match found:
        case {"encoding": "audio/x-mulaw", "sampleRate": 8_000, "channels": 1}:
            return
        case {"encoding": encoding, "sampleRate": rate, "channels": channels}:
            # What is shown is bounded: a stranger may have written it.
            shown = f"{str(encoding)[:40]!r} at {str(rate)[:12]} Hz with {str(channels)[:12]} channels"
        case _:
            shown = "none"
    raise Refused(
        "media_format",
        f"expected audio/x-mulaw at 8000 Hz with 1 channel as mediaFormat, found {shown}; "
        "leave audio format and sample rate of the stream at their defaults",
        code=UNSUPPORTED,
    )
