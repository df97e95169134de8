"""`voicepipe stats`: what many recorded calls have in common."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from voicepipe.cli._tables import as_json, printable, show
from voicepipe.errors import ConfigurationError
from voicepipe.watching.report.limits import budget_of, limits_of
from voicepipe.watching.report.prices import Prices, read_prices, with_models
from voicepipe.watching.report.stats import cost_of
from voicepipe.watching.report.stats_page import stats_page
from voicepipe.watching.report.survey import survey
from voicepipe.watching.report.tables import tables_of
from voicepipe.watching.report.writing import write_private

if TYPE_CHECKING:
    from argparse import Namespace

__all__ = ["stats"]


def stats(options: Namespace) -> int:
    """Show the figures, and return 0, or 1 if a recording could not be read or a budget is not met.

    Raises:
        ConfigurationError: There is no such directory or nothing in it, or a price or a budget is written wrongly.
    """
    prices = _prices(options)
    budget = budget_of(options.budget) if options.budget is not None else None
    found = survey(options.directory)
    for problem in found.problems:
        print(f"voicepipe: left out: {printable(problem)}", file=sys.stderr)
    if not found.calls:
        raise ConfigurationError(f"{options.directory}: no recording in it can be read")
    total = found.total
    cost = cost_of(total, prices) if prices is not None else None
    limits = limits_of(total.marks, budget, options.percentile) if budget is not None else []
    if options.json:
        print(as_json(found.as_json(cost, limits)))
    elif options.html is not None:
        write_private(options.html, stats_page(found, cost, limits))
        print(options.html)
    else:
        count = f"{total.calls:,} {'call' if total.calls == 1 else 'calls'}"
        show(f"{count} in {options.directory}", tables_of(total, cost, limits))
    for limit in limits:
        if not limit.is_met:
            took = "was not measured in any turn" if limit.took_s is None else f"is {limit.took_s:.3f} s"
            name = f"{limit.name}, p{limit.percent:g}"
            print(f"voicepipe: over budget: {name} {took}; the budget is {limit.budget_s:g} s", file=sys.stderr)
    return 1 if found.problems or not all(limit.is_met for limit in limits) else 0


def _prices(options: Namespace) -> Prices | None:
    if options.prices is None and not options.price:
        return None
    prices = Prices() if options.prices is None else read_prices(options.prices)
    return with_models(prices, options.price)
