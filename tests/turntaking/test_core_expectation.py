"""What an expectation changes in turn-taking: how long the agent waits, and when it has the turn ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.spoken_call import Agent, SpokenCall
from voicepipe.flow import Digit, EarlyTranscript, SpeechEnded, SpeechStarted, Transcript
from voicepipe.turntaking.decisions import Commit, Draft, ForceEndpoint, Interrupt, Start
from voicepipe.turntaking.expectation import Digits, Expectation, Pattern, Phone
from voicepipe.turntaking.rules import TurnRules

if TYPE_CHECKING:
    from voicepipe.flow import Hearing
    from voicepipe.turntaking.rules import Eagerness

    Script = list[tuple[float, Hearing | Digit]]

ORDER = Pattern(r"^ORD-\d{5}$")


def final(text: str, at_s: float) -> tuple[float, Hearing]:
    return at_s, Transcript(text, at_s - 0.3, at_s)


def early(text: str, at_s: float) -> tuple[float, Hearing]:
    return at_s, EarlyTranscript(text, stable=False)


def asked(expected: Expectation, script: Script, eagerness: Eagerness = "normal") -> SpokenCall:
    return SpokenCall(TurnRules(eagerness=eagerness, drafts=False), Agent(expected=expected)).plays(script)


@pytest.mark.parametrize(("eagerness", "wait_s"), [("low", 3.75), ("normal", 2.5), ("high", 1.5)])
def test_a_value_that_was_begun_is_waited_for(eagerness: Eagerness, wait_s: float) -> None:
    """Without its rest, the agent answers 2.5 s after the last word, by eagerness."""
    call = asked(ORDER, [final("ord one two.", 1.3)], eagerness)
    assert call.times(Start) == [1.0 + wait_s]
    assert call.agent.answered == ["ord one two."]


def test_a_value_in_two_breaths_is_answered_at_its_end() -> None:
    """c3: the parts are one message, and once it is complete nothing is waited for."""
    script: Script = [
        (0.0, SpeechStarted(at_s=0.0)), (1.0, SpeechEnded(at_s=1.0)), final("ord one two", 1.3),
        (2.2, SpeechStarted(at_s=2.2)), (3.4, SpeechEnded(at_s=3.4)), final("three four five", 3.7),
    ]  # fmt: skip
    call = asked(ORDER, script)
    assert (call.times(Start), call.agent.answered) == ([3.7], ["ord one two three four five"])


@pytest.mark.parametrize(
    ("expected", "text", "at_s"),
    [
        (Digits(5), "one two three four five", 1.3),  # otherwise 1.4 s after the last word
        (Digits(5), "I don't have it.", 1.3),
        (Digits(5), "I don't have it", 1.6),
        (Digits(5), "my", 2.0),
        (Phone(), "030 1234567", 2.4),  # it may go on, as any number
        (Phone(), "030 1234567.", 2.4),
    ],
)
def test_the_usual_waits_apply_to_other_words(expected: Expectation, text: str, at_s: float) -> None:
    """A complete value is answered at once, and words that begin none as without an expectation."""
    assert asked(expected, [final(text, 1.3)]).times(Start) == [at_s]


def test_early_words_that_complete_a_value_end_the_turn() -> None:
    """The recogniser is asked once for each utterance, and the reply is prepared at once."""
    script = [
        (0.5, SpeechStarted(at_s=0.5)), early("one two three four", 1.0), early("one two three four five", 1.5),
        early("one two three four five", 1.6), final("one two three four five", 1.9),
    ]  # fmt: skip
    call = SpokenCall(TurnRules(), Agent(expected=Digits(5))).plays(script)
    assert (call.times(ForceEndpoint), call.times(Draft), call.times(Commit)) == ([1.5], [1.5], [1.9])


def test_the_parts_count_together_for_early_words() -> None:
    """What is held from the breath before is a part of the value."""
    call = asked(ORDER, [final("ord one two", 1.3), early("three four", 2.2), early("three four five", 2.5)])
    assert call.times(ForceEndpoint) == [2.5]


def test_nothing_is_forced_without_an_expectation() -> None:
    """Early digits alone end no turn."""
    assert SpokenCall().plays([early("one two three four five", 1.0)]).times(ForceEndpoint) == []


def test_keys_end_at_the_last_one_that_is_expected() -> None:
    """Five keys are complete with the fifth, without the end key or the pause after the last one."""
    keys: Script = [(1.0 + at / 4, Digit(key)) for at, key in enumerate("12345")]
    call = asked(Digits(5), keys)
    assert (call.times(Start), call.agent.answered) == ([2.0], ["12345"])
    assert asked(Phone(), keys).times(Start) == [5.0]


def test_keys_may_interrupt_the_question() -> None:
    """The first key ends the question, and the last one the answer."""
    agent = Agent(expected=None)
    call = SpokenCall(TurnRules(), agent).plays([final("Hello.", 0.3)], until_s=2.0)
    agent.expected = Digits(2)
    call.plays([(2.0, Digit("1")), (2.5, Digit("2"))])
    assert (call.times(Interrupt), call.times(Start)) == ([2.0], [0.3, 2.5])
