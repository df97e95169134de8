"""The messages of Plivo audio streams, both ways, for one call; Vobiz speaks the same.

Rule 1: the agent's audio is written as the caller's is, in the format of the stream's `contentType`.
Rule 2: the end of the connection is the end of the call; a message about it is not promised.

Source: Plivo's page "Audio Streaming Protocol Reference", read in November 2026.
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any, Final, cast

from voicepipe.serving.json_protocol import JSONProtocol, Meaning, Media, Nothing
from voicepipe.serving.line_messages import LITTLE_ENDIAN, ULAW, UNREADABLE, encoding_of, is_key, seconds
from voicepipe.serving.streams import StreamTransport
from voicepipe.serving.telephony import Ended, KeyPressed, Played, Started
from voicepipe.serving.transport import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Plivo", "PlivoProtocol"]

ENCODINGS: Final = {
    ("audio/x-mulaw", 8_000): ULAW,
    ("audio/x-l16", 8_000): LITTLE_ENDIAN,
    ("audio/x-l16", 16_000): LITTLE_ENDIAN,
}

PAIR: Final = re.compile(r"([^=;,\s]+)=([^;,]*)")
"""In extra headers: "a=1;b=2", as the reference shows them, or with commas, as they are given."""


class PlivoProtocol(JSONProtocol):
    """One call over Plivo. `Started.parameters` are the stream's `extraHeaders`."""

    def meaning(self, fields: Mapping[str, Any]) -> Meaning | None:
        """Return what a message means. See `JSONProtocol.meaning`.

        Raises:
            Refused: `start` lacks the ids, or names a format that is not known.
        """
        match fields:
            case {"event": "media", "media": {"track": "outbound"}}:
                return Nothing()  # the agent's own voice
            case {"event": "media", "media": {"payload": str(payload)} as media}:
                return Media(payload, seconds(media.get("timestamp")))
            case {"event": "playedStream", "name": str(name)}:
                return Played(name)
            case {"event": "dtmf", "dtmf": {"digit": str(key)}} if is_key(key):
                return KeyPressed(key)
            case {"event": "start", "start": dict(start)} if not self.has_begun:
                return self._begin(cast("dict[str, Any]", start), fields.get("extra_headers"))
            case {"event": "stop"}:
                return Ended("stop")
            case {"event": "clearedAudio"}:
                return Nothing()
            case _:
                return None

    def audio(self, pcm: bytes) -> str:  # noqa: D102 - the base class says it
        return f'{self._media}{base64.b64encode(self.encoding.from_pcm(pcm)).decode()}"}}}}'

    def clear(self) -> str:  # noqa: D102 - the base class says it
        return json.dumps({"event": "clearAudio", "streamId": self._stream})

    def mark(self, name: str) -> str:  # noqa: D102 - the base class says it
        return json.dumps({"event": "checkpoint", "streamId": self._stream, "name": name})

    def _begin(self, start: Mapping[str, Any], headers: object) -> Started:
        match start:
            case {"callId": str(call), "streamId": str(stream)} if call and stream:
                pass
            case _:
                raise Refused("malformed", "expected callId and streamId in the message start", code=UNREADABLE)
        match start.get("mediaFormat"):
            case {"encoding": str(name), "sampleRate": rate}:
                self.encoding, self.sample_rate = encoding_of(ENCODINGS, name, rate)
            case _:
                name = ""
                self.encoding, self.sample_rate = encoding_of(ENCODINGS, None, None)
        kind = {"contentType": name, "sampleRate": self.sample_rate}
        head = json.dumps({"event": "playAudio", "streamId": stream, "media": {**kind, "payload": ""}})
        self._stream, self._media = stream, head.removesuffix('"}}')
        account = start.get("accountId")
        return Started(
            call_id=call,
            stream_id=stream,
            account_id=account if isinstance(account, str) else "",
            parameters=dict(PAIR.findall(headers)) if isinstance(headers, str) else {},
        )


class Plivo(StreamTransport):
    """Telephone calls over Plivo audio streams, and over Vobiz. See `StreamTransport` for arguments and errors.

    Answer a call with `<Stream bidirectional="true" keepCallAlive="true" extraHeaders="token=...">`, with the websocket
    as its text and the token of `admit`. When the stream is closed, the instructions behind `<Stream>` follow.
    """

    name = "plivo"
    protocol_class = PlivoProtocol
