"""The sound of a call, small enough for a page.

Rule 1: a page holds the sound once, as telephones carry it: u-law, 8,000 samples a second. Silence costs nothing, and
        what is lost is in the recording itself.
Rule 2: only the standard library is needed.

An Ogg file would be smaller by half, but not every installation can write one, and pages that differ by what was
installed are two kinds of pages to test.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from operator import add
from struct import pack
from typing import TYPE_CHECKING, Final, NamedTuple

from voicepipe.audio.g711 import to_ulaw

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BUCKET_S", "Packed", "envelope", "packed"]

BUCKET_S: Final = 0.01
"""A step of an envelope: a pixel, where a page shows ten seconds."""

TELEPHONE_HZ: Final = 8_000
BLOCK_S: Final = 20
"""What is encoded at a time, so that memory does not grow with the call."""


class Packed(NamedTuple):
    """Sound for a page.

    Attributes:
        rate: Samples per second.
        data: u-law, a byte a sample, compressed by zlib.
    """

    rate: int
    data: bytes


def envelope(pcm: bytes, rate: int) -> bytes:
    """Return the lowest and the highest sample of each `BUCKET_S`, as pairs of signed bytes.

    Args:
        pcm: Little-endian signed 16-bit mono samples.
        rate: Samples per second.
    """
    pairs = bytearray()
    size = round(rate * BUCKET_S)
    quiet = bytes(2 * size)
    for start in range(0, len(pcm) - 1, 2 * size):
        piece = pcm[start : start + 2 * size]
        if piece == quiet:
            pairs += b"\x00\x00"
            continue
        samples = _samples(piece)
        # Rounded away from zero, so that the quietest noise is still a line.
        pairs += pack("bb", min(samples) >> 8, min(127, -(-max(samples) >> 8)))
    return bytes(pairs)


def packed(pcm: bytes, rate: int) -> Packed:
    """Return sound for a page.

    A rate that is a multiple of 8,000 is brought down to it by averaging; another one stays.

    Args:
        pcm: Little-endian signed 16-bit mono samples.
        rate: Samples per second.
    """
    fold = rate // TELEPHONE_HZ if rate % TELEPHONE_HZ == 0 else 1
    packer = zlib.compressobj(6)
    data = bytearray()
    for block in _blocks(pcm, rate, fold):
        data += packer.compress(to_ulaw(_folded(block, fold)))
    return Packed(rate // fold, bytes(data + packer.flush()))


def _blocks(pcm: bytes, rate: int, fold: int) -> Iterator[bytes]:
    size = 2 * rate * BLOCK_S
    for start in range(0, len(pcm) - len(pcm) % (2 * fold), size):
        yield pcm[start : min(start + size, len(pcm) - len(pcm) % (2 * fold))]


def _folded(pcm: bytes, fold: int) -> bytes:
    """Return the mean of each group of samples."""
    if fold == 1:
        return pcm
    if not any(pcm):
        return bytes(len(pcm) // fold)
    samples = _samples(pcm)
    total = samples[0::fold].tolist()
    for at in range(1, fold):
        total = list(map(add, total, samples[at::fold]))
    means = array("h", [value // fold for value in total])
    if sys.byteorder == "big":
        means.byteswap()
    return means.tobytes()


def _samples(pcm: bytes) -> array[int]:
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples
