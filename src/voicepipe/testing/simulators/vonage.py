"""A telephone network that connects calls to a websocket as Vonage does, with a caller whom you script.

    vonage = VonageSimulator("ws://127.0.0.1:8000/vonage")
    async with vonage.call(token, speech="question.wav") as call:
        await call.wait_speaking()

Source: Vonage's page "WebSockets in the Vonage Voice API", read in November 2026. No telephone network was called.
"""

from __future__ import annotations

import json
from typing import Any, Final

from voicepipe.errors import ConfigurationError
from voicepipe.testing.simulators._caller import CallEnded
from voicepipe.testing.simulators._stream_network import Clear, Mark, NotInProtocol, StreamCall, StreamNetwork, Wire

__all__ = ["CallEnded", "StreamCall", "VonageSimulator"]

RATES: Final = (8_000, 16_000, 24_000)


class VonageSimulator(StreamNetwork):
    """A network that connects calls as Vonage does; `call` gets the token that the application gave the `headers`.

    Args:
        url: The server's websocket, e.g. "ws://127.0.0.1:8000/vonage".
        sample_rate: 8000, 16000 or 24000.

    Raises:
        ConfigurationError: There is no such rate.
    """

    id_form = "{:08d}-uuid"

    def __init__(self, url: str, *, sample_rate: int = 16_000) -> None:
        super().__init__(url)
        if sample_rate not in RATES:
            raise ConfigurationError(f"VonageSimulator: there is no audio/l16 at {sample_rate} Hz")
        self.sample_rate = sample_rate

    def wire(self, call_id: str = "call") -> Wire:
        """Return the messages of a new stream of a call."""
        return VonageWire(call_id, self.sample_rate)


class VonageWire(Wire):
    """The messages of one call. See `Wire`."""

    def __init__(self, call: str, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._call = call

    def first(self, token: str) -> list[str]:
        kind = f"audio/l16;rate={self.sample_rate}"
        fields = {"event": "websocket:connected", "content-type": kind, "token": token, "uuid": self._call}
        return [json.dumps(fields)]

    def audio(self, pcm: bytes) -> list[str | bytes]:
        return [pcm]

    def key(self, key: str) -> str:
        return json.dumps({"event": "websocket:dtmf", "digit": key, "duration": 260})

    def played(self, name: str) -> str:
        return json.dumps({"event": "websocket:notify", "payload": {"mark": name}})

    def cleared(self) -> str:
        return json.dumps({"event": "websocket:cleared"})

    def read(self, message: str | bytes) -> bytes | Mark | Clear:
        if isinstance(message, bytes):
            if len(message) != self.sample_rate // 50 * 2:
                raise NotInProtocol(f"a message with audio has 20 ms, not {len(message)} bytes")
            return message
        fields: Any = json.loads(message)
        match fields:
            case {"action": "notify", "payload": {"mark": str(name)}}:
                return Mark(name)
            case {"action": "clear"}:
                return Clear()
            case _:
                raise NotInProtocol("the websocket got a message that is not in the protocol")
