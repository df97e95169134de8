"""Calls that wait until the caller has agreed: a table of what was asked, said and heard."""

from __future__ import annotations

import pytest

from voicepipe._confirmations import MAX_WAITING, Confirmations

BOOK = '{"day": "Monday", "seats": 2}'
SAME = '{"seats":2,"day":"Monday"}'
OTHER = '{"day": "Monday", "seats": 3}'


def agreed(
    waiting: Confirmations, turn_id: int, said: str, arguments: str = BOOK, *, tool: str = "book", heard: bool = True
) -> bool:
    return waiting.agreed(tool, arguments, turn_id=turn_id, user_text=said, was_heard=lambda: heard)


def test_the_identical_call_runs_in_a_later_turn() -> None:
    """The first call asks; the same call, its arguments in any order, runs once the caller has spoken again."""
    waiting = Confirmations()

    assert not agreed(waiting, 1, "Book a table")
    assert agreed(waiting, 2, "Yes, please", SAME)


def test_it_never_runs_in_the_turn_that_asks() -> None:
    """A model that calls again without waiting for the caller is told to ask again."""
    waiting = Confirmations()

    assert [agreed(waiting, 1, "Book a table") for _ in range(3)] == [False, False, False]
    assert agreed(waiting, 2, "Yes")


def test_an_agreement_serves_once() -> None:
    """A second identical call needs a question of its own."""
    waiting = Confirmations()
    agreed(waiting, 1, "Book a table")

    assert agreed(waiting, 2, "Yes")
    assert not agreed(waiting, 2, "Yes")
    assert agreed(waiting, 3, "Yes, again")


def test_other_arguments_are_another_question() -> None:
    """The caller agreed to two seats, not to three; after the new question the old agreement counts no more."""
    waiting = Confirmations()
    agreed(waiting, 1, "Book a table")

    assert not agreed(waiting, 2, "Yes, but for three", OTHER)
    assert not agreed(waiting, 3, "Yes", BOOK)


def test_another_tool_is_another_question() -> None:
    """Each tool has its own question, and one does not forget the other."""
    waiting = Confirmations()
    agreed(waiting, 1, "Book a table")

    assert not agreed(waiting, 2, "Yes", tool="cancel")
    assert agreed(waiting, 3, "Yes")


def test_a_question_that_was_not_heard_does_not_count() -> None:
    """Who interrupts before anything of the question was said has agreed to nothing."""
    waiting = Confirmations()
    agreed(waiting, 1, "Book a table", heard=False)

    assert not agreed(waiting, 2, "Yes, and hurry")
    assert agreed(waiting, 3, "Yes")


def test_the_agent_cannot_agree_with_itself() -> None:
    """A turn in which the caller said nothing is no agreement."""
    waiting = Confirmations()
    agreed(waiting, 1, "Book a table")

    assert not agreed(waiting, 2, "")


REFUSALS = [
    *("No.", "no", "Nope, leave it", "Don\u2019t do that", "\u201cNo\u201d, I said", "Wait!", "Nein, danke"),
    *("Non merci", "¡No!", "Não", "不要订", "いいえ、違います", "नहीं, रुकिए", "لا، شكرا", "Нет"),
]


@pytest.mark.parametrize("words", REFUSALS)
def test_a_refusal_is_no_agreement(words: str) -> None:
    """Words that begin with a plain refusal never let a call run, whatever the model makes of them."""
    waiting = Confirmations()
    agreed(waiting, 1, "Book a table")

    assert not agreed(waiting, 2, words)
    assert agreed(waiting, 3, "All right, yes")


@pytest.mark.parametrize(
    "words", ["Yes", "Sure, go on", "That would be nice", "Notably, yes", "Northern side, please", "Ja", "はい"]
)
def test_other_words_are_left_to_the_model(words: str) -> None:
    """Whether other words agree is for the model to understand."""
    waiting = Confirmations()
    agreed(waiting, 1, "Book a table")

    assert agreed(waiting, 2, words)


def test_the_questions_are_bounded() -> None:
    """A model cannot fill the memory with questions; the oldest is forgotten first."""
    waiting = Confirmations()
    for number in range(MAX_WAITING + 1):
        agreed(waiting, 1, "Book", tool=f"tool {number}")

    assert not agreed(waiting, 2, "Yes", tool="tool 0")
    assert agreed(waiting, 2, "Yes", tool=f"tool {MAX_WAITING}")
