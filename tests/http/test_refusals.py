"""What an HTTP status other than 200 means."""

from __future__ import annotations

import pytest

from voicepipe.errors import AuthenticationError, RateLimited, VendorError
from voicepipe.http.refusals import excerpt, refusal


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (302, VendorError, False),
        (400, VendorError, False),
        (401, AuthenticationError, False),
        (403, AuthenticationError, False),
        (404, VendorError, False),
        (408, VendorError, True),
        (429, RateLimited, True),
        (500, VendorError, True),
        (529, VendorError, True),
    ],
)
def test_a_status_says_whether_to_try_again(status: int, kind: type[VendorError], retryable: bool) -> None:
    """A status becomes the error that says what the caller can do."""
    error = refusal("vendor", status, "a\n  body", None)

    assert (type(error), error.retryable) == (kind, retryable)
    assert f"vendor answered HTTP {status}: a body" in str(error)


def test_a_proxy_that_wants_a_login_is_not_taken_for_the_service() -> None:
    """A 407 comes from a proxy, and the error says where its user and password are set."""
    error = refusal("vendor", 407, "", None)

    assert str(error) == (
        "vendor cannot be reached: the proxy answered HTTP 407: (empty); "
        "check user and password in proxy=, HTTP_PROXY or ALL_PROXY"
    )
    assert not error.retryable


SENT = "Wed, 21 Oct 2026 07:27:30 GMT"


@pytest.mark.parametrize(
    ("header", "date", "seconds"),
    [
        (None, SENT, None),
        ("", SENT, None),
        ("2", None, 2.0),
        ("0.5", None, 0.5),
        ("-1", None, 0.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", SENT, 30.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", SENT, 0.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None, None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "yesterday", None),
        ("Wed, 21 Oct 2026 07:28:00", SENT, None),
        ("soon", SENT, None),
    ],
)
def test_retry_after_is_read_in_seconds(header: str | None, date: str | None, seconds: float | None) -> None:
    """Seconds are read, and a date by the service's own clock; anything else is ignored."""
    error = refusal("vendor", 429, "", header, date)

    assert isinstance(error, RateLimited)
    assert error.retry_after_s == seconds


@pytest.mark.parametrize(
    ("status", "seconds"), [(408, 2.0), (429, 2.0), (500, 2.0), (503, 2.0), (400, None), (401, None), (302, None)]
)
def test_a_retryable_refusal_may_say_when(status: int, seconds: float | None) -> None:
    """A time to wait counts for every retryable refusal, and for no other."""
    assert getattr(refusal("vendor", status, "", "2"), "retry_after_s", None) == seconds


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        (" bad\r\n  key ", "bad key"),
        ("bad\x1b[31m\x00key\u2028now", "bad [31m key now"),
        ("x" * 200, "x" * 200),
        ("x" * 5_000, "x" * 200 + " ..."),
    ],
)
def test_an_excerpt_is_one_short_line(text: str, shown: str) -> None:
    """Of a service's text the first 200 characters are shown, on one line and without control characters."""
    assert excerpt(text) == shown
