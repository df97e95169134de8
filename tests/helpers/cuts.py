"""Texts with a bar at every cut, and the ways in which a stream may cut them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from voicepipe.text.sentences import SentenceSplitter

_TOKEN: Final = re.compile(r"[ .]?\w+| ?[^\w\s]+|\s")
_MARK: Final = re.compile(r" ?\w+|([^\w\s])\1*|\s")
# Dots leading words and marks in runs, every mark a delta, characters, all at once.
CUTS: Final[dict[str, Callable[[str], list[str]]]] = {
    "tokens": _TOKEN.findall,
    "marks": lambda text: [match.group() for match in _MARK.finditer(text)],
    "characters": list,
    "whole": lambda text: [text],
}


def spoken(deltas: Iterable[str], language: str | None) -> list[str]:
    """Return all sentences without the white space around them."""
    splitter = SentenceSplitter(language)
    sentences = [sentence for delta in deltas for sentence in splitter.feed(delta)]
    return [sentence.strip() for sentence in [*sentences, *splitter.flush()] if sentence.strip()]


def cut_as(cut: str, table: str, glue: str = " ", *languages: str | None) -> list[list[str]]:
    """Return the sentences found in a text whose bars mark the cuts, with each language and without one."""
    text = re.sub(r"\|(\n?)", lambda bar: bar[1] or glue, table)
    return [spoken(CUTS[cut](text), language) for language in (languages or (None,))]


def barred(table: str) -> list[str]:
    """Return the sentences between the bars."""
    return [sentence.strip() for sentence in table.split("|")]
