"""What the errors and close codes of AssemblyAI's Voice Agent API mean, and what to do about them.

Source: the service's error reference and notes of its users, read 2026-11-22; the codes of closes other than 1008 are
in no reference. Never tried live.
"""

from __future__ import annotations

from typing import Final

from voicepipe.errors import AuthenticationError, ConfigurationError, RateLimited, VendorError, VoicepipeError
from voicepipe.vendors.assemblyai.key import VENDOR

__all__ = ["UNRESUMABLE", "closed", "refusal"]

UNRESUMABLE: Final = frozenset({"session_not_found", "session_forbidden"})
"""The lost session is gone; a new one has to take its place."""

_REMEDIES: Final = {
    "unauthorized": "check ASSEMBLYAI_API_KEY or api_key",
    "invalid_format": "see `param`, and check the arguments of HostedVoiceAgent",
    "invalid_value": "see `param`, and check the arguments of HostedVoiceAgent",
    "immutable_field": "voice, audio format and greeting cannot change in a call",
    "invalid_audio": "this is a defect of the library, please report it",
    "audio_rate_violation": "the caller's audio came faster than real time",
    "agent_not_found": "agent_id names no agent of this account",
    "agent_id_not_first": "this is a defect of the library, please report it",
    "session_not_found": "the session is gone",
    "session_forbidden": "the session belongs to another key",
    "at_capacity": "try again later",
    "concurrency_exceeded": "hold fewer calls at a time, or ask for a higher limit",
}

_WRONG: Final = frozenset({"invalid_format", "invalid_value", "agent_not_found", "immutable_field"})
"""The same again would be refused again."""


def refusal(code: str, message: str, param: str = "") -> VoicepipeError:
    """Return the error for an error message.

    Args:
        code: The service's name for it, e.g. "invalid_value".
        message: The service's text, without the key and not too long.
        param: The field that it is about; "" for none.
    """
    about = f", {param}" if param else ""
    remedy = _REMEDIES.get(code, "it may work again immediately")
    text = f"{VENDOR}'s voice agent reports {code or 'an error'}{about}: {message or 'no reason given'}; {remedy}"
    if code == "unauthorized":
        return AuthenticationError(text, vendor=VENDOR)
    if code in _WRONG:
        return ConfigurationError(text)
    if code in ("at_capacity", "concurrency_exceeded"):
        return RateLimited(text, vendor=VENDOR, retry_after_s=None)
    return VendorError(text, vendor=VENDOR, retryable=code not in UNRESUMABLE)


def closed(code: int, reason: str) -> VoicepipeError:
    """Return the error for a connection that was closed without an error message."""
    text = f"{VENDOR}'s voice agent closed the connection with code {code}: {reason or 'no reason given'}"
    if code == 1008:
        return AuthenticationError(f"{text}; check ASSEMBLYAI_API_KEY or api_key", vendor=VENDOR)
    return VendorError(f"{text}; is the network up?", vendor=VENDOR, retryable=code != 1009)
