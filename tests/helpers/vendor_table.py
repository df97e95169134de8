"""The tables of docs/vendors.md, which must not rot: what tests find out about a part is compared with its row."""

from __future__ import annotations

import re
from pathlib import Path

from voicepipe.testing.conformance import Report

PAGE = Path(__file__).parents[2] / "docs" / "vendors.md"


def rows() -> dict[str, dict[str, str]]:
    """Return the cells of each part by the titles of their columns."""
    found: dict[str, dict[str, str]] = {}
    titles: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            titles = []
        elif not titles:
            titles = cells
        elif not set(line) <= set("|-"):
            name = cells[0].strip("`")
            assert name not in found, f"docs/vendors.md has two rows of {name}"
            found[name] = dict(zip(titles[1:], cells[1:], strict=True))
    return found


def check_row(report: Report) -> None:
    """Compare the row of a part with what the kit has found."""
    row, names = rows()[report.part], {check.name for check in report.checks}
    if "speaks a sentence" in names:
        assert row["word times"] == ("no" if "no word marks" in report["speaks a sentence"].detail else "yes")
    if "hears one turn" in names and row["early transcripts"] != "as scripted":
        assert row["early transcripts"] == ("no" if " 0 early" in report["hears one turn"].detail else "yes")
        assert row["a turn ended on request"] == ("yes" if "the turn is ended on request" in report.passed else "no")
    if "replies" in names and row["calls tools"] != "as scripted":
        assert row["calls tools"] == ("yes" if "calls a tool" in report.passed else "no")
        assert row["structured output"] == ("yes" if "answers in one piece" in report.passed else "no")
    if "the settings of a call" in names:
        taken = re.fullmatch(r"takes (.*)|refuses .*", report["the settings of a call"].detail)
        assert taken is not None
        assert row["settings of a call"] == (taken[1].replace(" and ", ", ") if taken[1] else "none")
