"""How long after it was handed to a loudspeaker a sound is heard by the microphone.

Rule 1: pure: a recording goes in, times come out.
Rule 2: a chirp is found by its shape, so neither its loudness counts nor a loudspeaker that is wired the wrong way
        round; what is not surely a chirp is none.

Needs numpy, so it is imported by the one command that measures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CHIRP_S", "LONGEST_S", "chirp", "round_trips"]

CHIRP_S: Final = 0.05
LOWEST_HZ: Final = 500.0
HIGHEST_HZ: Final = 4_000.0
"""What small loudspeakers and telephones' headsets can do."""

AMPLITUDE: Final = 0.4

LONGEST_S: Final = 1.0
"""What takes longer than this is not looked for; wireless loudspeakers take up to half of it."""

LIKENESS: Final = 0.35
"""Correlation with the chirp, from 0 to 1. Chance reaches 0.25 in a second of noise, and a chirp in noise as loud
has 0.7."""


def chirp(sample_rate: int) -> bytes:
    """Return a short sound that resembles no other moment of itself: its pitch rises."""
    import numpy as np  # noqa: PLC0415 - an optional package

    at_s = np.arange(round(CHIRP_S * sample_rate)) / sample_rate
    phase = 2 * np.pi * (LOWEST_HZ * at_s + (HIGHEST_HZ - LOWEST_HZ) / (2 * CHIRP_S) * at_s**2)
    shape = np.hanning(len(at_s))
    return bytes((32_767 * AMPLITUDE * shape * np.sin(phase)).astype("<i2").tobytes())


def round_trips(recording: bytes, sample_rate: int, played_s: Sequence[float]) -> list[float | None]:
    """Return for each chirp how many seconds after it was handed over it was heard, None for one that was not.

    Args:
        recording: 16-bit mono PCM.
        sample_rate: Samples per second of it.
        played_s: When each chirp was handed over, in seconds from the recording's first sample; at least 1 s apart.
    """
    import numpy as np  # noqa: PLC0415 - an optional package

    heard = np.frombuffer(recording, "<i2").astype(float)
    pattern = np.frombuffer(chirp(sample_rate), "<i2").astype(float)
    return [_first_heard(heard, pattern, sample_rate, begin_s) for begin_s in played_s]


def _first_heard(heard: Any, pattern: Any, sample_rate: int, begin_s: float) -> float | None:  # noqa: ANN401 - arrays
    import numpy as np  # noqa: PLC0415 - an optional package

    begin = max(0, round(begin_s * sample_rate))
    window = heard[begin : begin + round(LONGEST_S * sample_rate) + len(pattern)]
    if len(window) < len(pattern):
        return None
    sums = np.concatenate(([0.0], np.cumsum(window**2)))
    energy = sums[len(pattern) :] - sums[: -len(pattern)]
    products = np.correlate(window, pattern, "valid")
    # One unit of a sample squared: digital silence resembles nothing.
    likeness = np.abs(products) / np.sqrt((energy + len(pattern)) * np.sum(pattern**2))
    best = int(np.argmax(likeness))
    return best / sample_rate if likeness[best] >= LIKENESS else None
