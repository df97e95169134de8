"""The messages of Twilio Media Streams, both ways, for one call.

Rule 1: sends nothing but `media`, `mark` and `clear`: Twilio ends a stream at anything else, with its error 31924.
Rule 2: believes the format that `start` names, and refuses a call whose audio it could only play as noise.

Source: Twilio's reference "Media Streams: WebSocket messages", read in November 2026.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, cast

from voicepipe.audio.g711 import to_ulaw
from voicepipe.serving.json_protocol import JSONProtocol, Meaning, Media, Nothing
from voicepipe.serving.line_messages import UNREADABLE, UNSUPPORTED, is_key, seconds
from voicepipe.serving.telephony import Ended, KeyPressed, Played, Started
from voicepipe.serving.transport import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["TwilioProtocol"]


class TwilioProtocol(JSONProtocol):
    """One call over Twilio Media Streams. Audio is G.711 u-law with 8,000 samples per second."""

    sample_rate = 8_000

    def meaning(self, fields: Mapping[str, Any]) -> Meaning | None:
        """Return what a message means. See `JSONProtocol.meaning`.

        Raises:
            Refused: `start` lacks the ids, or names another format.
        """
        match fields:
            case {"event": "media", "media": {"track": "outbound"}}:
                return Nothing()  # the agent's own voice, of a line that sends both tracks
            case {"event": "media", "media": {"payload": str(payload)} as media}:
                return Media(payload, seconds(media.get("timestamp")))
            case {"event": "mark", "mark": {"name": str(name)}}:
                return Played(name)
            case {"event": "dtmf", "dtmf": {"digit": str(key)}} if is_key(key):
                return KeyPressed(key)
            case {"event": "start", "start": dict(start)} if not self.has_begun:
                return self._begin(cast("dict[str, Any]", start))
            case {"event": "stop"}:
                return Ended("stop")
            case {"event": "connected"}:
                return Nothing()
            case _:
                return None

    def audio(self, pcm: bytes) -> str:  # noqa: D102 - the base class says it
        return f'{self._media}{base64.b64encode(to_ulaw(pcm)).decode()}"}}}}'

    def clear(self) -> str:  # noqa: D102 - the base class says it
        return self._clear

    def mark(self, name: str) -> str:  # noqa: D102 - the base class says it
        return f'{{"event":"mark","streamSid":{self._stream},"mark":{{"name":{json.dumps(name)}}}}}'

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
