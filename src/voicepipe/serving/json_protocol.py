"""The telephone networks that speak JSON: what a message means differs, when it counts does not."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from voicepipe.serving.line_messages import ULAW, Encoding, decoded, read_object
from voicepipe.serving.telephony import AudioIn, Ended, KeyPressed, LineProtocol, Played, Started

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from voicepipe.serving.telephony import LineEvent

__all__ = ["JSONProtocol", "Meaning", "Media", "Nothing"]


@dataclass(frozen=True, slots=True)
class Media:
    """Audio of the caller.

    Attributes:
        payload: The audio in base64.
        stamp_s: When it was spoken, on the network's clock.
        chunk: Its number, where messages may overtake each other.
    """

    payload: str
    stamp_s: float | None = None
    chunk: int | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """A message that is known, and of which nothing follows."""


MOST_HELD: Final = 5
"""Pieces that wait for one that was overtaken: a tenth of a second."""

Meaning: TypeAlias = Started | Media | KeyPressed | Played | Ended | Nothing


class Order:
    """Puts in order what may have overtaken each other. Pure."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._held: dict[int, AudioIn] = {}

    def take(self, chunk: int, audio: AudioIn) -> list[AudioIn] | None:
        """Take a piece, and return those whose turn it is now; None for one that comes too late, or again.

        A piece that is missing is waited for until `MOST_HELD` later ones have come.
        """
        if self._next is None:
            self._next = chunk
        if chunk < self._next or chunk in self._held:
            return None
        self._held[chunk] = audio
        if len(self._held) > MOST_HELD:
            self._next = min(self._held)
        ready: list[AudioIn] = []
        while self._next in self._held:
            ready.append(self._held.pop(self._next))
            self._next += 1
        return ready

    def rest(self) -> list[AudioIn]:
        """Return what is still held, in order."""
        held = [self._held[chunk] for chunk in sorted(self._held)]
        self._held.clear()
        return held


class JSONProtocol(LineProtocol):
    """Base class of protocols in JSON; subclasses implement `meaning`.

    Attributes:
        encoding: How audio is written in both directions, once the call has begun.
        has_begun: Whether the network has connected the call.
    """

    encoding: Encoding = ULAW
    has_begun = False

    def __init__(self) -> None:
        self._has_ended = False
        self._order = Order()

    @abstractmethod
    def meaning(self, fields: Mapping[str, Any]) -> Meaning | None:
        """Return what a message means; None if it is of no use. Called with `Started` still to come: `has_begun`.

        Raises:
            Refused: The call cannot be held.
        """

    def feed(self, message: str | bytes) -> Sequence[LineEvent]:
        """Take a message of the network. See `LineProtocol.feed`.

        Raises:
            Refused: It is not JSON, its audio is not base64, or the call has a format that is not known.
        """
        meaning = self.meaning(read_object(message))
        is_live = self.has_begun and not self._has_ended
        match meaning:
            case Media(payload, stamp_s, chunk) if is_live and payload:
                audio = AudioIn(decoded(payload, self.encoding), stamp_s)
                if chunk is None:
                    return (audio,)
                if (ready := self._order.take(chunk, audio)) is not None:
                    return ready
                self.dropped += 1
            case Media() if not is_live:
                self.dropped += 1
            case Played() | KeyPressed() if is_live:
                return (meaning,)
            case Started() if not self.has_begun and not self._has_ended:
                self.has_begun = True
                return (meaning,)
            case Ended() if not self._has_ended:
                self._has_ended = True
                return (*self._order.rest(), meaning)
            case Nothing():
                pass
            case _:
                self.ignored += 1
        return ()
