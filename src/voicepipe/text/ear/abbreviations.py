# ruff: noqa: RUF001 - dashes, quotes and signs as replies have them
"""How short forms are read out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from voicepipe.text.ear.rule import GAP, Language, Rule, any_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["rules"]


def rules(language: Language) -> Iterator[Rule]:
    """Yield the rules of short forms."""
    table = language.table
    said = _Abbreviations(
        table.section("titles"), table.section("streets"), table.section("counted"), table.section("abbreviations")
    )
    streets = table.section("streets")
    if table.code == "de":
        yield Rule("abbreviation", re.compile(rf"(?<=[a-zäöüß])(?P<short>{any_of(streets)})"), said.street)
        yield Rule("abbreviation", re.compile(rf"(?<=[a-zäöüß]-)(?P<short>{any_of(streets)})"), said.street)
    elif streets:
        # After a name and before the end, a number, a comma or a small letter: "Main St. near", but not "St. Mary".
        pattern = rf"(?<=[a-z0-9]{GAP})(?<!the{GAP})(?P<short>{any_of(streets)})(?={GAP}[a-z]|,|[\s]*$)"
        yield Rule("abbreviation", re.compile(pattern), said.street_word)
    titles = rf"(?<![\w.'’-])(?P<short>{any_of(table.section('titles'))})(?={GAP}[A-ZÄÖÜÉÈÁÍÓÚÑÇ])"
    yield Rule("abbreviation", re.compile(titles), said.title)
    counted = rf"(?<![\w.])(?P<short>{any_of(table.section('counted'))})(?={GAP}?[0-9])"
    yield Rule("abbreviation", re.compile(counted), said.counted)
    others = rf"(?<![\w./-])(?P<short>{any_of(table.section('abbreviations'))})(?![\w/])"
    yield Rule("abbreviation", re.compile(others), said.other)


class _Abbreviations:
    def __init__(
        self, titles: dict[str, Any], streets: dict[str, Any], counted: dict[str, Any], others: dict[str, Any]
    ) -> None:
        self._titles = titles
        self._streets = streets
        self._counted = counted
        self._others = others

    def title(self, match: re.Match[str]) -> str | None:
        """Say a title before a name."""
        return str(self._titles[match["short"]])

    def counted(self, match: re.Match[str]) -> str | None:
        """Say what a number follows."""
        return str(self._counted[match["short"]])

    def street(self, match: re.Match[str]) -> str | None:
        """Say the end of a street's name."""
        return str(self._streets[match["short"]])

    def street_word(self, match: re.Match[str]) -> str | None:
        """Say the word after a street's name, which begins with a capital."""
        name = re.search(r"(\w+)\s$", match.string[: match.start()])
        return self.street(match) if name and (name[1][0].isupper() or name[1][0].isdigit()) else None

    def other(self, match: re.Match[str]) -> str | None:
        """Say any other short form."""
        return str(self._others[match["short"]])
