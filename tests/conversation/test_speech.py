"""Audio played -> text heard: never a word whose audio was not played."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.conversation.speech import Speech

SENTENCE = "It is 22 degrees in Lyon."  # 25 characters


def spoken(
    duration_s: float, *, whole: bool, text: str = SENTENCE, marks: list[tuple[int, float]] | None = None
) -> Speech:
    heard = Speech()
    heard.begin(text, 0)
    for mark in marks or []:
        heard.add_mark(*mark)
    heard.add_audio(duration_s)
    if whole:
        heard.finish()
    return heard


@pytest.mark.parametrize(
    ("played_s", "text"),
    [
        (0.0, ""),
        (0.19, ""),
        (0.2, "It"),
        (0.5, "It is"),
        (0.79, "It is"),
        (0.8, "It is 22"),
        (2.49, "It is 22 degrees in"),
        (2.5, SENTENCE),
        (9.0, SENTENCE),
    ],
)
def test_a_word_counts_when_all_of_its_audio_was_played(played_s: float, text: str) -> None:
    """In a sentence of known length a word is heard at its last character's share of the time."""
    assert spoken(2.5, whole=True).heard_until(played_s).get(0, "") == text


@pytest.mark.parametrize(
    ("played_s", "text"),
    [(0.0, ""), (0.29, ""), (0.3, "It"), (0.6, "It is"), (1.0, "It is 22"), (2.4, "It is 22"), (2.5, SENTENCE)],
)
def test_word_marks_are_believed(played_s: float, text: str) -> None:
    """Where the voice tells when words end, nothing is estimated."""
    heard = spoken(2.5, whole=True, marks=[(2, 0.3), (5, 0.6), (8, 1.0)])
    assert heard.heard_until(played_s).get(0, "") == text


def test_a_sentence_that_is_still_coming_is_assumed_to_be_slow() -> None:
    """While a sentence's length is unknown, eleven characters a second count, not the share of what came so far."""
    heard = spoken(1.0, whole=False)
    assert heard.heard_until(1.0) == {0: "It is 22"}


def test_a_sentence_that_is_still_coming_is_not_whole() -> None:
    """All audio so far was played, but more may come: the last word is in doubt, so it does not count."""
    assert spoken(0.5, whole=False).heard_until(0.5) == {0: "It is"}


def test_sentences_are_counted_one_after_the_other() -> None:
    """The second sentence begins where the first one's audio ends."""
    heard = spoken(1.0, whole=True, text="One two. ")
    heard.begin("Three four.", 0)
    heard.add_audio(1.1)
    heard.finish()
    assert [heard.heard_until(at) for at in (0.8, 1.0, 1.6, 2.1)] == [
        {0: "One"},
        {0: "One two. "},
        {0: "One two. Three"},
        {0: "One two. Three four."},
    ]


@pytest.mark.parametrize("marks", [[], [(2, 0.3), (5, 0.6), (8, 1.0)]])
def test_a_sentence_that_was_cut_does_not_grow(marks: list[tuple[int, float]]) -> None:
    """Half a second of a sentence, then an apology: the rest of that sentence is never heard."""
    heard = spoken(0.5, whole=False, marks=marks)
    cut = heard.heard_until(0.5)
    heard.begin("Sorry.", 1)
    heard.add_audio(5.0)
    heard.finish()
    assert heard.heard_until(5.5) == cut | {1: "Sorry."}


def test_segments_are_kept_apart() -> None:
    """What was said before a tool and what was said after it are two texts."""
    heard = spoken(1.0, whole=True, text="One moment.")
    heard.begin("Booked.", 1)
    heard.add_audio(0.7)
    heard.finish()
    assert heard.heard_until(1.7) == {0: "One moment.", 1: "Booked."}


def test_rounding_does_not_lose_a_sentence() -> None:
    """A sentence of a hundred 20 ms frames is heard when two seconds were played, whatever the sum's last bit says."""
    heard = Speech()
    heard.begin(SENTENCE, 0)
    for _ in range(100):
        heard.add_audio(0.02)
    heard.finish()
    assert heard.heard_until(2.0) == {0: SENTENCE}


def test_nothing_was_said_at_first() -> None:
    """A turn that has not spoken has written and heard nothing."""
    assert (Speech().written_s, Speech().heard_until(5.0)) == (0.0, {})


WORDS = st.lists(st.sampled_from(["a", "it", "22,", "degrees", "Lyon.", "—", "naïve", "  "]), min_size=1).map(" ".join)


@st.composite
def replies(draw: st.DrawFn) -> Speech:
    heard = Speech()
    for text in draw(st.lists(WORDS, min_size=1, max_size=4)):
        heard.begin(text, draw(st.integers(0, 2)))
        ends = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
        for end in ends if draw(st.booleans()) else []:
            heard.add_mark(end, end * 0.05)
        for duration_s in draw(st.lists(st.floats(0.0, 0.02), max_size=40)):
            heard.add_audio(duration_s)
        if draw(st.booleans()):
            heard.finish()
    return heard


@given(heard=replies(), times=st.lists(st.floats(0.0, 10.0), min_size=2, max_size=8).map(sorted))
def test_hearing_only_grows(heard: Speech, times: list[float]) -> None:
    """Who listens longer never heard less: each text is the beginning of the later one."""
    for before, after in pairwise(times):
        one, two = heard.heard_until(before), heard.heard_until(after)
        assert all(two[segment].startswith(text) for segment, text in one.items())


@given(text=WORDS, frames=st.integers(0, 100), played=st.floats(0.0, 1.0), whole=st.booleans())
def test_never_more_than_was_played(text: str, frames: int, played: float, whole: bool) -> None:
    """The share of the text that counts as heard is at most the share of its audio that was played."""
    duration_s = frames * 0.02
    heard = spoken(duration_s, whole=whole, text=text).heard_until(played * duration_s).get(0, "")
    if not (whole and played * duration_s >= duration_s - 1e-5):
        assert len(heard) * duration_s <= len(text) * played * duration_s + 1e-3


@given(text=WORDS, frames=st.integers(1, 100), played_s=st.floats(0.0, 5.0))
def test_words_are_heard_whole(text: str, frames: int, played_s: float) -> None:
    """What was heard ends where a word ends."""
    heard = spoken(frames * 0.02, whole=True, text=text).heard_until(played_s).get(0, "")
    assert text.startswith(heard)
    assert heard.split() == text.split()[: len(heard.split())]


@given(played_s=st.floats(-5.0, 0.0))
def test_before_the_first_sample_nothing_was_heard(played_s: float) -> None:
    """An interruption before the first frame leaves no word."""
    assert spoken(1.0, whole=True).heard_until(played_s) == {}
