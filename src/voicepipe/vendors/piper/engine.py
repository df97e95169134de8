"""Piper's models: one per voice and process, however many calls speak with it.

Rule 1: a model is loaded by the first host that opens a voice, and given up with the last one.
Rule 2: one thread speaks for all calls, a chunk of a sentence at a time, and takes the calls in turn.
Rule 3: only this module knows Piper, whose errors end here.

Source: piper-tts 1.8.0, `PiperVoice` and `SynthesisConfig`.
"""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from voicepipe.core.threads import run_in_daemon_thread
from voicepipe.errors import ConfigurationError, MissingExtra, VendorError
from voicepipe.vendors.piper.fair_worker import FairWorker
from voicepipe.vendors.piper.notation import without_notation
from voicepipe.vendors.piper.words import word_ends

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import AsyncGenerator, Hashable
    from pathlib import Path

    from voicepipe.vendors.piper.voice_file import VoiceFile
    from voicepipe.vendors.piper.words import Phoneme

__all__ = ["Engine", "Manner", "Spoken", "engine_of"]

# Digits are words in every language. It also warms the model up: the first text takes twice as long as later ones.
_TRIAL: Final = "1, 2, 3, 4, 5."

# Piper itself raises each text to full scale: the chunks of one sentence would differ by 4 dB. A gain that is measured
# once keeps them alike; raw peaks of one voice were 0.34 to 0.59.
_PEAK, _GREATEST_GAIN = 0.7, 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a text is spoken.

    Attributes:
        speed: 1 is the voice's own.
        speaker: The number of the speaker; None for the first one.
    """

    speed: float = 1.0
    speaker: int | None = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """The audio of a text.

    Attributes:
        pcm: 16-bit mono PCM at the voice's rate.
        word_ends: Where words end: the place in the text, and the samples up to there. Empty if that is not known.
    """

    pcm: bytes
    word_ends: list[tuple[int, int]]


_engines: dict[Path, Engine] = {}
_registry = threading.Lock()


@asynccontextmanager
async def engine_of(voice: VoiceFile) -> AsyncGenerator[Engine]:
    """Provide the process's engine for a voice; the first time, that takes half a second on a thread.

    Raises:
        MissingExtra: Piper is not installed.
        ConfigurationError: The file is not a Piper voice.
    """
    path = voice.model.resolve()
    with _registry:
        engine = _engines.setdefault(path, Engine(voice))
        engine.users += 1
    try:
        await run_in_daemon_thread(engine.load, name="voicepipe-piper-load", warns=False)
        engine.start()
        yield engine
    finally:
        with _registry:
            engine.users -= 1
            is_last = engine.users == 0
            if is_last:
                del _engines[path]
        if is_last:
            await engine.aclose()


class Engine:
    """A voice that speaks for all calls; made by `engine_of`.

    Args:
        voice: The voice.

    Attributes:
        users: How many hosts and calls have it open.
    """

    def __init__(self, voice: VoiceFile) -> None:
        self.users = 0
        self._voice = voice
        self._loading = threading.Lock()
        self._model: _Model | None = None
        self._worker: FairWorker | None = None

    def load(self) -> None:
        """Load the model, unless it is loaded. Blocks.

        Raises:
            MissingExtra: Piper is not installed.
            ConfigurationError: The file is not a Piper voice.
        """
        with self._loading:
            if self._model is None:
                self._model = _loaded(self._voice)

    def start(self) -> None:
        """Start the thread, unless it runs. Not done by `load`, whose own thread may end after all hosts have."""
        with _registry:
            if self._worker is None:
                self._worker = FairWorker(f"voicepipe-piper-{self._voice.name}")

    def speak(self, call: Hashable, text: str, manner: Manner) -> concurrent.futures.Future[Spoken]:
        """Queue a text of a call. Cancelling the future drops a text that has not begun; a begun one is finished.

        The future raises VendorError if the model fails.
        """
        model, worker = self._model, self._worker
        assert model is not None  # noqa: S101 - `engine_of` has loaded it
        assert worker is not None  # noqa: S101 - as above
        return worker.submit(call, lambda: model.speak(text, manner))

    async def aclose(self) -> None:
        """End the thread."""
        if self._worker is not None:
            await self._worker.aclose()


class _Model:
    """A loaded model."""

    def __init__(self, voice: VoiceFile, piper: Any, loaded: Any) -> None:  # noqa: ANN401 - from an optional package
        self._language = voice.language
        self._new_config = piper.SynthesisConfig
        self._piper_voice = loaded
        self._gain = self._measured_gain()

    def speak(self, text: str, manner: Manner) -> Spoken:
        """Return the audio of a text, which is empty if there is nothing to say in it."""
        plain = without_notation(text, self._language)
        try:
            pieces = list(self._pieces(plain, manner, volume=self._gain))
        except Exception as error:  # a dozen classes of onnxruntime's and Piper's own
            raise VendorError(f"Piper failed: {_first_line(error)}", vendor="piper", retryable=False) from error
        pcm = b"".join(piece.audio_int16_bytes for piece in pieces)
        phonemes: list[Phoneme] = []
        for piece in pieces:
            if piece.phoneme_alignments is None:
                return Spoken(pcm, [])
            phonemes += [(each.phoneme, int(each.num_samples)) for each in piece.phoneme_alignments]
        return Spoken(pcm, word_ends(text, phonemes, lambda part: self._piper_voice.phonemize(plain[: len(part)])))

    def _pieces(self, text: str, manner: Manner, *, volume: float) -> Any:  # noqa: ANN401 - as above
        own = self._piper_voice.config
        config = self._new_config(
            speaker_id=manner.speaker,
            length_scale=own.length_scale / manner.speed,
            normalize_audio=False,
            volume=volume,
        )
        return self._piper_voice.synthesize(text, config, include_alignments=True)

    def _measured_gain(self) -> float:
        peaks = [abs(piece.audio_float_array).max() for piece in self._pieces(_TRIAL, Manner(), volume=1.0)]
        return min(_PEAK / max(peaks), _GREATEST_GAIN) if peaks and max(peaks) > 0 else 1.0


def _loaded(voice: VoiceFile) -> _Model:
    try:
        piper: Any = import_module("piper")
    except ImportError as error:
        raise MissingExtra("PiperTTS", "piper", "piper", detail=str(error)) from error
    try:
        # Without onnx Piper warns, and speaks without the times of words.
        has_times = find_spec("onnx") is not None
        return _Model(voice, piper, piper.PiperVoice.load(voice.model, voice.config, include_alignments=has_times))
    except Exception as error:  # a dozen classes of onnx's and onnxruntime's own
        raise ConfigurationError(
            f"PiperTTS: {voice.model} is not a Piper voice that can be used ({_first_line(error)}); "
            "get it again from where it comes from, together with its .onnx.json"
        ) from error


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]
