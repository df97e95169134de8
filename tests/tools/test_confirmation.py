"""Tool calls that wait until the caller has agreed: tables of questions, replies and answers."""

from __future__ import annotations

from typing import Any

import pytest

from voicepipe.history import AssistantMessage, Message, ToolCall, UserMessage
from voicepipe.tools.confirmation import MAX_TURNS, MAX_WAITING, Confirmations

TWO = {"day": "Monday", "seats": 2}
THREE = {"day": "Monday", "seats": 3}


class Talk:
    """A conversation with its questions."""

    def __init__(self) -> None:
        self.waiting = Confirmations()
        self.messages: list[Message] = []

    def says(self, text: str) -> Talk:
        """The caller speaks."""
        self.messages.append(UserMessage(text))
        return self

    def hears(self, text: str) -> Talk:
        """The agent speaks."""
        self.messages.append(AssistantMessage.said(text))
        return self

    def calls(
        self, values: dict[str, Any] = TWO, *, tool: object = "book", say: str = "", ends_well: bool = True
    ) -> bool:
        """The model makes a tool call; return whether it may run."""
        message = AssistantMessage.said(say)
        message.calls.append(ToolCall(call_id=f"call_{len(self.messages)}", name="book", arguments="{}"))
        self.messages.append(message)
        return self.waiting.agreed(
            tool, values, call_id="1", message=message, messages=self.messages, ended_well=lambda: ends_well
        )


def asked(values: dict[str, Any] = TWO) -> Talk:
    """A conversation in which the caller has been asked."""
    talk = Talk().says("A table for Monday")
    assert not talk.calls(values)
    return talk.hears("Shall I?")


def test_the_identical_call_runs_in_a_later_turn() -> None:
    """The first tool call asks; the same one, its arguments in any order, runs once the caller has spoken again."""
    assert asked().says("Yes, please").calls({"seats": 2, "day": "Monday"})


def test_it_never_runs_in_the_turn_that_asks() -> None:
    """A model that calls again without waiting for the caller has to ask again."""
    talk = Talk().says("A table for Monday")

    assert [talk.calls() for _ in range(3)] == [False, False, False]
    assert talk.hears("Shall I?").says("Yes").calls()


def test_words_of_the_agent_are_no_agreement() -> None:
    """The caller has heard the question and said nothing yet: the same tool call still waits."""
    assert not asked().calls()


def test_an_agreement_serves_once() -> None:
    """A second identical tool call needs a question of its own."""
    talk = asked().says("Yes")

    assert talk.calls()
    assert not talk.calls()
    assert talk.hears("Once more?").says("Yes").calls()


def test_other_arguments_are_another_question() -> None:
    """An answer about two seats does not allow three, and the new question replaces the old one."""
    talk = asked().says("Yes, but for three")

    assert not talk.calls(THREE)
    assert not talk.hears("For three?").says("Yes").calls(TWO)


def test_two_calls_of_one_reply_are_two_questions() -> None:
    """One agreement answers all questions of one turn."""
    talk = Talk().says("Tables on both days")
    assert not talk.calls(TWO)
    assert not talk.calls(THREE)

    talk.hears("Shall I book both?").says("Yes")

    assert talk.calls(TWO)
    assert talk.calls(THREE)


def test_another_tool_is_another_question() -> None:
    """Each tool has a question of its own, even a new tool with an old name, and no question replaces another's."""
    talk = asked().says("Hm")

    assert not talk.calls(tool="cancel")
    assert talk.says("Yes").calls()


@pytest.mark.parametrize(
    "heard",
    [
        pytest.param([], id="nothing"),
        pytest.param(["Let me look: "], id="words around another call"),
    ],
)
def test_a_question_that_was_not_heard_does_not_count(heard: list[str]) -> None:
    """A caller who speaks before any part of the question was heard has not agreed."""
    talk = Talk().says("A table for Monday")
    talk.calls()
    for words in heard:
        talk.calls({}, tool="look", say=words)

    assert not talk.says("Yes, and hurry").calls()
    assert talk.hears("Shall I?").says("Yes").calls()


def test_a_reply_that_failed_asked_nothing() -> None:
    """A fallback in place of a reply is not a question."""
    talk = Talk().says("A table for Monday")
    talk.calls(ends_well=False)

    assert not talk.hears("Sorry, I cannot answer that.").says("Hello?").calls()


def test_a_question_is_forgotten_after_three_turns() -> None:
    """A caller who talks about other things has not agreed."""
    talk = asked()
    for number in range(MAX_TURNS):
        talk.says(f"And what about {number}?").hears("Well.")

    assert not talk.says("Yes").calls()


REFUSALS = [
    *("No.", "no", "Nope, leave it", "Don\u2019t do that", "\u201cNo\u201d, I said", "Wait!", "Nein, danke"),
    *("Non merci", "¡No!", "Não", "不要订", "别", "いいえ、違います", "いえ", "नहीं, रुकिए", "لا، شكرا", "Нет"),
    *("No...please don't", "No\u2014wait", "no,don't", "Uh, no", "Stop!", "Hold on"),
]


@pytest.mark.parametrize("words", REFUSALS)
def test_a_refusal_ends_the_question(words: str) -> None:
    """After words that begin with a plain refusal the tool call never runs, whatever the model makes of them."""
    assert not asked().says(words).calls()
    assert not asked().says(words).hears("I will not.").says("What time do you open?").calls()


@pytest.mark.parametrize(
    "words", ["Yes", "Sure, go on", "That would be nice", "Notably, yes", "Northern side", "Ja", "はい"]
)
def test_other_words_are_left_to_the_model(words: str) -> None:
    """The model decides whether any other words agree."""
    assert asked().says(words).calls()


def test_the_questions_are_bounded() -> None:
    """A model cannot fill the memory with questions; the oldest is forgotten first."""
    talk = Talk().says("Book")
    for number in range(MAX_WAITING + 1):
        talk.calls({"number": number})
    talk.hears("Shall I?").says("Yes")

    assert talk.calls({"number": MAX_WAITING})
    assert not talk.calls({"number": 0})
