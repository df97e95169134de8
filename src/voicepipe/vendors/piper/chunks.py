# ruff: noqa: RUF001 - marks of other scripts, look-alikes included
"""Where a sentence is cut for a voice that gives each text as a whole.

Rule 1: a cut comes after a clause mark, where a speaker pauses, so that nobody hears it. Only a text of 200 characters
        without such a mark is cut between two words.
Rule 2: the first chunk is the shortest, because the caller waits for it. Each later one is synthesised while the one
        before it is played.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["chunks"]

WHOLE: Final = 60
"""Characters that are never cut: 3.5 s of speech."""

FIRST: Final = 20
"""Characters that the first chunk has at least: 1.2 s of speech, in which the next one is synthesised."""

USUAL: Final = 100
"""Characters after which a later chunk ends at the next mark: 6 s of speech, for whose synthesis other calls wait."""

LONGEST: Final = 200
"""Characters that a chunk has at most."""

SHORTEST_REST: Final = 12
"""Characters that the last chunk has at least, because "…, thanks." alone sounds torn off."""

_PAUSE: Final = re.compile(r"[,;:!?…—–][\"'”’»)\]]*(?=\s)|[,;:]\n|[、，；：。！？][」』”’）]*|\s[-–—](?=\s)|\n")


def chunks(text: str) -> list[str]:
    """Return the parts of a sentence, in order; joined, they are the text."""
    parts: list[str] = []
    start = 0
    while len(text) - start > (LONGEST if parts else WHOLE) or (parts and len(text) - start > USUAL):
        end = _end(text, start, USUAL if parts else FIRST)
        if end is None:
            break
        parts.append(text[start:end])
        start = end
    return [*parts, text[start:]]


def _end(text: str, start: int, least: int) -> int | None:
    """Return where the chunk that begins at `start` ends; None if the rest of the text is one."""
    latest = len(text) - SHORTEST_REST
    for pause in _PAUSE.finditer(text, start):
        if start + least <= pause.end() <= min(latest, start + LONGEST):
            return pause.end()
    if len(text) - start <= LONGEST:
        return None
    space = max(text.rfind(" ", start + 1, start + LONGEST), text.rfind("\n", start + 1, start + LONGEST))
    return space if space > start else start + LONGEST
