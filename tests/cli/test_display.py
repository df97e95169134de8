"""What `voicepipe talk` shows of turn-taking: one short line for each event."""

from __future__ import annotations

import pytest

import voicepipe as vp
from tests.helpers.talking import said
from voicepipe.cli._display import Display

EVENTS: list[tuple[vp.Event, tuple[str, str]]] = [
    (vp.Backchannel("Mhm."), ("caller", "only listens: Mhm.")),
    (vp.Digit("5"), ("caller", "presses 5")),
    (vp.Withheld(turn_id=1), ("agent", "waits: the caller makes a sound")),
    (vp.Released(turn_id=1), ("agent", "speaks now: there was no word")),
    (vp.Paused(turn_id=1, heard_s=2.3), ("agent", "pauses after 2.3 s of the reply")),
    (vp.Resumed(turn_id=1, from_s=2.2), ("agent", "goes on from 2.2 s of the reply")),
    (vp.Idle(step=1, silent_s=10.0, text="Hello?", is_last=False), ("caller", "silent for 10 s")),
    (vp.Idle(step=3, silent_s=30.0, text="Bye.", is_last=True), ("caller", "silent for 30 s; the call ends")),
    (vp.Monologue(speech_s=30.0), ("caller", "has spoken for 30 s")),
    (vp.MonologueCut(speech_s=60.0), ("cut", "the caller has spoken for 60 s; these words are answered")),
    (vp.CallLimit(left_s=30.0), ("cut", "the call ends in 30 s")),
    (vp.CallLimit(left_s=0.0), ("cut", "the call is at its limit")),
]


@pytest.mark.parametrize(("event", "shown"), EVENTS, ids=lambda case: type(case).__name__)
def test_turn_taking_is_shown(event: vp.Event, shown: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Each event of turn-taking is a line that says who does what."""
    Display().show(1.0, event)
    assert said(capsys.readouterr().out) == [shown]
