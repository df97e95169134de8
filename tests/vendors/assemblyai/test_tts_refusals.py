"""Which error each refusal of the service becomes."""

from __future__ import annotations

import pytest

from voicepipe.errors import AuthenticationError, ConfigurationError, RateLimited, VendorError
from voicepipe.vendors.assemblyai.tts_refusals import refusal


@pytest.mark.parametrize(
    ("code", "kind", "error", "retryable"),
    [
        (1000, "", VendorError, True),
        (1001, "", VendorError, True),
        (1006, "", VendorError, True),
        (1011, "internal_error", VendorError, True),
        (1012, "service_restart", VendorError, True),
        (1013, "at_capacity", VendorError, True),
        (3005, "", VendorError, True),
        (3008, "session_expired", VendorError, True),
        (3009, "rate_limited", RateLimited, True),
        (1008, "unauthorized", AuthenticationError, False),
        (1008, "insufficient_funds", AuthenticationError, False),
        (1009, "", VendorError, False),
        (3006, "invalid_message", VendorError, False),
        (3006, "invalid_parameter", ConfigurationError, None),
        (3006, "voice_not_found", ConfigurationError, None),
        (3010, "input_rate_exceeded", VendorError, False),
        (3011, "audio_backlog", VendorError, False),
        (3012, "", ConfigurationError, None),
        (3014, "", ConfigurationError, None),
        (4001, "", VendorError, False),
    ],
)
def test_each_code_has_its_reaction(code: int, kind: str, error: type[Exception], retryable: bool | None) -> None:
    """The code decides the class of the error and whether it is retryable; the message has it and a remedy."""
    found = refusal(code, "the reason", kind=kind)

    assert type(found) is error
    assert getattr(found, "retryable", None) is retryable
    assert f"code {code}" in str(found)
    assert f"{kind}): the reason; " in str(found) or f"{code}: the reason; " in str(found)


@pytest.mark.parametrize(
    ("code", "says", "retryable"), [(3999, True, True), (3999, False, False), (3010, True, False), (1011, False, True)]
)
def test_the_service_decides_only_about_codes_that_are_unknown(code: int, says: bool, retryable: bool) -> None:
    """For a code that is in no reference, the service's own `retryable` counts."""
    found = refusal(code, "", retryable=says)
    assert isinstance(found, VendorError)
    assert found.retryable is retryable


def test_a_rate_limit_says_for_how_long() -> None:
    """The error has the pause that the service asks for, or None."""
    waits = [refusal(3009, "", retry_after_s=wait_s) for wait_s in (7.0, None)]
    assert [isinstance(one, RateLimited) and one.retry_after_s for one in waits] == [7.0, None]


@pytest.mark.parametrize(
    ("code", "kind", "remedy"),
    [
        (1008, "", "ASSEMBLYAI_API_KEY"),
        (1008, "insufficient_funds", "add funds"),
        (3006, "voice_not_found", "voice_id"),
        (3014, "", "model_id"),
        (3999, "", "list of close codes"),
    ],
)
def test_a_refusal_says_what_to_do(code: int, kind: str, remedy: str) -> None:
    """The remedy is the kind's, or else the code's."""
    assert remedy in str(refusal(code, "", kind=kind))
