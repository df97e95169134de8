# ruff: noqa: RUF001 - words and marks of many scripts, look-alikes included
"""Calls that wait until the caller has agreed to them.

Rule 1: agreement comes after the question: the identical call runs in a later turn of the caller, once, and only if
        something of the question was heard.
Rule 2: whether the caller agrees is for the model to understand; words that plainly refuse never count as agreement.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Confirmations"]

MAX_WAITING: Final = 16
"""Calls that can wait for the caller's word; the oldest question is forgotten first."""

# One word of refusal at the beginning is enough: a question too many is better than a booking too many.
REFUSALS: Final = frozenset(
    "no nope nah not don't dont never wait nein nicht non pas não nunca nee niet nej nie нет не नहीं मत لا".split()  # noqa: SIM905
)
UNSPACED_REFUSALS: Final = ("不", "いいえ", "いや", "아니")
MARKS: Final = ".,;:!?…\"'“”„‘«»()-–—¡¿।،؛؟、。，！"


@dataclass(frozen=True, slots=True)
class _Question:
    """A call that the caller has been asked about.

    Attributes:
        arguments: JSON of its arguments, in one form.
        turn_id: The turn that asked.
        was_heard: Tells whether the caller heard anything that came after the call.
    """

    arguments: str
    turn_id: int
    was_heard: Callable[[], bool]


class Confirmations:
    """What one call's caller has been asked to confirm."""

    def __init__(self) -> None:
        self._questions: dict[str, _Question] = {}

    def agreed(self, tool: str, arguments: str, *, turn_id: int, user_text: str, was_heard: Callable[[], bool]) -> bool:
        """Return whether a call may run now; if not, it counts as asked about from now on.

        Args:
            tool: The tool's name.
            arguments: JSON text of its arguments, which validate.
            turn_id: The turn that makes the call.
            user_text: What the caller said in it; "" when the agent speaks on its own.
            was_heard: Tells later whether anything was heard of what the agent said after this call.
        """
        canonical = _canonical(arguments)
        question = self._questions.get(tool)
        if (
            question is not None
            and question.arguments == canonical
            and question.turn_id < turn_id
            and question.was_heard()
            and user_text
            and not _refuses(user_text)
        ):
            del self._questions[tool]
            return True
        if question is None or question.arguments != canonical or question.turn_id < turn_id:
            self._questions.pop(tool, None)
            self._questions[tool] = _Question(canonical, turn_id, was_heard)
        while len(self._questions) > MAX_WAITING:
            del self._questions[next(iter(self._questions))]
        return False


def _canonical(arguments: str) -> str:
    parsed: Any = json.loads(arguments or "{}")
    return json.dumps(parsed, sort_keys=True)


def _refuses(text: str) -> bool:
    words = [word.strip(MARKS) for word in text.lower().replace("’", "'").split(maxsplit=1)]
    return bool(words) and (words[0] in REFUSALS or words[0].startswith(UNSPACED_REFUSALS))
