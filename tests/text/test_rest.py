"""What is left to say of a text of which a part was heard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.text.rest import rest_of

TEXT = "It is sunny. The wind is light, 3.5 km/h. Take a hat!"


@pytest.mark.parametrize(
    ("heard", "rest"),
    [
        ("", TEXT),
        ("It", TEXT),
        ("It is sunny", "The wind is light, 3.5 km/h. Take a hat!"),
        ("It is sunny.", "The wind is light, 3.5 km/h. Take a hat!"),
        ("It is sunny. The wind is light, 3.5", "The wind is light, 3.5 km/h. Take a hat!"),
        ("It is sunny.\n The wind is light, 3.5 km/h.", "Take a hat!"),
        (TEXT, ""),
        ("It was rainy.", None),
    ],
)
def test_the_rest_begins_with_the_sentence_that_was_cut(heard: str, rest: str | None) -> None:
    """Sentences that were heard whole are left out; where other words were heard, nobody knows the rest."""
    assert rest_of(TEXT, heard) == rest


@given(st.lists(st.text("ab .!?,*1\n漢。", max_size=12), max_size=6), st.data())
def test_no_word_is_lost_and_no_whole_sentence_is_said_twice(pieces: list[str], data: st.DataObject) -> None:
    """Wherever a text is cut, the rest is an end of it that holds all that was not heard."""
    text = "".join(pieces)
    cut = data.draw(st.integers(0, len(text)))
    rest = rest_of(text, text[:cut])
    assert rest is not None
    assert text.rstrip().endswith(rest)
    unheard = "".join(filter(str.isalnum, text[cut:]))
    assert "".join(filter(str.isalnum, rest)).endswith(unheard)
    assert bool(unheard) == bool(rest)
