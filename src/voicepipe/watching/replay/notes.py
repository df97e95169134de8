"""Notes of a call, kept in memory: what a recording on disk would hold, without the audio."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from voicepipe.core.clock import loop_time
from voicepipe.core.observer import Observer
from voicepipe.observed import VoiceGave
from voicepipe.watching.recording.records import from_json, named, to_json
from voicepipe.watching.replay.recorded_call import RecordedCall
from voicepipe.watching.replay.turns import turns_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.core.context import AnySession
    from voicepipe.events import Event
    from voicepipe.observed import Exchange
    from voicepipe.watching.replay.turns import CallTurn

__all__ = ["CallNotes"]


class CallNotes(Observer):
    """Keeps what happens in one call, for a test or a comparison; give it to one session.

    Times are seconds since the session began, to the microsecond.

    Attributes:
        events: Each event of the session, with its time.
        exchanges: What each part was given, and gave.
    """

    def __init__(self) -> None:
        self.events: list[tuple[float, Event]] = []
        self.exchanges: list[Exchange] = []
        self._began_s = 0.0
        self._ended: tuple[float, str] | None = None
        self._session: Any = None

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Begin to count the time."""
        self._session = session
        self._began_s = loop_time()
        yield

    def on_event(self, event: Event) -> None:
        """Keep an event."""
        self.events.append((self._now_s, self._kept(event)))

    def on_exchange(self, exchange: Exchange) -> None:
        """Keep what a part was given or gave, as it is now: messages change later."""
        if isinstance(exchange, VoiceGave) and isinstance(exchange.piece, bytes):
            self.exchanges.append(replace(exchange, at_s=self._now_s))
        else:
            self.exchanges.append(self._kept(exchange))

    def on_end(self, reason: str) -> None:
        """Keep why the session has ended."""
        self._ended = self._now_s, reason

    @property
    def turns(self) -> list[CallTurn]:
        """The turns so far."""
        return turns_of(self.events, self.exchanges)

    def call(self) -> RecordedCall:
        """Return the call so far, as a replay takes it."""
        row = self._session._row
        ended_s, reason = self._ended or (self._now_s, None)
        return RecordedCall(
            exchanges=tuple(self.exchanges),
            events=tuple(self.events),
            rules=row.turns,
            fallback=row.fallback,
            ended_s=ended_s,
            reason=reason,
            facts=self._session.facts,
        )

    @property
    def _now_s(self) -> float:
        return round(loop_time() - self._began_s, 6)

    def _kept(self, what: object) -> Any:  # noqa: ANN401 - of the class that it was
        return from_json(named(type(what)), to_json(what, self._began_s))
