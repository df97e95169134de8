"""A telephone network that streams calls as Plivo does, with a caller whom you script.

    plivo = PlivoSimulator("ws://127.0.0.1:8000/plivo")
    async with plivo.call(token, speech="question.wav") as call:
        await call.wait_speaking()

Source: Plivo's page "Audio Streaming Protocol Reference", read in November 2026. No telephone network was called.
"""

from __future__ import annotations

import base64
import json
import re
from itertools import count
from typing import Any, Final

from voicepipe.audio.g711 import from_ulaw, to_ulaw
from voicepipe.errors import ConfigurationError
from voicepipe.testing.simulators._caller import CallEnded
from voicepipe.testing.simulators._stream_network import Clear, Mark, NotInProtocol, StreamCall, StreamNetwork, Wire

__all__ = ["CallEnded", "PlivoSimulator", "StreamCall"]

FORMATS: Final = (("audio/x-mulaw", 8_000), ("audio/x-l16", 8_000), ("audio/x-l16", 16_000))

EPOCH_MS: Final = 1_800_000_000_000
"""Stamps are Unix time."""


class PlivoSimulator(StreamNetwork):
    """A network that streams calls as Plivo does; `call` gets the token that the application gave `extraHeaders`.

    Args:
        url: The server's websocket, e.g. "ws://127.0.0.1:8000/plivo".
        encoding: "audio/x-mulaw" or "audio/x-l16".
        sample_rate: 8000, and 16000 for "audio/x-l16".
        says_when_it_ends: Whether the message `stop` comes at the end; Plivo promises none.

    Raises:
        ConfigurationError: There is no such encoding.
    """

    id_form = "{:08d}-call"

    def __init__(
        self,
        url: str,
        *,
        encoding: str = "audio/x-mulaw",
        sample_rate: int = 8_000,
        says_when_it_ends: bool = False,
    ) -> None:
        super().__init__(url, says_when_it_ends=says_when_it_ends)
        if (encoding, sample_rate) not in FORMATS:
            raise ConfigurationError(f"PlivoSimulator: there is no {encoding} at {sample_rate} Hz")
        self.encoding = encoding
        self.sample_rate = sample_rate

    def wire(self, call_id: str = "call") -> Wire:
        """Return the messages of a new stream of a call."""
        return PlivoWire(call_id, self.encoding, self.sample_rate)


class PlivoWire(Wire):
    """The messages of one call. See `Wire`."""

    def __init__(self, call: str, encoding: str, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._call = call
        self._stream = call.replace("call", "stream")
        self._encoding = encoding
        self._is_ulaw = encoding == "audio/x-mulaw"
        self._sequence = count(1)
        self._chunk = count(1)

    def first(self, token: str) -> list[str]:
        if len(token) > 500 or not re.fullmatch("[A-Za-z0-9]*", token):  # what extra headers may have
            token = ""
        start = {
            "callId": self._call,
            "streamId": self._stream,
            "accountId": "MA1",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": self._encoding, "sampleRate": self.sample_rate},
        }
        return [self._message("start", start=start, extra_headers=f"token={token};lang=en")]

    def audio(self, pcm: bytes) -> list[str | bytes]:
        chunk = next(self._chunk)
        payload = base64.b64encode(to_ulaw(pcm) if self._is_ulaw else pcm).decode()
        stamp = str(EPOCH_MS + (chunk - 1) * 20)
        media = {"track": "inbound", "timestamp": stamp, "chunk": chunk, "payload": payload}
        return [self._message("media", media=media)]

    def key(self, key: str) -> str:
        return self._message("dtmf", dtmf={"track": "inbound", "digit": key, "timestamp": str(EPOCH_MS)})

    def played(self, name: str) -> str:
        return self._message("playedStream", name=name)

    def cleared(self) -> str:
        return self._message("clearedAudio")

    def last(self) -> str:
        return self._message("stop")

    def read(self, message: str | bytes) -> bytes | Mark | Clear:
        fields: Any = json.loads(message) if isinstance(message, str) else None
        kind = {"contentType": self._encoding, "sampleRate": self.sample_rate}
        match fields:
            case {"event": "playAudio", "media": {"payload": str(payload), **given}} if given == kind:
                coded = base64.b64decode(payload, validate=True)
                return from_ulaw(coded) if self._is_ulaw else coded
            case {"event": "checkpoint", "streamId": self._stream, "name": str(name)}:
                return Mark(name)
            case {"event": "clearAudio", "streamId": self._stream}:
                return Clear()
            case _:
                raise NotInProtocol("the stream got a message that is not in the protocol")

    def _message(self, event: str, **fields: object) -> str:
        return json.dumps({"event": event, "sequenceNumber": next(self._sequence), "streamId": self._stream, **fields})
