"""A turn over two connections: words whose audio is gone are kept, all others are heard again, and every turn ends."""

from __future__ import annotations

import pytest

from voicepipe.flow import EarlyTranscript, Hearing, Transcript, Word
from voicepipe.vendors.line.audio_backlog import Piece
from voicepipe.vendors.line.audio_clock import AudioClock
from voicepipe.vendors.line.heard_turn import HeardTurn

WORDS = [Word(text, 10.0 + at, 11.0 + at, 0.9) for at, text in enumerate("abcd")]
"""a from 10 to 11 s, and so on."""


def lost(oldest_s: float, newest_s: float = 20.0) -> HeardTurn:
    """A turn of which four words were heard when the connection broke; the audio from `oldest_s` on is still there."""
    turn, clock = HeardTurn(), AudioClock(16_000)
    clock.add(Piece(bytes(32_000), oldest_s, oldest_s + 1.0, is_loud=False))
    turn.hear("a b c d", WORDS, is_stable=False)
    turn.connect(clock, oldest_s=oldest_s, newest_s=newest_s)
    return turn


@pytest.mark.parametrize(
    ("oldest_s", "kept", "from_s"),
    [
        (9.0, "", -1.0),
        (11.0, "a", 11.0),
        pytest.param(11.5, "a b", 12.0, id="of b only the end is there"),
        pytest.param(13.5, "a b c", 13.0, id="but d may have been the beginning of another word"),
        (14.0, "a b c d", 14.0),
    ],
)
def test_words_too_old_to_be_heard_again_are_kept(oldest_s: float, kept: str, from_s: float) -> None:
    """What is kept and what is heard again are the whole turn: the next connection hears on from the last word kept."""
    turn = lost(oldest_s)
    assert turn.text("") == kept
    assert max(turn.carried_until_s, -1.0) == from_s


def test_a_turn_that_is_not_heard_again_ends() -> None:
    """A connection that hears nothing of the turn for 3 s reports no end of it; one that does, does."""
    turn = lost(14.0)
    assert turn.due(22.9) == []
    (final,) = turn.due(23.0)
    assert isinstance(final, Transcript)
    assert (final.text, final.speech_ended_s, final.words, turn.due(30.0)) == ("a b c d", 14.0, tuple(WORDS), [])

    turn = lost(14.0)
    heard: list[Hearing] = turn.hear(turn.text("e"), [], is_stable=False)
    assert (heard, turn.due(30.0)) == ([EarlyTranscript("a b c d e")], [])
    assert lost(9.0).due(30.0) == [], "all of it is heard again"
