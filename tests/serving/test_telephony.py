"""When a caller's audio was spoken, by the stamps of a network whose clock is another one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.serving.telephony import Arrivals

FRAME_S = 0.02


def spoken(*stamped: tuple[float | None, float]) -> list[float | None]:
    """Return what is known of frames of 20 ms: their stamps, and when they arrived."""
    arrivals = Arrivals()
    found = [arrivals.spoken_s(stamp_s, FRAME_S, now) for stamp_s, now in stamped]
    return [None if one is None else round(one, 3) for one in found]  # networks stamp milliseconds


def test_audio_on_time_was_spoken_just_before_it_arrived() -> None:
    """The network's clock may be any."""
    assert spoken((7.0, 100.02), (7.02, 100.04), (7.04, 100.06)) == [100.0, 100.02, 100.04]


def test_audio_that_was_held_back_is_known_to_be_late() -> None:
    """Five frames that arrive at once were spoken one after another, and the next one is on time again."""
    held_back = [(0.02 * at, 10.22) for at in range(1, 6)]
    assert spoken((0.0, 10.02), *held_back, (0.12, 10.22)) == [10.0, 10.02, 10.04, 10.06, 10.08, 10.1, 10.12]


def test_audio_that_is_missing_is_known_to_be_missing() -> None:
    """A network that loses half a second goes on with the stamp of what comes next."""
    assert spoken((0.0, 10.02), (0.52, 10.54)) == [10.0, 10.52]


def test_the_soonest_audio_relates_the_clocks() -> None:
    """If the first frame was itself late, an earlier one corrects what is known."""
    assert spoken((0.0, 10.1), (0.02, 10.1), (0.04, 10.1), (0.06, 10.1), (0.08, 10.12)) == [
        *(10.08, 10.08, 10.08, 10.08, 10.1),
    ]


@pytest.mark.parametrize("stamps", [(0.0, 0.0, 0.0), (1.0, 0.02, 0.04), (0.0, 0.005, 0.02)])
def test_stamps_that_go_backwards_are_not_used(stamps: tuple[float, ...]) -> None:
    """Then audio counts as spoken when it comes, as that of a network without stamps."""
    assert spoken(*((stamp_s, 10.02 + 0.02 * at) for at, stamp_s in enumerate(stamps))) == [10.0, None, None]


@pytest.mark.parametrize("rate", [1 - 200e-6, 1 + 200e-6])
@pytest.mark.slow
def test_a_clock_that_runs_at_another_pace(rate: float) -> None:
    """After half an hour with a clock that is 200 ppm slower or faster, audio on time is still known to be on time."""
    arrivals = Arrivals()
    for number in range(90_000):
        now = 5.0 + number * 0.02 / rate
        spoken_s = arrivals.spoken_s(number * 0.02, 0.02, now)
        assert spoken_s == pytest.approx(now - 0.02, abs=1e-3)


def test_a_network_without_stamps() -> None:
    """Nobody knows when its audio was spoken."""
    assert spoken((None, 10.0), (None, 10.02)) == [None, None]


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), max_size=8))
def test_nothing_is_spoken_after_it_arrived(stamped: list[tuple[float, float]]) -> None:
    """Whatever the stamps are, no audio comes from the future."""
    arrivals, now = Arrivals(), 0.0
    for stamp_s, later_s in stamped:
        now += later_s
        at_s = arrivals.spoken_s(stamp_s, FRAME_S, now)
        assert at_s is None or at_s <= now
