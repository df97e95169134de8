"""Converts audio from one sample rate to another, piece by piece.

Rule 1: pieces may have any length; cutting a recording differently gives the same samples.
Rule 2: soxr and numpy come with the extra `local` and are imported when a resampler is created.
"""

from __future__ import annotations

import functools

from voicepipe.errors import AudioError, ConfigurationError, MissingExtra

__all__ = ["Resampler", "resampler"]


def resampler(from_rate: int, to_rate: int, giver: str, taker: str) -> Resampler | None:
    """Return a resampler from one part's rate to the next part's; None if the rates are equal.

    Raises:
        ConfigurationError: The rates differ, and soxr is not installed.
    """
    if from_rate == to_rate:
        return None
    try:
        return Resampler(from_rate, to_rate)
    except MissingExtra as error:
        raise ConfigurationError(
            f"{giver} gives {from_rate} Hz, {taker} takes {to_rate} Hz; set sample_rate of one of them, or "
            "run pip install 'voicepipe[local]' to resample"
        ) from error


class Resampler:
    """Converts one stream of audio to another rate.

    Args:
        from_rate: Samples per second of the input.
        to_rate: Samples per second of the output.

    Raises:
        ConfigurationError: A rate is not positive.
        MissingExtra: soxr is not installed.
    """

    def __init__(self, from_rate: int, to_rate: int) -> None:
        if from_rate <= 0 or to_rate <= 0:
            raise ConfigurationError(
                f"sample rates must be positive, not {from_rate} and {to_rate}; write e.g. Resampler(22_050, 16_000)"
            )
        try:
            import numpy as np  # noqa: PLC0415 - Rule 2
            import soxr  # noqa: PLC0415 - Rule 2
        except ImportError as error:
            raise MissingExtra(f"Resampling from {from_rate} to {to_rate} Hz", "soxr", "local") from error
        self._numpy = np
        self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32")
        self._rates = (from_rate, to_rate)

    @property
    def holds_back_s(self) -> float:
        """Return how many seconds of what was fed have not come out, at most: soxr works in blocks of its own."""
        return _most_held_back_s(*self._rates)

    def feed(self, pcm: bytes) -> bytes:
        """Take signed 16-bit mono samples and return the converted ones that are ready, at first perhaps none.

        Raises:
            AudioError: `pcm` ends within a sample.
        """
        return self._resample(pcm, last=False)

    def flush(self) -> bytes:
        """Return the samples held back so far. The next `feed` begins a new recording."""
        tail = self._resample(b"", last=True)
        self._stream.clear()
        return tail

    def _resample(self, pcm: bytes, *, last: bool) -> bytes:
        if len(pcm) % 2:
            raise AudioError(f"expected whole 16-bit samples, an even number of bytes, but got {len(pcm)} bytes")
        samples = self._stream.resample_chunk(self._numpy.frombuffer(pcm, "<i2").astype("float32"), last=last)
        # Rounded here, because soxr's own conversion to 16 bits adds random noise: results would not be reproducible.
        return bytes(self._numpy.rint(samples).clip(-32_768, 32_767).astype("<i2").tobytes())

    def __repr__(self) -> str:
        """Show both rates."""
        return f"<Resampler {self._rates[0]} -> {self._rates[1]} Hz>"


@functools.cache
def _most_held_back_s(from_rate: int, to_rate: int) -> float:
    """Measure it with silence, once for each pair of rates: a second takes less than a millisecond."""
    stream, piece = Resampler(from_rate, to_rate), bytes(2 * max(1, from_rate // 200))
    fed_s = came_s = most_s = 0.0
    for _ in range(200):
        fed_s += len(piece) / 2 / from_rate
        came_s += len(stream.feed(piece)) / 2 / to_rate
        most_s = max(most_s, fed_s - came_s)
    return most_s
