"""A microphone's lag: its samples against the clock."""

from __future__ import annotations

import pytest

from voicepipe.audio.devices.input_lag import Lag

BLOCK_S = 0.02


def fed(lag: Lag, times: list[float]) -> list[float]:
    """Feed a block at each time and return the lag after each."""
    lags = []
    for now in times:
        lag.feed(now, BLOCK_S)
        lags.append(round(lag.lag_s, 6))
    return lags


def steady(start_s: float, seconds: float, ppm: float = 0.0) -> list[float]:
    return [start_s + (n + 1) * BLOCK_S / (1 + ppm * 1e-6) for n in range(round(seconds / BLOCK_S))]


def test_blocks_in_time_have_no_lag() -> None:
    """A microphone that keeps time never lags, whenever its first block came."""
    assert set(fed(Lag(), steady(5.0, 10))) == {0.0}


def test_a_stall_that_is_made_up_for_is_lag_and_no_loss() -> None:
    """After a stall, queued blocks come in a burst: the first one lags by the stall, the last one not at all."""
    lag = Lag()
    fed(lag, steady(0.0, 1))
    burst = fed(lag, [1.5] * 25)
    assert burst[0] == 0.48
    assert burst[-1] == 0.0
    fed(lag, steady(1.5, 10))
    assert (lag.lag_s, lag.lost_s) == (pytest.approx(0, abs=1e-9), 0.0)


def test_audio_that_never_comes_is_counted_once() -> None:
    """After a gap, the lag lasts for one window; then the gap counts as lost audio, and the lag is zero."""
    lag = Lag()
    fed(lag, steady(0.0, 10))
    assert fed(lag, steady(10.6, 1))[-1] == 0.6
    assert lag.lost_s == 0.0
    fed(lag, steady(11.6, 10))
    assert lag.lag_s == pytest.approx(0, abs=1e-9)
    assert lag.lost_s == pytest.approx(0.6)


def test_a_device_that_wakes_late_is_not_behind() -> None:
    """The first block may come with old audio; the first block on time sets the zero."""
    lag = Lag()
    fed(lag, [2.0, 2.0, 2.0, *steady(2.0, 1)])
    assert lag.lag_s == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("ppm", [-200, 200])
def test_drift_is_neither_lag_nor_loss(ppm: float) -> None:
    """An hour of drift of 200 ppm, 0.72 s in all, never shows as a millisecond of lag."""
    lag = Lag()
    assert max(fed(lag, steady(0.0, 3_600, ppm))) < 0.001
    assert lag.lost_s == 0.0


def test_a_new_stream_begins_without_lag() -> None:
    """Reopening a device ignores the time in between and keeps the count of lost audio."""
    lag = Lag()
    fed(lag, [*steady(0.0, 3), *steady(4.0, 5)])
    lag.restart()
    assert fed(lag, steady(30.0, 1))[-1] == 0.0
    assert lag.lost_s == pytest.approx(1.0)
