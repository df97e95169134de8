# ruff: noqa: RUF001 - words and marks of many scripts, look-alikes included
"""Tool calls that wait until the caller has agreed to them. Pure: the conversation goes in, a verdict comes out.

Rule 1: agreement comes after the question: the identical tool call runs in a later turn, once, and only if the caller
        heard at least a part of the question.
Rule 2: the model decides whether the caller agrees; words that plainly refuse end the question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from voicepipe.history import AssistantMessage, UserMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from voicepipe.history import Message

__all__ = ["Confirmations", "Question"]

MAX_WAITING: Final = 16
"""Tool calls that can wait for the caller's answer; the oldest question is forgotten first."""

MAX_TURNS: Final = 3
"""Turns within which the caller has to agree; a later answer is hardly about this question."""

# One word of refusal at the beginning is enough: one question too many is better than one booking too many.
REFUSALS: Final = frozenset(
    "no nope nah not don't dont never wait stop hold nein nicht non pas não nunca nee niet nej nie нет не "  # noqa: SIM905
    "नहीं मत لا".split()
)
UNSPACED_REFUSALS: Final = ("不", "别", "いいえ", "いえ", "いや", "だめ", "아니")
HESITATIONS: Final = frozenset(("uh", "um", "oh", "hm", "hmm", "ah", "er", "well", "äh", "ähm", "euh", "eh"))
NO_WORD: Final = re.compile(r"[^\w'\u0900-\u097f]+")  # `\w` does not match the vowel signs of Hindi


@dataclass(frozen=True, slots=True)
class Question:
    """A tool call that the caller has been asked about.

    Attributes:
        tool: The tool.
        values: Its arguments, including defaults.
        call_id: The tool call.
        message: The message with the tool call.
        ended_well: Returns whether the reply with the question was the model's own up to its end or an interruption.
    """

    tool: object
    values: Mapping[str, Any]
    call_id: str
    message: AssistantMessage
    ended_well: Callable[[], bool]


class Confirmations:
    """The tool calls that the caller of one session has been asked to confirm."""

    def __init__(self) -> None:
        self._questions: list[Question] = []

    def __iter__(self) -> Iterator[Question]:
        """Iterate over what the caller has been asked, oldest first."""
        return iter(self._questions)

    def ask(self, question: Question) -> None:
        """Count the caller as asked, also if they were asked in another worker."""
        self._questions = [*self._questions, question][-MAX_WAITING:]

    def agreed(
        self,
        tool: object,
        values: Mapping[str, Any],
        *,
        call_id: str,
        message: AssistantMessage,
        messages: Sequence[Message],
        ended_well: Callable[[], bool],
    ) -> bool:
        """Return whether a tool call may run now; if not, the caller counts as asked about it from now on.

        Args:
            tool: The tool itself: another tool of the same name is another question.
            values: Its validated arguments, including defaults.
            call_id: The tool call.
            message: The message with the tool call.
            messages: The conversation, including this turn.
            ended_well: Returns, once the reply with this tool call has ended, whether it ended well.
        """
        said_since = {id(one): _said_since(one.message, messages) for one in self._questions}
        open_ones = [one for one in self._questions if not any(map(_refuses, said_since[id(one)]))]
        same = next((one for one in open_ones if one.tool is tool and one.values == values), None)
        if same is not None:
            turns = len(said_since[id(same)])
            if 0 < turns <= MAX_TURNS and same.ended_well() and _was_heard(same.message, messages):
                self._questions = [one for one in open_ones if one is not same]
                return True
            if turns == 0:
                self._questions = open_ones
                return False  # asked in this turn
        # A new question about a tool replaces those of earlier turns.
        kept = [one for one in open_ones if one.tool is not tool or not said_since[id(one)]]
        self._questions = kept
        self.ask(Question(tool, values, call_id, message, ended_well))
        return False


def _after(message: AssistantMessage, messages: Sequence[Message]) -> Sequence[Message]:
    at = next((index for index, one in enumerate(messages) if one is message), len(messages))
    return messages[at + 1 :]


def _said_since(message: AssistantMessage, messages: Sequence[Message]) -> list[str]:
    return [one.text for one in _after(message, messages) if isinstance(one, UserMessage)]


def _was_heard(message: AssistantMessage, messages: Sequence[Message]) -> bool:
    """Return whether the caller heard a reply to the tool call, not counting text around other tool calls."""
    for one in _after(message, messages):
        if isinstance(one, UserMessage):
            return False
        if one.heard and not one.calls:
            return True
    return False


def _refuses(text: str) -> bool:
    words = [word for word in NO_WORD.split(text.lower().replace("’", "'")) if word and word not in HESITATIONS]
    return bool(words) and (words[0] in REFUSALS or words[0].startswith(UNSPACED_REFUSALS))
