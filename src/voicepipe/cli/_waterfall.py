"""Where the time of a turn went, as text: each bar begins where the previous one ended. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import voicepipe as vp

__all__ = ["BAR", "LEAST_US", "summary", "table", "waterfall"]

BAR: Final = 40
"""Characters for the longest bar."""

LEAST_US: Final = 10_000
"""Where there is little room, shorter contributions are left out."""


def waterfall(
    spent_us: Mapping[str, int], block: str, *, bar: int = BAR, scale_us: int = 0, least_us: int = 0
) -> list[str]:
    """Return a line for each contribution to a wait, and one for all of it; none if there was no wait.

    Args:
        spent_us: Microseconds by contribution, in order.
        block: The character that bars are made of.
        bar: Characters for the longest bar.
        scale_us: The time that these stand for; the whole wait by default.
        least_us: Contributions below it are left out.
    """
    total_us, before_us = sum(spent_us.values()), 0
    scale_us = scale_us or total_us or 1
    wide = max([9, *map(len, spent_us)]) + 1
    lines: list[str] = []
    for name, us in spent_us.items():
        begin, end = (round(bar * at / scale_us) for at in (before_us, before_us + us))
        before_us += us
        if us >= least_us:
            lines.append(f"{name:{wide}}{'':{begin}}{block * (end - begin) or '|':{bar + 1 - begin}}{us / 1e3:7.1f} ms")
    return [*lines, f"{'waited':{wide}}{'':{bar + 1}}{total_us / 1e3:7.1f} ms"] if spent_us else []


def summary(spent_us: Mapping[str, int]) -> str:
    """Return the wait and its contributions in one line, in milliseconds; "" if there was none."""
    parts = ", ".join(f"{name} {us / 1e3:.0f}" for name, us in spent_us.items() if us >= LEAST_US)
    return f"waited {sum(spent_us.values()) / 1e3:.0f} ms{f': {parts}' if parts else ''}" if spent_us else ""


def table(turns: Sequence[vp.TurnEnded]) -> list[str]:
    """Return a table with a line for each turn and a column for each contribution, in milliseconds."""
    names = list(dict.fromkeys(name for turn in turns for name in turn.timeline.contributions_us))
    widths = {name: max(10, len(name) + 1) for name in [*names, "waited"]}
    lines = ["turn" + "".join(f"{name:>{wide}}" for name, wide in widths.items())]
    for turn in turns:
        spent = turn.timeline.contributions_us
        cells = spent | {"waited": sum(spent.values())}
        lines.append(f"{turn.turn_id:4}" + "".join(f"{cells.get(name, 0) / 1e3:{widths[name]}.1f}" for name in widths))
    return lines
