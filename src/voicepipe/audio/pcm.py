"""The only audio format inside the library: little-endian signed 16-bit mono, in frames of at most 20 ms."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["FRAME_S", "frames_of"]

FRAME_S: Final = 0.02
"""The longest frame: short enough to stop quickly, long enough to be cheap."""


def frames_of(pcm: bytes, sample_rate: int) -> list[bytes]:
    """Cut audio into frames of at most 20 ms; the last one may be shorter. Empty audio gives no frame."""
    size = max(2, 2 * math.floor(FRAME_S * sample_rate))
    return [pcm] if 0 < len(pcm) <= size else [pcm[at : at + size] for at in range(0, len(pcm), size)]
