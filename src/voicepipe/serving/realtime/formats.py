"""The three audio formats of the protocol. Pure.

Source: OpenAI's reference "Realtime", `RealtimeAudioFormats`, read 2026-11-30: PCM is 24 kHz, 16 bits, little-endian,
mono; G.711 is 8 kHz.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from voicepipe.audio.g711 import from_alaw, from_ulaw, to_alaw, to_ulaw
from voicepipe.serving.realtime.client_events import AudioFormat, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PCM", "Format", "format_of"]


@dataclass(frozen=True, slots=True)
class Format:
    """How audio is written on the line.

    Attributes:
        name: The protocol's name.
        sample_rate: Samples per second.
        from_pcm: Turns 16-bit PCM into what is sent.
        to_pcm: Turns what came into 16-bit PCM.
    """

    name: str
    sample_rate: int
    from_pcm: Callable[[bytes], bytes]
    to_pcm: Callable[[bytes], bytes]

    @property
    def json(self) -> dict[str, Any]:
        """The format as a session's settings name it."""
        return {"type": self.name, "rate": self.sample_rate} if self.name == "audio/pcm" else {"type": self.name}

    def encoded(self, pcm: bytes) -> str:
        """Return 16-bit PCM as base64 in this format."""
        return base64.b64encode(self.from_pcm(pcm)).decode("ascii")

    def decoded(self, text: str) -> bytes:
        """Return the 16-bit PCM in base64 of this format.

        Raises:
            Rejected: It is not base64, or not whole samples.
        """
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise Rejected("invalid_audio", "the audio is not base64", param="audio") from None
        if self.name == "audio/pcm" and len(data) % 2:
            said = f"audio/pcm has 16-bit samples, an even number of bytes, not {len(data)}"
            raise Rejected("invalid_audio", said, param="audio")
        return self.to_pcm(data)


def _same(data: bytes) -> bytes:
    return data


PCM: Final = Format("audio/pcm", 24_000, _same, _same)

FORMATS: Final = {
    one.name: one
    for one in (
        PCM,
        Format("audio/pcmu", 8_000, to_ulaw, from_ulaw),
        Format("audio/pcma", 8_000, to_alaw, from_alaw),
    )
}


def format_of(asked: AudioFormat, param: str) -> Format:
    """Return the format that a client asks for.

    Raises:
        Rejected: Its rate is not the format's.
    """
    found = FORMATS[asked.type]
    if asked.rate not in (None, found.sample_rate):
        said = f"{found.name} has {found.sample_rate} samples per second, not {asked.rate}"
        raise Rejected("invalid_value", said, param=f"{param}.rate")
    return found
