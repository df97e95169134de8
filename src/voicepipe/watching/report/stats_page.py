"""The figures of many calls as one HTML page, which opens from disk and needs no script.

Rule 1: names of tools, models and recordings are escaped; the policy of the page lets no script run and nothing load.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import TYPE_CHECKING, Final

from voicepipe.watching.report.page import file_text, filled
from voicepipe.watching.report.percentiles import spread_of
from voicepipe.watching.report.spans import DOES, words_for
from voicepipe.watching.report.tables import Table, in_order, in_time, tables_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voicepipe.watching.report.limits import Limit
    from voicepipe.watching.report.percentiles import Spread
    from voicepipe.watching.report.stats import CallStats, Cost
    from voicepipe.watching.report.survey import CallRow, Survey

__all__ = ["stats_page"]

BARS: Final = 40
"""Columns of the histogram."""

WIDTH, LEFT, VALUE = 720, 110, 60


def stats_page(survey: Survey, cost: Cost | None = None, limits: Sequence[Limit] = ()) -> str:
    """Return the page of a survey.

    Args:
        survey: The calls.
        cost: What they cost; None without prices.
        limits: What became of budgets.
    """
    total = survey.total
    style = file_text("report.css") + file_text("stats.css")
    hashed = b64encode(sha256(style.encode()).digest()).decode()
    tables = list(tables_of(total, cost, limits))
    return filled(
        file_text("stats.html"),
        {
            "policy": escape(f"default-src 'none'; style-src 'sha256-{hashed}'; base-uri 'none'; form-action 'none'"),
            "style": style,
            "title": escape(f"{total.calls:,} {'call' if total.calls == 1 else 'calls'}"),
            "about": escape(_about(survey)),
            "figures": "".join(_figure(name, value) for name, value in _figures(total, cost)),
            "silence": _histogram(total.waits) + _bars(total),
            "tables": "\n".join(_table(table) for table in tables),
            "calls": _table(_calls(survey.calls)),
            "problems": _problems(survey),
        },
    )


def _about(survey: Survey) -> str:
    days = sorted(row.began[:10] for row in survey.calls if row.began)
    when = days[0] if days and days[0] == days[-1] else f"{days[0]} to {days[-1]}" if days else ""
    return f"{when}, {in_time(survey.total.call_s)} in all"


def _figures(total: CallStats, cost: Cost | None) -> Iterator[tuple[str, str]]:
    yield "Turns", f"{sum(total.turns.values()):,}"
    if (wait := total.wait) is not None:
        for name, value in (("Silence heard, p50", wait.p50), ("p95", wait.p95), ("p99", wait.p99)):
            yield name, _ms(value)
    if count := total.tools.total():
        yield "Tool calls failed", f"{100 * total.failed_tools / count:.1f} %"
    if cost is not None:
        yield "Cost", f"{cost.total:,.2f} {cost.currency}"


def _figure(name: str, value: str) -> str:
    return f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"


def _histogram(waits: list[float]) -> str:
    """Return how many turns waited how long, up to the 99th percentile; the last column has the longer ones, too."""
    if (spread := spread_of(waits)) is None:
        return "<p>No turn answered a caller.</p>"
    step = max(spread.p99, 0.001) / BARS
    counts = [0] * BARS
    for wait in waits:
        counts[min(BARS - 1, int(wait / step))] += 1
    high, wide = 110 / max(counts), WIDTH / BARS
    columns = "".join(
        f'<rect class="listens" x="{wide * at + 1:.1f}" y="{120 - high * count:.1f}" width="{wide - 2:.1f}" '
        f'height="{high * count:.1f}"><title>{_ms(step * at)} to {_ms(step * (at + 1))}: {count}</title></rect>'
        for at, count in enumerate(counts)
        if count
    )
    ticks = "".join(
        f'<text x="{min(WIDTH - 2, WIDTH * share):.0f}" y="136" text-anchor="{anchor}">{_ms(spread.p99 * share)}</text>'
        for share, anchor in ((0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1, "end"))
    )
    name = f"How many turns waited how long: half at most {_ms(spread.p50)}, 95 % at most {_ms(spread.p95)}"
    return f'<svg viewBox="0 0 {WIDTH} 142" role="img" aria-label="{escape(name)}">{columns}{ticks}</svg>'


def _bars(total: CallStats) -> str:
    spreads = [(name, spread) for name in in_order(total) if (spread := spread_of(total.contributions[name]))]
    longest = max((spread.p95 for _, spread in spreads), default=0) or 1
    scale = (WIDTH - LEFT - VALUE) / longest
    rows = "".join(_bar(name, spread, 24 * row, scale) for row, (name, spread) in enumerate(spreads))
    label = "What the silence was spent on: the median, and the 95th percentile behind it"
    return f'<svg viewBox="0 0 {WIDTH} {24 * len(spreads) + 4}" role="img" aria-label="{label}">{rows}</svg>'


def _bar(name: str, spread: Spread, y: int, scale: float) -> str:
    kind = DOES.get(name, "thinks")
    wide, half = max(1.0, spread.p95 * scale), max(1.0, spread.p50 * scale)
    return (
        f'<text x="0" y="{y + 16}" class="name">{escape(words_for(name))}</text>'
        f'<rect class="{kind} behind" x="{LEFT}" y="{y + 5}" width="{wide:.1f}" height="14" rx="2"/>'
        f'<rect class="{kind}" x="{LEFT}" y="{y + 5}" width="{half:.1f}" height="14" rx="2"/>'
        f'<text x="{LEFT + wide + 6:.1f}" y="{y + 16}">{_ms(spread.p95)}</text>'
    )


def _calls(rows: list[CallRow]) -> Table:
    """Return a table of the calls, the one with the longest waits first."""
    shown = [(row, row.stats.wait) for row in rows]
    shown.sort(key=lambda one: -one[1].p95 if one[1] is not None else 0)
    columns = ("recording", "began", "length", "turns", "p50", "p95", "longest", "interrupted", "tools failed")
    return Table(
        "Calls, those with the longest waits first",
        columns,
        [
            (
                row.path,
                row.began[:16].replace("T", " "),
                in_time(row.stats.call_s),
                f"{sum(row.stats.turns.values()):,}",
                *(("", "", "") if wait is None else map(_ms, (wait.p50, wait.p95, wait.largest))),
                f"{row.stats.turns['interrupted']:,}",
                f"{row.stats.failed_tools:,}",
            )
            for row, wait in shown
        ],
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    rows = "".join(
        f'<tr><th scope="row">{escape(name.strip())}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in table.rows
    )
    return (
        f'<section class="card"><h2>{escape(table.title)}</h2><div class="scroll" tabindex="0" role="region" '
        f'aria-label="{escape(table.title)}"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _problems(survey: Survey) -> str:
    if not survey.problems:
        return ""
    items = "".join(f"<li>{escape(problem)}</li>" for problem in survey.problems)
    return f'<section class="card problems"><h2>Left out</h2><ul>{items}</ul></section>'


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.0f} ms"
