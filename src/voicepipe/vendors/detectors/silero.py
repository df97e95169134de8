"""Silero VAD: a neural detector that tells a voice from music, too. The model is a file that the application has."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from voicepipe.core.part import at_once
from voicepipe.errors import ConfigurationError
from voicepipe.hearing.detector import Detector
from voicepipe.vendors.loading import loaded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from os import PathLike

    from voicepipe.core.context import AnySession

__all__ = ["SileroDetector"]

WINDOW: Final = 512
"""Samples that the model takes at a time: 32 ms."""

CONTEXT: Final = 64
"""Samples of the window before, which stand in front of each window."""


class SileroDetector(Detector):
    """Detects speech with Silero VAD (version 5 or newer) through onnxruntime, also through noise and music.

    About 120 µs for 32 ms of audio, on one thread. Needs the extra `silero` (onnxruntime and numpy, about 100 MB), and
    the model's file `silero_vad.onnx` or `silero_vad_16k_op15.onnx`, which the package silero-vad and its repository
    have. Nothing is downloaded.

    Source, read 2026-11-30: `silero_vad/utils_vad.py` of silero-vad 6.2.3, class `OnnxWrapper`: 512 samples of 16 kHz
    between -1 and 1 with the last 64 of the window before in front, and a state of the shape (2, 1, 128).

    Args:
        path: The model's file.

    Raises:
        ConfigurationError: There is no such file; when opened: it is no Silero model.
        MissingExtra: When opened: onnxruntime is not installed.
    """

    sample_rate = 16_000
    start_threshold = 0.5
    end_threshold = 0.35

    _numpy: Any
    _model: Any

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise ConfigurationError(
                f"SileroDetector: there is no file {self.path}; give the path of silero_vad.onnx, which the package "
                "silero-vad has"
            )

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Load the model, which all calls share."""
        self._numpy, onnxruntime = loaded(self.name, "silero", "numpy", "onnxruntime")
        self._model = self._load(onnxruntime)
        yield

    def _load(self, onnxruntime: Any) -> Any:  # noqa: ANN401 - the package has no types
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # a window is too small to share out
        options.log_severity_level = 3
        try:
            model = onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common class
            raise ConfigurationError(f"{self.name}: {self.path} is not a model that onnxruntime can load") from error
        names = {one.name for one in model.get_inputs()}
        if names != {"input", "state", "sr"}:
            raise ConfigurationError(
                f"{self.name}: {self.path} takes {', '.join(sorted(names))}; Silero VAD from version 5 on takes input, "
                "sr, state"
            )
        return model

    @at_once
    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Begin with the model's state of silence."""
        del session
        self._rate = self._numpy.array(self.sample_rate, dtype="int64")
        self._state = self._numpy.zeros((2, 1, 128), dtype="float32")
        self._context = self._numpy.zeros(CONTEXT, dtype="float32")
        self._rest = b""
        self._newest = 0.0
        yield

    def speech(self, frame: bytes) -> float:
        """Return the newest probability; two frames of three complete a window. See `Detector.speech`."""
        pcm = self._rest + frame
        while len(pcm) >= 2 * WINDOW:
            window, pcm = pcm[: 2 * WINDOW], pcm[2 * WINDOW :]
            samples = self._numpy.frombuffer(window, "<i2").astype("float32") / 32_768
            audio = self._numpy.concatenate((self._context, samples))
            inputs = {"input": audio[None], "state": self._state, "sr": self._rate}
            probability, self._state = self._model.run(None, inputs)
            self._context = samples[-CONTEXT:]
            self._newest = float(probability[0, 0])
        self._rest = pcm
        return self._newest

    def __repr__(self) -> str:
        """Show the file."""
        return f"<{self.name} {self.path.name}>"
