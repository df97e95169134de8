"""Which text the service receives for a sentence, and what its word times mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.flow import WordMark
from voicepipe.vendors.assemblyai.tts import MAX_CHARACTERS, MAX_RUN
from voicepipe.vendors.line import speech_text
from voicepipe.vendors.line.speech_text import SpokenPart, TimedWord

URL = "x" * 100


def parts_of(sentence: str) -> list[SpokenPart]:
    """Cut a sentence as AssemblyAI wants it."""
    return speech_text.parts_of(sentence, max_characters=MAX_CHARACTERS, max_run=MAX_RUN)


def timed(*words: tuple[str, float]) -> list[TimedWord]:
    return [TimedWord(word, end_s) for word, end_s in words]


@pytest.mark.parametrize(
    ("sentence", "texts"),
    [
        ("Hello there.", ["Hello there."]),
        (" Two\n words ", ["Two words"]),
        (" \n", []),
        (f"See {URL} now.", [f"See {'x' * 40} {'x' * 40} {'x' * 20} now."]),
        ("ab " * 400, [("ab " * 333).strip(), ("ab " * 67).strip()]),
    ],
    ids=["usual", "white space", "blank", "a long run", "a long text"],
)
def test_a_sentence_is_cut_only_where_it_must(sentence: str, texts: list[str]) -> None:
    """Runs are cut at 40 characters and texts at a space before 1000; short ones stay whole."""
    assert [part.text for part in parts_of(sentence)] == texts


@given(st.text(st.sampled_from("ab.é漢👍 \n\t\u3000"), max_size=3000), st.text("z", max_size=3000))
def test_nothing_is_lost_or_too_long(start: str, run: str) -> None:
    """The characters of any sentence come once, in order, in parts that the service accepts."""
    sentence = start + run
    parts = parts_of(sentence)

    assert "".join("".join(part.words) for part in parts) == "".join(sentence.split())
    assert all(0 < len(part.text) <= MAX_CHARACTERS for part in parts)
    assert all(len(word) <= MAX_RUN for part in parts for word in part.words)
    for part in parts:
        assert [
            word for word, end in zip(part.words, part.ends, strict=True) if end and sentence[:end][-1] != word[-1]
        ] == []


@pytest.mark.parametrize(
    ("sentence", "words", "marks"),
    [
        (" Five six.", [("Five", 0.25), ("six.", 0.5)], [(5, 0.25), (10, 0.5)]),
        ("One - two.", [("One", 0.25), ("two.", 0.5)], [(3, 0.25), (10, 0.5)]),
        ("One two.", [("One", 0.25)], [(3, 0.25)]),
        ("One two.", [("One", 0.25), ("two.", 1.05)], [(3, 0.25), (8, 1.0)]),
        (f"See {URL} now.", [("See", 0.1), ("x" * 40, 0.2), ("x" * 40, 0.3)], [(3, 0.1)]),
        (URL, [("x" * 40, 0.2), ("x" * 40, 0.3), ("x" * 20, 0.4)], [(100, 0.4)]),
        ('"One," (two).', [("One", 0.25), ("two", 0.5)], [(6, 0.25), (13, 0.5)]),
        ("One, two.", [("One", 0.2), (",", 0.3), ("two", 0.5), (".", 0.6)], [(4, 0.2), (9, 0.5)]),
        ("Don't!", [("Don", 0.2), ("t", 0.3)], [(6, 0.3)]),
        ("好的。 Yes", [("好", 0.1), ("的", 0.2), ("。", 0.3), ("Yes", 0.4)], [(1, 0.1), (3, 0.2), (7, 0.4)]),
    ],
    ids=[
        "space before", "a dash without time", "only the first", "beyond the audio", "within a run", "a whole run",
        "without punctuation", "punctuation by itself", "a word in pieces", "without spaces",
    ],
)  # fmt: skip
def test_word_times_become_marks(sentence: str, words: list[tuple[str, float]], marks: list[tuple[int, float]]) -> None:
    """A mark counts the characters of complete words; a word that was cut counts with its last piece."""
    (part,) = parts_of(sentence)
    got = part.marks(timed(*words), audio_s=1.0, start_s=0.0)
    assert got == [WordMark(char_end=end, end_s=at) for end, at in marks]


@pytest.mark.parametrize(
    "words",
    [
        [("one", 0.25)],
        [("One", 0.25), ("three", 0.5)],
        [("One", 0.5), ("two.", 0.25)],
        [("One", -0.25), ("two.", 0.25)],
        [("One", 0.5), ("two.", 1.25)],
        [("One", 0.1), ("two.", 0.2), ("more", 0.3)],
    ],
    ids=["other spelling", "other word", "backwards", "before the audio", "after the audio", "too many"],
)
def test_word_times_that_do_not_fit_are_not_used(words: list[tuple[str, float]]) -> None:
    """Times of another text or another timeline give no marks, so that the estimate is used."""
    (part,) = parts_of("One two.")
    assert part.marks(timed(*words), audio_s=1.0, start_s=0.0) == []


def test_marks_of_a_later_part_count_from_the_sentence() -> None:
    """Characters and seconds of the second part of a long sentence include those of the first."""
    sentence = "a" * 40 + " " + ("ab " * 400).strip()
    second = parts_of(sentence)[1]
    marks = second.marks(timed((second.words[0], 0.5)), audio_s=9.0, start_s=60.0)

    assert [(sentence[: mark.char_end].count(" "), mark.end_s) for mark in marks] == [
        (len(parts_of(sentence)[0].words), 60.5)
    ]
