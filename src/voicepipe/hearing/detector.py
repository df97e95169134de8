"""The base class of speech detectors: is there a voice in these 20 ms?

A detector runs on this machine, alongside the recogniser. A recogniser that is a service reports speech half a second
or more after it began; a detector notices it within a tenth of a second, and its end as well.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from voicepipe.core.part import Part, at_once
from voicepipe.errors import ConfigurationError
from voicepipe.listening_events import DetectorMissing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.core.context import AnySession

__all__ = ["Detector", "MissingDetector", "check_detector"]

LOWEST_RATE: Final = 8_000
HIGHEST_RATE: Final = 48_000


class Detector(Part):
    """Base class of speech detectors; a vendor implements `speech`.

    What an instance learns from the audio belongs to one call: make it in `attach`, because each session has a copy of
    its own. What it loads is shared by all calls: load it in `open`.

    Attributes:
        sample_rate: Samples per second that it expects, 8,000 to 48,000; audio of another rate is resampled before.
        start_threshold: The probability from which a frame counts as speech while nobody speaks.
        end_threshold: The probability below which a frame counts as silence while somebody speaks; at most
            `start_threshold`. Two thresholds, so that a voice near one of them does not flutter.
        hang_over_s: For how long after the last speech sample it usually goes on to report speech. The time of a
            `SpeechEnded` is corrected by it.
    """

    sample_rate: int = 16_000
    start_threshold: float = 0.7
    end_threshold: float = 0.5
    hang_over_s: float = 0.0

    @abstractmethod
    def speech(self, frame: bytes) -> float:
        """Return the probability, 0 to 1, that somebody speaks in this frame.

        Called on the event loop for the frames of one call, in order, so it must take microseconds. After 0.2 s of
        silence (no sample beyond -60 dBFS) it is not asked again until there is sound.

        Args:
            frame: 20 ms of little-endian signed 16-bit mono PCM at `self.sample_rate`, never more or less. A model that
                takes another length collects samples, and returns its newest result until it has enough.

        An error raised here ends the session and names this detector.
        """


class MissingDetector(Detector):
    """Stands in where no detector is installed, and reports that once for each call; it is never asked."""

    @at_once
    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Report what to install."""
        session.emit(DetectorMissing(extra="detector"))
        yield

    def speech(self, frame: bytes) -> float:
        """Hear nothing."""
        del frame
        return 0.0


def check_detector(detector: Detector) -> None:
    """Refuse a detector whose settings cannot work.

    Raises:
        ConfigurationError: Its sample rate or its thresholds are out of range.
    """
    name, rate = detector.name, detector.sample_rate
    if not LOWEST_RATE <= rate <= HIGHEST_RATE or rate != int(rate):
        raise ConfigurationError(
            f"{name}.sample_rate must be {LOWEST_RATE} to {HIGHEST_RATE} samples per second, not {rate}"
        )
    if not 0.0 < detector.end_threshold <= detector.start_threshold <= 1.0:
        raise ConfigurationError(
            f"{name} needs 0 < end_threshold <= start_threshold <= 1, not end_threshold={detector.end_threshold:g} and "
            f"start_threshold={detector.start_threshold:g}"
        )
    if not 0.0 <= detector.hang_over_s <= 1.0:
        raise ConfigurationError(f"{name}.hang_over_s must be 0 to 1 second, not {detector.hang_over_s:g}")
