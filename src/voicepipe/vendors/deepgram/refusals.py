"""What the codes of Deepgram's close frames mean, and whether to reconnect after one. Pure.

A wrong key, parameter or account is refused in the handshake, with an HTTP status; see `line.socket`.

Source: the vendor's page "STT Troubleshooting WebSocket, NET, and DATA Errors" and its users' issues, read 2026-11-30.
"""

from __future__ import annotations

from typing import Final

from voicepipe.errors import VendorError
from voicepipe.vendors.deepgram.key import VENDOR
from voicepipe.vendors.line.attempts import LOST

__all__ = ["refusal"]

REMEDIES: Final = {
    1002: "this is a defect of the connection or of the library; please report it",
    1003: "this is a defect of the library; please report it",
    1007: "this is a defect of the library; please report it",
    1008: "the service cannot decode what it was sent; check sample_rate, and `more` in the parameters",
    1009: "a message was too large; shorten keyterms",
}
"""Codes after which the call fails, and what to do. After any other a new connection may continue: 1011 is an internal
error (NET-0000), or no audio in ten seconds (NET-0001)."""


def refusal(code: int | None, said: str) -> VendorError:
    """Return what a code means.

    Args:
        code: Of a close frame; None when there was none.
        said: The service's text, fit to be shown; "" for none.
    """
    quoted = f" ({said})" if said else ""
    if code is None:
        return VendorError(f"{VENDOR} reported an error{quoted}; {LOST}", vendor=VENDOR, retryable=True)
    ended = f"{VENDOR} ended the session with code {code}{quoted}"
    if code in REMEDIES:
        return VendorError(f"{ended}; {REMEDIES[code]}", vendor=VENDOR, retryable=False)
    return VendorError(f"{ended}; {LOST}", vendor=VENDOR, retryable=True)
