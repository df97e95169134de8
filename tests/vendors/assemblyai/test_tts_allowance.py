"""A rate limit: an amount at once, then an amount per second."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voicepipe.vendors.assemblyai.tts_allowance import Allowance


def test_what_fits_is_ready_at_once_and_the_rest_when_there_is_room() -> None:
    """Ten at once and two a second: after ten, four more have room two seconds later."""
    allowance = Allowance(10, 2)
    first = allowance.ready_at(10, 5.0)
    allowance.take(10, 5.0)
    assert (first, allowance.ready_at(4, 5.0), allowance.ready_at(4, 6.0), allowance.ready_at(4, 9.0)) == (5, 7, 7, 9)


def test_what_never_fits_waits_for_an_empty_bucket() -> None:
    """A single amount beyond the limit gets through."""
    allowance = Allowance(10, 2)
    allowance.take(1, 0.0)
    assert allowance.ready_at(100, 0.0) == 0.5


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 10)), max_size=50))
def test_no_stretch_of_time_takes_more_than_allowed(wishes: list[tuple[float, int]]) -> None:
    """Waiting until `ready_at` keeps the limit in any stretch of time."""
    allowance, now = Allowance(10, 2), 0.0
    taken: list[tuple[float, int]] = []
    for pause_s, amount in wishes:
        now = allowance.ready_at(amount, now + pause_s)
        allowance.take(amount, now)
        taken.append((now, amount))
    for at, (begin_s, _) in enumerate(taken):
        total = 0
        for end_s, amount in taken[at:]:
            total += amount
            assert total <= 10 + 2 * (end_s - begin_s) + 1e-6
