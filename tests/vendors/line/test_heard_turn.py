"""A turn over two connections: words whose audio is gone are kept, all others are heard again, and every turn ends."""

from __future__ import annotations

import pytest

from voicepipe.flow import EarlyTranscript, Hearing, Transcript, Word
from voicepipe.vendors.line.audio_backlog import Piece
from voicepipe.vendors.line.audio_clock import AudioClock
from voicepipe.vendors.line.heard_turn import HeardTurn

WORDS = [Word(text, 10.0 + at, 11.0 + at, 0.9) for at, text in enumerate("abcd")]
"""a from 10 to 11 s, and so on."""


def clock(from_s: float, until_s: float) -> AudioClock:
    made = AudioClock(16_000)
    made.add(Piece(bytes(round(32_000 * (until_s - from_s))), from_s, until_s, is_loud=False))
    return made


def lost(oldest_s: float, heard_until_s: float = 16.0) -> HeardTurn:
    """A turn of which four words were heard when the connection broke; the audio from `oldest_s` on is still there."""
    turn = HeardTurn()
    turn.connect(clock(5.0, heard_until_s), oldest_s=5.0, newest_s=5.0)
    turn.hear("a b c d", WORDS, is_stable=False)
    turn.connect(clock(oldest_s, oldest_s + 1.0), oldest_s=oldest_s, newest_s=20.0)
    return turn


@pytest.mark.parametrize(
    ("oldest_s", "kept", "from_s"),
    [
        (9.0, "", -1.0),
        (11.0, "a", 11.0),
        pytest.param(11.5, "a b", 12.0, id="of b only the end is there"),
        (14.0, "a b c d", 14.0),
    ],
)
def test_words_too_old_to_be_heard_again_are_kept(oldest_s: float, kept: str, from_s: float) -> None:
    """What is kept and what is heard again are the whole turn: the next connection hears on from the last word kept."""
    turn = lost(oldest_s, heard_until_s=16.0)
    assert turn.text("") == kept
    assert max(turn.carried_until_s, -1.0) == from_s


def test_a_word_at_the_end_of_the_audio_is_heard_again() -> None:
    """It may have been the beginning of a longer one; a second later it no longer is."""
    assert [lost(13.5, heard_until_s).text("") for heard_until_s in (14.2, 15.0)] == ["a b c", "a b c d"]


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
