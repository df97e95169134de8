"""A difference as text, for a terminal or the message of a failed test.

Rule 1: words come from callers, models and services, so nothing in them may control the terminal.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

from voicepipe.text.markup import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicepipe.watching.replay.difference import Change, Difference, TurnPair

__all__ = ["side_by_side"]

LABEL: Final = 12
"""Characters for what differs."""

LEAST: Final = 24
"""Characters of a column at least."""


def side_by_side(difference: Difference, *, width: int = 100, everything: bool = False) -> str:
    """Return the turns of two calls side by side.

    Args:
        difference: Of the calls.
        width: How many characters a line may have.
        everything: Whether to show what is the same, too; otherwise a line says that it is.
    """
    column = max(LEAST, (width - LABEL - 6) // 2)
    lines = [_row("", *difference.names, column)]
    for pair in difference.pairs:
        lines += _turn(pair, column, everything=everything)
    others = [
        change
        for change in difference.changes
        if change not in {one for pair in difference.pairs for one in pair.changes}
    ]
    if others:
        lines += ["", "the call", *(line for change in others for line in _change(change, column))]
    count = len(difference.changes)
    said = f"{count} difference{'s' if count != 1 else ''}" if count else "no difference"
    lines += ["", f"{said}; marks at most {difference.largest_s * 1e3:.3f} ms apart"]
    return "\n".join(line.rstrip() for line in lines)


def _turn(pair: TurnPair, column: int, *, everything: bool) -> Iterable[str]:
    yield ""
    yield f"turn {pair.turn_id}" + ("" if pair.changes else "  same")
    changed = {change.what for change in pair.changes}
    if pair.a is not None and pair.b is not None:
        rows = [("caller", pair.a.user_text, pair.b.user_text), ("heard", pair.a.heard, pair.b.heard)]
        waits = [f"{turn.waited_s:.3f} s" if turn.waited_s is not None else "" for turn in (pair.a, pair.b)]
        rows.append(("waited", waits[0], waits[1]))
        for what, a, b in rows:
            if what not in changed and (everything or pair.changes) and (a or b):
                yield from _wrapped(f"  {what}", a, b, column)
    for change in pair.changes:
        yield from _change(change, column)


def _change(change: Change, column: int) -> Iterable[str]:
    what = change.what if not change.turn_id or change.what[:7] != "request" else f"{change.turn_id}: {change.what}"
    b = change.b if change.by_s is None else f"{change.b} ({change.by_s:+.3f})"
    yield from _wrapped(f"! {what}", change.a or "-", b or "-", column)


def _wrapped(label: str, a: str, b: str, column: int) -> Iterable[str]:
    left, right = (textwrap.wrap(printable(text), column) or [""] for text in (a, b))
    for at in range(max(len(left), len(right))):
        yield _row(
            label if not at else "",
            left[at] if at < len(left) else "",
            right[at] if at < len(right) else "",
            column,
        )


def _row(label: str, a: str, b: str, column: int) -> str:
    return f"{label:<{LABEL + 2}}  {a:<{column}}  {b}"
