"""The languages of ElevenLabs' models, by the codes that the service takes.

Source: the service's list of models and languages, and the table of Pipecat, both read 2026-11-30.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LANGUAGES", "ONLY_BY_TEXT", "OTHER_CODES"]

_V2: Final = {
    "ar", "bg", "cs", "da", "de", "el", "en", "es", "fi", "fil", "fr", "hi", "hr", "id", "it", "ja", "ko", "ms",
    "nl", "pl", "pt", "ro", "ru", "sk", "sv", "ta", "tr", "uk", "zh",
}  # fmt: skip
_V2_5: Final = _V2 | {"hu", "no", "vi"}

LANGUAGES: Final = {
    "eleven_flash_v2_5": _V2_5,
    "eleven_turbo_v2_5": _V2_5,
    "eleven_multilingual_v2": _V2,
    "eleven_flash_v2": {"en"},
    "eleven_turbo_v2": {"en"},
}
"""What a model speaks; any other model is the service's to judge."""

ONLY_BY_TEXT: Final = frozenset({"eleven_multilingual_v2", "eleven_flash_v2", "eleven_turbo_v2"})
"""These models refuse a code: they speak the language that the text is in."""

OTHER_CODES: Final = {"nb": "no", "nn": "no", "tl": "fil"}
"""Codes of ISO 639 that the service knows by another."""
