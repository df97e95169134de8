"""Whether a recogniser still responds.

Rule 1: pure: no await, no clock, no I/O.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

__all__ = ["HearingWatch", "Sign"]


class Sign(Enum):
    """What a message of the service shows.

    Attributes:
        BEGUN: The session has begun.
        WORDS: The service understands somebody.
        SILENCE: It hears that nobody speaks.
        OTHER: It is there.
        REFUSED: It reports an error that ends the session.
        ENDED: It confirms the end that was asked for.
    """

    BEGUN = auto()
    WORDS = auto()
    SILENCE = auto()
    OTHER = auto()
    REFUSED = auto()
    ENDED = auto()


class HearingWatch:
    """Notices a service that has stopped responding, by the messages it owes.

    A service that acknowledges silence sends messages whether somebody speaks or not, so a pause in its messages means
    that it is gone. For a service that never acknowledges, the caller's audio decides: when somebody speaks, a message
    is due. After each loss the watch waits twice as long, until a turn is understood again: a room in which a service
    hears neither silence nor words must not cost a session every few seconds.

    Args:
        acknowledges: Whether the service was asked to acknowledge silence.
        sends_partials: Whether messages come while somebody speaks; otherwise only a heartbeat comes, every 5 s.
        limit_s: How long a message may take where partials are sent.
        silent_s: The same while nobody speaks; like `limit_s` by default.
    """

    WITHOUT_PARTIALS_S: Final = 12.0
    MOST_S: Final = 60.0
    SPEECH_S: Final = 1.5
    """This much loud audio is speech, and the service owes a message about it."""

    def __init__(
        self, *, acknowledges: bool, sends_partials: bool, limit_s: float = 4.5, silent_s: float = 0.0
    ) -> None:
        self._least_s = limit_s if sends_partials else self.WITHOUT_PARTIALS_S
        self._limit_s = self._least_s
        self._silent_factor = max(1.0, silent_s / limit_s)
        self._acknowledges = acknowledges
        self._has_acknowledged = False
        self._since_s = 0.0
        self._sent_s = 0.0
        self._loud_s = 0.0
        self._loud_since_s = 0.0

    def connected(self, now: float) -> None:
        """Start again with a new connection."""
        self._since_s = self._sent_s = now
        self._loud_s = 0.0

    def received(self, sign: Sign, now: float) -> None:
        """Record a message."""
        self._since_s = now
        self._loud_s = 0.0
        if sign is Sign.SILENCE:
            self._has_acknowledged = self._acknowledges = True
        elif sign is Sign.WORDS:
            self._limit_s = self._least_s

    def sent(self, duration_s: float, now: float, *, is_loud: bool) -> None:
        """Record audio that was sent."""
        if now - self._sent_s > 1.0:
            self._since_s = now  # no audio was sent, so no message was due
            self._loud_s = 0.0
        self._sent_s = now
        if is_loud:
            self._loud_since_s = self._loud_since_s if self._loud_s else now
            self._loud_s += duration_s
        elif now - self._loud_since_s > 2 * self._limit_s:
            self._loud_s = 0.0  # a noise that stopped a while ago was not speech

    def is_gone(self, now: float) -> bool:
        """Whether a message is overdue."""
        if now - self._since_s < self._limit_s:
            return False
        if self._acknowledges and now - self._since_s >= self._silent_factor * self._limit_s:
            return True
        return self._loud_s >= self.SPEECH_S and now - self._loud_since_s >= self._limit_s

    def lost(self) -> None:
        """Record that the connection was given up because of this."""
        self._acknowledges = self._has_acknowledged
        self._limit_s = min(2 * self._limit_s, self.MOST_S)
