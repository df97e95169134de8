"""When a call may connect again: soon, then later, and never all calls in one step."""

from __future__ import annotations

from collections import Counter

import pytest

from voicepipe.errors import AuthenticationError, RateLimited, VendorError
from voicepipe.vendors.line.attempts import Attempts

LOST = VendorError("gone", vendor="a service", retryable=True)
SLOWER = RateLimited("too many", vendor="a service", retry_after_s=None)
REFUSED = AuthenticationError("who are you?", vendor="a service")


def delays(error: VendorError, times: list[float]) -> list[float | None]:
    attempts = Attempts()
    return [attempts.delay_s(error, now, is_alone=True) for now in times]


@pytest.mark.parametrize(
    ("error", "times", "waits"),
    [
        pytest.param(LOST, [0, 1, 2, 4, 8, 16], [0, 0.5, 1, 2, 4, None], id="a few times, ever later"),
        pytest.param(LOST, [0, 61, 122], [0, 0, 0], id="at once when the last time is long ago"),
        pytest.param(LOST, [0, 1, 2, 4, 8, 73], [0, 0.5, 1, 2, 4, 0], id="a minute later again"),
        pytest.param(SLOWER, [0, 4, 12], [4, 8, None], id="after a pause"),
        pytest.param(REFUSED, [0], [None], id="never with a refused key"),
    ],
)
def test_a_call_connects_again_in_measure(error: VendorError, times: list[float], waits: list[float | None]) -> None:
    """A call that is alone tries at once, then later and later, and never more often than the smallest account may."""
    assert delays(error, times) == waits


@pytest.mark.parametrize(("asked_s", "wait_s"), [(2.0, 2.0), (10.0, 10.0), (11.0, None)])
def test_a_pause_that_is_asked_for_is_kept(asked_s: float, wait_s: float | None) -> None:
    """The pause that the service asks for is kept, unless no caller would wait that long."""
    assert delays(RateLimited("", vendor="a service", retry_after_s=asked_s), [0]) == [wait_s]


@pytest.mark.parametrize(("error", "least_s", "most_s"), [(LOST, 0.0, 0.5), (SLOWER, 4.0, 5.0)])
def test_a_fleet_does_not_return_in_one_step(error: VendorError, least_s: float, most_s: float) -> None:
    """A thousand calls that lose their service together reconnect evenly, the first time within half a second."""
    fleet = [Attempts() for _ in range(1000)]
    for number, attempts in enumerate(fleet):
        attempts.backoff.began(f"session-{number}")
    delays = [attempts.delay_s(error, 0.0) or 0.0 for attempts in fleet]
    tenths = Counter(min(9, int(10 * (delay_s - least_s) / (most_s - least_s))) for delay_s in delays)
    assert least_s <= min(delays) <= max(delays) <= most_s
    assert sorted(tenths) == list(range(10))
    assert max(tenths.values()) < 150


def test_a_call_can_be_replayed() -> None:
    """The session's id seeds the pauses: the same call makes the same ones, another call others."""

    def pauses(session_id: str) -> list[float | None]:
        attempts = Attempts()
        attempts.backoff.began(session_id)
        return [attempts.delay_s(LOST, now) for now in (0.0, 1.0, 3.0)]

    assert pauses("one") == pauses("one")
    assert pauses("one") != pauses("two")
