"""Finding the recognised words that the agent did not say itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.turntaking.echo_words import are_enough, new_words, words_of

OPEN = "We are open from nine to five on weekdays, and the shop is closed on Sundays."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("We're open, from NINE to five!", ["were", "open", "from", "nine", "to", "five"]),
        ("Order A-42: 3.50", ["order", "a", "4", "2", "3", "5", "0"]),
        ("Straße snake_case", ["strasse", "snake", "case"]),
        ("请停。ありがとう", [*"请停ありがとう"]),
        ("...", []),
    ],
)
def test_words_are_what_is_pronounced(text: str, words: list[str]) -> None:
    """Case, punctuation and apostrophes are dropped; digits, and characters of unspaced scripts, are single words."""
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("heard", "said", "new"),
    [
        ("stop", OPEN, "stop"),
        ("we are open from nine to five", OPEN, ""),
        ("open from nine", OPEN, ""),
        ("WE ARE OPEN - FROM NINE, TO FIVE?", OPEN, ""),
        ("we are open from line to five", OPEN, ""),
        ("we are open stop please", OPEN, "stop please"),
        ("stop we are open", OPEN, "stop"),
        ("we are open from stop please nine to five", OPEN, "stop please"),
        ("we open from to five", OPEN, ""),  # words that were missed
        ("on week days and the shop", OPEN, ""),  # one word in two pieces
        ("weekdays andthe shop", OPEN, ""),  # two words in one
        ("open are", OPEN, "open"),  # in another order
        ("nine five", "From five to nine.", ""),  # but a number is as good as another
        ("the the shop", OPEN, "the"),  # each accounts for one
        ("stop", "The shop is open.", "stop"),  # resembles one, and nothing beside it fits
        ("the stop is open", "The shop is open.", ""),
        ("no", "I know.", "no"),
        ("order one two three four five", "Order 12345 has been shipped.", ""),
        ("order 12345", "Order one two three four five has been shipped.", ""),
        ("at nine thirty", "We open at 9:30.", ""),
        ("the red one please", "Do you want the red or the blue one?", "one please"),
        ("停一下", "我们九点开门", "停一下"),
        ("九点开", "我们九点开门", ""),
        ("anything", "", "anything"),
        ("", OPEN, ""),
    ],
)
def test_the_words_that_the_agent_did_not_say(heard: str, said: str, new: str) -> None:
    """Recognised words are aligned with the agent's: in order, each word once, allowing for a recogniser's errors."""
    words = words_of(heard)
    verdicts = new_words(words, words_of(said))
    assert [word for word, is_new in zip(words, verdicts, strict=True) if is_new] == words_of(new)


@pytest.mark.parametrize(
    ("new", "is_sure", "enough"),
    [
        ("", False, False),
        ("N", False, True),
        ("s", False, False),
        ("sN", False, True),
        ("sNs", False, False),
        ("sssN", False, False),
        ("sssN", True, True),
        ("sssNN", False, True),
        ("sNsNs", False, False),
        ("NsNs", False, True),
        ("sss", True, False),
    ],
)
def test_how_many_are_enough(new: str, is_sure: bool, enough: bool) -> None:
    """Of (N)ew and (s)aid words: two in a row, or half of them; one when somebody is known to have spoken."""
    assert are_enough([letter == "N" for letter in new], is_sure=is_sure) is enough


WORD = st.sampled_from([*words_of(OPEN), "stop", "please", "yes", "no", "a"])
SENTENCE = st.lists(WORD, max_size=12)


@given(said=SENTENCE, start=st.integers(0, 11), length=st.integers(0, 12))
def test_nothing_of_an_echo_is_new(said: list[str], start: int, length: int) -> None:
    """No stretch of the agent's own words contains a new word."""
    assert not any(new_words(said[start : start + length], said))


@given(heard=SENTENCE, said=SENTENCE)
def test_words_that_nobody_said_are_new(heard: list[str], said: list[str]) -> None:
    """Each word gets a verdict, and a word unlike all of the agent's is always the caller's."""
    foreign = ["xyzzyx" if word in {"stop", "yes"} else word for word in heard]
    verdicts = new_words(foreign, said)
    assert len(verdicts) == len(foreign)
    assert all(is_new for word, is_new in zip(foreign, verdicts, strict=True) if word == "xyzzyx")


@given(said=st.lists(WORD, min_size=1, max_size=12), place=st.integers(0, 12))
def test_a_caller_who_cuts_in_is_heard_at_every_place(said: list[str], place: int) -> None:
    """Two new words in a row are enough, wherever in an echo they are."""
    heard = [*said[:place], "quiet", "xyzzyx", *said[place:]]
    assert are_enough(new_words(heard, said), is_sure=False)
