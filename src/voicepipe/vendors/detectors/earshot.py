"""Earshot: a small neural detector, for noise as loud as the voice. The default where it is installed."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from voicepipe.core.part import at_once
from voicepipe.hearing.detector import Detector
from voicepipe.vendors.loading import loaded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from voicepipe.core.context import AnySession

__all__ = ["EarshotDetector"]

WINDOW: Final = 256
"""Samples that the model takes at a time: 16 ms."""


class EarshotDetector(Detector):
    """Detects speech with the package earshot, also in noise as loud as the voice; music can pass for speech.

    About 10 µs for 20 ms of audio. Needs the extra `detector` (or `local`): 1 MB and numpy.

    Source, read 2026-11-30: the type stubs of earshot 1.2.2 (16 kHz, 256 samples a call, scores 0 to 1, one object for
    each sequence of audio). The thresholds were measured (`python -m benchmarks detectors`): after speech the score
    stays between 0.45 and 0.65 as long as there is loud noise, so with a lower second threshold speech does not end.

    Raises:
        MissingExtra: When opened: earshot or numpy is not installed.
    """

    sample_rate = 16_000
    start_threshold = 0.7
    end_threshold = 0.65

    _earshot: Any
    _samples: Callable[[bytes, str], Any]
    _predict: Callable[[Any], float]

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Import what it needs."""
        numpy, self._earshot = loaded(self.name, "detector", "numpy", "earshot")
        self._samples = numpy.frombuffer
        yield

    @at_once
    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Make the call's own model."""
        del session
        self._predict = self._earshot.Detector().predict_i16
        self._rest = b""
        yield

    def speech(self, frame: bytes) -> float:
        """Return the highest score of the windows that this frame completes, one or two. See `Detector.speech`."""
        pcm = self._rest + frame
        samples = self._samples(pcm, "<i2")
        score = self._predict(samples[:WINDOW])
        end = WINDOW
        while len(samples) >= end + WINDOW:
            score = max(score, self._predict(samples[end : end + WINDOW]))
            end += WINDOW
        self._rest = pcm[2 * end :]
        return score
