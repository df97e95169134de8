"""The benchmark of latency: what it reports is what the drawn delays add up to."""

from __future__ import annotations

import pytest

from benchmarks.latency import ROWS, SEED, Row, measure
from benchmarks.latency_delays import FAST, TurnDelays, turn_delays

TURNS = 20
DELAYS = [delays for number in range(TURNS) if not (delays := turn_delays(number, FAST, SEED)).has_tool]


def work_s(delays: TurnDelays, request: int = 0) -> float:
    """Return what model and voice take to begin to speak."""
    return delays.first_token_s[request] + delays.clause_s[request] + delays.first_audio_s[0]


def test_without_drafts_the_wait_is_the_sum_of_the_delays() -> None:
    """On virtual time the framework adds nothing between final transcript, model, voice and the first frame."""
    result = measure(Row("by first clause"), TURNS)
    expected = [(delays.final_s + work_s(delays)) * 1e3 for delays in DELAYS]
    assert result.socket_ms == pytest.approx(expected, abs=0.01)  # marks are whole microseconds
    assert result.ear_ms == pytest.approx(
        [ms + delays.line_s * 1e3 for ms, delays in zip(expected, DELAYS, strict=True)], abs=0.01
    )


def test_a_right_draft_begins_with_the_early_text() -> None:
    """A draft saves the time from the early text to the final one, as long as the final does not come later still."""
    result = measure(Row("drafts", drafts=True), TURNS)
    right = [delays.is_right and delays.early_s < delays.final_s for delays in DELAYS]
    assert any(right)
    expected = [max(delays.final_s, delays.early_s + work_s(delays)) * 1e3 for delays in DELAYS]
    measured = [ms for ms, is_right in zip(result.socket_ms, right, strict=True) if is_right]
    assert measured == pytest.approx([ms for ms, is_right in zip(expected, right, strict=True) if is_right], abs=0.01)
    assert result.heard_wrong == 0


def test_the_same_turns_give_the_same_figures() -> None:
    """All delays follow from the seed, and none from this machine."""
    assert measure(ROWS[-1], TURNS) == measure(ROWS[-1], TURNS)
