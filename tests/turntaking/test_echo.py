"""The agent's own voice from a loudspeaker: what counts as echo, and what does not."""

from __future__ import annotations

from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.flow import EarlyTranscript, Hearing, SpeechEnded, SpeechStarted, Transcript, Word
from voicepipe.turntaking.echo import ECHO_S, EchoGuard

Heard: TypeAlias = list[tuple[float, Hearing]]

QUESTION = "It is forty euros. Is that right, yes or no?"
"""Said from 1.0 to 4.0 s: 44 characters in 3 s."""


class World:
    """An agent that says `sentences`, each (text, start, end), and a guard that can be asked at given times."""

    def __init__(self, *sentences: tuple[str, float, float]) -> None:
        self.sentences = list(sentences)
        self.audible_until = float("-inf")
        self.guard = EchoGuard(lambda: self.audible_until)
        self.now = 0.0

    def go_to(self, at_s: float) -> None:
        while self.sentences and self.sentences[0][1] <= at_s:
            text, start_s, end_s = self.sentences.pop(0)
            self.guard.says(text, start_s)
            self.end_s = end_s
            self.audible_until = start_s
        if self.audible_until > float("-inf"):
            self.audible_until = min(at_s + 0.04, self.end_s)  # 40 ms are handed over in advance
        self.now = at_s

    def hears(self, heard: Heard) -> list[bool]:
        verdicts: list[bool] = []
        for at_s, event in heard:
            self.go_to(at_s)
            verdicts.append(self.guard.is_echo(event, at_s))
        return verdicts


def last(heard: Heard, *sentences: tuple[str, float, float]) -> bool:
    return World(*(sentences or [(QUESTION, 1.0, 4.0)])).hears(heard)[-1]


def began(at_s: float, *, told: float = 0.1) -> tuple[float, Hearing]:
    return at_s + told, SpeechStarted(at_s=at_s)


def early(text: str, at_s: float) -> tuple[float, Hearing]:
    return at_s, EarlyTranscript(text, stable=True)


def final(text: str, ended_s: float, *, told: float = 0.3) -> tuple[float, Hearing]:
    return ended_s + told, Transcript(text, ended_s, ended_s + told)


ECHOES: list[tuple[str, Heard, bool]] = [
    ("speech before the agent speaks", [began(0.5)], False),
    ("speech while it speaks", [began(1.2)], True),
    ("speech that is dated a little too early", [began(0.95)], True),
    ("speech within the latency of the devices", [began(4.2)], True),
    ("speech after it", [began(4.3)], False),
    ("speech while it spoke, told much later", [began(3.5, told=1.2)], True),
    ("the end of speech", [began(1.2), (2.0, SpeechEnded(at_s=2.0))], False),
    ("its words, early", [began(1.2), early("it is forty euros", 2.5)], True),
    ("its words with an error", [began(1.2), early("it is fourty yours", 2.5)], True),
    ("its words, digits for a number", [began(1.2), early("It is 40 euros", 2.5)], True),
    ("another word", [began(1.2), early("stop", 2.0)], False),
    ("its words and one more", [began(1.2), early("it is forty euros stop", 2.5)], True),
    ("its words and two more", [began(1.2), early("it is forty euros stop please", 2.5)], False),
    ("words that it says only later", [began(1.2), early("is that right", 1.5)], False),
    ("words that it said long before they began", [began(3.6), early("it is forty", 4.0)], False),
    ("all of it, final", [began(1.2), final("it is forty euros is that right yes or no", 4.1)], True),
    ("its end alone, final", [began(3.4), final("yes or no", 4.1)], True),
    ("its end, a service's delay later", [began(1.2), final("is that right yes or no", 4.1, told=1.5)], True),
    ("its words, when nobody told when they began", [final("is that right yes or no", 4.1, told=1.0)], True),
    ("an early echo, when nobody told when it began", [early("it is forty euros", 2.5)], True),
    ("its words, said after it", [began(4.6), final("is that right", 5.4)], False),
    ("its words, said after it, early", [began(4.6), early("is that right", 5.2)], False),
    ("a clean answer that it had just said", [began(4.4), final("yes", 4.7)], False),
    ("a quick answer that it said a while before", [began(4.15), final("yes", 4.4)], False),
    ("a quick answer with its very last word, early", [began(4.15), early("no", 4.4)], True),
    ("a quick answer with its very last word, final", [began(4.15), final("no", 4.6)], False),
    ("an answer into its last word", [began(3.9), final("no it is not", 4.9)], False),
    ("a short echo of its last word", [began(3.9), final("no", 4.2)], True),
    (
        "an answer that is taken together with the echo",
        [began(1.2), (4.1, SpeechEnded(at_s=4.1)), began(4.5), final("is that right yes or no yes", 4.9)],
        False,
    ),
    (
        "the early words of both",
        [began(1.2), (4.1, SpeechEnded(at_s=4.1)), began(4.5), early("is that right yes or no yes", 4.8)],
        False,
    ),
    (
        "the echo alone, while the answer begins",
        [began(1.2), (4.1, SpeechEnded(at_s=4.1)), began(4.5), early("is that right yes or no", 4.6)],
        True,
    ),
    ("an answer after an echo without a break", [began(1.2), final("is that right yes or no yes", 4.9)], False),
    ("a caller who began first", [began(0.5), early("and another thing", 1.3)], False),
    ("a caller who began first with what it says next", [began(0.3), final("yes or no", 0.9, told=0.4)], False),
    ("a cough before it, then its own words", [began(0.8), early("it is forty", 2.0)], True),
    ("a cough before it, then its own words, final", [began(0.8), final("it is forty euros", 2.5)], True),
    ("long after it", [final("is that right yes or no", 8.0)], False),
    (
        "an answer long after an echo that came to nothing",
        [began(1.2), (4.1, SpeechEnded(at_s=4.1)), began(9.0)],
        False,
    ),
    (
        "the same, final",
        [began(1.2), (4.1, SpeechEnded(at_s=4.1)), began(9.0), early("is that right", 9.8)],
        False,
    ),
]


