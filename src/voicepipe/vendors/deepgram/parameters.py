"""How Deepgram's recognition is set: what the service takes, checked before it is sent.

Rule 1: seconds here, milliseconds on the wire. None is the service's own default, and is not sent.
Rule 2: what the service takes and no field has is passed on from `more` as it is.

Source: the vendor's references of /v1/listen and /v2/listen and its Python SDK 7.17.0, read 2026-11-30.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from typing import Self

__all__ = ["MULTILINGUAL_FLUX", "DeepgramParameters", "FluxParameters", "NovaParameters"]

LIMITS: Final = {
    "sample_rate": (8_000, 48_000),
    "endpointing_s": (0.01, 10.0),
    "utterance_end_s": (1.0, 5.0),
    "eager_eot_threshold": (0.3, 0.9),
    "eot_threshold": (0.5, 1.0),
    "eot_timeout_s": (0.5, 60.0),
}

MOST_TERMS: Final = 100

MOST_CHARACTERS: Final = 2000
"""About the 500 tokens that key terms may have together. More of them in mid-call make the service stop transcribing
without an error, and half a minute later it closes the connection."""

MULTILINGUAL_FLUX: Final = "flux-general-multi"
"""The only Flux model that takes `language_hints`."""

EOT_THRESHOLD: Final = 0.7
EOT_TIMEOUT_S: Final = 5.0
"""The service's defaults."""

