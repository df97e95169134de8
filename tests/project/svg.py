"""Plain SVG for the documentation: readable on a light and on a dark page, without a dependency.

Rule 1: a picture brings its own background, so its colours never depend on the page around it.
Rule 2: the same picture is the same bytes: nothing in it depends on the machine or on the day.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TypeAlias

__all__ = ["Point", "arrow", "line", "picture", "rect", "text"]

Point: TypeAlias = tuple[float, float]

LIGHT = {
    "page": "#ffffff", "edge": "#d0d7de", "ink": "#1f2328", "dim": "#59636e", "grid": "#e6eaee",
    "caller": "#0b6e99", "agent": "#1a7f37", "thinks": "#e7dcf7", "waits": "#fff1cc", "held": "#ffe3dc",
    "on": "#ffffff", "accent": "#8250df", "alarm": "#bc4c00",
}  # fmt: skip
DARK = {
    "page": "#151b23", "edge": "#3d444d", "ink": "#f0f6fc", "dim": "#9aa5b1", "grid": "#2a313c",
    "caller": "#1f83b0", "agent": "#2b8a45", "thinks": "#3b2d59", "waits": "#4d3f14", "held": "#57291c",
    "on": "#ffffff", "accent": "#c4a5ff", "alarm": "#ff9a66",
}  # fmt: skip

FONTS = """
    text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif }
    .s { font-size: 11px } .b { font-weight: 600 }
    .m { font: 11px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace }
    .halo { paint-order: stroke; stroke-width: 5px; stroke-linejoin: round }"""


def theme(colours: dict[str, str]) -> str:
    """Return the rules of a theme: `f-` fills with a colour, `s-` draws with it, and the classes of texts."""
    rules = [f".f-{name} {{ fill: {value} }} .s-{name} {{ stroke: {value} }}" for name, value in colours.items()]
    texts = {"text": "ink", ".s": "dim", ".m": "accent", ".on": "on"}
    rules += [f"{selector} {{ fill: {colours[name]} }}" for selector, name in texts.items()]
    return " ".join([*rules, f".halo {{ stroke: {colours['page']} }}"])


MARKER = (
    '<marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path class="f-dim" d="M0 0L8 4L0 8z"/></marker>'
)


def number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def text(at: Point, words: str, style: str = "", *, anchor: str = "start", width: float = 0.0) -> str:
    """Return words; a width makes them exactly as wide, whatever the font is."""
    fit = f' textLength="{number(width)}" lengthAdjust="spacingAndGlyphs"' if width else ""
    shown = f' class="{style}"' if style else ""
    place = f' text-anchor="{anchor}"' if anchor != "start" else ""
    return f'<text x="{number(at[0])}" y="{number(at[1])}"{shown}{place}{fit}>{escape(words)}</text>'


def rect(at: Point, size: Point, fill: str, *, stroke: str = "", dashed: bool = False, radius: float = 4) -> str:
    style = f"f-{fill} s-{stroke}" if stroke else f"f-{fill}"
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    x, y, width, height = (number(value) for value in (*at, *size))
    return f'<rect class="{style}" x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius:g}"{dashes}/>'


def line(start: Point, end: Point, stroke: str, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="2 3"' if dashed else ""
    ends = f'x1="{number(start[0])}" y1="{number(start[1])}" x2="{number(end[0])}" y2="{number(end[1])}"'
    return f'<line class="s-{stroke}" {ends}{dashes}/>'


def arrow(path: str) -> str:
    """Return an arrow along a path."""
    return f'<path class="s-dim" d="{path}" fill="none" stroke-width="1.3" marker-end="url(#arrow)"/>'


def picture(size: Point, title: str, shapes: Iterable[str]) -> str:
    """Return a whole file: a card with these shapes; the title is what a screen reader says."""
    width, height = (number(value) for value in size)
    box = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    dark = f"@media (prefers-color-scheme: dark) {{ {theme(DARK)} }}"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{FONTS}\n    {theme(LIGHT)}\n    {dark}\n</style>",
        MARKER,
        rect((0.5, 0.5), (size[0] - 1, size[1] - 1), "page", stroke="edge", radius=8),
    ]
    return "\n".join([*head, *shapes, "</svg>"]) + "\n"
