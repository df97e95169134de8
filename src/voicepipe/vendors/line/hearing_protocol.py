"""What a vendor writes so that `HearingLine` can hold a call with its streaming recogniser.

Rule 1: a protocol is pure: audio's times and messages in, events and messages out, `now` as an argument. No socket, no
        clock, no await.
Rule 2: what belongs to one connection is in its `HearingSession`, so that the next one can begin while the present one
        still serves; what belongs to the call is in the `HearingProtocol`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from voicepipe.http.refusals import excerpt
from voicepipe.vendors.line.audio_clock import AudioClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voicepipe.errors import VendorError
    from voicepipe.flow import Hearing
    from voicepipe.vendors.line.heard_turn import HeardTurn
    from voicepipe.vendors.line.hearing_watch import HearingWatch, Sign

__all__ = ["HearingProtocol", "HearingSession", "Reading"]

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Reading(Generic[M]):
    """A message of the service.

    Attributes:
        sign: What it shows.
        message: What the protocol makes events of; None if there is nothing to read.
        code: The code of an error; None if it has none, and the close frame may have one.
        said: The service's text of an error.
    """

    sign: Sign
    message: M | None = None
    code: int | None = None
    said: str = ""


class HearingSession(ABC, Generic[M]):
    """One connection to the service.

    Args:
        sample_rate: Of the audio.

    Attributes:
        clock: Maps positions in the connection's audio to times.
        query: What follows the "?" in the connection's URL.
        has_begun: Whether the service is ready. Until then no message but `Sign.BEGUN` and `Sign.REFUSED` counts.
        name: The service's id of the session, once it is known.
        clean: Makes what the service says fit for a log. The link replaces it by one that knows the key.
    """

    query: str
    has_begun: bool = False
    name: str = ""

    def __init__(self, sample_rate: int) -> None:
        self.clock = AudioClock(sample_rate)
        self.clean: Callable[[str], str] = excerpt

    @abstractmethod
    def read(self, raw: bytes) -> Reading[M]:
        """Read a message; skip what is unreadable or unknown."""

    @abstractmethod
    def refresh(self) -> None:
        """Record that settings have changed."""

    @abstractmethod
    def update(self, now: float) -> str | None:
        """Return the message that gives the service the present settings; None if there is nothing to send now."""


class HearingProtocol(ABC, Generic[M]):
    """One call with the service.

    Attributes:
        vendor: The service, for messages.
        model: The model, for messages.
        sample_rate: Of the audio.
        piece_s: Length of a message of audio.
        closing: The message that ends a session.
        turns: The caller's turns.
        watch: Notices a service that no longer responds.
        renew_s: The age from which a connection is replaced when nobody speaks ...
        renew_anyhow_s: ... and that from which it is replaced in any case.
        idle_s: The service ends a connection that gets no audio; after so long without any, it gets `keep_alive`.
        keep_alive: The message that stands for audio; "" where only audio counts, so that silence is sent.
    """

    vendor: str
    model: str
    sample_rate: int
    piece_s: float
    closing: str
    turns: HeardTurn
    watch: HearingWatch
    renew_s: float = math.inf
    renew_anyhow_s: float = math.inf
    idle_s: float = math.inf
    keep_alive: str = ""

    @abstractmethod
    def dial(self) -> HearingSession[M]:
        """Return the protocol of a new connection, with the present settings."""

    @abstractmethod
    def receive(self, message: M | None, now: float) -> Sequence[Hearing]:
        """Return what a message of the present connection means, in order."""

    def due(self, now: float) -> Sequence[Hearing]:
        """Return what time alone brings. Called with each piece of audio."""
        return self.turns.due(now)

    @abstractmethod
    def flush(self, now: float) -> Sequence[Hearing]:
        """Return what still waited when the last connection ended."""

    @abstractmethod
    def force_endpoint(self, now: float) -> str:
        """Return the message that ends the caller's turn with the audio that was sent."""

    @abstractmethod
    def refusal(self, code: int | None, said: str) -> VendorError:
        """Return what an error means.

        Args:
            code: Of a close frame or a message; None when there was none.
            said: The service's text, fit to be shown; "" for none.
        """
