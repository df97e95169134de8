"""What the refusals and close codes of AssemblyAI's text-to-speech mean, and what to do about them.

Source: the service's error reference and its Python SDK 1.8.2 (`tts/v1`), read 2026-11-22.
"""

from __future__ import annotations

from typing import Final

from voicepipe.errors import AuthenticationError, ConfigurationError, RateLimited, VendorError, VoicepipeError
from voicepipe.vendors.assemblyai.key import VENDOR

__all__ = ["refusal"]

_FINAL: Final = frozenset({1008, 1009, 3006, 3010, 3011, 3012, 3014})
"""The service would refuse the same again. After any other code a new connection may work: the service's own (3005,
3008, 3009), the protocol's (1001, 1006, 1011, 1012, 1013), and an unexpected 1000."""

_WRONG: Final = frozenset({"invalid_parameter", "voice_not_found", "biometric_terms_not_accepted"})
"""Kinds of refusal that concern the configuration, not one sentence."""

_REMEDIES: Final[dict[object, str]] = {
    "insufficient_funds": "add funds to the account",
    "voice_not_found": "voice_id names no voice in this region; voices are listed in the dashboard",
    "biometric_terms_not_accepted": "accept the terms for biometric data in the dashboard",
    1006: "the connection broke; is the network up?",
    1008: "check ASSEMBLYAI_API_KEY or api_key, and the account's funds",
    1009: "a message was too large; this is a defect of the library, please report it",
    3005: "the service failed; it may work again immediately",
    3006: "a parameter or the text is invalid; check the arguments of AssemblyAITTS",
    3008: "the session was too old",
    3009: "too many sessions were started in this minute; start fewer, or ask for a higher limit",
    3010: "text was sent too quickly; this is a defect of the library, please report it",
    3011: "audio was not read in time; is the event loop blocked?",
    3012: "the custom voice is gone; choose another voice_id",
    3014: "the custom voice does not go with the model; change model_id or voice_id",
}


def refusal(
    code: int,
    message: str,
    *,
    kind: str = "",
    retryable: bool | None = None,
    retry_after_s: float | None = None,
) -> VoicepipeError:
    """Return the error for an `Error` message, or for a close without one.

    Args:
        code: The close code, or the code in the message.
        message: The service's text, without the key and not too long.
        kind: The service's name for it, e.g. "voice_not_found".
        retryable: Whether the service says so; counts for codes that are in no reference.
        retry_after_s: How long the service asks to wait.
    """
    known = code < 3000 or code in _REMEDIES
    may_help = code not in _FINAL if known else bool(retryable)
    otherwise = "it may work again immediately" if may_help else "see the service's list of close codes"
    remedy = _REMEDIES.get(kind) or _REMEDIES.get(code) or otherwise
    text = f"{VENDOR} text-to-speech ended the session with code {code}"
    text += f" ({kind}): " if kind else ": "
    text += f"{message or 'no reason given'}; {remedy}"
    if code == 1008:
        return AuthenticationError(text, vendor=VENDOR)
    if code in (3012, 3014) or kind in _WRONG:
        return ConfigurationError(text)
    if code == 3009:
        return RateLimited(text, vendor=VENDOR, retry_after_s=retry_after_s)
    return VendorError(text, vendor=VENDOR, retryable=may_help)
