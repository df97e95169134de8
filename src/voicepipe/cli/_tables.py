"""Tables, lines and JSON on the terminal. Tables are drawn by rich where it is installed, and else as plain text.

Rule 1: both say the same.
Rule 2: names and words come from recordings, so nothing in them may control the terminal.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from voicepipe.text import markup

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicepipe.watching.report.tables import Table

__all__ = ["as_json", "printable", "show"]


def show(title: str, tables: Iterable[Table]) -> None:
    """Print tables below a title; the first column is text, and the others are figures."""
    tables = [_printable(table) for table in tables]
    try:
        from rich.console import Console  # noqa: PLC0415 - perhaps not installed
        from rich.table import Table as RichTable  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415
    except ImportError:
        _show_plainly(title, tables)
        return
    console = Console(highlight=False, markup=False)
    console.print(Text(title, "bold"), soft_wrap=True)
    for table in tables:
        shown = RichTable(box=None, pad_edge=False)
        for number, name in enumerate(table.columns):
            shown.add_column(Text(name, "dim"), justify="right" if number else "left", overflow="fold")
        for row in table.rows:
            shown.add_row(*map(Text, row))
        console.print(Text(f"\n{table.title}", "bold"), soft_wrap=True)
        console.print(shown)


def printable(text: str) -> str:
    """Return a text as one line without characters that control a terminal."""
    return markup.printable(text).replace("\n", " ").replace("\t", " ")


def as_json(value: object) -> str:
    """Return JSON in which letters of any script can be read, and what has no UTF-8 or controls a terminal cannot."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return re.sub(r"[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _show_plainly(title: str, tables: Iterable[Table]) -> None:
    print(title)
    for table in tables:
        rows = [table.columns, *table.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(table.columns))]
        print(f"\n{table.title}")
        for row in rows:
            cells = (cell.rjust(width) if number else cell.ljust(width)
                     for number, (cell, width) in enumerate(zip(row, widths, strict=True)))  # fmt: skip
            print("  ".join(cells).rstrip())


def _printable(table: Table) -> Table:
    return table._replace(rows=[tuple(map(printable, row)) for row in table.rows])
