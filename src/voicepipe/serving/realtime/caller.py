"""What the caller says, in the words of the Realtime protocol. Pure.

Rule 1: stock clients fall silent at `speech_started`, so it is reported when it is decided that the agent is silent (a
        pause or an interruption), and at once only while nobody is heard. A cough that the policy ignores is not
        reported.
Rule 2: what the caller said becomes an item when it is answered: words in several breaths are one item.

Times are seconds on the event loop's clock; those of the protocol count from the first audio of the caller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.serving.realtime import server_events as say
from voicepipe.serving.realtime.items import Item

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.serving.realtime.items import Items
    from voicepipe.serving.realtime.server_events import ServerEvent

__all__ = ["Caller"]


class Caller:
    """The caller's side of one call; every method returns the events to send, in order.

    Args:
        items: The items of the conversation.
        now: The loop's clock.

    Attributes:
        has_detection: Whether speech is reported; not so for push to talk.
        is_awaited: Whether something was committed that is not recognised yet (push to talk).
    """

    def __init__(self, items: Items, now: Callable[[], float]) -> None:
        self.has_detection = True
        self.is_awaited = False
        self._items = items
        self._now = now
        self._began_s: float | None = None
        self._forget()

    def _forget(self) -> None:
        """Begin with the next item."""
        self.is_awaited = False
        self._id = ""  # until one is needed
        self._started_s: float | None = None
        self._ended_s: float | None = None
        self._is_reported = False  # the client knows that they speak, and not that they have stopped
        self._was_reported = False

    def audio_came(self, seconds: float) -> None:
        """Note that audio of the caller came; times of the protocol count from its first sample."""
        if self._began_s is None:
            self._began_s = self._now() - seconds

    def speaks(self, at_s: float, *, is_agent_audible: bool) -> list[ServerEvent]:
        """Note that the caller speaks since `at_s`, and report it if that silences nobody."""
        self._started_s, self._ended_s = at_s, None
        return [] if is_agent_audible else self.report()

    def stops(self, at_s: float) -> list[ServerEvent]:
        """Note that the caller has stopped speaking, perhaps only for a moment."""
        self._ended_s = at_s
        if not self._is_reported:
            return []
        self._is_reported = False
        return [say.speech_stopped(self._item_id, self._since_began(at_s))]

    def report(self) -> list[ServerEvent]:
        """Report the speech for which the agent is silent, and its end if it has ended."""
        if self._is_reported or not self.has_detection:
            return []
        self._is_reported = self._was_reported = True
        if self._started_s is None:  # the recogniser reports no speech, or the application has interrupted
            self._started_s = self._ended_s = self._now()
        started = say.speech_started(self._item_id, self._since_began(self._started_s))
        return [started] if self._ended_s is None else [started, *self.stops(self._ended_s)]

    def is_idle(self, silent_s: float) -> list[ServerEvent]:
        """Report that the caller has been silent for long."""
        now = self._now()
        return [say.idle(self._item_id, self._since_began(now - silent_s), self._since_began(now))]

    def said(self, text: str) -> tuple[list[ServerEvent], Item]:
        """Take the words that are answered now, and return what to report of them, and their item."""
        events: list[ServerEvent] = []
        if self.is_awaited:
            item = self._items.get(self._id)
        else:
            events = [] if self._was_reported else self.report()
            if self._is_reported:
                events += self.stops(self._now())
            item, committed = self._committed()
            events += committed
        item.text = text
        ended_s = self._ended_s or 0.0
        events.append(say.transcription_completed(item.id, text, max(0.0, ended_s - (self._started_s or ended_s))))
        self._forget()
        return events, item

    def commit(self) -> list[ServerEvent]:
        """Make an item of what the caller said, before its words are known (push to talk)."""
        self.is_awaited = True
        return self._committed()[1]

    def no_words(self) -> list[ServerEvent]:
        """Report that what was committed holds no words."""
        if not self.is_awaited:
            return []
        item_id = self._item_id
        self._forget()
        return [say.transcription_failed(item_id)]

    def _committed(self) -> tuple[Item, list[ServerEvent]]:
        item = Item(id=self._item_id, role="user", is_audio=True)
        previous = self._items.add(item)
        committed = say.buffer_committed(item.id, previous)
        return item, [committed, say.item_added(item, previous), say.item_done(item, previous)]

    @property
    def _item_id(self) -> str:
        """The id of the item that the caller's words become."""
        self._id = self._id or self._items.new_id()
        return self._id

    def _since_began(self, at_s: float) -> float:
        return at_s - (self._now() if self._began_s is None else self._began_s)
