"""How many digits and letters a regular expression needs. Pure.

Only that is counted, because a caller does not say hyphens, and a recogniser writes the same number in many ways.
"""

from __future__ import annotations

import functools
import importlib
import math
import operator
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from voicepipe.turntaking.spoken_values import Run

__all__ = ["Need", "needed"]

Items: TypeAlias = "list[tuple[Any, Any]]"
"""An expression as the standard library parses it: what each part is, and its details."""

MOST_PREFIXES: Final = 100

_PARSER: Final[Any] = importlib.import_module("re._parser")
"""The standard library's own parser, which its `sre_parse` was until Python 3.11; it has no public name."""


@dataclass(frozen=True, slots=True)
class Need:
    """How much a value has.

    Attributes:
        digits: At least so many digits.
        letters: At least so many letters.
        either: And so many more of any kind.
        most: At most so many of them in all; infinity where there is no limit.
        prefixes: Letters that a value begins with, in lower case; they are not counted.
        has_letters: Whether letters are counted at all.
    """

    digits: int = 0
    letters: int = 0
    either: int = 0
    most: float = 0
    prefixes: frozenset[str] = frozenset()
    has_letters: bool = False

    def is_met_by(self, run: Run) -> bool:
        """Return whether so much was said that it may be complete."""
        missing = max(0, self.digits - run.digits) + max(0, self.letters - run.letters)
        spare = max(0, run.digits - self.digits) + max(0, run.letters - self.letters) + run.either - missing
        return missing <= run.either and self.either <= spare

    def __add__(self, other: Need) -> Need:
        """Return the need of one after the other."""
        return Need(
            self.digits + other.digits,
            self.letters + other.letters,
            self.either + other.either,
            self.most + other.most,
            self.prefixes | other.prefixes,
            self.has_letters or other.has_letters,
        )

    def __or__(self, other: Need) -> Need:
        """Return the need of one of two."""
        return Need(
            min(self.digits, other.digits),
            min(self.letters, other.letters),
            min(self.either, other.either),
            max(self.most, other.most),
            self.prefixes | other.prefixes,
            self.has_letters or other.has_letters,
        )

    def times(self, least: int, most: float) -> Need:
        """Return the need of this again and again."""
        return replace(
            self,
            digits=self.digits * least,
            letters=self.letters * least,
            either=self.either * least,
            most=self.most * most if self.most and most else 0,
        )


NOTHING: Final = Need()
DIGIT: Final = Need(digits=1, most=1)
LETTER: Final = Need(letters=1, most=1, has_letters=True)
ANY: Final = Need(either=1, most=1, has_letters=True)
MAYBE_ANY: Final = Need(most=1, has_letters=True)


def needed(regex: str) -> Need:
    """Return what a regular expression needs.

    Raises:
        ConfigurationError: It is no regular expression.
    """
    if not isinstance(cast("object", regex), str):
        raise ConfigurationError(f"Pattern needs a regular expression as text, not a {type(regex).__name__}")
    try:
        re.compile(regex)
        return _whole(list(_PARSER.parse(regex)))
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigurationError(f"Pattern needs a regular expression, not {regex!r}: {error}") from None


def _whole(items: Items) -> Need:
    """Return the need of a whole expression; fixed text that it begins with is not counted."""
    start = 0
    while start < len(items) and _fixed(items[: start + 1]) is not None:
        start += 1
    prefixes = frozenset(
        word.casefold() for text in _fixed(items[:start]) or () for word in re.findall(r"[^\W\d_]+", text)
    )
    if start == len(items):
        return Need(prefixes=prefixes)
    code, value = items[start]
    match str(code):
        case "SUBPATTERN":
            first = _whole(list(value[3]))
        case "BRANCH":
            first = functools.reduce(operator.or_, [_whole(list(branch)) for branch in value[1]])
        case _:
            first = _sequence(items[start : start + 1])
    need = first + _sequence(items[start + 1 :])
    return replace(need, prefixes=first.prefixes | prefixes)


def _fixed(items: Items) -> set[str] | None:
    """Return the texts that an expression without digits may be; None if they are not these few."""
    texts = {""}
    for code, value in items:
        match str(code):
            case "AT":
                continue
            case "LITERAL" if not chr(value).isdecimal():
                parts: set[str] | None = {chr(value)}
            case "SUBPATTERN":
                parts = _fixed(list(value[3]))
            case "BRANCH":
                branches = [_fixed(list(branch)) for branch in value[1]]
                parts = set[str]().union(*(one or () for one in branches)) if None not in branches else None
            case "MAX_REPEAT" if value[1] == 1:
                inner = _fixed(list(value[2]))
                parts = inner | {""} if inner is not None else None
            case _ if _sequence([(code, value)]) == NOTHING:
                parts = {" "}
            case _:
                parts = None
        if parts is None or len(texts) * len(parts) > MOST_PREFIXES:
            return None
        texts = {text + part for text in texts for part in parts}
    return texts


def _sequence(items: Iterable[tuple[Any, Any]]) -> Need:
    need = NOTHING
    for code, value in items:
        need += NEEDS.get(str(code), lambda _value: NOTHING)(value)
    return replace(need, prefixes=frozenset())


def _character(code: int) -> Need:
    character = chr(code)
    return DIGIT if character.isdecimal() else LETTER if character.isalpha() else NOTHING


def _one_of(choices: list[tuple[Any, Any]]) -> Need:
    """Return the need of a set of characters, such as [A-Z0-9]."""
    digits = letters = others = False
    for code, value in choices:
        match str(code):
            case "NEGATE":
                return MAYBE_ANY
            case "LITERAL" | "RANGE":
                ends = [value] if isinstance(value, int) else [*value]
                digits |= any(chr(one).isdecimal() for one in ends)
                letters |= any(chr(one).isalpha() for one in ends)
                others |= not any(chr(one).isalnum() for one in ends)
            case "CATEGORY":
                digits |= str(value) in ("CATEGORY_DIGIT", "CATEGORY_WORD")
                letters |= str(value) == "CATEGORY_WORD"
                others |= str(value) not in ("CATEGORY_DIGIT", "CATEGORY_WORD")
            case _:  # nothing else is in a set
                pass
    need = ANY if digits and letters else DIGIT if digits else LETTER if letters else NOTHING
    return need | NOTHING if others else need


def _repeated(value: tuple[int, Any, Iterable[tuple[Any, Any]]]) -> Need:
    least, most, items = value
    return _sequence(items).times(int(least), math.inf if most is _PARSER.MAXREPEAT else int(most))


def _branch(value: tuple[Any, list[Iterable[tuple[Any, Any]]]]) -> Need:
    return functools.reduce(operator.or_, [_sequence(items) for items in value[1]])


NEEDS: Final[dict[str, Callable[[Any], Need]]] = {
    "LITERAL": _character,
    "NOT_LITERAL": lambda _code: MAYBE_ANY,
    "ANY": lambda _nothing: MAYBE_ANY,
    "IN": _one_of,
    "CATEGORY": lambda value: _one_of([("CATEGORY", value)]),
    "MAX_REPEAT": _repeated,
    "MIN_REPEAT": _repeated,
    "POSSESSIVE_REPEAT": _repeated,
    "SUBPATTERN": lambda value: _sequence(value[3]),
    "ATOMIC_GROUP": _sequence,
    "BRANCH": _branch,
    "GROUPREF": lambda _group: Need(most=math.inf, has_letters=True),
    "GROUPREF_EXISTS": lambda value: _sequence(value[1]) | _sequence(value[2] or ()),
}
"""What each part of a parsed expression needs; all others, such as ^ and lookaheads, take no characters."""
