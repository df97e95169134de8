"""From what was spoken back to what was written."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from voicepipe.flow import Sentence, Wording
from voicepipe.text.wording import after_space, as_written, has_wording, written, written_until

PARTS = (Wording("It is (", "It is ("), Wording("five dollars", "$5"), Wording(") or so.", ") or so."))
PRICE = Sentence("It is (five dollars) or so.", wording=PARTS)

PIECES = st.lists(
    st.builds(Wording, st.text("ab (", min_size=1, max_size=6), st.text("12 (", min_size=1, max_size=4))
    | st.text("ab (", min_size=1, max_size=6).map(lambda text: Wording(text, text)),
    min_size=1,
    max_size=6,
).map(tuple)


def test_other_words_count_once_all_of_them_were_spoken() -> None:
    """A cut inside of "five dollars" leaves what stood before "$5", in whole words; after it, all of it counts."""
    cuts = {
        2: "It",
        5: "It is",
        7: "It is",
        8: "It is",
        18: "It is",
        19: "It is ($5",
        20: "It is ($5)",
        27: "It is ($5) or so.",
    }
    assert {at: written_until(PRICE, at) for at in cuts} == cuts


def test_words_that_were_changed_later_are_the_ones_to_keep() -> None:
    """A stage that changes the text of a sentence without its wording has the last word."""
    hidden = replace(PRICE, text="It is (a secret) or so.")
    assert not has_wording(hidden)
    assert (written(hidden), written_until(hidden, 15)) == (hidden.text, "It is (a secret")
    assert as_written(PRICE) == Sentence("It is ($5) or so.")
    assert as_written(hidden) == Sentence(hidden.text)
    assert written(after_space(PRICE, "\n")) == "\nIt is ($5) or so."


@given(PIECES)
def test_who_hears_more_has_heard_more_of_what_was_written(pieces: tuple[Wording, ...]) -> None:
    """Each cut gives a beginning of the written text, none shorter than the cut before it, and the last one all."""
    sentence = Sentence("".join(piece.spoken for piece in pieces), wording=pieces)
    cuts = [written_until(sentence, at) for at in range(len(sentence.text) + 1)]
    whole = written(sentence)
    assert cuts[-1] == whole
    assert all(longer.startswith(shorter) for shorter, longer in pairwise(cuts))
    assert whole.startswith(cuts[-1])
