# ruff: noqa: RUF001 - dashes, quotes and signs as replies have them
"""How a sentence is read out: what each rule finds in it, and which of the finds count.

Rule 1: pure, and never slower than a millisecond for a sentence once its words are known.
Rule 2: what no rule is sure of stays as it is written, to the character.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Final

from voicepipe.flow import Wording
from voicepipe.text.ear import abbreviations, amounts, calendar, identifiers
from voicepipe.text.ear.rule import Language, Rule, any_of
from voicepipe.text.ear.table import table_for

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

    from voicepipe.text.ear.kinds import Kind

__all__ = ["Reader", "reader_for"]

CLOSING: Final = " \n\t\"'”’)»"


class Reader:
    """Reads sentences of one language out.

    Args:
        rules: The rules; of two finds in one place, that of the earlier rule counts.
        short_forms: The short forms that one of them reads.
    """

    def __init__(self, rules: tuple[Rule, ...], short_forms: Iterable[str]) -> None:
        self._rules = rules
        # Without any of these, as most sentences are, no rule finds anything.
        self._worth_a_look = re.compile(rf"[0-9@]|\w\.\w|{any_of(short_forms)}")

    def wording(self, text: str, leaves: AbstractSet[Kind] = frozenset()) -> tuple[Wording, ...]:
        """Return a text in pieces: what is said, and what is written there. Empty if all is said as it is written.

        Args:
            text: A sentence.
            leaves: What stays as it is written.
        """
        if not self._worth_a_look.search(text):
            return ()
        found: list[tuple[int, int, str]] = []
        taken = bytearray(len(text))
        for rule in self._rules:
            for match in rule.pattern.finditer(text):
                start, end = match.span()
                if any(taken[start:end]):
                    continue
                said = rule.say(match)
                if said is None:
                    continue
                taken[start:end] = b"\1" * (end - start)
                if match[0].endswith(".") and not said.endswith(".") and not text[end:].strip(CLOSING):
                    said += "."  # the short form's own period ends the sentence
                if rule.kind not in leaves and said != match[0]:
                    found.append((start, end, said))
        return _pieces(text, sorted(found))


@cache
def reader_for(language: str, part: str) -> Reader | None:
    """Return who reads a language out; None for one that nobody does.

    Args:
        language: E.g. "de" or "en-GB".
        part: Who asks, for the error.

    Raises:
        MissingExtra: babel or num2words is not installed.
    """
    table = table_for(language, part)
    if table is None:
        return None
    known = Language(table)
    kinds = (
        identifiers.address_rules(known),
        calendar.rules(known),
        identifiers.rules(known),
        amounts.rules(known),
        abbreviations.rules(known),
        amounts.number_rules(known),
    )
    sections = ("titles", "streets", "abbreviations")
    short_forms = chain.from_iterable(table.section(name) for name in sections)
    return Reader(tuple(chain.from_iterable(kinds)), short_forms)


def _pieces(text: str, found: list[tuple[int, int, str]]) -> tuple[Wording, ...]:
    if not found:
        return ()
    pieces: list[Wording] = []
    at = 0
    for begin, end, words in found:
        kept = _kept_words(text[begin:end], words)
        start, said = begin + kept, words[kept:]
        if at < start:
            pieces.append(Wording(text[at:start], text[at:start]))
        pieces.append(Wording(said, text[start:end]))
        at = end
    if at < len(text):
        pieces.append(Wording(text[at:], text[at:]))
    return tuple(pieces)


def _kept_words(before: str, after: str) -> int:
    """Return how many characters of whole words two texts have in common at their beginning."""
    common = next((at for at, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), len(before))
    return before.rfind(" ", 0, common) + 1
