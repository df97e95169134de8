"""What a vendor writes so that `SpeechLine` can keep a socket of its text-to-speech.

Rule 1: a protocol is pure: messages and requests in, frames out, `now` as an argument. No socket, no clock, no await.
Rule 2: whatever the service owes (a beginning, audio, an answer) has a deadline, after which the socket counts as lost.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voicepipe.errors import VendorError
from voicepipe.vendors.line.speech_text import TimedWord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voicepipe.errors import VoicepipeError

__all__ = ["SpeechProtocol", "SpeechRequest", "sorted_out"]


@dataclass(eq=False, slots=True)
class SpeechRequest:
    """A text that becomes audio; it outlives the socket on which it was sent.

    Attributes:
        text: The text to speak.
        audio: Audio that has come and was not taken yet.
        came_bytes: How much audio has come in all.
        words: When its words end, as far as that is known, which may be never.
        has_all_words: Whether no more of them come.
        is_done: Whether all of its audio has come.
        error: Why it failed.
        is_dropped: Whether it was withdrawn.
        asked: On how many sockets it was sent.
    """

    text: str
    audio: deque[bytes] = field(default_factory=deque[bytes])
    came_bytes: int = 0
    words: list[TimedWord] = field(default_factory=list[TimedWord])
    has_all_words: bool = False
    is_done: bool = False
    error: VoicepipeError | None = None
    is_dropped: bool = False
    asked: int = 0


def sorted_out(sent: Iterable[SpeechRequest], error: VoicepipeError) -> list[SpeechRequest]:
    """Return which of the requests that a service had may be sent once more, in order; the others get the error.

    A request that has had audio, or that would fail again, gets the error: to say a sentence twice would be worse.
    """
    may_help = isinstance(error, VendorError) and error.retryable
    again: list[SpeechRequest] = []
    for request in sent:
        if request.is_dropped:
            continue
        if may_help and not request.came_bytes and request.asked <= 1:
            again.append(request)
        else:
            request.error = error
    return again


class SpeechProtocol(ABC):
    """One session with a service, from the handshake on.

    Attributes:
        has_begun: Whether the service is ready to take requests.
        has_ended: Whether the end that `leave` asked for is reached; the socket is then closed.
        was_given_up: Whether it failed because a message was overdue.
        session_id: The service's id of the session, if it sends one.
        error: Why the session is over, if it failed.
        renew_at: When another session should take over.
        rate_limit_s: How long to wait after a refusal for too many at once, if the service does not say.
        unknown: Parameters that the service did not know.
        unreadable: How many messages could not be read, and were skipped.
    """

    has_begun: bool = False
    has_ended: bool = False
    was_given_up: bool = False
    session_id: object = None
    error: VoicepipeError | None = None
    renew_at: float = math.inf
    rate_limit_s: float = 15.0
    unknown: Sequence[str] = ()
    unreadable: int = 0

    @abstractmethod
    def ask(self, request: SpeechRequest) -> None:
        """Add a request, after all earlier ones."""

    @abstractmethod
    def drop(self, request: SpeechRequest, now: float) -> None:
        """Withdraw a request. Does nothing when it is done."""

    @abstractmethod
    def leave(self) -> None:
        """End the session once every request is done."""

    @abstractmethod
    def lose(self, error: VoicepipeError) -> list[SpeechRequest]:
        """Record that the connection is gone; return the requests to send again elsewhere, in order."""

    @abstractmethod
    def frames(self, now: float) -> list[str]:
        """Return what to send now. Called when something has changed, and at `wake_at`."""

    @abstractmethod
    def wake_at(self, now: float) -> float:
        """Return when to look again if nothing changes."""

    @abstractmethod
    def overdue(self, now: float) -> VendorError | None:
        """Return the error for what the service failed to do in time."""

    @abstractmethod
    def receive(self, message: bytes, now: float) -> bool:
        """Process a message; skip one that is unreadable or unknown.

        Returns:
            Whether there may be something to do for the session: audio concerns only its request.
        """

    @abstractmethod
    def closed(self, code: int, reason: str) -> VoicepipeError:
        """Return the error of a closed connection; an error that the service sent before says more."""
