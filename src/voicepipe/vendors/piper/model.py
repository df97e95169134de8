"""A Piper voice in memory.

Rule 1: everything here blocks, and belongs on a thread.
Rule 2: only this module knows Piper, whose errors end here.

Source, read 2026-11-30: piper-tts 1.8.0, `PiperVoice`, `SynthesisConfig` and `patch_voice_with_alignment`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from voicepipe.errors import ConfigurationError, MissingExtra, VendorError
from voicepipe.vendors.piper.notation import without_notation
from voicepipe.vendors.piper.words import word_ends

if TYPE_CHECKING:
    from voicepipe.vendors.piper.voice_file import VoiceFile
    from voicepipe.vendors.piper.words import Phoneme

__all__ = ["Manner", "Model", "Spoken", "loaded"]

# Digits are words in every language. It also warms the model up: the first text takes twice as long as later ones.
_TRIAL: Final = "1, 2, 3, 4, 5."

# Piper itself raises each text to full scale: the chunks of one sentence would differ by 4 dB. A gain that is measured
# once keeps them alike; raw peaks of one voice were 0.34 to 0.59.
_PEAK, _GREATEST_GAIN = 0.7, 4.0

MOST_THREADS: Final = 4
"""More processors hardly make so small a model quicker."""


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


class Model:
    """A loaded model. Not for several threads at once.

    Args:
        voice: The voice.
        piper: The package.
        spoken: Its voice.
    """

    def __init__(self, voice: VoiceFile, piper: Any, spoken: Any) -> None:  # noqa: ANN401 - from an optional package
        self._language = voice.language
        self._new_config = piper.SynthesisConfig
        self._piper_voice = spoken
        self._gain = self._measured_gain()

    def speak(self, text: str, manner: Manner) -> Spoken:
        """Return the audio of a text, which is empty if there is nothing to say in it. Blocks.

        Raises:
            VendorError: The model failed.
        """
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


def loaded(voice: VoiceFile) -> Model:
    """Load a voice, which takes half a second.

    Raises:
        MissingExtra: Piper is not installed.
        ConfigurationError: The file is not a Piper voice.
    """
    try:
        piper, onnxruntime = import_module("piper"), import_module("onnxruntime")
    except ImportError as error:
        raise MissingExtra("PiperTTS", "piper", "piper", detail=str(error)) from error
    try:
        config = piper.PiperConfig.from_dict(json.loads(voice.config.read_bytes()))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = min(os.cpu_count() or 1, MOST_THREADS)
        # By default its threads spin for a while after each step: twice the CPU on two cores, and later on busy ones.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(_with_times(voice), options, providers=["CPUExecutionProvider"])
        return Model(voice, piper, piper.PiperVoice(session=session, config=config))
    except Exception as error:  # a dozen classes of onnx's and onnxruntime's own
        raise ConfigurationError(
            f"PiperTTS: {voice.model} is not a Piper voice that can be used ({_first_line(error)}); "
            "get it again from where it comes from, together with its .onnx.json"
        ) from error


def _with_times(voice: VoiceFile) -> bytes | str:
    """Return the model with one more output, how long each phoneme lasts; as it is without onnx, or if it has that."""
    if find_spec("onnx") is None:
        return str(voice.model)
    model = import_module("onnx").load(str(voice.model))
    try:
        import_module("piper.patch_voice_with_alignment").add_alignment_output(model)
    except ValueError:  # what Piper raises where it has the output, and where it cannot be found
        return str(voice.model)
    return bytes(model.SerializeToString())


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0][:200]
