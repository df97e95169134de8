"""Where a replay stands in its recording."""

from __future__ import annotations

import pytest

from voicepipe.watching.replay.playhead import Playhead


@pytest.mark.parametrize(
    ("is_recorded", "shifts"),
    [
        (True, {-0.15: -0.15, -0.1: 0.0, -0.05: 0.0, 0.0: 0.0, 0.02: 0.0, 0.03: 0.03}),
        (False, {-0.15: -0.15, -0.05: -0.05, -0.02: 0.0, 0.0: 0.0, 0.02: 0.0, 0.03: 0.03}),
    ],
)
def test_differences_do_not_add_up(is_recorded: bool, shifts: dict[float, float]) -> None:
    """What comes about when it did goes on at its recorded times; with recorded parts alone, also what comes early."""
    playhead = Playhead(0.0, is_recorded=is_recorded)
    assert {late_s: round(playhead.shift_s(10.0, 10.0 + late_s), 6) for late_s in shifts} == shifts
