"""The figures of calls as tables, for terminals and pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from voicepipe.watching.report.percentiles import spread_of
from voicepipe.watching.report.spans import WORDS, words_for
from voicepipe.watching.report.stats import INTERRUPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voicepipe.watching.report.limits import Limit
    from voicepipe.watching.report.percentiles import Spread
    from voicepipe.watching.report.stats import CallStats, Cost

__all__ = ["Table", "in_order", "in_time", "tables_of"]


class Table(NamedTuple):
    """A table: the first column is text, and the others are figures.

    Attributes:
        title: What it shows.
        columns: The names of its columns.
        rows: A text for each column.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def tables_of(stats: CallStats, cost: Cost | None = None, limits: Sequence[Limit] = ()) -> Iterator[Table]:
    """Yield the tables that have something to show."""
    tables = (
        _limits(limits),
        _silence(stats),
        _turns(stats),
        _interruptions(stats),
        _tools(stats),
        _tokens(stats, cost),
        _rest(stats, cost),
    )
    yield from (table for table in tables if table.rows)


def in_order(stats: CallStats) -> list[str]:
    """Return the contributions in the order in which a turn passes them, the application's own stages last."""
    order = {name: place for place, name in enumerate(WORDS)}
    return sorted(stats.contributions, key=lambda name: (order.get(name, len(order)), name))


def in_time(seconds: float) -> str:
    """Return a length of time: "12 s", "3:05 min", "2:10 h"."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02} h"


def _limits(limits: Sequence[Limit]) -> Table:
    percent = f"p{limits[0].percent:g}" if limits else ""
    rows = [
        (
            limit.name,
            f"{limit.turns:,}",
            f"{limit.budget_s * 1e3:,.0f}",
            "not measured" if limit.took_s is None else f"{limit.took_s * 1e3:,.0f}",
            f"{limit.over:,}",
            "yes" if limit.is_met else "no",
        )
        for limit in limits
    ]
    return Table("Budgets, in ms", ("", "turns", "budget", percent, "turns over", "met"), rows)


def _silence(stats: CallStats) -> Table:
    rows = [_spread_row("silence heard", spread)] if (spread := stats.wait) else []
    rows += [_spread_row("answer after filler", spread)] if (spread := spread_of(stats.answers)) else []
    rows += [
        _spread_row(f"  {words_for(name).lower()}", spread)
        for name in in_order(stats)
        if (spread := spread_of(stats.contributions[name]))
    ]
    return Table(
        "The silence that callers heard, and what it was spent on, in ms",
        ("", "turns", "p50", "p95", "p99", "max"),
        rows,
    )


def _spread_row(name: str, spread: Spread) -> tuple[str, ...]:
    return (
        name,
        f"{spread.count:,}",
        *(f"{value * 1e3:,.0f}" for value in (spread.p50, spread.p95, spread.p99, spread.largest)),
    )


def _turns(stats: CallStats) -> Table:
    total = sum(stats.turns.values()) or 1
    rows = [(name, f"{count:,}", f"{100 * count / total:.1f} %") for name, count in stats.turns.most_common()]
    return Table("Turns", ("outcome", "turns", "share"), rows)


def _interruptions(stats: CallStats) -> Table:
    rows = [(name, f"{stats.interruptions[name]:,}") for name in INTERRUPTIONS if stats.interruptions[name]]
    rows += [("back-channels", f"{stats.backchannels:,}")] if stats.backchannels else []
    rows += [("dropped drafts", f"{stats.drafts:,}")] if stats.drafts else []
    return Table("Interruptions", ("", "times"), rows)


def _tools(stats: CallStats) -> Table:
    names = sorted({name for name, _ in stats.tools})
    statuses = ("done", "failed", "unknown", "unconfirmed")
    rows = [(name, *(f"{stats.tools[name, status]:,}" for status in statuses)) for name in names]
    return Table("Tool calls", ("tool", *statuses), rows)


def _tokens(stats: CallStats, cost: Cost | None) -> Table:
    rows: list[tuple[str, ...]] = []
    for name, used in sorted(stats.tokens.items()):
        counted = f"{used.requests:,}" + (f" ({used.estimated:,} estimated)" if used.estimated else "")
        row = (name, counted, f"{used.input:,}", f"{used.output:,}")
        rows.append(row if cost is None else (*row, _amount(cost.models.get(name), cost)))
    columns = ("model", "requests", "tokens in", "tokens out")
    return Table("Models", columns if cost is None else (*columns, "cost"), rows)


def _rest(stats: CallStats, cost: Cost | None) -> Table:
    rows = [
        ("length of the calls", in_time(stats.call_s)),
        ("agent's audio heard", in_time(stats.heard_s)),
        ("audio of the voice", in_time(stats.voice_s)),
    ]
    rows += [("recordings that break off", f"{stats.cut:,}")] if stats.cut else []
    rows += [(f"trouble: {name}", f"{count:,}") for name, count in stats.troubles.most_common()]
    if cost is not None:
        rows += [
            ("cost of the recogniser", _amount(cost.recogniser, cost)),
            ("cost of the voice", _amount(cost.voice, cost)),
        ]
        rows += [("cost of all with a price", _amount(cost.total, cost))]
    return Table("All calls", ("", "") if cost is None else ("", cost.currency), rows)


def _amount(amount: float | None, cost: Cost) -> str:
    return "no price" if amount is None else f"{amount:,.4f} {cost.currency}"
