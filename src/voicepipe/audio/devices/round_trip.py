"""Measures how long a sound takes from the loudspeaker to the microphone.

Rule 1: pure: a recording goes in, times come out.
Rule 2: a chirp is found by its shape, so neither its loudness nor a loudspeaker with reversed polarity matters; a
        doubtful match is rejected.

Needs numpy, so only the command that measures imports this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CHIRP_S", "LONGEST_S", "chirp", "round_trips"]

CHIRP_S: Final = 0.05
LOWEST_HZ: Final = 500.0
HIGHEST_HZ: Final = 4_000.0
"""The range that small loudspeakers and telephone headsets can play."""

AMPLITUDE: Final = 0.4

LONGEST_S: Final = 1.0
"""The longest round trip to look for; wireless loudspeakers take up to half of it."""

LIKENESS: Final = 0.35
"""The least correlation with the chirp, from 0 to 1. One second of noise reaches 0.25 by chance; a chirp in noise as
loud has 0.7."""


def chirp(sample_rate: int) -> bytes:
    """Return a short sound of rising pitch, which correlates with itself at only one offset."""
    import numpy as np  # noqa: PLC0415 - an optional package

    at_s = np.arange(round(CHIRP_S * sample_rate)) / sample_rate
    phase = 2 * np.pi * (LOWEST_HZ * at_s + (HIGHEST_HZ - LOWEST_HZ) / (2 * CHIRP_S) * at_s**2)
    shape = np.hanning(len(at_s))
    return bytes((32_767 * AMPLITUDE * shape * np.sin(phase)).astype("<i2").tobytes())


def round_trips(recording: bytes, sample_rate: int, played_s: Sequence[float]) -> list[float | None]:
    """Return for each chirp the seconds from playing it to its arrival in the recording; None if it did not arrive.

    Args:
        recording: 16-bit mono PCM.
        sample_rate: Samples per second of the recording.
        played_s: When each chirp was handed over, in seconds from the recording's first sample; at least 1 s apart.
    """
    import numpy as np  # noqa: PLC0415 - an optional package

    samples = np.frombuffer(recording, "<i2").astype(float)
    pattern = np.frombuffer(chirp(sample_rate), "<i2").astype(float)
    return [_arrival_s(samples, pattern, sample_rate, begin_s) for begin_s in played_s]


def _arrival_s(samples: Any, pattern: Any, sample_rate: int, begin_s: float) -> float | None:  # noqa: ANN401 - arrays
    import numpy as np  # noqa: PLC0415 - an optional package

    begin = max(0, round(begin_s * sample_rate))
    window = samples[begin : begin + round(LONGEST_S * sample_rate) + len(pattern)]
    if len(window) < len(pattern):
        return None
    sums = np.concatenate(([0.0], np.cumsum(window**2)))
    energy = sums[len(pattern) :] - sums[: -len(pattern)]
    products = np.correlate(window, pattern, "valid")
    # One sample unit squared is added per sample, so that digital silence does not match.
    likeness = np.abs(products) / np.sqrt((energy + len(pattern)) * np.sum(pattern**2))
    best = int(np.argmax(likeness))
    return best / sample_rate if likeness[best] >= LIKENESS else None