LISTS: Final = ("keyterms", "keywords", "language_hints", "redact")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepgramParameters:
    """What both families of models take; `update` of a recogniser changes what is marked (*) in mid-call.

    Attributes:
        sample_rate: Samples per second of the audio, 8000 to 48000. It is sent as 16-bit PCM.
        keyterms: (*) Words to expect: at most 100, of 2000 characters together. Nova-3 and Flux have them.
        numerals: (*) Whether numbers are written in digits.
        profanity_filter: Whether swear words are masked.
        redact: Which kinds of personal data are removed.
        mip_opt_out: Whether the vendor must not train its models with the audio.
        tag: A label for the vendor's reports of usage.
        more: Further parameters of the connection, by the service's names.

    Raises:
        ConfigurationError: A value is out of range.
    """

    sample_rate: int = 16_000
    keyterms: Sequence[str] = ()
    numerals: bool | None = None
    profanity_filter: bool | None = None
    redact: Sequence[str] = ()
    mip_opt_out: bool | None = None
    tag: str | None = None
    more: Mapping[str, str] = field(default_factory=dict[str, str])

    _CHANGEABLE: ClassVar[tuple[str, ...]] = ("keyterms", "numerals")
    _DEFAULTS: ClassVar[Mapping[str, object]] = {"numerals": False}

    def __post_init__(self) -> None:
        """Refuse here what the service would refuse."""
        name = type(self).__name__
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name in LIMITS and value is not None:
                _check_number(f"{name}: {one.name}", value, *LIMITS[one.name])
            elif one.name in LISTS:
                object.__setattr__(self, one.name, _texts(f"{name}: {one.name}", value))
        if len(self.keyterms) > MOST_TERMS or sum(map(len, self.keyterms)) > MOST_CHARACTERS:
            raise ConfigurationError(
                f"{name}: keyterms: expected at most {MOST_TERMS} of {MOST_CHARACTERS} characters together, found "
                f"{len(self.keyterms)} of {sum(map(len, self.keyterms))}; leave the usual words out"
            )

    def changed(self, changes: Mapping[str, object]) -> Self:
        """Return a copy with these changes, which must be of settings that may change in mid-call.

        Raises:
            ConfigurationError: A name is unknown, fixed for the call, or its value out of range.
        """
        for name, value in changes.items():
            if name not in self._CHANGEABLE:
                known = "is fixed for the call" if name in {one.name for one in fields(self)} else "is unknown"
                raise ConfigurationError(f"update: {name} {known}; what may change is {', '.join(self._CHANGEABLE)}")
            if value is None:
                raise ConfigurationError(f"update: {name} needs a value: the service's default cannot be requested")
        return replace(self, **cast("dict[str, Any]", dict(changes)))

    def restoring(self, names: Sequence[str]) -> dict[str, object]:
        """Return the changes that restore these settings: their present values, or the service's defaults.

        Raises:
            ConfigurationError: A value is not set, and the service has no default for it.
        """
        before = {name: getattr(self, name, None) for name in names}
        before = {name: self._DEFAULTS.get(name) if value is None else value for name, value in before.items()}
        for name, value in before.items():
            if value is None and name in self._CHANGEABLE:
                raise ConfigurationError(f"updated: {name} has no default to restore; set it in the parameters")
        return before

    def _shared_query(self) -> list[tuple[str, str]]:
        flags = [(name, getattr(self, name)) for name in ("numerals", "profanity_filter", "mip_opt_out")]
        return [
            ("encoding", "linear16"),
            ("sample_rate", str(self.sample_rate)),
            *((name, _flag(value)) for name, value in flags if value is not None),
            *(("redact", kind) for kind in self.redact),
            *((("tag", self.tag),) if self.tag is not None else ()),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaParameters(DeepgramParameters):
    """Settings of `DeepgramRecogniser`.

    Attributes:
        language: The language, e.g. "de" or "pt-BR", or "multi" for several; the service's default is English.
        endpointing_s: Silence after which a turn ends, 0.01 to 10; `endpointing` in ms. By default 0.3, half as long
            again or 0.6 times as long by `TurnRules.eagerness`; the service's own 0.01 would end turns between words.
        utterance_end_s: Silence after the last word after which a turn ends in any case, 1 to 5; `utterance_end_ms`.
            It counts where noise hides the silence, and while something is expected of the caller.
        punctuate: Whether transcripts are punctuated; turn-taking goes by it.
        smart_format: Whether dates, amounts and the like are written out.
        keywords: Words to expect with models before Nova-3, as "word" or "word:2".
    """

    language: str | None = None
    endpointing_s: float | None = None
    utterance_end_s: float = 1.0
    punctuate: bool = True
    smart_format: bool | None = None
    keywords: Sequence[str] = ()

    def query(self, model: str, *, endpointing_s: float) -> list[tuple[str, str]]:
        """Return the query of a connection, with a silence that counts where none is set."""
        silence_s = endpointing_s if self.endpointing_s is None else self.endpointing_s
        asked = [
            ("model", model),
            *self._shared_query(),
            ("channels", "1"),
            ("interim_results", "true"),
            ("vad_events", "true"),
            ("endpointing", str(round(silence_s * 1000))),
            ("utterance_end_ms", str(round(self.utterance_end_s * 1000))),
            ("punctuate", _flag(self.punctuate)),
            *((("smart_format", _flag(self.smart_format)),) if self.smart_format is not None else ()),
            *((("language", self.language),) if self.language is not None else ()),
            *(("keyterm", term) for term in self.keyterms),
            *(("keywords", word) for word in self.keywords),
        ]
        return [one for one in asked if one[0] not in self.more] + list(self.more.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class FluxParameters(DeepgramParameters):
    """Settings of `DeepgramFluxRecogniser`.

    Attributes:
        eager_eot_threshold: (*) Confidence, 0.3 to 0.9, from which on the end of a turn is expected, so that a reply is
            prepared; None for never.
        eot_threshold: (*) Confidence, 0.5 to 1, from which on a turn ends; the service's default is 0.7. With 1 only
            silence ends it, or `force_endpoint`.
        eot_timeout_s: (*) Silence after which a turn ends in any case, 0.5 to 60; `eot_timeout_ms` in ms. The service's
            default is 5.
        language_hints: (*) Languages to expect, with the model "flux-general-multi" only.
    """

    eager_eot_threshold: float | None = 0.5
    eot_threshold: float | None = None
    eot_timeout_s: float | None = None
    language_hints: Sequence[str] = ()

    _CHANGEABLE: ClassVar[tuple[str, ...]] = (
        "keyterms", "numerals", "eager_eot_threshold", "eot_threshold", "eot_timeout_s", "language_hints",
    )  # fmt: skip
    _DEFAULTS: ClassVar[Mapping[str, object]] = {
        "numerals": False,
        "eot_threshold": EOT_THRESHOLD,
        "eot_timeout_s": EOT_TIMEOUT_S,
    }

    def __post_init__(self) -> None:
        """Refuse here what the service would refuse."""
        DeepgramParameters.__post_init__(self)
        eager, sure = self.eager_eot_threshold, self.eot_threshold or EOT_THRESHOLD
        if eager is not None and eager > sure:
            raise ConfigurationError(
                f"FluxParameters: eager_eot_threshold ({eager:g}) must not exceed eot_threshold ({sure:g})"
            )

    def thresholds(self) -> dict[str, float]:
        """Return when turns end, by the service's names, as far as it is set."""
        found = {"eager_eot_threshold": self.eager_eot_threshold, "eot_threshold": self.eot_threshold}
        if self.eot_timeout_s is not None:
            found["eot_timeout_ms"] = round(self.eot_timeout_s * 1000)
        return {name: value for name, value in found.items() if value is not None}

    def query(self, model: str) -> list[tuple[str, str]]:
        """Return the query of a connection."""
        asked = [
            ("model", model),
            *self._shared_query(),
            *((name, f"{value:g}") for name, value in self.thresholds().items()),
            *(("keyterm", term) for term in self.keyterms),
            *(("language_hint", code) for code in self.language_hints),
        ]
        return [one for one in asked if one[0] not in self.more] + list(self.more.items())


def _check_number(name: str, value: object, low: float, high: float) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not low <= cast("float", value) <= high:
        raise ConfigurationError(f"{name}: expected a number from {low:g} to {high:g}, found {value!r}")


def _texts(name: str, value: object) -> tuple[str, ...]:
    """Return a list of texts as the service takes it; the application may change its own later."""
    several: Sequence[object] = cast("Sequence[object]", value) if isinstance(value, Sequence) else ()
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ConfigurationError(f"{name}: expected a list of texts, found {type(value).__name__}")
    if not all(isinstance(one, str) and one.strip() and one.isprintable() for one in several):
        raise ConfigurationError(f"{name}: expected texts that are not blank")
    return tuple(cast("Sequence[str]", several))


def _flag(value: bool) -> str:
    return "true" if value else "false"
