"""Who gets each event of a session: the application, the log, observers, the output, and who else has to know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.core.clock import loop_time
from voicepipe.core.failures import named
from voicepipe.core.observer import Watch
from voicepipe.errors import VoicepipeError
from voicepipe.events import SentenceStarted, TurnEnded
from voicepipe.observed import SessionBegan
from voicepipe.session.event_log import EventLog
from voicepipe.session.log_writer import LogWriter
from voicepipe.watching_events import ObserverFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from voicepipe.core.log import SessionLabel
    from voicepipe.core.observer import Observer
    from voicepipe.events import Event
    from voicepipe.hearing.recogniser import Recogniser
    from voicepipe.history import Message
    from voicepipe.speaking.playout import Playout
    from voicepipe.turntaking.echo import EchoGuard

__all__ = ["Reporting"]


class Reporting:
    """Passes events on.

    Args:
        label: The session's.
        observers: Who watches it.
        recogniser: Learns what the agent has said.
        on_failure: Takes the error of a part that has to know of an event, and fails.

    Attributes:
        observers: Who watches the session.
        log: Writes the lines of the log.
        events: Keeps the events for the application.
        watch: The observers; None without any.
        playout: The output, which learns of events in the order of what is written to it. Set by the session.
        echo: Remembers what the agent says; None where the microphone does not pick it up. Set by the session.
    """

    playout: Playout
    echo: EchoGuard | None = None

    def __init__(
        self,
        label: SessionLabel,
        observers: Sequence[Observer],
        recogniser: Recogniser,
        on_failure: Callable[[VoicepipeError], None],
    ) -> None:
        self.observers = observers
        self.log = LogWriter(label)
        self.events = EventLog()
        self.watch = Watch(observers, self._observer_failed) if observers else None
        self._session_id = label.session_id
        self._recogniser = recogniser
        self._on_failure = on_failure

    def began(self, history: Iterable[Message]) -> None:
        """Note that all parts are attached, and that the session begins to listen."""
        self.log.began()
        if self.watch is not None:
            output = self.playout.output
            self.watch.exchange(
                SessionBegan(
                    at_s=loop_time(),
                    is_closed=self._recogniser.is_closed,
                    has_echo=self.echo is not None,
                    shows_text=output.shows_text,
                    output_rate=output.sample_rate,
                    history=tuple(history),
                )
            )

    def emit(self, event: Event) -> None:
        """Pass on an event. Never waits."""
        object.__setattr__(event, "session_id", self._session_id)  # frozen for its readers; a copy would cost more
        self.events.put(event)
        self.log.write(event)
        if self.watch is not None:
            self.watch.event(event)
        self.playout.on_event(event)
        if isinstance(event, SentenceStarted) and self.echo is not None:
            self.echo.says(event.text, loop_time())
        elif isinstance(event, TurnEnded) and event.heard:
            try:
                with named(self._recogniser.name):
                    self._recogniser.agent_said(event.heard)
            except VoicepipeError as error:
                self._on_failure(error)

    def ended(self, reason: str) -> None:
        """Note that the session has ended, and why: no event follows."""
        self.events.close()
        self.log.ended(reason)
        if self.watch is not None:
            self.watch.ended(reason)

    def _observer_failed(self, name: str, error: VoicepipeError) -> None:
        self.emit(ObserverFailed(observer=name, error=error))
