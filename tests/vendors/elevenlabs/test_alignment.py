"""How times of characters become times of words."""

from __future__ import annotations

import time

import pytest

from voicepipe.vendors.elevenlabs.alignment import Alignment

Piece = tuple[str, list[int], float]
"""Characters, where each starts, and how much audio came before; a character lasts until the next, the last 100 ms."""


def aligned(*pieces: Piece) -> list[tuple[str, float]]:
    alignment = Alignment()
    words = []
    for chars, starts, audio_s in pieces:
        lengths = [after - before for before, after in zip(starts, [*starts[1:], starts[-1] + 100], strict=True)]
        words += alignment.feed({"chars": list(chars), "charStartTimesMs": starts, "charDurationsMs": lengths}, audio_s)
    return [(word.word, word.end_s) for word in [*words, *alignment.finish()]]


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([(" Hi. ", [0, 0, 100, 200, 600], 0.0)], [("Hi.", 0.2)]),
        ([("(a) b", [0, 50, 150, 200, 250], 0.0)], [("(a)", 0.15), ("b", 0.35)]),
        ([("a - b", [0, 100, 150, 250, 300], 0.0)], [("a", 0.1), ("-", 0.25), ("b", 0.4)]),
        ([("One t", [0, 100, 200, 300, 400], 0.0), ("wo", [20, 100], 0.5)], [("One", 0.3), ("two", 0.7)]),
        ([("One t", [0, 100, 200, 300, 400], 0.0), ("wo", [500, 600], 0.5)], [("One", 0.3), ("two", 0.7)]),
        ([("One t", [0, 100, 200, 300, 900], 0.0), ("wo", [0, 100], 0.96)], [("One", 0.3), ("two", 1.16)]),
        ([("One t", [0, 100, 200, 300, 400], 0.0), ("wo", [0, 100], 2.0)], [("One", 0.3), ("two", 0.7)]),
        ([("好的。 a", [0, 100, 200, 400, 500], 0.0)], [("好", 0.1), ("的。", 0.2), ("a", 0.6)]),
        ([], []),
    ],
    ids=[
        "white space around", "punctuation around", "a dash", "a word in two pieces", "times that count on",
        "cut by a piece's end", "times with another piece's audio", "without spaces", "nothing",
    ],
)  # fmt: skip
def test_a_word_ends_with_its_last_letter(pieces: list[Piece], words: list[tuple[str, float]]) -> None:
    """Times are those of letters and digits, on the context's timeline, whichever way the service counts."""
    assert aligned(*pieces) == [(word, pytest.approx(end_s)) for word, end_s in words]


@pytest.mark.parametrize(
    "alignment",
    [
        {"chars": ["a"], "charStartTimesMs": [], "charDurationsMs": [1]},
        {"chars": ["a"], "charStartTimesMs": ["x"], "charDurationsMs": [1]},
        {"chars": ["a"], "charStartTimesMs": [-5], "charDurationsMs": [1]},
        {"chars": ["a"]},
    ],
)
def test_times_that_do_not_belong_together_are_refused(alignment: dict[str, object]) -> None:
    """A piece with lists of different lengths, or with something else in them, is an error."""
    with pytest.raises(ValueError):
        Alignment().feed(alignment, 0.0)


def test_the_other_spelling_of_the_lists_is_read() -> None:
    """The service has been seen to write "charsStartTimesMs", with an s."""
    words = Alignment().feed({"chars": ["a", " "], "charsStartTimesMs": [0, 90], "charsDurationsMs": [90, 10]}, 0.0)
    assert [(word.word, word.end_s) for word in words] == [("a", 0.09)]


def test_a_long_run_of_signs_costs_no_more_than_its_length() -> None:
    """A message of the longest size does not hold up the calls of the process."""
    began_s = time.process_time()
    alignment = Alignment()
    signs = {"chars": ["."] * 40_000, "charStartTimesMs": [0] * 40_000, "charDurationsMs": [1] * 40_000}

    assert alignment.feed(signs, 0.0) == []
    assert time.process_time() - began_s < 3.0
