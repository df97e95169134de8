"""The waterfall of a turn as an SVG file: what the caller's wait was spent on, from their last word to the first sound.

Rule 1: a picture brings its own background and both themes, so it can be read on any page.
Rule 2: the same turn is the same bytes, and the words of a call are escaped.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from voicepipe.watching.report.spans import DOES, words_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from voicepipe.watching.report.turn_story import TurnStory

__all__ = ["waterfall_svg"]

WIDTH: Final = 760
LEFT, RIGHT = 128, 92
ROW, BAR = 24, 14
HEAD, FOOT = 58, 34
MARGIN: Final = 24
WORDS_AT_MOST: Final = 84

STYLE: Final = """
    text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #16202a }
    .b { font-weight: 650; font-size: 15px } .s { fill: #5b6774; font-size: 12px } .n { text-anchor: end }
    .page { fill: #ffffff; stroke: #dfe4e8 } .line { stroke: #e6eaee }
    .listens { fill: #4f5bd5 } .thinks { fill: #b7791f } .speaks { fill: #0f766e }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6ebef } .s { fill: #97a4b0 } .page { fill: #171e24; stroke: #2a343d } .line { stroke: #2a343d }
      .listens { fill: #98a2ff } .thinks { fill: #e9b44c } .speaks { fill: #4fd1c0 }
    }
"""


def waterfall_svg(turns: Sequence[TurnStory]) -> str:
    """Return the waterfalls of turns, one below the other; a turn without an answer has none.

    Args:
        turns: Turns with spans.
    """
    top, shapes = 0.0, list[str]()
    for turn in turns:
        shapes += _turn(turn, top)
        top += HEAD + ROW * len(turn.spans) + FOOT
    height = max(top, 60.0)
    title = " ".join(f"Turn {turn.turn_id}: {_ms(turn.waited_s or 0)} of silence." for turn in turns)
    box = f'viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:g}" rx="10"/>',
    ]
    return "\n".join([*head, *shapes, "</svg>"]) + "\n"


def _turn(turn: TurnStory, top: float) -> Iterator[str]:
    waited_s = turn.waited_s or 0.0
    start_s, end_s = turn.spans[0].start_s, turn.spans[-1].end_s
    scale = (WIDTH - LEFT - RIGHT) / max(end_s - start_s, 1e-6)
    bottom = top + HEAD + ROW * len(turn.spans)
    yield _text(MARGIN, top + 28, f"Turn {turn.turn_id}: {_ms(waited_s)} until the caller hears the agent", "b")
    if turn.user_text:
        yield _text(MARGIN, top + 46, f"“{_shortened(turn.user_text)}”", "s")
    for at_s in _ticks(end_s - start_s):
        x = LEFT + at_s * scale
        yield f'<line class="line" x1="{x:.1f}" y1="{top + HEAD:g}" x2="{x:.1f}" y2="{bottom:g}"/>'
        yield f'<text class="s" x="{x:.1f}" y="{bottom + 16:g}" text-anchor="middle">{_ms(at_s)}</text>'
    for row, (name, from_s, until_s) in enumerate(turn.spans):
        y = top + HEAD + ROW * row
        x, width = LEFT + (from_s - start_s) * scale, max(1.5, (until_s - from_s) * scale)
        yield _text(MARGIN, y + 16, words_for(name))
        yield (
            f'<rect class="{DOES.get(name, "thinks")}" x="{x:.1f}" y="{y + (ROW - BAR) / 2:g}" width="{width:.1f}" '
            f'height="{BAR}" rx="2"/>'
        )
        yield _text(WIDTH - MARGIN, y + 16, _ms(until_s - from_s), "s n")


def _ticks(length_s: float) -> list[float]:
    """Return the times that get a line: about five."""
    steps = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
    step = next((one for one in steps if length_s / one <= 6), 300.0)
    return [step * number for number in range(int(length_s / step + 1e-9) + 1)]


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.0f} ms"


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= WORDS_AT_MOST else f"{text[:WORDS_AT_MOST].rstrip()}…"


def _text(x: float, y: float, words: str, style: str = "") -> str:
    shown = f' class="{style}"' if style else ""
    return f'<text x="{x:g}" y="{y:g}"{shown}>{_escaped(words)}</text>'


def _escaped(words: str) -> str:
    """Return text for XML, which has no place for control characters."""
    return escape("".join(letter if letter.isprintable() else " " for letter in words))
