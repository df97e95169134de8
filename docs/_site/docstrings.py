"""Docstrings are written in Markdown, and autodoc reads reStructuredText: the three things in which ours differ."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sphinx.application import Sphinx

__all__ = ["as_restructured_text"]


def as_restructured_text(
    _app: Sphinx, _what: str, _name: str, _value: object, _options: object, lines: list[str]
) -> None:
    """Rewrite tables, indented code, and stars that are no emphasis; Google's sections are napoleon's part."""
    lines[:] = _with_tables(_with_code(re.sub(r"\*{3,}", lambda stars: r"\*" * len(stars[0]), line) for line in lines))


def _with_code(lines: Iterable[str]) -> Iterator[str]:
    """Announce code that stands, indented, behind a paragraph."""
    paragraph, is_blank, is_code = "", False, False
    for line in lines:
        if not line.strip():
            is_blank = True
        elif line.startswith("    "):
            if is_blank and not is_code and paragraph and not paragraph.startswith((":", "..", "*", "-")):
                is_code = True
                yield from ["::", ""]
            is_blank = False
        else:
            paragraph, is_blank, is_code = line, False, False
        yield line


def _with_tables(lines: Iterable[str]) -> Iterator[str]:
    for is_table, group in groupby(lines, key=lambda line: re.fullmatch(r"\|.*\|", line.strip()) is not None):
        rows = list(group)
        yield from _table(rows) if is_table else rows


def _table(rows: list[str]) -> Iterator[str]:
    yield from [".. list-table::", "   :header-rows: 1", ""]
    for number, row in enumerate(rows):
        if number != 1:  # the line of dashes
            for column, cell in enumerate(row.strip().strip("|").split("|")):
                yield f"   {'  -' if column else '* -'} {cell.strip()}"
    yield ""
