"""The service's codes: who has to act, and when a call may connect again."""

from __future__ import annotations

from collections import Counter

import pytest

from voicepipe.errors import AuthenticationError, RateLimited, VendorError
from voicepipe.vendors.assemblyai.stt_refusals import Attempts, refusal


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


def delays(error: VendorError, times: list[float]) -> list[float | None]:
    attempts = Attempts()
    return [attempts.delay_s(error, now, is_alone=True) for now in times]


@pytest.mark.parametrize(
    ("code", "times", "waits"),
    [
        pytest.param(1011, [0, 1, 2, 4, 8, 16], [0, 0.5, 1, 2, 4, None], id="a few times, ever later"),
        pytest.param(1011, [0, 61, 122], [0, 0, 0], id="at once when the last time is long ago"),
        pytest.param(1011, [0, 1, 2, 4, 8, 73], [0, 0.5, 1, 2, 4, 0], id="a minute later again"),
        pytest.param(3009, [0, 4, 12], [4, 8, None], id="after a pause"),
        pytest.param(1008, [0], [None], id="never with a refused key"),
    ],
)
def test_a_call_connects_again_in_measure(code: int, times: list[float], waits: list[float | None]) -> None:
    """A call that is alone tries at once, then later and later, and never more often than the smallest account may."""
    assert delays(refusal(code, ""), times) == waits


@pytest.mark.parametrize(("asked_s", "wait_s"), [(2.0, 2.0), (10.0, 10.0), (11.0, None)])
def test_a_pause_that_is_asked_for_is_kept(asked_s: float, wait_s: float | None) -> None:
    """The pause that the service asks for is kept, unless no caller would wait that long."""
    assert delays(RateLimited("", vendor="AssemblyAI", retry_after_s=asked_s), [0]) == [wait_s]


@pytest.mark.parametrize(("code", "least_s", "most_s"), [(1012, 0.0, 0.5), (3009, 4.0, 5.0)])
def test_a_fleet_does_not_return_in_one_step(code: int, least_s: float, most_s: float) -> None:
    """A thousand calls that lose their service together reconnect evenly, the first time within half a second."""
    fleet = [Attempts() for _ in range(1000)]
    for number, attempts in enumerate(fleet):
        attempts.backoff.began(f"session-{number}")
    delays = [attempts.delay_s(refusal(code, ""), 0.0) or 0.0 for attempts in fleet]
    tenths = Counter(min(9, int(10 * (delay_s - least_s) / (most_s - least_s))) for delay_s in delays)
    assert least_s <= min(delays) <= max(delays) <= most_s
    assert sorted(tenths) == list(range(10))
    assert max(tenths.values()) < 150


def test_a_call_can_be_replayed() -> None:
    """The session's id seeds the pauses: the same call makes the same ones, another call others."""

    def pauses(session_id: str) -> list[float | None]:
        attempts = Attempts()
        attempts.backoff.began(session_id)
        return [attempts.delay_s(refusal(1012, ""), now) for now in (0.0, 1.0, 3.0)]

    assert pauses("one") == pauses("one")
    assert pauses("one") != pauses("two")
