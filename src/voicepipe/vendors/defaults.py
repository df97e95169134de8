"""The parts that are used where the application has chosen none: those of the first stack.

Rule 1: loaded with the package, before any part, so a vendor is imported only when a default is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.core.defaults import Default

if TYPE_CHECKING:
    from voicepipe.hearing.detector import Detector
    from voicepipe.hearing.recogniser import Recogniser
    from voicepipe.model.model import Model

__all__ = ["choose"]


def choose() -> None:
    """Say what makes each default."""
    Default.choose(recogniser=_recogniser, model=_model, detector=_detector)


def _recogniser() -> Recogniser:
    """Return the recogniser of a plain `STTStage()`."""
    from voicepipe.vendors.assemblyai.stt import AssemblyAIRecogniser  # noqa: PLC0415 - Rule 1

    return AssemblyAIRecogniser()


def _model() -> Model:
    """Return the language model that is asked for data when the application names none."""
    from voicepipe.model.question import INSTRUCTIONS  # noqa: PLC0415 - Rule 1
    from voicepipe.vendors.openai.chat import LLMStreamStage  # noqa: PLC0415 - Rule 1

    return LLMStreamStage(INSTRUCTIONS)


def _detector() -> Detector:
    """Return the detector of a recogniser of whole utterances."""
    from voicepipe.vendors.detectors.earshot import EarshotDetector  # noqa: PLC0415 - Rule 1

    return EarshotDetector()
