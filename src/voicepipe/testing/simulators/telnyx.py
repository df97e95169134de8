"""A telephone network that streams calls as Telnyx does, with a caller whom you script.

    telnyx = TelnyxSimulator("ws://127.0.0.1:8000/telnyx")
    async with telnyx.call(token, speech="question.wav") as call:
        await call.wait_speaking()

Source: Telnyx's page "Stream call media over WebSocket", read in November 2026. No telephone network was called.
"""

from __future__ import annotations

import base64
import json
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from voicepipe.audio.g711 import from_alaw, from_ulaw, to_alaw, to_ulaw
from voicepipe.errors import ConfigurationError
from voicepipe.testing.simulators._caller import CallEnded
from voicepipe.testing.simulators._stream_network import Clear, Mark, NotInProtocol, StreamCall, StreamNetwork, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CallEnded", "StreamCall", "TelnyxSimulator"]


def _swapped(pcm: bytes) -> bytes:
    swapped = bytearray(pcm)
    swapped[0::2], swapped[1::2] = pcm[1::2], pcm[0::2]
    return bytes(swapped)


CODECS: Final[dict[tuple[str, int], tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]]] = {
    ("PCMU", 8_000): (from_ulaw, to_ulaw),
    ("PCMA", 8_000): (from_alaw, to_alaw),
    ("L16", 8_000): (_swapped, _swapped),
    ("L16", 16_000): (_swapped, _swapped),
}


class TelnyxSimulator(StreamNetwork):
    """A network that streams calls as Telnyx does; `call` gets the token that the application gave `client_state`.

    Args:
        url: The server's websocket, e.g. "ws://127.0.0.1:8000/telnyx".
        encoding: "PCMU", "PCMA" or "L16", in both directions.
        sample_rate: 8000, and 16000 for "L16".
        swaps: Whether every second message with audio overtakes the one before it.
        says_when_it_ends: Whether the message `stop` comes at the end.

    Raises:
        ConfigurationError: There is no such encoding.
    """

    id_form = "v3:{:08d}"

    def __init__(
        self,
        url: str,
        *,
        encoding: str = "PCMU",
        sample_rate: int = 8_000,
        swaps: bool = False,
        says_when_it_ends: bool = True,
    ) -> None:
        super().__init__(url, says_when_it_ends=says_when_it_ends)
        if (encoding, sample_rate) not in CODECS:
            raise ConfigurationError(f"TelnyxSimulator: there is no {encoding} at {sample_rate} Hz")
        self.encoding = encoding
        self.sample_rate = sample_rate
        self.swaps = swaps

    def wire(self, call_id: str = "call") -> Wire:
        """Return the messages of a new stream of a call."""
        return TelnyxWire(call_id, self.encoding, self.sample_rate, swaps=self.swaps)


class TelnyxWire(Wire):
    """The messages of one call. See `Wire`."""

    def __init__(self, call: str, encoding: str, sample_rate: int, *, swaps: bool) -> None:
        self.sample_rate = sample_rate
        self._call = call
        self._encoding = encoding
        self._to_pcm, self._from_pcm = CODECS[encoding, sample_rate]
        self._swaps = swaps
        self._sequence = count(1)
        self._chunk = 0
        self._kept: list[str] = []

    def first(self, token: str) -> list[str]:
        start = {
            "user_id": "u",
            "call_control_id": self._call,
            "client_state": base64.b64encode(token.encode()).decode(),
            "media_format": {"encoding": self._encoding, "sample_rate": self.sample_rate, "channels": 1},
        }
        return [json.dumps({"event": "connected", "version": "1.0.0"}), self._message("start", start=start)]

    def audio(self, pcm: bytes) -> list[str | bytes]:
        self._chunk += 1
        payload = base64.b64encode(self._from_pcm(pcm)).decode()
        stamp = str((self._chunk - 1) * 20)
        media = {"track": "inbound", "chunk": str(self._chunk), "timestamp": stamp, "payload": payload}
        self._kept.append(self._message("media", media=media))
        if self._swaps and self._chunk % 2 == 0:
            return []  # the next one overtakes it
        sent, self._kept = self._kept[::-1], []
        return list(sent)

    def key(self, key: str) -> str:
        return self._message("dtmf", dtmf={"digit": key})

    def played(self, name: str) -> str:
        return self._message("mark", mark={"name": name})

    def last(self) -> str:
        return self._message("stop", stop={"call_control_id": self._call})

    def read(self, message: str | bytes) -> bytes | Mark | Clear:
        fields: Any = json.loads(message) if isinstance(message, str) else None
        match fields:
            case {"event": "media", "media": {"payload": str(payload)}}:
                pcm = self._to_pcm(base64.b64decode(payload, validate=True))
                if len(pcm) < self.sample_rate // 50 * 2:
                    raise NotInProtocol("audio is sent in pieces of at least 20 ms")
                return pcm
            case {"event": "mark", "mark": {"name": str(name)}}:
                return Mark(name)
            case {"event": "clear"}:
                return Clear()
            case _:
                raise NotInProtocol("the stream got a message that is not in the protocol")

    def _message(self, event: str, **fields: object) -> str:
        number = str(next(self._sequence))
        return json.dumps({"event": event, "sequence_number": number, "stream_id": f"stream-{self._call}", **fields})
