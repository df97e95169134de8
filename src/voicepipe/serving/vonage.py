"""The messages of a Vonage websocket, both ways, for one call: audio is binary, everything else is JSON.

Rule 1: the first message names the rate and has what the application gave the connection; it has no id of the call.
Rule 2: a `notify` is a mark: Vonage sends it back when everything before it has been played.

Source: Vonage's page "WebSockets in the Vonage Voice API", read in November 2026.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from voicepipe.serving.line_messages import UNREADABLE, UNSUPPORTED, is_key, read_object
from voicepipe.serving.streams import StreamTransport
from voicepipe.serving.telephony import AudioIn, KeyPressed, LineEvent, LineProtocol, Played, Started
from voicepipe.serving.transport import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Vonage", "VonageProtocol"]

FORMAT: Final = re.compile(r"audio/l16\s*;\s*rate=(8000|16000|24000)")

CLEAR: Final = '{"action":"clear"}'

OWN_FIELDS: Final = ("event", "content-type")


class VonageProtocol(LineProtocol):
    """One call over Vonage. `Started.parameters` are the endpoint's `headers`; `uuid` among them names the call."""

    def __init__(self) -> None:
        self._has_begun = False

    def feed(self, message: str | bytes) -> Sequence[LineEvent]:
        """Take a message of Vonage. See `LineProtocol.feed`.

        Raises:
            Refused: A text is not JSON, audio is half a sample, or the first message names another format.
        """
        if isinstance(message, bytes):
            return self._take_audio(message)
        match read_object(message):
            case {"event": "websocket:connected"} as fields if not self._has_begun:
                return (self._begin(fields),)
            case {"event": "websocket:notify", "payload": {"mark": str(name)}} if self._has_begun:
                return (Played(name),)
            case {"event": "websocket:dtmf", "digit": str(key)} if self._has_begun and is_key(key):
                return (KeyPressed(key),)
            case {"event": "websocket:cleared"}:
                return ()
            case _:
                self.ignored += 1
                return ()

    def audio(self, pcm: bytes) -> bytes:  # noqa: D102 - the base class says it
        return pcm

    def clear(self) -> str:  # noqa: D102 - the base class says it
        return CLEAR

    def mark(self, name: str) -> str:  # noqa: D102 - the base class says it
        return json.dumps({"action": "notify", "payload": {"mark": name}})

    def _begin(self, fields: Mapping[str, Any]) -> Started:
        kind = fields.get("content-type")
        found = FORMAT.fullmatch(kind) if isinstance(kind, str) else None
        if found is None:
            raise Refused(
                "media_format",
                f"expected audio/l16 with a rate of 8000, 16000 or 24000 as content-type, found {str(kind)[:40]!r}",
                code=UNSUPPORTED,
            )
        self._has_begun, self.sample_rate = True, int(found[1])
        given = {name: value for name, value in fields.items() if isinstance(value, str) and name not in OWN_FIELDS}
        return Started(call_id=given.get("uuid", ""), parameters=given)

    def _take_audio(self, pcm: bytes) -> Sequence[LineEvent]:
        if len(pcm) % 2:
            raise Refused("malformed", f"expected whole 16-bit samples, found {len(pcm)} bytes", code=UNREADABLE)
        if not self._has_begun:
            self.dropped += 1
            return ()
        return (AudioIn(pcm),) if pcm else ()


class Vonage(StreamTransport):
    """Telephone calls over Vonage's websockets. See `StreamTransport` for arguments and errors.

    Answer a call with an NCCO whose action `connect` has an endpoint of the type "websocket", with the websocket as
    `uri`, "audio/l16;rate=16000" as `content-type`, and `headers` with the token of `admit` and the call's `uuid`. When
    the websocket is closed, the actions behind it follow.
    """

    name = "vonage"
    protocol_class = VonageProtocol
