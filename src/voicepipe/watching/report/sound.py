"""The sound of a call, small enough for a page.

Rule 1: a page holds the sound once, as telephones carry it: u-law, 8,000 samples a second. Silence costs nothing, and
        what is lost is in the recording itself.
Rule 2: sound is taken piece by piece, so that the memory needed does not grow with the call.
Rule 3: only the standard library is needed.

An Ogg file would be smaller by half, but not every installation can write one, and pages that differ by what was
installed are two kinds of pages to test.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from itertools import repeat
from operator import add, floordiv
from struct import pack
from typing import TYPE_CHECKING, Final

from voicepipe.audio.g711 import to_ulaw

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BUCKET_S", "PIECE_S", "SideSound"]

BUCKET_S: Final = 0.01
"""A step of the shape: a pixel, where a page shows ten seconds."""

BUCKETS: Final = 100
"""Steps of a second."""

PIECE_S: Final = 20
"""What is taken at a time, in seconds."""

TELEPHONE_HZ: Final = 8_000


class SideSound:
    """The shape and the sound of one side of a call.

    Args:
        rate: Samples per second of what is fed.
        is_heard: Whether the sound is kept; else only the shape is.

    Attributes:
        rate: Samples per second of the sound that is kept: 8,000, or as fed where that is no multiple of it.
    """

    def __init__(self, rate: int, *, is_heard: bool = True) -> None:
        self._fed_rate = rate
        self._fold = rate // TELEPHONE_HZ if rate % TELEPHONE_HZ == 0 else 1
        self.rate = rate // self._fold
        # A second has a hundred steps, whatever the rate is; some are longer by a sample.
        self._edges = [step * rate // BUCKETS for step in range(BUCKETS + 1)]
        self._shape = bytearray()
        self._is_heard = is_heard
        self._packer = zlib.compressobj(6)
        self._packed = bytearray()

    def feed(self, pcm: bytes) -> None:
        """Take a piece.

        Args:
            pcm: Little-endian signed 16-bit mono samples: whole seconds, unless it is the last piece.
        """
        samples = _samples(pcm)
        for at in range(0, len(samples), self._fed_rate):
            self._draw(samples[at : at + self._fed_rate].tolist())
        if self._is_heard:
            self._packed += self._packer.compress(to_ulaw(self._folded(samples)))

    @property
    def shape(self) -> bytes:
        """The lowest and the highest sample of each `BUCKET_S`, as pairs of signed bytes."""
        return bytes(self._shape)

    def packed(self) -> bytes:
        """Return the sound, u-law compressed by zlib. Nothing can be fed after that."""
        return bytes(self._packed + self._packer.flush())

    def _draw(self, second: list[int]) -> None:
        for start, end in zip(self._edges, self._edges[1:], strict=False):
            step = second[start:end]
            if not step:
                return
            # Rounded away from zero, so that the quietest noise is still a line.
            self._shape += pack("bb", min(step) >> 8, min(127, -(-max(step) >> 8)))

    def _folded(self, samples: array[int]) -> bytes:
        """Return the mean of each group of samples, as bytes."""
        fold = self._fold
        whole = len(samples) - len(samples) % fold
        if not any(samples):
            return bytes(2 * (whole // fold))
        sums: Iterable[int] = samples[0:whole:fold]
        for at in range(1, fold):
            sums = map(add, sums, samples[at:whole:fold])
        means = array("h", map(floordiv, sums, repeat(fold)))
        if sys.byteorder == "big":
            means.byteswap()
        return means.tobytes()


def _samples(pcm: bytes) -> array[int]:
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples
