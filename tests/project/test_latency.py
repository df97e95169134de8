"""The benchmark of latency: what it reports is what the drawn delays add up to."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

# Imported by name, because benchmarks are not typed.
latency: Any = import_module("benchmarks.latency")
delays_of: Any = import_module("benchmarks.latency_delays")

TURNS = 20
DRAWN = [delays_of.turn_delays(number, delays_of.FAST, latency.SEED) for number in range(TURNS)]
DELAYS = [delays for delays in DRAWN if not delays.has_tool]


def work_s(delays: Any, request: int = 0) -> Any:
    """Return what model and voice take to begin to speak."""
    return delays.first_token_s[request] + delays.clause_s[request] + delays.first_audio_s[0]


def test_without_drafts_the_wait_is_the_sum_of_the_delays() -> None:
    """On virtual time the framework adds nothing between final transcript, model, voice and the first frame."""
    result = latency.measure(latency.Row("by first clause"), TURNS)
    expected = [(delays.final_s + work_s(delays)) * 1e3 for delays in DELAYS]
    assert result.socket_ms == pytest.approx(expected, abs=0.01)  # marks are whole microseconds
    assert result.ear_ms == pytest.approx(
        [ms + delays.line_s * 1e3 for ms, delays in zip(expected, DELAYS, strict=True)], abs=0.01
    )


def test_a_right_draft_begins_with_the_early_text() -> None:
    """A draft saves the time from the early text to the final one, as long as the final does not come later still."""
    result = latency.measure(latency.Row("drafts", drafts=True), TURNS)
    right = [delays.is_right and delays.early_s < delays.final_s for delays in DELAYS]
    assert any(right)
    expected = [max(delays.final_s, delays.early_s + work_s(delays)) * 1e3 for delays in DELAYS]
    measured = [ms for ms, is_right in zip(result.socket_ms, right, strict=True) if is_right]
    assert measured == pytest.approx([ms for ms, is_right in zip(expected, right, strict=True) if is_right], abs=0.01)
    assert result.heard_wrong == 0


def test_the_same_turns_give_the_same_figures() -> None:
    """All delays follow from the seed, and none from this machine."""
    assert latency.measure(latency.ROWS[-1], TURNS) == latency.measure(latency.ROWS[-1], TURNS)
