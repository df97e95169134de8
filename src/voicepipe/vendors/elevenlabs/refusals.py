"""What ElevenLabs' refusals mean, and what to do about them.

Rule 1: a refusal is recognised by its name ("voice_not_found") or by the words of its text: sockets are also closed
        with nothing but a text, and with code 1008 whatever the reason.

Source, read 2026-11-30: the service's help pages on error codes, its reference, and what the users of its SDK, of
LiveKit and of Pipecat report.
"""

from __future__ import annotations

from typing import Final

from voicepipe.errors import AuthenticationError, ConfigurationError, RateLimited, VendorError, VoicepipeError

__all__ = ["VENDOR", "refusal"]

VENDOR: Final = "ElevenLabs"

KEY: Final = ("invalid_api_key", "api key", "needs_authorization", "missing_permissions", "unauthorized")
FUNDS: Final = ("quota", "credits", "payment", "unusual_activity")
RATE: Final = ("too_many", "too many", "concurren", "rate_limit")
AGAIN: Final = ("system_busy", "max_active_conversations", "simultaneous contexts", "input_timeout", "text input")
SETTINGS: Final[dict[tuple[str, ...], str]] = {
    ("voice_settings",): "check voice_settings of ElevenLabsTTS",
    ("voice_not_found", "voice_does_not_exist", "voice_id", "voice with"): (
        "voice_id names no voice of this account; voices are listed at My Voices in the dashboard"
    ),
    ("model",): "check model_id of ElevenLabsTTS; eleven_v3 has no such websocket",
    ("output_format",): "the plan does not include this sample_rate; 24000 is in every plan",
    ("language",): "the model does not speak this language; leave language out, or choose another model_id",
}

BROKEN: Final = frozenset({1002, 1003, 1007, 1009})
"""The service could not read what was sent, and would not read it again."""


def refusal(said: str, *, kind: str = "", code: int = 1008) -> VoicepipeError:
    """Return the error for an error message, or for a close without one.

    Args:
        said: The service's text, without the key and not too long.
        kind: The service's name for it, e.g. "voice_not_found".
        code: The close code.
    """
    found = f"{kind} {said}".lower()
    text = f"{VENDOR} text-to-speech ended with code {code}: {said or kind or 'no reason given'}; "
    if _any(KEY, found):
        return AuthenticationError(f"{text}check ELEVENLABS_API_KEY or api_key, and what the key may do", vendor=VENDOR)
    if _any(FUNDS, found):
        return VendorError(f"{text}add credits, or look into the account", vendor=VENDOR, retryable=False)
    if _any(AGAIN, found):
        return VendorError(f"{text}it may work again immediately", vendor=VENDOR, retryable=True)
    if _any(RATE, found):
        return RateLimited(f"{text}speak in fewer calls at once", vendor=VENDOR, retry_after_s=None)
    for names, remedy in SETTINGS.items():
        if _any(names, found):
            return ConfigurationError(f"{text}{remedy}")
    if code in BROKEN:
        return VendorError(f"{text}this is a defect of the library, please report it", vendor=VENDOR, retryable=False)
    return VendorError(f"{text}it may work again immediately", vendor=VENDOR, retryable=True)


def _any(words: tuple[str, ...], found: str) -> bool:
    return any(word in found for word in words)
