"""A figure: what was measured, and the bar that it has to meet."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Figure", "percentile", "table"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        name: What was measured.
        value: The result, in `unit`.
        unit: "ms", "KiB", ...
        bar: The largest value that keeps the promise; None when there is no promise, only the number.
        at_least: The smallest value that keeps the promise, where more is better.
        is_promise: Whether the program ends with status 1 if the bar is missed: for what must hold on any machine.
    """

    name: str
    value: float
    unit: str = ""
    bar: float | None = None
    at_least: float | None = None
    is_promise: bool = False

    @property
    def is_met(self) -> bool:
        """Whether the bar is met, or there is none."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return self.bar is None or self.value <= self.bar

    def cells(self) -> tuple[str, str, str, str]:
        """Return the line as text."""
        value = f"{_short(self.value)} {self.unit}".strip()
        if self.at_least is not None:
            return self.name, value, f"≥ {_short(self.at_least)}", self._met
        if self.bar is None:
            return self.name, value, "-", "-"
        return self.name, value, f"≤ {_short(self.bar)}", self._met

    @property
    def _met(self) -> str:
        return "yes" if self.is_met else "**no**"


def table(figures: Iterable[Figure]) -> str:
    """Return figures as a markdown table."""
    rows = [("figure", "value", "bar", "met"), ("---",) * 4, *(figure.cells() for figure in figures)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` percent of the values do not exceed; NaN without values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)] if ordered else math.nan


def _short(number: float) -> str:
    return f"{number:.0f}" if number == round(number) or abs(number) >= 100 else f"{number:.2f}"
