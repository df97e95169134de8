"""How a reply waits for a sound that may be the caller's: withheld before its first sample, paused after it.

Rule 1: pure. A sound holds up a reply, it never ends one.
Rule 2: each wait has an end, whatever is heard; a sound that held up a reply for nothing does not hold it up again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voicepipe.turntaking.decisions import Decision, Pause, Release, Resume, Withhold

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.flow import SpeechStarted
    from voicepipe.turntaking.floor_view import FloorView
    from voicepipe.turntaking.utterance import Utterance

__all__ = ["WITHHELD_S", "Yielding"]

WITHHELD_S: Final = 1.5
PAUSED_S: Final = 2.0
"""How long a sound without words can hold up a reply that is ready, and one that is being spoken."""

SILENT_WITHHELD_S: Final = 0.5
SILENT_PAUSED_S: Final = 0.8
SILENT_BACKCHANNEL_S: Final = 0.6
"""How long after the end of a sound its words may come, and how long after a back-channel more words may."""

CALM_S: Final = 10.0
FALSE_PAUSES: Final = 2
"""After so many pauses for nothing in this time, speech alone does not pause for as long."""


@dataclass(slots=True)
class _Stop:
    """A reply that is held up.

    Attributes:
        reply_id: Which reply it is.
        is_pause: Whether it had begun to be played.
        latest_s: When it goes on, whatever is heard.
        until_s: When it goes on if nothing more is heard.
        is_welcome: Whether the caller has said that they listen.
    """

    reply_id: int
    is_pause: bool
    latest_s: float
    until_s: float
    is_welcome: bool = False


class Yielding:
    """The waits of one session's replies.

    Args:
        min_speech_s: How long speech lasts until it pauses a reply.
        floor: What the agent does.
        speech: What the caller is saying.
        is_audible: Whether the microphone picks up the agent at a given time.
    """

    def __init__(
        self, min_speech_s: float, floor: FloorView, speech: Utterance, is_audible: Callable[[float], bool]
    ) -> None:
        self._min_speech_s = min_speech_s
        self._floor = floor
        self._speech = speech
        self._is_audible = is_audible
        self._stop: _Stop | None = None
        self._lasts_s = math.inf  # when speech has lasted long enough
        self._false_pauses: list[float] = []
        self._calm_until_s = -math.inf

    @property
    def holds_up(self) -> bool:
        """Whether a reply is held up."""
        return self._stop is not None

    @property
    def wake_at(self) -> float:
        """When `due` is to be called; inf for never."""
        return min(self._lasts_s, self._stop.until_s if self._stop else math.inf)

    def speech_started(self, event: SpeechStarted, now: float) -> list[Decision]:
        """The caller may be beginning to speak."""
        if self._stop is not None:
            self._stop.until_s = self._stop.latest_s
        elif self._floor.phase == "thinking":
            latest_s = event.at_s + WITHHELD_S
            if self._floor.is_protected or now >= latest_s:
                return []
            self._stop = _Stop(self._floor.reply_id, False, latest_s, latest_s)
            return [Withhold()]
        # Measured from the first speech sample, so that a late report does not add its own delay.
        self._lasts_s = round(event.at_s + self._min_speech_s, 6)
        if event.until_s is not None and event.until_s < self._lasts_s:
            self._lasts_s = math.inf  # the audio has stopped meanwhile
        return self._lasted(now)

    def speech_ended(self, at_s: float, now: float) -> None:
        """The sound is over."""
        self._lasts_s = math.inf
        if (stop := self._stop) is not None:
            silent_s = SILENT_PAUSED_S if stop.is_pause else SILENT_WITHHELD_S
            if stop.is_welcome:
                silent_s = SILENT_BACKCHANNEL_S
            stop.until_s = min(stop.latest_s, max(now, at_s + silent_s))

    def welcomed(self, now: float) -> None:
        """The caller has said that they listen."""
        if self._stop is not None:
            self._stop.is_welcome = True
            if not self._speech.is_open:
                self.speech_ended(self._speech.ended_s if math.isfinite(self._speech.ended_s) else now, now)

    def due(self, now: float) -> list[Decision]:
        """Return what the time asks for."""
        decisions = self._lasted(now)
        if self._stop is not None and self._stop.until_s <= now:
            decisions.append(self._go_on(now))
        return decisions

    def said(self) -> None:
        """Final words came: the sound has shown what it was."""
        self._lasts_s = math.inf

    def forget(self) -> None:
        """The reply is over."""
        self._stop = None
        self._lasts_s = math.inf

    def look(self) -> None:
        """Forget a reply that ended by itself: it failed, or the application interrupted it."""
        if self._stop is not None and self._stop.reply_id != self._floor.reply_id:
            self._stop = None

    def _lasted(self, now: float) -> list[Decision]:
        """Pause the reply if speech has lasted long enough."""
        if now < self._lasts_s:
            return []
        self._lasts_s = math.inf
        if self._stop is not None or self._floor.phase != "speaking" or self._floor.is_protected:
            return []
        if self._speech.is_noise or self._speech.is_cut or now < self._calm_until_s or self._is_audible(now):
            return []
        self._stop = _Stop(self._floor.reply_id, True, now + PAUSED_S, now + PAUSED_S)
        return [Pause()]

    def _go_on(self, now: float) -> Decision:
        """Let the reply go on: the caller wants nothing."""
        assert self._stop is not None  # noqa: S101 - asked for by a stop
        is_pause, self._stop = self._stop.is_pause, None
        self._speech.is_noise = self._speech.is_open
        if not is_pause:
            return Release()
        self._false_pauses = [*(at_s for at_s in self._false_pauses if now - at_s <= CALM_S), now]
        if len(self._false_pauses) >= FALSE_PAUSES:
            self._calm_until_s = now + CALM_S
        return Resume()