@pytest.mark.parametrize(("heard", "is_echo"), [row[1:] for row in ECHOES], ids=[row[0] for row in ECHOES])
def test_the_table(heard: Heard, is_echo: bool) -> None:
    """Each row: the agent speaks from 1.0 to 4.0 s; the last event is its echo, or is not."""
    assert last(heard) is is_echo


@pytest.mark.parametrize(
    ("started_s", "is_echo"),
    [(4.3, False), (3.5, True)],
)
def test_the_times_of_words_tell_as_well(started_s: float, is_echo: bool) -> None:
    """Without a `SpeechStarted`, speech begins with its first word; a last word after the agent is the caller's."""
    words = (Word("or", 3.0, 3.2, 0.9), Word("no", started_s, started_s + 0.3, 0.9))
    assert last([(5.0, Transcript("or no", 4.2, 4.9, words))]) is is_echo


def test_between_two_sentences_the_caller_is_heard() -> None:
    """While a tool runs the agent is silent, so what is said then is the caller's, even in the agent's own words."""
    said = ("One moment please.", 1.0, 2.0), ("It is forty euros.", 6.0, 7.0)
    assert World(*said).hears([began(3.0), early("one moment please", 4.0)]) == [False, False]
    assert last([began(3.0), (6.2, Transcript("one moment please", 3.9, 6.2))], *said) is False
    assert last([began(6.1), early("it is forty", 6.9)], *said) is True


def test_an_echo_of_several_sentences_is_one() -> None:
    """A recogniser may report several sentences of the agent's as one utterance."""
    said = ("It is forty euros.", 1.0, 2.2), ("It arrives tomorrow.", 2.2, 3.6)
    assert last([began(1.1), final("it is forty euros it arrives tomorrow", 3.7)], *said)
    assert not last([began(1.1), final("it arrives tomorrow it is forty euros why", 3.7)], *said)


def test_a_reply_that_was_cut_off_is_no_quicker_than_others() -> None:
    """After an interruption at 1.5 s, only words that can have been said by then count as echo."""
    said = (QUESTION, 1.0, 1.5)
    assert last([began(1.1), final("it is for", 1.6, told=0.8)], said)
    assert not last([began(1.1), final("is that right yes", 1.6, told=0.1)], said)


def test_it_is_audible_until_its_echo_is_over() -> None:
    """The agent is audible while it speaks and for a moment afterwards."""
    world = World((QUESTION, 1.0, 4.0))
    audible: list[bool] = []
    for at_s in (0.5, 1.0, 3.9, 4.0 + ECHO_S, 4.01 + ECHO_S):
        world.go_to(at_s)
        audible.append(world.guard.is_audible(at_s))
    assert audible == [False, True, True, True, False]


TEXTS = st.sampled_from([QUESTION, "yes", "is that right", "stop please", "one moment", ""])
TIMES = st.floats(0, 20)
EVENTS = st.one_of(
    st.builds(SpeechStarted, at_s=TIMES),
    st.builds(SpeechEnded, at_s=TIMES),
    st.builds(EarlyTranscript, TEXTS, st.booleans()),
    st.builds(Transcript, TEXTS, TIMES, TIMES),
)


@given(events=st.lists(st.tuples(TIMES, EVENTS), max_size=20), at_s=st.floats(25, 60), text=TEXTS.filter(bool))
def test_whatever_was_heard_before_a_clean_answer_counts(
    events: list[tuple[float, Hearing]], at_s: float, text: str
) -> None:
    """Nothing that was recognised while the agent spoke makes it ignore the caller afterwards."""
    world = World((QUESTION, 1.0, 4.0), ("One moment.", 9.0, 10.0))
    world.hears(sorted(events, key=lambda event: event[0]))
    assert world.hears([began(at_s), early(text, at_s + 0.5), final(text, at_s + 1.0)]) == [False] * 3


@given(start=st.integers(0, 9), length=st.integers(1, 9), told=st.floats(0.0, 2.0))
def test_no_piece_of_an_echo_counts(start: int, length: int, told: float) -> None:
    """Any stretch of the agent's words that comes back is echo, however late it is reported."""
    words = QUESTION.split()
    starts = [1.0 + 3.0 * len(" ".join(words[:count])) / len(QUESTION) for count in range(len(words) + 1)]
    start, end = min(start, len(words) - 1), min(start + length, len(words))
    text, began_s, ended_s = " ".join(words[start:end]), starts[start] + 0.1, starts[end] + 0.1
    assert all(
        World((QUESTION, 1.0, 4.0)).hears([began(began_s), early(text, ended_s + 0.1), final(text, ended_s, told=told)])
    )
