"""The messages of Asterisk's AudioSocket, both ways, for one call.

Rule 1: sends nothing but audio and the hang-up: Asterisk ends a call at anything else.
Rule 2: one rate a call: the first audio names it, and audio of another one would be noise.

A message is one byte for its kind, two for the length of what follows (big-endian), and that. Audio is little-endian.
Source: Asterisk's page "AudioSocket" and its `res_audiosocket.c`, read in November 2026.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

from voicepipe.flow import KEYS
from voicepipe.serving.telephony import AudioIn, Ended, KeyPressed, LineEvent, LineProtocol, Started
from voicepipe.serving.transport import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["HEADER_BYTES", "AudioSocketProtocol", "take_message"]

HEADER_BYTES: Final = 3

HANG_UP, NAME, KEY, ERROR = 0x00, 0x01, 0x03, 0xFF

RATES: Final = {
    0x10: 8_000,
    0x11: 12_000,
    0x12: 16_000,
    0x13: 24_000,
    0x14: 32_000,
    0x15: 44_100,
    0x16: 48_000,
    0x17: 96_000,
    0x18: 192_000,
}
"""Samples per second by the kind of an audio message. Asterisk before 22.7 knows the first only."""

KINDS: Final = {rate: kind for kind, rate in RATES.items()}

UUID_BYTES: Final = 16


def take_message(received: bytearray, most_bytes: int) -> bytes | None:
    """Remove the first whole message, with its header, from what was received; None if it has not come whole.

    Raises:
        Refused: The message is longer than `most_bytes`.
    """
    if len(received) < HEADER_BYTES:
        return None
    size = HEADER_BYTES + int.from_bytes(received[1:HEADER_BYTES], "big")
    if size > most_bytes:
        raise Refused("size", f"expected messages of at most {most_bytes} bytes, found one of {size}", code=1009)
    if len(received) < size:
        return None
    message = bytes(received[:size])
    del received[:size]
    return message


class AudioSocketProtocol(LineProtocol):
    """One call over AudioSocket.

    Attributes:
        sample_rate: 8000 until the first audio names another one, or `settle` is called.
    """

    def __init__(self) -> None:
        self._has_begun = self._has_ended = False
        self._audio_kind = KINDS[8_000]
        self._is_settled = False

    def feed(self, message: str | bytes) -> Sequence[LineEvent]:
        """Take one whole message of Asterisk, with its header. See `LineProtocol.feed`.

        Raises:
            Refused: The length is wrong, the name is no UUID, half a sample came, or the rate changed.
        """
        if isinstance(message, str) or len(message) < HEADER_BYTES:
            raise Refused("malformed", "expected a whole binary message", code=1007)
        kind, payload = message[0], message[HEADER_BYTES:]
        if len(payload) != int.from_bytes(message[1:HEADER_BYTES], "big"):
            raise Refused("malformed", "a message is not as long as its header says", code=1007)
        if kind in RATES:
            return self._take_audio(kind, payload)
        if kind == NAME and not self._has_begun and not self._has_ended:
            if len(payload) != UUID_BYTES:
                raise Refused("malformed", f"expected a UUID of 16 bytes, found {len(payload)}", code=1007)
            self._has_begun = True
            return (Started(call_id=str(UUID(bytes=payload))),)
        if kind in (HANG_UP, ERROR) and not self._has_ended:
            self._has_ended = True
            return (Ended("hang-up" if kind == HANG_UP else "error"),)
        key = payload.decode("latin-1")
        if kind == KEY and self._is_live and len(key) == 1 and key in KEYS:
            return (KeyPressed(key),)
        self.ignored += 1
        return ()

    def settle(self) -> None:
        """Keep the rate as it is: audio of another one is refused from now on."""
        self._is_settled = True

    def audio(self, pcm: bytes) -> bytes:  # noqa: D102 - the base class says it
        return bytes((self._audio_kind, *len(pcm).to_bytes(2, "big"))) + pcm

    def hang_up(self) -> bytes:
        """Return the message that ends the call; the dial plan goes on behind AudioSocket()."""
        return bytes((HANG_UP, 0, 0))

    @property
    def _is_live(self) -> bool:
        return self._has_begun and not self._has_ended

    def _take_audio(self, kind: int, pcm: bytes) -> Sequence[LineEvent]:
        if len(pcm) % 2:
            raise Refused("malformed", f"expected whole 16-bit samples, found {len(pcm)} bytes", code=1007)
        if not self._is_live:
            self.dropped += 1
            return ()
        if not pcm:
            self.ignored += 1
            return ()
        if kind != self._audio_kind and self._is_settled:
            raise Refused("media_format", f"expected audio at {self.sample_rate} Hz, found {RATES[kind]} Hz", code=1003)
        self._audio_kind, self.sample_rate, self._is_settled = kind, RATES[kind], True
        return (AudioIn(pcm),)
