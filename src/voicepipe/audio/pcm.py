"""The only audio format inside the library: little-endian signed 16-bit mono, in frames of at most 20 ms."""

from __future__ import annotations

import math
import sys
from array import array
from typing import Final

__all__ = ["AUDIBLE", "FRAME_S", "first_audible", "frames_of", "samples_of"]

FRAME_S: Final = 0.02
"""The longest frame: short enough to stop quickly, long enough to be cheap."""

AUDIBLE: Final = 328
"""A sample from which on audio counts as audible, in either direction: 1 % of full scale, -40 dB. The noise and the
breath that voices begin with are softer, and their consonants are louder."""


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
    """Return how many samples come before the first audible one; None if none is audible. See `AUDIBLE`."""
    samples = samples_of(pcm)
    if not samples or (max(samples) < AUDIBLE and min(samples) > -AUDIBLE):  # much quicker than a loop of Python
        return None
    return next(at for at, sample in enumerate(samples) if abs(sample) >= AUDIBLE)
