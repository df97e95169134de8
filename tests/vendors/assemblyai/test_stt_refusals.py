"""The service's codes: who has to act."""

from __future__ import annotations

import pytest

from voicepipe.errors import AuthenticationError, RateLimited, VendorError
from voicepipe.vendors.assemblyai.stt_refusals import refusal


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1011, 1012, 1013, 3005, 3008, None])
def test_a_broken_connection_is_made_anew(code: int | None) -> None:
    """Errors of the service or the network are tried again."""
    error = refusal(code, "")
    assert (type(error), error.retryable) == (VendorError, True)


@pytest.mark.parametrize(
    ("code", "kind", "remedy"),
    [
        (1008, AuthenticationError, "check the key"),
        (4001, AuthenticationError, "check the key"),
        (4002, VendorError, "top up"),
        (1009, VendorError, "shorten prompt"),
        (3006, VendorError, "check StreamingParameters"),
        (3007, VendorError, "pace of speech"),
        (4029, VendorError, "pace of speech"),
        (4102, VendorError, "too many sessions"),
        (4999, VendorError, "list of codes"),
    ],
)
def test_a_refusal_is_final(code: int, kind: type[VendorError], remedy: str) -> None:
    """A refusal that would come again is final, and its message has the code, the service's text and a remedy."""
    error = refusal(code, "so it said")
    assert (type(error), error.retryable, error.vendor) == (kind, False, "AssemblyAI")
    assert all(part in str(error) for part in (str(code), "so it said", remedy))


def test_too_many_sessions_are_worth_a_pause() -> None:
    """A service that asks to slow down is an error of its own class."""
    assert isinstance(refusal(3009, ""), RateLimited)
