"""What may differ from call to call, for one row of parts.

Rule 1: a setting that a part cannot honour is refused by the part's name when the session opens; none is ignored.
Rule 2: a setting says what is wanted, in no vendor's words; each part translates it in its own `adapt`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

from voicepipe.errors import ConfigurationError

__all__ = ["CallSettings"]

Name: TypeAlias = Literal["voice", "language", "key_terms"]

LANGUAGE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """What differs in one call from the pipeline's own settings; None leaves a setting as it is.

    host.session(settings=CallSettings(language="de", voice="aai-michael", key_terms=["Müller", "Flat white"]))

    Attributes:
        voice: The voice, by the name that the pipeline's TTS knows it by.
        language: The language of the call, e.g. "de" or "pt-BR": an ISO 639 code, with a region if it matters. The
            recogniser, the sentence chunker and the voice follow it; the model learns it from its prompt.
        key_terms: Words that the recogniser has to expect, such as names. They replace those of the pipeline.

    Raises:
        ConfigurationError: A voice is blank, a language is not a code, or key terms are not a list of words.
    """

    voice: str | None = None
    language: str | None = None
    key_terms: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Refuse here what no part could honour."""
        voice, language = cast("object", self.voice), cast("object", self.language)
        if voice is not None and not _is_text(voice):
            raise ConfigurationError(f"CallSettings: voice must be the name of a voice, not {voice!r}")
        if language is not None and not (isinstance(language, str) and LANGUAGE.fullmatch(language)):
            raise ConfigurationError(f'CallSettings: language must be a code such as "de" or "pt-BR", not {language!r}')
        terms = cast("object", self.key_terms)
        if terms is None:
            return
        if isinstance(terms, str) or not isinstance(terms, Sequence) or not all(map(_is_text, terms)):
            raise ConfigurationError('CallSettings: key_terms must be a list of words, e.g. ["Flat white"]')
        object.__setattr__(self, "key_terms", tuple(terms))  # the application may change its list later

    @property
    def language_code(self) -> str:
        """The language without its region, in lower case, e.g. "pt"; "" if none is set."""
        return (self.language or "").partition("-")[0].lower()

    def refuse(self, part: str, *names: Name) -> None:
        """Refuse settings that a part cannot honour.

        Raises:
            ConfigurationError: One of them is set; the message names the part.
        """
        for name in names:
            if getattr(self, name):
                raise ConfigurationError(
                    f"{part} cannot change its {name.replace('_', ' ')} from call to call; leave {name} out of "
                    f"CallSettings, or take another part (one of your own takes it in {part}.adapt)"
                )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()
