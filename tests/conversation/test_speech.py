"""From the audio that was played to the words that were heard: never a word whose audio was not played."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.conversation.speech import Speech
from voicepipe.flow import Sentence

SENTENCE = "It is 22 degrees in Lyon."  # 25 characters


def spoken(
    duration_s: float, *, whole: bool, text: str = SENTENCE, marks: list[tuple[int, float]] | None = None
) -> Speech:
    speech = Speech()
    speech.expect()
    speech.begin(Sentence(text), 0)
    for mark in marks or []:
        speech.add_mark(*mark)
    speech.add_audio(duration_s)
    if whole:
        speech.finish()
    return speech


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
    """In a sentence of known length, a word counts as heard at its last character's share of the time."""
    assert spoken(2.5, whole=True).heard_until(played_s).get(0, "") == text


@pytest.mark.parametrize(
    ("played_s", "text"),
    [(0.0, ""), (0.29, ""), (0.3, "It"), (0.6, "It is"), (1.0, "It is 22"), (2.4, "It is 22"), (2.5, SENTENCE)],
)
def test_word_marks_are_believed(played_s: float, text: str) -> None:
    """If the voice reports when words end, nothing is estimated."""
    speech = spoken(2.5, whole=True, marks=[(2, 0.3), (5, 0.6), (8, 1.0)])
    assert speech.heard_until(played_s).get(0, "") == text


@pytest.mark.parametrize("wrong", [(26, 0.1), (999, 0.1), (-1, 0.1)])
@pytest.mark.parametrize("good", [[], [(2, 0.3), (25, 0.4)]])
def test_marks_outside_of_the_text_are_not_believed(good: list[tuple[int, float]], wrong: tuple[int, float]) -> None:
    """A mark beyond the text was counted elsewhere, so the sentence is estimated, and no unheard word counts."""
    speech = spoken(2.5, whole=True, marks=[*good, wrong])
    assert [speech.heard_until(at).get(0, "") for at in (0.19, 0.5, 2.49, 2.5)] == [
        "", "It is", "It is 22 degrees in", SENTENCE,
    ]  # fmt: skip


def test_wrong_marks_concern_their_own_sentence() -> None:
    """The marks of the sentences before and after count as they are."""
    speech = spoken(1.0, whole=True, text="One two. ", marks=[(3, 0.9)])
    speech.begin(Sentence("Three four."), 0)
    speech.add_mark(99, 0.0)
    speech.add_audio(1.1)
    assert [speech.heard_until(at) for at in (0.8, 0.9, 1.0, 1.3)] == [
        {}, {0: "One"}, {0: "One two. "}, {0: "One two. "},
    ]  # fmt: skip


def test_a_sentence_that_is_still_coming_is_assumed_to_be_slow() -> None:
    """While a sentence's length is unknown, it counts as spoken at eleven characters a second."""
    speech = spoken(1.0, whole=False)
    assert speech.heard_until(1.0) == {0: "It is 22"}


def test_a_sentence_that_is_still_coming_is_not_whole() -> None:
    """If more audio may come, the last word is in doubt and does not count."""
    assert spoken(0.5, whole=False).heard_until(0.5) == {0: "It is"}


def test_sentences_are_counted_one_after_the_other() -> None:
    """The second sentence begins where the first one's audio ends."""
    speech = spoken(1.0, whole=True, text="One two. ")
    speech.begin(Sentence("Three four."), 0)
    speech.add_audio(1.1)
    speech.finish()
    assert [speech.heard_until(at) for at in (0.8, 1.0, 1.6, 2.1)] == [
        {0: "One"},
        {0: "One two. "},
        {0: "One two. Three"},
        {0: "One two. Three four."},
    ]


@pytest.mark.parametrize("marks", [[], [(2, 0.3), (5, 0.6), (8, 1.0)]])
def test_a_sentence_that_was_cut_does_not_grow(marks: list[tuple[int, float]]) -> None:
    """Audio after a sentence that was cut off does not count for that sentence."""
    speech = spoken(0.5, whole=False, marks=marks)
    cut = speech.heard_until(0.5)
    speech.begin(Sentence("Sorry."), 1)
    speech.add_audio(5.0)
    speech.finish()
    assert speech.heard_until(5.5) == cut | {1: "Sorry."}


