"""The messages of Telnyx media streaming, both ways, for one call.

Rule 1: messages may overtake each other, so audio is put in order by its chunks.
Rule 2: the agent's audio is written as the caller's is; the request that starts the stream has to ask for that.

Source: Telnyx's page "Stream call media over WebSocket", read in November 2026.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any, Final, cast

from voicepipe.serving.json_protocol import JSONProtocol, Meaning, Media, Nothing
from voicepipe.serving.line_messages import ALAW, BIG_ENDIAN, ULAW, UNREADABLE, encoding_of, is_key, number, seconds
from voicepipe.serving.streams import StreamTransport
from voicepipe.serving.telephony import Ended, KeyPressed, Played, Started
from voicepipe.serving.transport import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Telnyx", "TelnyxProtocol"]

ENCODINGS: Final = {
    ("PCMU", 8_000): ULAW,
    ("PCMA", 8_000): ALAW,
    ("L16", 8_000): BIG_ENDIAN,
    ("L16", 16_000): BIG_ENDIAN,
}

CLEAR: Final = '{"event":"clear"}'


class TelnyxProtocol(JSONProtocol):
    """One call over Telnyx. `Started.parameters["token"]` is the call's `client_state`, decoded."""

    def meaning(self, fields: Mapping[str, Any]) -> Meaning | None:
        """Return what a message means. See `JSONProtocol.meaning`.

        Raises:
            Refused: `start` lacks the ids, or names a format that is not known.
        """
        match fields:
            case {"event": "media", "media": {"track": "outbound"}}:
                return Nothing()  # the agent's own voice
            case {"event": "media", "media": {"payload": str(payload)} as media}:
                return Media(payload, seconds(media.get("timestamp")), number(media.get("chunk")))
            case {"event": "mark", "mark": {"name": str(name)}}:
                return Played(name)
            case {"event": "dtmf", "dtmf": {"digit": str(key)}} if is_key(key):
                return KeyPressed(key)
            case {"event": "start", "start": dict(start)} if not self.has_begun:
                return self._begin(fields, cast("dict[str, Any]", start))
            case {"event": "stop"}:
                return Ended("stop")
            case {"event": "connected"}:
                return Nothing()
            case _:
                return None

    def audio(self, pcm: bytes) -> str:  # noqa: D102 - the base class says it
        payload = base64.b64encode(self.encoding.from_pcm(pcm)).decode()
        return f'{{"event":"media","media":{{"payload":"{payload}"}}}}'

    def clear(self) -> str:  # noqa: D102 - the base class says it
        return CLEAR

    def mark(self, name: str) -> str:  # noqa: D102 - the base class says it
        return json.dumps({"event": "mark", "mark": {"name": name}})

    def _begin(self, fields: Mapping[str, Any], start: Mapping[str, Any]) -> Started:
        call, stream = start.get("call_control_id"), fields.get("stream_id")
        if not isinstance(call, str) or not call:
            raise Refused("malformed", "expected call_control_id in the message start", code=UNREADABLE)
        match start.get("media_format"):
            case {"encoding": encoding, "sample_rate": rate}:
                self.encoding, self.sample_rate = encoding_of(ENCODINGS, encoding, rate)
            case _:
                self.encoding, self.sample_rate = encoding_of(ENCODINGS, None, None)
        return Started(
            call_id=call,
            stream_id=stream if isinstance(stream, str) else "",
            parameters={"token": _client_state(start.get("client_state"))},
        )


class Telnyx(StreamTransport):
    """Telephone calls over Telnyx media streaming. See `StreamTransport` for arguments and errors.

    Answer a call with `stream_url` (the websocket), `stream_bidirectional_mode: "rtp"`, a `stream_bidirectional_codec`
    that is the `stream_codec` (PCMU, PCMA, or L16 at 8 or 16 kHz), and the token of `admit` in base64 as
    `client_state`. When the stream is closed the call goes on: hang it up or transfer it in `after`.
    """

    name = "telnyx"
    protocol_class = TelnyxProtocol


def _client_state(given: object) -> str:
    """Return what the application gave the call, which Telnyx passes on in base64; "" if it is not text."""
    try:
        return base64.b64decode(given, validate=True).decode() if isinstance(given, str) else ""
    except (binascii.Error, ValueError):
        return ""
