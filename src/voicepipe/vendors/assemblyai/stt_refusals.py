"""What the service's codes mean, and whether to reconnect after one.

Rule 1: pure. A code and the service's text go in; an error that says who has to act comes out.
Rule 2: wrong credentials, parameters, frames and oversized messages are never tried again: they would fail again, and
        each session that is opened counts.

Source: the code table of the vendor's Python SDK 1.8.2 and its streaming reference, read 2026-11-22.
"""

from __future__ import annotations

from typing import Final

from voicepipe.errors import AuthenticationError, RateLimited, VendorError
from voicepipe.vendors.assemblyai.key import VENDOR
from voicepipe.vendors.line.attempts import LOST

__all__ = ["refusal"]

RETRIED: Final = {
    1000: "closed the session unasked",
    1001: "is going away",
    1005: "closed the session without a reason",
    1006: "is gone: the connection broke",
    1011: "has an internal error",
    1012: "restarts",
    1013: "is temporarily blocked",
    1014: "cannot be reached by its gateway",
    3005: "had an error and cancelled the session",
    3008: "ended the session because of its age",
}
"""Codes after which a new session may continue, and what they mean."""

REMEDIES: Final = {
    1002: "this is a defect of the connection or of the library; please report it",
    1003: "this is a defect of the library; please report it",
    1007: "this is a defect of the library; please report it",
    1009: "a message was too large; shorten prompt, keyterms_prompt or agent_context",
    3006: "a parameter or message is invalid, or nothing was sent for inactivity_timeout_s; check StreamingParameters "
    "and speech_model",
    3007: "audio came in frames of a wrong length or too fast; a source must give audio at the pace of speech",
    4002: "top up the account",
    4029: "audio came too fast; a source must give audio at the pace of speech",
    4003: "check what the account may use",
    4102: "too many sessions at once",
}
"""Codes after which the call fails, and what to do; see also `refusal`."""


def refusal(code: int | None, said: str) -> VendorError:
    """Return what a code means.

    Args:
        code: Of a close frame or an `Error` message; None when there was none.
        said: The service's text, fit to be shown; "" for none.
    """
    quoted = f" ({said})" if said else ""
    if code is None:
        return VendorError(f"{VENDOR} reported an error{quoted}; {LOST}", vendor=VENDOR, retryable=True)
    ended = f"{VENDOR} ended the session with code {code}{quoted}"
    if code in (1008, 4001):
        remedy = "check the key, the account and its funds, and how many sessions it may hold"
        return AuthenticationError(f"{ended}; {remedy}", vendor=VENDOR)
    if code == 3009:
        return RateLimited(
            f"{ended}; too many sessions: open fewer a minute, or ask for more", vendor=VENDOR, retry_after_s=None
        )
    if code in RETRIED:
        return VendorError(f"{ended}: it {RETRIED[code]}; {LOST}", vendor=VENDOR, retryable=True)
    remedy = REMEDIES.get(code, "see the service's list of codes")
    return VendorError(f"{ended}; {remedy}", vendor=VENDOR, retryable=False)
