"""What Cartesia's refusals mean, and what to do about them.

Source, read 2026-11-30: the service's pages "API Errors" and "Concurrency and WebSocket Limits" (version 2026-03-01).
"""

from __future__ import annotations

from typing import Final

from voicepipe.errors import AuthenticationError, ConfigurationError, RateLimited, VendorError, VoicepipeError

__all__ = ["VENDOR", "refusal"]

VENDOR: Final = "Cartesia"

FUNDS: Final = ("quota", "credit", "payment", "billing")
SETTINGS: Final[dict[str, str]] = {
    "voice": "voice_id names no voice of this account; voices are listed in the playground",
    "model": "check model_id of CartesiaTTS",
    "language": "the model does not speak this language; leave language out, or choose another model_id",
    "sample": "check sample_rate of CartesiaTTS",
    "generation_config": "check speed, volume and emotion of CartesiaTTS; models before sonic-3 have none",
    "pronunciation": "check pronunciation_dict_id of CartesiaTTS",
}


def refusal(status: int, said: str, *, kind: str = "") -> VoicepipeError:
    """Return the error for an error message.

    Args:
        status: Its status, as in HTTP.
        said: The service's text, without the key and not too long.
        kind: The service's name for it, e.g. "model_not_found"; "" if it has none.
    """
    found = f"{kind} {said}".lower()
    text = f"{VENDOR} text-to-speech failed with status {status}: {said or kind or 'no reason given'}; "
    if status == 402 or any(word in found for word in FUNDS):
        return VendorError(f"{text}top up the account", vendor=VENDOR, retryable=False)
    if status in (401, 403):
        return AuthenticationError(f"{text}check CARTESIA_API_KEY or api_key, and what it may do", vendor=VENDOR)
    if status == 429:
        return RateLimited(f"{text}speak in fewer calls at once, or ask for more", vendor=VENDOR, retry_after_s=None)
    if 400 <= status < 500:
        for name, remedy in SETTINGS.items():
            if name in found:
                return ConfigurationError(f"{text}{remedy}")
        return VendorError(f"{text}the service would refuse it again", vendor=VENDOR, retryable=False)
    return VendorError(f"{text}it may work again immediately", vendor=VENDOR, retryable=True)
