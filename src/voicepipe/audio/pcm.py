"""The only audio format inside the library: little-endian signed 16-bit mono, in frames of at most 20 ms."""

from __future__ import annotations

import math
import sys
from array import array
from typing import Final

__all__ = ["FRAME_S", "QUIET", "first_audible", "frames_of", "samples_of"]

FRAME_S: Final = 0.02
"""The longest frame: short enough to stop quickly, long enough to be cheap."""

QUIET: Final = range(-256, 256)
"""Samples that count as silence: under 0.8 % of full scale, -42 dB. The noise and the breath that voices begin with are
softer than that, and their consonants are louder. The high byte of these samples is 0 or 255, and of no other."""

QUIET_HIGH_BYTES: Final = b"\x00\xff"


def frames_of(pcm: bytes, sample_rate: int) -> list[bytes]:
    """Cut audio into frames of at most 20 ms; the last one may be shorter. Empty audio gives no frame."""
    size = max(2, 2 * math.floor(FRAME_S * sample_rate))
    return [pcm] if 0 < len(pcm) <= size else [pcm[at : at + size] for at in range(0, len(pcm), size)]


def samples_of(pcm: bytes) -> array[int]:
    """Return the samples of whole 16-bit PCM."""
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def first_audible(pcm: bytes) -> int | None:
    """Return how many samples of whole 16-bit PCM come before the first audible one; None if all are in `QUIET`."""
    high = pcm[1::2]
    audible = high.lstrip(QUIET_HIGH_BYTES)  # thirty times as fast as to look at numbers
    return len(high) - len(audible) if audible else None
