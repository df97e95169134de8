"""Temporary tokens, with which a client without the key opens one session.

Rule 1: a token can be used once, within its time. The service's documentation says once; one client was seen to use a
        token twice, so a client that relies on that may fail, and does so here.

Source: the vendor's streaming reference and its specification, read in September 2026.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from voicepipe.testing.simulators._stt_parameters import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

__all__ = ["Tokens"]

LONGEST_S: Final = 600

TOKEN_BYTES: Final = 24


class Tokens:
    """The key of a simulator, and the tokens that it has issued.

    Args:
        api_key: The key; None accepts any, and none.
    """

    def __init__(self, api_key: str | None) -> None:
        self._api_key = api_key
        self._until_s: dict[str, float] = {}

    def issue(self, key: str, query: Mapping[str, str], now: float) -> tuple[int, JsonValue]:
        """Answer a request for a token with a status and a body."""
        if self._api_key is not None and not secrets.compare_digest(key.encode(), self._api_key.encode()):
            return 401, {"error": "Unauthorized", "code": 401}
        wanted = query.get("expires_in_seconds", "")
        if not wanted.isdecimal() or not 1 <= int(wanted) <= LONGEST_S:
            return 400, {"error": f"expires_in_seconds must be 1 to {LONGEST_S}", "code": 400}
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._until_s[token] = now + int(wanted)
        return 200, {"token": token, "expires_in_seconds": int(wanted)}

    def admit(self, given: str, now: float) -> None:
        """Check what a client shows: the key, or a token, which is used up.

        Raises:
            Refusal: It is neither, or has expired.
        """
        until_s = self._until_s.pop(given, None)
        if until_s is not None and now > until_s:
            raise Refusal(1008, "Signature has expired")
        if until_s is not None or self._api_key is None:
            return
        if not given:
            raise Refusal(1008, "Missing Authorization header")
        if not secrets.compare_digest(given.encode(), self._api_key.encode()):
            raise Refusal(1008, "Invalid API key")
