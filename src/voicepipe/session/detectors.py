"""Which detector a pipeline listens with."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from voicepipe.audio.resample import resampler
from voicepipe.core.stage import flow_of
from voicepipe.errors import ConfigurationError
from voicepipe.flow import AudioFrame
from voicepipe.hearing.detector import Detector, MissingDetector, check_detector
from voicepipe.hearing.stt import recogniser_of
from voicepipe.vendors.detectors.earshot import EarshotDetector
from voicepipe.vendors.detectors.webrtc import RATES, WebRTCDetector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.core.stage import SessionStage

__all__ = ["detector_for"]

AUTO: Final = "auto"


def detector_for(
    choice: Detector | Literal["auto"] | None, stages: Sequence[SessionStage[Any, Any]], rate: int
) -> Detector | None:
    """Return the detector that a row of parts listens with; None if it needs none.

    Args:
        choice: As the application gave it: a detector, "auto" for the best one that is installed, or None.
        stages: From audio to transcripts.
        rate: Samples per second that the stages take.

    Raises:
        ConfigurationError: It is no detector, its settings cannot work, or nothing can resample to its rate.
    """
    found = cast("object", choice)
    if found is None:
        return None
    if isinstance(found, Detector):
        check_detector(found)
        resampler(rate, found.sample_rate, "the recogniser's audio", found.name)  # raises without soxr
        return found
    if found != AUTO:
        name = f"the class {found.__name__}" if isinstance(found, type) else repr(found)
        raise ConfigurationError(f'detector must be a Detector such as EarshotDetector(), "auto" or None, not {name}')
    hears_audio = bool(stages) and flow_of(stages[0])[0] is AudioFrame
    return _installed(rate) if hears_audio and not recogniser_of(stages).reports_speech else None


def _installed(rate: int) -> Detector:
    """Return the best detector that this machine has, for audio of this rate."""
    can_resample = _has("soxr") and _has("numpy")
    if _has("earshot") and _has("numpy") and (rate == EarshotDetector.sample_rate or can_resample):
        return EarshotDetector()
    if _has("pocketsphinx") and (rate in RATES or can_resample):
        return WebRTCDetector(sample_rate=rate if rate in RATES else WebRTCDetector.sample_rate)
    return MissingDetector()


def _has(package: str) -> bool:
    return find_spec(package) is not None
