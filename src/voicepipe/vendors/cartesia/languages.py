"""The languages that Cartesia's models speak, by the codes that the service takes.

Source: the service's Python SDK 4.2.0 (`types/supported_language.py`), read 2026-11-30.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LANGUAGES", "OTHER_CODES"]

LANGUAGES: Final = {
    "ar", "bg", "bn", "cs", "da", "de", "el", "en", "es", "fi", "fr", "gu", "he", "hi", "hr", "hu", "id", "it",
    "ja", "ka", "kn", "ko", "ml", "mr", "ms", "nl", "no", "or", "pa", "pl", "pt", "ro", "ru", "sk", "sv", "ta",
    "te", "th", "tl", "tr", "uk", "ur", "vi", "zh",
}  # fmt: skip
"""What sonic-3 and later speak; an older model refuses some of them."""

OTHER_CODES: Final = {"nb": "no", "nn": "no", "fil": "tl"}
"""Codes of ISO 639 that the service knows by another."""
