"""The one format of audio within the library: little-endian signed 16-bit mono, in frames of at most 20 ms."""

from __future__ import annotations

import math
from typing import Final

__all__ = ["FRAME_S", "frames_of"]

FRAME_S: Final = 0.02
"""Audio moves in frames of at most this length: small enough to stop quickly, large enough to be cheap."""


def frames_of(pcm: bytes, sample_rate: int) -> list[bytes]:
    """Cut audio into frames of at most 20 ms; the last one may be shorter. No audio, no frame."""
    size = max(2, 2 * math.floor(FRAME_S * sample_rate))
    return [pcm] if 0 < len(pcm) <= size else [pcm[at : at + size] for at in range(0, len(pcm), size)]
