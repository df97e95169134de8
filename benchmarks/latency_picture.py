"""A picture of the silence that a caller hears, as SVG: for each row from its 5th to its 95th percentile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import Final
from xml.sax.saxutils import escape

__all__ = ["Bar", "picture"]

WIDTH, LEFT, RIGHT_EDGE, LINE, HEAD = 780, 262, 690, 30, 46
FONT: Final = 'font-family="system-ui, sans-serif"'


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: milliseconds of silence.

    Attributes:
        group: Rows of the same group stand together, under its name.
        name: The row.
        low: Its 5th percentile.
        middle: Its median.
        high: Its 95th percentile.
    """

    group: str
    name: str
    low: float
    middle: float
    high: float


def picture(bars: list[Bar], turns: int) -> str:
    """Return the picture; it reads on light and on dark pages."""
    most = math.ceil(max(bar.high for bar in bars) / 500) * 500

    def x(ms: float) -> float:
        return round(LEFT + (RIGHT_EDGE - LEFT) * ms / most, 1)

    groups = [(group, list(rows)) for group, rows in groupby(bars, key=lambda bar: bar.group)]
    bottom = HEAD + LINE * (len(bars) + len(groups)) + 6
    title = f"Silence until the caller hears the answer ({turns:,} turns; those without a tool)"
    lines = [f'<text x="16" y="24" font-size="15" font-weight="600">{title}</text>']
    for ms in range(0, most + 1, 500):
        lines.append(f'<line x1="{x(ms)}" y1="{HEAD}" x2="{x(ms)}" y2="{bottom}" stroke="#9aa4b2" stroke-width="0.6"/>')
        lines.append(f'<text x="{x(ms)}" y="{bottom + 18}" font-size="12" text-anchor="middle">{ms / 1000:g} s</text>')
    y = HEAD
    for group, rows in groups:
        lines.append(f'<text x="16" y="{y + 21}" font-size="13" font-weight="600">{escape(group)}</text>')
        y += LINE
        for bar in rows:
            low, width = x(bar.low), round(x(bar.high) - x(bar.low), 1)
            lines += [
                f'<text x="28" y="{y + 20}" font-size="13">{escape(bar.name)}</text>',
                f'<rect x="{low}" y="{y + 6}" width="{width}" height="18" rx="4" fill="#7fb2e5"/>',
                f'<rect x="{x(bar.middle) - 1.5}" y="{y + 3}" width="3" height="24" fill="#0b5cad"/>',
                f'<text x="{x(bar.high) + 8}" y="{y + 20}" font-size="12">{bar.middle:.0f} / {bar.high:.0f} ms</text>',
            ]
            y += LINE
    legend = "Bars go from the 5th to the 95th percentile; the line is the median. Numbers: median / 95th."
    height = bottom + 50
    head = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" {FONT} fill="#1f2733"'
    lines.append(f'<text x="16" y="{bottom + 38}" font-size="12">{legend}</text>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {head}>',
            f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#f7f9fc"/>',
            *lines,
            "</svg>\n",
        ]
    )
