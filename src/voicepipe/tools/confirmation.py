# ruff: noqa: RUF001 - words and marks of many scripts, look-alikes included
"""Calls that wait until the caller has agreed to them. Pure: what was said goes in, a verdict comes out.

Rule 1: agreement comes after the question: the identical call runs in a later turn of the caller, once, and only if
        something of the question was heard.
Rule 2: whether the caller agrees is for the model to understand; words that plainly refuse end the question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from voicepipe.history import AssistantMessage, UserMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from voicepipe.history import Message

__all__ = ["Confirmations"]

MAX_WAITING: Final = 16
"""Calls that can wait for the caller's word; the oldest question is forgotten first."""

MAX_TURNS: Final = 3
"""Turns of the caller within which they have to agree; later they hardly mean this question."""

# One word of refusal at the beginning is enough: a question too many is better than a booking too many.
REFUSALS: Final = frozenset(
    "no nope nah not don't dont never wait stop hold nein nicht non pas não nunca nee niet nej nie нет не "  # noqa: SIM905
    "नहीं मत لا".split()
)
UNSPACED_REFUSALS: Final = ("不", "别", "いいえ", "いえ", "いや", "だめ", "아니")
HESITATIONS: Final = frozenset(("uh", "um", "oh", "hm", "hmm", "ah", "er", "well", "äh", "ähm", "euh", "eh"))
NO_WORD: Final = re.compile(r"[^\w'\u0900-\u097f]+")  # the vowel signs of Hindi are no letters for `\w`


@dataclass(frozen=True, slots=True)
class _Question:
    """A call that the caller has been asked about.

    Attributes:
        tool: What would be called.
        values: Its arguments, defaults included.
        message: The message that called it.
        ended_well: Tells whether the reply that asked was the model's own to its end, or to an interruption.
    """

    tool: object
    values: Mapping[str, Any]
    message: AssistantMessage
    ended_well: Callable[[], bool]


class Confirmations:
    """What one call's caller has been asked to confirm."""

    def __init__(self) -> None:
        self._questions: list[_Question] = []

    def agreed(
        self,
        tool: object,
        values: Mapping[str, Any],
        *,
        message: AssistantMessage,
        messages: Sequence[Message],
        ended_well: Callable[[], bool],
    ) -> bool:
        """Return whether a call may run now; if not, it counts as asked about from now on.

        Args:
            tool: The tool itself: another one of its name is another question.
            values: Its validated arguments, defaults included.
            message: The message that makes the call.
            messages: The conversation, this turn's included.
            ended_well: Tells later how the reply ended that this call belongs to.
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
                return False  # asked in this very turn
        # A new question about a tool takes the place of those of earlier turns.
        kept = [one for one in open_ones if one.tool is not tool or not said_since[id(one)]]
        self._questions = [*kept, _Question(tool, values, message, ended_well)][-MAX_WAITING:]
        return False


def _after(message: AssistantMessage, messages: Sequence[Message]) -> Sequence[Message]:
    at = next((index for index, one in enumerate(messages) if one is message), len(messages))
    return messages[at + 1 :]


def _said_since(message: AssistantMessage, messages: Sequence[Message]) -> list[str]:
    return [one.text for one in _after(message, messages) if isinstance(one, UserMessage)]


def _was_heard(message: AssistantMessage, messages: Sequence[Message]) -> bool:
    """Return whether the caller heard a reply to the call, words around other calls apart, before they spoke again."""
    for one in _after(message, messages):
        if isinstance(one, UserMessage):
            return False
        if one.heard and not one.calls:
            return True
    return False


def _refuses(text: str) -> bool:
    words = [word for word in NO_WORD.split(text.lower().replace("’", "'")) if word and word not in HESITATIONS]
    return bool(words) and (words[0] in REFUSALS or words[0].startswith(UNSPACED_REFUSALS))
