"""When a request to a model is sent again.

Rule 1: a request is sent again only while nothing of its reply was used.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, TypeVar

import anyio

from voicepipe.errors import RateLimited, VendorError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["persist"]

T = TypeVar("T")

PAUSES_S: Final = (0.0, 0.4)
"""Pauses before the second and the third try, each shortened at random by up to half. The second try comes at once,
because a caller waits; the third comes a little later, because many callers may wait."""


async def persist(ask: Callable[[], Awaitable[T]], within_s: float, retried: Callable[[VendorError], None]) -> T:
    """Ask, and ask again while that may help.

    Args:
        ask: Sends the request. It raises no retryable error once something of the reply was used.
        within_s: No try begins later than this after the first one, or later than the deadline around it.
        retried: Called with each failure that is followed by another try.

    Raises:
        VendorError: The last try failed.
    """
    last_try_s = min(anyio.current_time() + within_s, anyio.current_effective_deadline())
    for pause_s in PAUSES_S:
        try:
            return await ask()
        except VendorError as error:
            wait_s = _wait_before_retry(error, pause_s)
            if not error.retryable or wait_s > last_try_s - anyio.current_time():
                raise
            retried(error)
        await anyio.sleep(wait_s)
    return await ask()


def _wait_before_retry(error: VendorError, pause_s: float) -> float:
    wait_s = pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
    if isinstance(error, RateLimited) and error.retry_after_s is not None:
        return max(wait_s, error.retry_after_s)
    return wait_s
