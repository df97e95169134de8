"""What `voicepipe talk` shows of turn-taking: one short line for each event."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

import voicepipe as vp
from tests.helpers.talking import said
from voicepipe.cli._display import STYLES, Display
from voicepipe.cli._live_view import LiveView

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


def test_words_cannot_control_the_terminal() -> None:
    """Escape sequences, line breaks and marks of direction in words are not sent; letters of any script stay whole."""
    words = "Caf\u00e9\u00a0\u0645\u06cc\u200c\u062e\u0648 \x1b]0;mine\x07\x9b2J\u202e one\ntwo"
    shown = "Caf\u00e9\u00a0\u0645\u06cc\u200c\u062e\u0648  ]0;mine  2J one two"
    file = io.StringIO()
    terminal = Console(file=file, force_terminal=True, color_system=None, soft_wrap=True, width=200)
    display = Display(console=terminal)
    for event in (
        vp.EarlyTranscript(words),
        vp.TurnStarted(turn_id=1, user_text=words),
        vp.SentenceStarted(turn_id=1, text=words),
        vp.Backchannel(words),
    ):
        display.show(1.0, event)
    assert said(file.getvalue()) == [("caller", shown), ("agent", shown), ("caller", f"only listens: {shown}")]
    assert {"\x1b", "\x07", "\x9b", "\u202e"}.isdisjoint(file.getvalue())
    view = LiveView(STYLES)
    view.notice(0.0, vp.SentenceStarted(turn_id=1, text=words))
    lines = [line.plain for line in view.lines(0.0, 200, 24, ascii_only=False)]
    assert lines[2].endswith(shown)
