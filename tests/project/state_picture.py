"""The states of a conversation as a picture, from the table of transitions."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tests.project.svg import Point, arrow, picture, rect, text
from voicepipe.turntaking.states import TRANSITIONS, State, Transition

__all__ = ["states"]

SIZE = (940.0, 470.0)
BOX = (112.0, 40.0)
PLACES: dict[State, Point] = {
    State.QUIET: (86, 250),
    State.HEARING: (505, 80),
    State.HOLDING: (840, 80),
    State.PAUSED: (310, 250),
    State.THINKING: (640, 250),
    State.WITHHELD: (865, 250),
    State.SPEAKING: (505, 410),
}
ALONG = {
    (State.SPEAKING, State.QUIET): 0.8,
    (State.SPEAKING, State.PAUSED): 0.65,
    (State.PAUSED, State.SPEAKING): 0.4,
    (State.HEARING, State.THINKING): 0.7,
    (State.HOLDING, State.THINKING): 0.4,
}
"""Where on its arrow a label has room; in the middle elsewhere."""
DOES = {
    State.QUIET: "nobody speaks",
    State.HEARING: "the caller speaks",
    State.HOLDING: "waits for the rest",
    State.THINKING: "prepares the reply",
    State.WITHHELD: "ready, but silent",
    State.SPEAKING: "the agent speaks",
    State.PAUSED: "silent, reply kept",
}


def states() -> str:
    """Return the picture."""
    return picture(SIZE, "The states of a conversation, and what leads from one to another.", shapes())


def shapes() -> Iterator[str]:
    for row in TRANSITIONS:
        yield loop(row) if row.before is row.after else straight(row)
    for state, (x, y) in PLACES.items():
        is_agents = state in (State.THINKING, State.SPEAKING)
        stroke = "agent" if is_agents else "caller" if state in (State.HEARING, State.HOLDING) else "alarm"
        stroke = "edge" if state is State.QUIET else stroke
        yield rect((x - BOX[0] / 2, y - BOX[1] / 2), BOX, "page", stroke=stroke, radius=8)
        yield text((x, y - 2), state.name, "b", anchor="middle")
        yield text((x, y + 12), DOES[state], "s", anchor="middle")
    for row in TRANSITIONS:
        yield from label(row)


def is_pair(row: Transition) -> bool:
    """Return whether another row leads back."""
    return any(row.before is other.after and row.after is other.before for other in TRANSITIONS)


def ends(row: Transition) -> tuple[Point, Point, Point]:
    """Return where an arrow begins and ends, at the edges of the boxes, and which way is its own side of a pair."""
    (x1, y1), (x2, y2) = PLACES[row.before], PLACES[row.after]
    length = math.hypot(x2 - x1, y2 - y1)
    dx, dy = (x2 - x1) / length, (y2 - y1) / length
    aside = 8.0 if is_pair(row) else 0.0
    side_x, side_y = -dy * aside, dx * aside

    def edge(way: int) -> float:
        """Return how far the box goes from the foot of the arrow, forwards (1) or backwards (-1)."""
        sizes = ((BOX[0], dx * way, side_x), (BOX[1], dy * way, side_y))
        return min((size / 2 + 4 - math.copysign(side, step * side)) / abs(step) for size, step, side in sizes if step)

    first, last = edge(1), edge(-1)
    start = x1 + dx * first + side_x, y1 + dy * first + side_y
    return start, (x2 - dx * last + side_x, y2 - dy * last + side_y), (-dy, dx)


def straight(row: Transition) -> str:
    (x1, y1), (x2, y2), _ = ends(row)
    return arrow(f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}")


def loop(row: Transition) -> str:
    """Return an arrow from a box back to itself, above it or below it."""
    x, y = PLACES[row.before]
    down = 1 if row.before is State.SPEAKING else -1
    return arrow(f"M{x - 44:g} {y + down * (BOX[1] / 2 + 2):g}c0 {26 * down} 34 {26 * down} 34 {2 * down}")


def label(row: Transition) -> Iterator[str]:
    """Name the event, and below it what is decided: on the arrow, or at its own side of a pair."""
    decided = ", ".join(decision.__name__ for decision in row.decisions)
    if row.before is row.after:
        x, y = PLACES[row.before]
        y += BOX[1] / 2 + 16 if row.before is State.SPEAKING else -BOX[1] / 2 - 20
        yield from words((x - 4, y), row.event, decided, "start")
        return
    (x1, y1), (x2, y2), (side_x, side_y) = ends(row)
    along = ALONG.get((row.before, row.after), 0.5)
    x, y, anchor = x1 + (x2 - x1) * along, y1 + (y2 - y1) * along, "middle"
    if is_pair(row) and abs(side_x) > 0.3:
        x, y, anchor = x + 6 * side_x, y + 6 * side_y, "start" if side_x > 0 else "end"
    elif is_pair(row):
        y += 17 * side_y if side_y > 0 else 17 * side_y - (6 if decided else -8)
    elif abs(side_x) < 0.1:
        y -= 4
    yield from words((x, y - (2 if decided else -4)), row.event, decided, anchor)


def words(at: Point, event: str, decided: str, anchor: str) -> Iterator[str]:
    yield text(at, event, "halo", anchor=anchor)
    if decided:
        yield text((at[0], at[1] + 13), decided, "m halo", anchor=anchor)
