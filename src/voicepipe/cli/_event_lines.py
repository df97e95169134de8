"""Shows a call to a program: each event as one line of JSON, as recordings have it in their events.jsonl."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

from voicepipe.watching.recording.records import named, to_json

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    import voicepipe as vp

__all__ = ["EventLines"]


class EventLines:
    """Stands in for a `Display` where the standard output is read by a program."""

    observers: Sequence[vp.Observer] = ()

    @contextmanager
    def open(self, title: str, notes: Sequence[str]) -> Generator[None]:
        """Leave title and notes out."""
        del title, notes
        yield

    def show(self, at_s: float, event: vp.Event) -> None:
        """Print an event, with the seconds since the call began."""
        fields = to_json(event, anyio.current_time() - at_s)
        print(json.dumps({"t_s": round(at_s, 6), "event": named(type(event)), **fields}), flush=True)

    async def keep(self, session: vp.Session) -> None:
        """Return at once: each line is final."""
        del session