def test_segments_are_kept_apart() -> None:
    """The words before a tool call and those after it are separate texts."""
    speech = spoken(1.0, whole=True, text="One moment.")
    speech.begin(Sentence("Booked."), 1)
    speech.add_audio(0.7)
    speech.finish()
    assert speech.heard_until(1.7) == {0: "One moment.", 1: "Booked."}


def test_rounding_does_not_lose_a_sentence() -> None:
    """A hundred frames of 20 ms are heard after two seconds, although the sum of floats is not exact."""
    speech = Speech()
    speech.begin(Sentence(SENTENCE), 0)
    for _ in range(100):
        speech.add_audio(0.02)
    speech.finish()
    assert speech.heard_until(2.0) == {0: SENTENCE}


def test_nothing_was_said_at_first() -> None:
    """Before a turn speaks, nothing is written, left or heard, and it is silent."""
    speech = Speech()
    assert (speech.written_s, speech.left_s, speech.is_silent) == (0.0, 0.0, True)
    assert speech.heard() == speech.heard_until(5.0) == {}


class Meter:
    """A lease of which a test says how much was played."""

    played_s = silent_s = next_audible_s = 0.0
    is_held = False

    async def wait_released(self) -> None:
        raise NotImplementedError

    async def write(self, pcm: bytes) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        raise NotImplementedError

    def correct(self, heard_s: float) -> None:
        raise NotImplementedError

    async def wait_played(self) -> None:
        raise NotImplementedError

    def check(self) -> None:
        raise NotImplementedError


def test_a_turn_is_silent_once_all_was_played() -> None:
    """From the time TTS gets a sentence until its last sample was played, the turn is not silent."""
    speech, meter = Speech(), Meter()
    speech.lease = meter
    seen: list[tuple[bool, float]] = []

    def look() -> None:
        seen.append((speech.is_silent, round(speech.left_s, 6)))

    speech.expect()
    look()
    speech.begin(Sentence(SENTENCE), 0)
    speech.add_audio(2.5)
    look()
    meter.played_s = 2.5  # what came so far, and more may come
    look()
    speech.add_audio(0.5)
    speech.finish()
    look()
    meter.played_s = 3.0
    look()
    assert seen == [(False, 0.0), (False, 2.5), (False, 0.0), (False, 0.5), (True, 0.0)]
    assert speech.heard() == {0: SENTENCE}


WORDS = st.lists(st.sampled_from(["a", "it", "22,", "degrees", "Lyon.", "—", "naïve", "  "]), min_size=1).map(" ".join)


@st.composite
def replies(draw: st.DrawFn) -> Speech:
    speech = Speech()
    for text in draw(st.lists(WORDS, min_size=1, max_size=4)):
        speech.begin(Sentence(text), draw(st.integers(0, 2)))
        ends = sorted(draw(st.lists(st.integers(0, len(text)), max_size=3)))
        for end in ends if draw(st.booleans()) else []:
            speech.add_mark(end, end * 0.05)
        for duration_s in draw(st.lists(st.floats(0.0, 0.02), max_size=40)):
            speech.add_audio(duration_s)
        if draw(st.booleans()):
            speech.finish()
    return speech


@given(speech=replies(), times=st.lists(st.floats(0.0, 10.0), min_size=2, max_size=8).map(sorted))
def test_hearing_only_grows(speech: Speech, times: list[float]) -> None:
    """With more audio played never less is heard: each text is the beginning of the later one."""
    for before, after in pairwise(times):
        one, two = speech.heard_until(before), speech.heard_until(after)
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
    """The text that was heard ends where a word ends."""
    heard = spoken(frames * 0.02, whole=True, text=text).heard_until(played_s).get(0, "")
    assert text.startswith(heard)
    assert heard.split() == text.split()[: len(heard.split())]


@given(played_s=st.floats(-5.0, 0.0))
def test_before_the_first_sample_nothing_was_heard(played_s: float) -> None:
    """An interruption before the first frame leaves no word."""
    assert spoken(1.0, whole=True).heard_until(played_s) == {}
