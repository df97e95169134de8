# ruff: noqa: RUF001 - marks of other scripts and of phonemes, look-alikes included
"""Where a sentence is cut for a voice that gives each text as a whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.vendors.piper.chunks import LONGEST, WHOLE, chunks


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("We are open, from nine to five.", ["We are open, from nine to five."]),
        (
            "Your order has shipped, and it will arrive tomorrow morning, between nine and twelve.",
            ["Your order has shipped,", " and it will arrive tomorrow morning, between nine and twelve."],
        ),
        # 1,299.50 has no clause mark, and "Well," is too short to begin with.
        (
            "Well, that one costs 1,299.50 with the stand; without it 1,199.50, which we sell as well.",
            ["Well, that one costs 1,299.50 with the stand;", " without it 1,199.50, which we sell as well."],
        ),
        (
            "It is sent back with the label from our website within a week and then refunded, really.",
            ["It is sent back with the label from our website within a week and then refunded, really."],
        ),
        (
            "Er sagte mir gestern: „Das geht so nicht!“ und ist dann, ohne ein Wort zu sagen, gegangen.",
            ["Er sagte mir gestern:", " „Das geht so nicht!“ und ist dann, ohne ein Wort zu sagen, gegangen."],
        ),
        (
            "这个订单已经在今天早上从我们的仓库里发出去了，预计明天上午九点到十二点之间送到您给我们留的那个地址，请您注意查收一下并且检查包裹，谢谢您。",
            [
                "这个订单已经在今天早上从我们的仓库里发出去了，",
                "预计明天上午九点到十二点之间送到您给我们留的那个地址，请您注意查收一下并且检查包裹，谢谢您。",
            ],
        ),
        ("word " * 50 + "end.", ["word " * 39 + "word", " " + "word " * 10 + "end."]),
    ],
)
def test_a_long_sentence_is_cut_where_a_speaker_pauses(text: str, parts: list[str]) -> None:
    """The first chunk is short; no number is cut, no stub is left, and only a very long chunk ends between words."""
    assert chunks(text) == parts


@given(st.lists(st.sampled_from(["a", "word", ", ", "; ", " ", ". ", "\n", "，", "x" * 70, " – ", "? "])).map("".join))
def test_nothing_is_lost_and_no_chunk_is_too_long(text: str) -> None:
    """Joined, the chunks are the text; none is empty or longer than the limit, and a short text is one."""
    parts = chunks(text)

    assert "".join(parts) == text
    assert all(parts[1:])
    assert all(len(part) <= LONGEST for part in parts)
    assert len(text) > WHOLE or parts == [text]
