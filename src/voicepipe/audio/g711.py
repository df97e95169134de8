"""The two telephone codecs, G.711 u-law and A-law, as lookup tables.

Rule 1: the results equal those of Python's `audioop` (removed in Python 3.13), sample for sample.
Rule 2: a table is built when it is first needed.

Source: ITU-T Recommendation G.711 (11/88), tables 1 and 2; 16-bit samples are truncated to its 14 and 13 bits.
"""

from __future__ import annotations

from functools import cache
from operator import itemgetter
from struct import unpack
from typing import TYPE_CHECKING

from voicepipe.errors import AudioError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["from_alaw", "from_ulaw", "to_alaw", "to_ulaw"]


def to_ulaw(pcm: bytes) -> bytes:
    """Encode samples as G.711 u-law, which telephones in North America and Japan use.

    Args:
        pcm: n little-endian signed 16-bit mono samples (2 n bytes); a telephone line carries 8,000 per second.

    Returns:
        n bytes.

    Raises:
        AudioError: The bytes are not whole samples.
    """
    return _coded(pcm, _ulaw_codes(), "to_ulaw")


def from_ulaw(ulaw: bytes) -> bytes:
    """Decode n bytes of G.711 u-law to n little-endian signed 16-bit samples (2 n bytes)."""
    return _decoded(ulaw, _ulaw_bytes())


def to_alaw(pcm: bytes) -> bytes:
    """Encode samples as G.711 A-law, which telephones in most of the world use. See `to_ulaw`."""
    return _coded(pcm, _alaw_codes(), "to_alaw")


def from_alaw(alaw: bytes) -> bytes:
    """Decode n bytes of G.711 A-law to n little-endian signed 16-bit samples (2 n bytes)."""
    return _decoded(alaw, _alaw_bytes())


def _coded(pcm: bytes, codes: bytes, name: str) -> bytes:
    if len(pcm) % 2:
        raise AudioError(f"{name} needs whole 16-bit samples, an even number of bytes, but got {len(pcm)} bytes")
    # One lookup of all samples is twice as fast as a loop. It returns a tuple from two items on, hence the two zeros.
    look_up = itemgetter(0, 0, *unpack(f"<{len(pcm) // 2}H", pcm))
    return bytes(look_up(codes)[2:])


def _decoded(coded: bytes, halves: tuple[bytes, bytes]) -> bytes:
    # Translating both halves of all samples at once is five times as fast as one sample after another.
    pcm = bytearray(2 * len(coded))
    pcm[0::2] = coded.translate(halves[0])
    pcm[1::2] = coded.translate(halves[1])
    return bytes(pcm)


@cache
def _ulaw_codes() -> bytes:
    """Return the code of each sample, indexed by the sample as unsigned: 0 to 32767, then -32768 to -1."""
    # Eight segments of sixteen steps; the steps double with each segment: 2, 4, ... of 14 bits. The first is around 0.
    runs = [(value, 2 << (value >> 4)) for value in range(128)]
    runs[0] = (0, 1)
    runs[-1] = (127, runs[-1][1] + 34)  # louder samples are clipped
    loudness = b"".join(bytes([value]) * width for value, width in runs)  # of 0 to 8192
    positive, negative = loudness[:8_192], loudness[8_192:0:-1]
    return _widened(positive, 4, 0xFF) + _widened(negative, 4, 0x7F)


@cache
def _alaw_codes() -> bytes:
    """Return the code of each sample, indexed by the sample as unsigned: 0 to 32767, then -32768 to -1."""
    # The first two segments have steps of 2 of 13 bits; the steps of each further segment are twice as wide.
    loudness = b"".join(bytes([value]) * (1 << max(1, value >> 4)) for value in range(128))  # of 0 to 4095
    return _widened(loudness, 8, 0xD5) + _widened(loudness[::-1], 8, 0x55)


def _widened(loudness: bytes, samples: int, mask: int) -> bytes:
    """Expand the codes to 16-bit samples; the mask holds the sign, and the bits that a line inverts."""
    codes = bytearray(samples * len(loudness))
    masked = loudness.translate(bytes(value ^ mask for value in range(256)))
    for at in range(samples):
        codes[at::samples] = masked
    return bytes(codes)


@cache
def _ulaw_bytes() -> tuple[bytes, bytes]:
    loudness = [(((value & 15) * 8 + 132) << (value >> 4)) - 132 for value in range(128)]
    return _split([-loudness[127 - code] if code < 128 else loudness[255 - code] for code in range(256)])


@cache
def _alaw_bytes() -> tuple[bytes, bytes]:
    loudness = [(value & 15) * 16 + 8 for value in range(16)]
    loudness += [((value & 15) * 16 + 264) << ((value >> 4) - 1) for value in range(16, 128)]
    return _split([-loudness[code ^ 0x55] if code < 128 else loudness[code ^ 0xD5] for code in range(256)])


def _split(samples: Sequence[int]) -> tuple[bytes, bytes]:
    """Return the lower and the upper bytes of 16-bit samples."""
    pcm = b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples)
    return pcm[0::2], pcm[1::2]
