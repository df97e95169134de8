"""The errors of a service that is asked over HTTP, and how its own words are shown in them. Pure."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

from voicepipe.errors import AuthenticationError, RateLimited, VendorError

__all__ = ["excerpt", "failure", "refusal"]

EXCERPT_CHARACTERS: Final = 200
"""How much of a service's text is put into a message."""


def failure(vendor: str, what: str, *, retryable: bool = False) -> VendorError:
    """Return the error for what a service did."""
    return VendorError(f"{vendor} {what}", vendor=vendor, retryable=retryable)


def refusal(
    vendor: str, status: int, words: str, retry_after: str | None, date: str | None = None, *, path: str = ""
) -> VendorError:
    """Return the error for an HTTP status other than 200.

    Args:
        vendor: Named in the error.
        status: The status.
        words: The body that came with it, without the key.
        retry_after: The header of that name: seconds, or a date.
        date: When the service sent it, by its own clock; a date to wait for is compared with it.
        path: What was asked for. A 404 or 405 names it.
    """
    answered = f"answered HTTP {status}: {excerpt(words) or '(empty)'}"
    if status in (401, 403):
        return AuthenticationError(f"{vendor} {answered}; check the key", vendor=vendor)
    if status == 407:
        answered = f"cannot be reached: the proxy {answered}"
        return failure(vendor, f"{answered}; check user and password in proxy=, HTTP_PROXY or ALL_PROXY")
    if status in (404, 405) and path:
        answered = f"answered HTTP {status} for the path {path}: {excerpt(words) or '(empty)'}"
        return failure(vendor, f"{answered}; is base_url right?")
    if 300 <= status < 400:
        return failure(vendor, f"{answered}; redirects are not followed: change base_url")
    retryable = status in (408, 429) or status >= 500
    wait_s = _wait_s(retry_after, date) if retryable else None
    if status == 429 or wait_s is not None:
        return RateLimited(f"{vendor} {answered}", vendor=vendor, retry_after_s=wait_s)
    return failure(vendor, answered, retryable=retryable)


def excerpt(text: str) -> str:
    """Return the beginning of a service's text, on one line and without control characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * EXCERPT_CHARACTERS]).split())
    return f"{line[:EXCERPT_CHARACTERS]} ..." if len(line) > EXCERPT_CHARACTERS else line


def _wait_s(retry_after: str | None, date: str | None) -> float | None:
    """Return how long to wait; a date is compared with the service's own clock, because ours may differ."""
    if not retry_after:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass  # a date, then
    try:
        wait = parsedate_to_datetime(retry_after) - parsedate_to_datetime(date or "")
    except (TypeError, ValueError):
        return None
    return max(0.0, wait.total_seconds())
