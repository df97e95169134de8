"""When the words of a hosted agent's reply are spoken, with and without the service's times."""

from __future__ import annotations

import math
import time

from hypothesis import given
from hypothesis import strategies as st

from voicepipe.hosted.spoken_words import Piece, SpokenWords, joined


def played(words: SpokenWords, until_s: float, *, is_whole: bool = True) -> list[tuple[float, Piece]]:
    """Return the pieces that begin while this much audio is played in frames of 20 ms, and when."""
    found = list[tuple[float, Piece]]()
    for frame in range(round(until_s * 50)):
        while (piece := words.due(frame / 50, until_s, is_whole=is_whole)) is not None:
            found.append((frame / 50, piece))
    return found


def test_words_with_times_begin_where_the_service_says() -> None:
    """Words that are known together go together up to the end of a sentence, with a mark for each."""
    words = SpokenWords()
    for text, start_s, end_s in (("It", 0.1, 0.2), (" is.", 0.2, 0.5), (" Bye", 0.8, 1.0)):
        words.add(text, start_s, end_s, audio_s=2.0)

    assert played(words, 2.0) == [
        (0.1, Piece("It is.", ((2, 0.1), (6, 0.4)))),
        (0.8, Piece(" Bye", ((4, 0.2),))),
    ]


def test_times_that_count_from_elsewhere_begin_with_the_reply() -> None:
    """Whether times count from the reply or from the session is in no reference; a far first one gives it away."""
    words = SpokenWords()
    words.add("Late", 63.0, 63.4, audio_s=0.1)
    words.add(" words.", 63.4, 64.0, audio_s=0.1)

    ((at_s, piece),) = played(words, 1.0)
    assert (at_s, piece.text, [round(end_s, 6) for _, end_s in piece.marks]) == (0.0, "Late words.", [0.4, 1.0])


def test_words_without_times_get_their_share_of_the_audio() -> None:
    """While more may come, slow speech is assumed; once all has come, each sentence gets what its length asks for."""
    text = "Twelve signs. Twelve again."

    growing, whole = SpokenWords(), SpokenWords()
    for words in (growing, whole):
        words.add(text[:10], None, None, 0.0)
        words.add(text[10:], None, None, 0.0)

    assert [at_s for at_s, _ in played(growing, 2.0, is_whole=False)] == [0.0, 1.2]  # 13 characters at 11 a second
    assert [at_s for at_s, _ in played(whole, 2.0)] == [0.0, 0.98]  # 13 of 27 characters


def test_half_a_word_waits_for_its_other_half() -> None:
    """Pieces of a word may come one by one; what is shown to the application is whole words."""
    words = SpokenWords()
    words.add("The ord", None, None, 0.0)
    first = words.due(0.0, 1.0, is_whole=False)
    words.add("er is here.", None, None, 0.0)

    assert first == Piece("The")
    assert [piece.text for _, piece in played(words, 3.0)] == [" order is here."]


def test_words_without_an_end_of_a_sentence_cost_no_more_than_their_length() -> None:
    """A row of dots, and a long text that comes in small pieces, do not hold up the calls of the process."""
    began_s = time.process_time()
    for pieces in (["." * 32_000 + "a"], ["word "] * 20_000):
        for start_s in (None, 0.0):
            words = SpokenWords()
            for piece in pieces:
                words.add(piece, start_s, start_s, 0.0)
            words.due(0.0, 1.0, is_whole=False)

    assert time.process_time() - began_s < 3.0


@given(
    st.lists(st.tuples(st.text(max_size=12), st.none() | st.floats(0, 20)), max_size=12),
    st.floats(0, 20),
    st.booleans(),
)
def test_what_goes_in_comes_out_once_in_order(
    given_words: list[tuple[str, float | None]], until_s: float, is_whole: bool
) -> None:
    """No word is lost or said twice, whatever times there are, and no mark is outside of its text."""
    words = SpokenWords()
    for text, start_s in given_words:
        words.add(text, start_s, None if start_s is None else start_s + 0.3, until_s)
    pieces = [piece for _, piece in played(words, until_s, is_whole=is_whole)]
    if (rest := words.rest()) is not None:
        pieces.append(rest)

    assert "".join(piece.text for piece in pieces) == "".join(text for text, _ in given_words)
    assert words.is_empty
    for piece in pieces:
        assert all(0 <= char_end <= len(piece.text) and 0 <= end_s < math.inf for char_end, end_s in piece.marks)


def test_words_that_begin_at_once_are_one_piece() -> None:
    """Else none of the sound would be left to any but the last of them; marks count from the joined beginning."""
    assert joined([Piece("One.", ((4, 0.5),)), Piece(" Two", ((4, 0.2),))]) == Piece("One. Two", ((4, 0.5), (8, 0.2)))
    assert joined([Piece("One.", ((4, 0.5),)), Piece(" Two")]) == Piece("One. Two")
    assert joined([]) == Piece("")
