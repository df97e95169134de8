"""Percentiles that are values which were measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Spread", "percentile", "spread_of"]


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest of the values that at least `percent` % of them do not exceed (the "nearest rank").

    The result is always one of the values, so there is a turn that can be looked at. Of few values the higher
    percentiles are the largest one: the 99th of fewer than 100, for instance. Nothing is interpolated.

    Args:
        values: At least one, in any order.
        percent: More than 0, at most 100.

    Raises:
        ValueError: There is no value, or the percentage is outside of its range.
    """
    if not values or not 0 < percent <= 100:
        raise ValueError(f"a percentile needs values and a percentage from above 0 to 100, not {percent}")
    # Exactly: 0.95 * 20 is a little more than 19 in floats, and would be the 20th of 20.
    rank = math.ceil(Fraction(str(percent)) * len(values) / 100)
    return sorted(values)[rank - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How a figure is distributed.

    Attributes:
        count: How many values there are.
        p50: The median, as `percentile` defines it.
        p95: 95 % are not above.
        p99: 99 % are not above.
        largest: The largest one.
    """

    count: int
    p50: float
    p95: float
    p99: float
    largest: float


def spread_of(values: Iterable[float]) -> Spread | None:
    """Return how values are distributed; None without any."""
    ordered = sorted(values)
    if not ordered:
        return None
    p50, p95, p99 = (percentile(ordered, percent) for percent in (50, 95, 99))
    return Spread(count=len(ordered), p50=p50, p95=p95, p99=p99, largest=ordered[-1])
