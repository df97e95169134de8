"""Budgets of latency over many calls: a percentile of what was measured, and what it may be.

Rule 1: what is measured in a turn, and under which name, is `LatencyBudget`'s.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from voicepipe.errors import ConfigurationError
from voicepipe.watching.budget import LatencyBudget
from voicepipe.watching.report.percentiles import percentile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Limit", "budget_of", "limits_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A budget, and what it was compared with.

    Attributes:
        name: As in `LatencyBudget`.
        percent: Which percentile is compared.
        budget_s: What it may be.
        took_s: What it is; None if nothing of the kind was measured in any turn.
        turns: In how many turns it was measured.
        over: How many of them took longer.
    """

    name: str
    percent: float
    budget_s: float
    took_s: float | None
    turns: int
    over: int

    @property
    def is_met(self) -> bool:
        """Whether the budget is kept. One for something that was never measured is not: it promises nothing."""
        return self.took_s is not None and round(self.took_s * 1e6) <= round(self.budget_s * 1e6)


def budget_of(text: str) -> LatencyBudget:
    """Return the budget that is written as "first_audio=0.9,llm_first_token=0.4", in seconds.

    Raises:
        ConfigurationError: It is written otherwise, or names something that is not measured.
    """
    budgets: dict[str, float] = {}
    for part in text.split(","):
        written = re.fullmatch(r"\s*([^=]+?)\s*=\s*([0-9.]+)\s*", part)
        try:
            name, seconds = (written[1], float(written[2])) if written else ("", 0.0)
        except ValueError:
            name, seconds = "", 0.0
        if not name:
            raise ConfigurationError(
                f"--budget takes names with seconds, e.g. --budget first_audio=0.9,llm_first_token=0.4, not {text!r}"
            )
        budgets[name] = seconds
    return LatencyBudget(budgets)


def limits_of(turns: Iterable[Mapping[str, float]], budget: LatencyBudget, percent: float) -> list[Limit]:
    """Return what became of each budget.

    Args:
        turns: The marks of each turn, in seconds.
        budget: What parts of the wait may take.
        percent: Which percentile has to keep to it.
    """
    took: dict[str, list[float]] = {name: [] for name in budget.budgets}
    for marks in turns:
        for name, took_s in budget.measured(marks).items():
            took[name].append(took_s)
    return [
        Limit(
            name=name,
            percent=percent,
            budget_s=budget_s,
            took_s=percentile(took[name], percent) if took[name] else None,
            turns=len(took[name]),
            over=sum(round(took_s * 1e6) > round(budget_s * 1e6) for took_s in took[name]),
        )
        for name, budget_s in budget.budgets.items()
    ]
