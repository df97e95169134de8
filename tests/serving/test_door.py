"""Who is let in, in general: pure rules, times are arguments."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from voicepipe.serving import Limits, Refused
from voicepipe.serving.door import Door, Lag


def word(refused: Refused | None) -> str:
    return refused.reason if refused else ""


def test_the_order_of_the_reasons() -> None:
    """Draining comes before full, full before lag, lag before rate."""
    door = Door(Limits(sessions=2, opening_per_s=2))
    words = [word(door.why_closed(0.0))]
    with door.admitted("", 0.0), door.admitted("", 0.0):
        door.lag.note(0.0, 0.3)
        door.is_draining = True
        words.append(word(door.why_closed(0.0)))
        door.is_draining = False
        words.append(word(door.why_closed(0.0)))
    words.append(word(door.why_closed(0.0)))
    door.lag = Lag()
    words.append(word(door.why_closed(0.0)))
    assert words == ["", "draining", "full", "lag", "rate"]


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [("draining", 503, 1012), ("full", 503, 1013), ("lag", 503, 1013), ("rate", 429, 1013)],
)
def test_how_a_peer_learns_of_it(reason: str, status: int, code: int) -> None:
    """Each reason has its status, its close code, and a time to try again."""
    door = Door(Limits(sessions=1, opening_per_s=1))
    with ExitStack() as stack:
        if reason in ("full", "rate"):
            call = door.admitted("", 0.0)
            call.__enter__()
            if reason == "full":
                stack.push(call)
            else:
                call.__exit__(None, None, None)
        if reason == "lag":
            door.lag.note(0.0, 0.3)
        door.is_draining = reason == "draining"
        refused = door.why_closed(0.0)
    assert refused is not None
    assert (refused.reason, refused.status, refused.code, refused.retry_s) == (reason, status, code, 1.0)


def test_the_opening_rate() -> None:
    """Ten calls may begin within a second, at once or not; the eleventh may try again after a tenth of a second."""
    door = Door(Limits(sessions=1000))
    for _ in range(10):
        with door.admitted("", 5.0):
            pass
    refused = door.why_closed(5.0)
    assert refused is not None
    assert (refused.reason, refused.retry_s) == ("rate", 0.1)
    assert [word(door.why_closed(now)) for now in (5.05, 5.1)] == ["rate", ""]


def test_looking_costs_nothing() -> None:
    """Asking whether a call can begin takes nothing from the rate, so that strangers cannot use it up."""
    door = Door(Limits())
    assert [word(door.why_closed(0.0)) for _ in range(1_000)] == [""] * 1_000


def test_calls_of_one_subject() -> None:
    """A subject has so many calls at a time; others, and the unknown, are not concerned."""
    door = Door(Limits(per_subject=1))
    with door.admitted("ada", 0.0), door.admitted("bob", 0.0), door.admitted("", 0.0), door.admitted("", 0.0):
        with pytest.raises(Refused) as caught, door.admitted("ada", 0.0):
            pass
        assert (caught.value.reason, door.calls) == ("subject", 4)
    with door.admitted("ada", 0.0):
        assert door.calls == 1


def test_a_call_that_fails_leaves_its_place() -> None:
    """The place is free again, however the call ends."""
    door = Door(Limits(sessions=1))
    with pytest.raises(ZeroDivisionError), door.admitted("ada", 0.0):
        raise ZeroDivisionError
    assert (door.calls, word(door.why_closed(0.0))) == (0, "")


@pytest.mark.parametrize(
    ("late_ticks", "late_s", "after_s", "closed"),
    [
        (5, 0.021, 0.0, ""),  # one in a hundred of 500 may be late
        (6, 0.021, 0.0, "lag"),
        (6, 0.020, 0.0, ""),
        (6, 0.021, 9.8, "lag"),
        (6, 0.021, 10.0, ""),
        (1, 0.251, 0.0, "lag"),
        (1, 0.250, 0.0, ""),
        (1, 0.251, 1.9, "lag"),
        (1, 0.251, 2.0, ""),
    ],
)
def test_the_lag_of_the_loop(late_ticks: int, late_s: float, after_s: float, closed: str) -> None:
    """Six late ticks in 10 s close the door for these 10 s, one stall for 2 s; a young server is not held to less."""
    door = Door(Limits())
    for number in range(100):
        door.lag.note(number * 0.02, late_s if number >= 100 - late_ticks else 0.0)
    assert word(door.why_closed(99 * 0.02 + after_s)) == closed


def test_what_is_counted_of_the_lag() -> None:
    """Late ticks and the latest of all stay, when the ticks themselves are forgotten."""
    lag = Lag()
    for number in range(2_000):
        lag.note(number * 0.02, 0.5 if number == 3 else 0.011 if number % 100 == 0 else 0.001)
    assert (lag.late, lag.worst_s, len(lag._ticks)) == (21, 0.5, 500)
