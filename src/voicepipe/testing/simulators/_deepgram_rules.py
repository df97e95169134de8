"""What the simulated Deepgram takes: parameters of a handshake, and the settings that may change later.

Source: the vendor's references and its Python SDK 7.17.0, read 2026-11-30.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qsl

__all__ = ["Asked", "BadRequest", "changed", "parse"]

NOVA_PATH: Final = "/v1/listen"

MODELS: Final = {"/v1/listen": ("nova", "enhanced", "base"), "/v2/listen": ("flux-general-en", "flux-general-multi")}

ENCODINGS: Final = {"linear16": 2, "mulaw": 1, "alaw": 1}
"""Bytes of a sample."""

MOST_TOKENS: Final = 500
"""Of all key terms; about four characters make one."""

Number = Callable[[str], float]


class BadRequest(Exception):  # noqa: N818 - the service's word for it
    """The service refuses a parameter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a client asked for.

    Attributes:
        path: "/v1/listen" for Nova, "/v2/listen" for Flux.
        model: The model.
        encoding: Of the audio.
        sample_rate: Of the audio.
        interim_results: Whether words are sent that may change.
        vad_events: Whether `SpeechStarted` is sent.
        endpointing_s: Silence that ends an utterance; None for never.
        utterance_end_s: Silence after the last word for `UtteranceEnd`; None for never.
        eager_eot_threshold: Confidence for `EagerEndOfTurn`; None for never.
        eot_threshold: Confidence for `EndOfTurn`.
        eot_timeout_s: Silence for `EndOfTurn` in any case.
        keyterms: Words to expect.
        language_hints: Languages to expect.
        numerals: Whether numbers are written in digits.
    """

    path: str
    model: str
    encoding: str
    sample_rate: int
    interim_results: bool = False
    vad_events: bool = False
    endpointing_s: float | None = 0.01
    utterance_end_s: float | None = None
    eager_eot_threshold: float | None = None
    eot_threshold: float = 0.7
    eot_timeout_s: float = 5.0
    keyterms: tuple[str, ...] = ()
    language_hints: tuple[str, ...] = ()
    numerals: bool = False

    @property
    def is_flux(self) -> bool:
        """Whether the protocol is that of Flux."""
        return self.path != NOVA_PATH

    @property
    def bytes_per_s(self) -> int:
        """Bytes of a second of audio."""
        return self.sample_rate * ENCODINGS[self.encoding]


def parse(path: str, query: str) -> Asked:
    """Return what a handshake asks for.

    Raises:
        BadRequest: The service refuses it.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    one = dict(pairs)
    model, encoding = one.get("model", ""), one.get("encoding", "")
    if not model.startswith(MODELS[path]):
        raise BadRequest(f"No such model/language/version combination found: {model}")
    if encoding not in ENCODINGS:
        raise BadRequest(f"encoding: expected one of {', '.join(ENCODINGS)}")
    terms = tuple(value for name, value in pairs if name == "keyterm")
    if terms and not model.startswith(("nova-3", "flux")):
        raise BadRequest("Keyterms are only supported for Nova-3 and Flux")
    _check_terms(terms)
    hints = tuple(value for name, value in pairs if name == "language_hint")
    _check_hints(model, hints)
    asked = Asked(
        path=path,
        model=model,
        encoding=encoding,
        sample_rate=int(_number(one, "sample_rate", 0, 8_000, 48_000)),
        keyterms=terms,
        language_hints=hints,
        numerals=_flag(one, "numerals"),
    )
    return _with_turns(asked, one) if asked.is_flux else _with_silences(asked, one)


def _with_silences(asked: Asked, one: Mapping[str, str]) -> Asked:
    has_interim = _flag(one, "interim_results")
    if "utterance_end_ms" in one and not has_interim:
        raise BadRequest("utterance_end_ms needs interim_results=true")
    end_ms = _number(one, "utterance_end_ms", 0, 1000, 5000) if "utterance_end_ms" in one else None
    is_off = one.get("endpointing") == "false"
    return replace(
        asked,
        interim_results=has_interim,
        vad_events=_flag(one, "vad_events"),
        endpointing_s=None if is_off else _number(one, "endpointing", 10, 1, 60_000) / 1000,
        utterance_end_s=None if end_ms is None else end_ms / 1000,
    )


def _with_turns(asked: Asked, one: Mapping[str, str]) -> Asked:
    for name in ("interim_results", "vad_events", "endpointing", "utterance_end_ms", "language"):
        if name in one:
            raise BadRequest(f"{name} is unknown to /v2/listen")
    eager = _number(one, "eager_eot_threshold", 0, 0.3, 0.9) if "eager_eot_threshold" in one else None
    sure = _number(one, "eot_threshold", 0.7, 0.5, 1.0)
    timeout_s = _number(one, "eot_timeout_ms", 5000, 500, 60_000) / 1000
    if eager is not None and eager > sure:
        raise BadRequest("eager_eot_threshold must not exceed eot_threshold")
    return replace(asked, eager_eot_threshold=eager, eot_threshold=sure, eot_timeout_s=timeout_s)


def changed(asked: Asked, message: Mapping[str, Any]) -> Asked:
    """Return the settings after a `Configure`.

    Raises:
        BadRequest: The service refuses it; everything stays as it was.
    """
    changes: dict[str, Any] = {}
    if message.get("keyterms") is not None:
        if not asked.model.startswith(("nova-3", "flux")):
            raise BadRequest("CONFIGURE_KEYTERMS_NOT_SUPPORTED")
        changes["keyterms"] = tuple(map(str, message["keyterms"]))
        _check_terms(changes["keyterms"])
    flags = message if asked.is_flux else message.get("features") or {}
    if isinstance(flags.get("numerals"), bool):
        changes["numerals"] = flags["numerals"]
    if asked.is_flux and message.get("language_hints") is not None:
        changes["language_hints"] = tuple(map(str, message["language_hints"]))
        _check_hints(asked.model, changes["language_hints"])
    if not asked.is_flux:
        return replace(asked, **changes)
    one = {name: str(value) for name, value in (message.get("thresholds") or {}).items() if value is not None}
    kept = {"eot_threshold": asked.eot_threshold, "eot_timeout_ms": asked.eot_timeout_s * 1000}
    if asked.eager_eot_threshold is not None:
        kept["eager_eot_threshold"] = asked.eager_eot_threshold
    return _with_turns(replace(asked, **changes), {name: str(value) for name, value in kept.items()} | one)


def _check_terms(terms: tuple[str, ...]) -> None:
    if sum(map(len, terms)) > 4 * MOST_TOKENS:
        raise BadRequest("CONFIGURE_KEYTERM_LIMIT_EXCEEDED")


def _check_hints(model: str, hints: tuple[str, ...]) -> None:
    if hints and model != "flux-general-multi":
        raise BadRequest("language_hint is only supported by flux-general-multi")


def _flag(one: Mapping[str, str], name: str) -> bool:
    if (text := one.get(name, "false")) not in ("true", "false"):
        raise BadRequest(f"{name}: expected true or false")
    return text == "true"


def _number(one: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    try:
        value = float(one[name]) if name in one else float(default)
    except ValueError:
        raise BadRequest(f"{name}: expected a number") from None
    if not low <= value <= high:
        raise BadRequest(f"{name}: expected {low:g} to {high:g}")
    return value
