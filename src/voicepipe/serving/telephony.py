"""What telephone networks have in common: what a line reports, and a call whose protocol is pure.

Rule 1: a protocol does no I/O: messages go in and events come out, so tables test it, and a network is one class.
Rule 2: a protocol ignores and counts messages that it does not know; one that cannot be read ends that call.
Rule 3: no log and no error quotes a message: payloads are speech, and parameters and numbers are personal data.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio

from voicepipe.audio.remote.paced import PacedOutput
from voicepipe.audio.source import PushSource
from voicepipe.core.log import log
from voicepipe.serving.transport import Line, Peer, PeerLeft, Transport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from voicepipe.keeping.store import Store
    from voicepipe.session.session import Session

__all__ = [
    "Arrivals",
    "AudioIn",
    "Ended",
    "KeyPressed",
    "LineEvent",
    "LineProtocol",
    "MarkedOutput",
    "Played",
    "Started",
    "TelephoneLine",
    "TelephoneOutput",
    "TelephoneTransport",
    "begin",
]


OVERLAP_S: Final = 0.01
"""Networks round their stamps; a piece of audio cannot begin before the one before it has ended by more than this."""

DRIFT: Final = 500e-6
"""How much slower a network's clock may run than this machine's; twice what quartz clocks do."""

# --- what a line reports ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The network has connected the call.

    Attributes:
        call_id: What the network calls the call.
        stream_id: What it calls this connection of the call; "" if it does not.
        account_id: The network's customer who has the number; "" if the network does not say.
        parameters: What the application had the network pass on.
    """

    call_id: str
    stream_id: str = ""
    account_id: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class AudioIn:
    """Audio of the caller.

    Attributes:
        pcm: Little-endian signed 16-bit mono PCM at the protocol's `sample_rate`.
        stamp_s: When its first sample was spoken, in seconds on the network's clock; None if it does not say.
    """

    pcm: bytes
    stamp_s: float | None = None


@dataclass(frozen=True, slots=True)
class KeyPressed:
    """The caller has pressed a key, one of `KEYS`."""

    key: str


@dataclass(frozen=True, slots=True)
class Played:
    """The network has played everything up to this mark, or cleared it."""

    mark: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The network has ended the call; `reason` says how, in a word."""

    reason: str


LineEvent: TypeAlias = Started | AudioIn | KeyPressed | Played | Ended


class Arrivals:
    """Turns a network's stamps into times of this machine's clock. Pure: the time is an argument.

    The audio that arrived soonest shows how the two clocks are related; everything else was late by the difference.
    One clock may run slower than the other: what was soonest long ago counts for less and less. Stamps that go
    backwards mean nothing, and are not used any more.
    """

    def __init__(self) -> None:
        self._apart_s = math.inf
        self._seen_s = 0.0
        self._next_s = -math.inf
        self._is_reliable = True

    def spoken_s(self, stamp_s: float | None, length_s: float, now: float) -> float | None:
        """Return when audio that has just arrived was spoken; None if the stamps do not say."""
        if stamp_s is None or not self._is_reliable:
            return None
        self._is_reliable = stamp_s > self._next_s - OVERLAP_S
        self._next_s = stamp_s + length_s
        slack_s, self._seen_s = DRIFT * (now - self._seen_s), now
        self._apart_s = min(self._apart_s + slack_s, now - self._next_s)
        return self._apart_s + stamp_s if self._is_reliable else None


class LineProtocol(ABC):
    """The messages of one call with a telephone network. Pure: no I/O, no clock.

    Attributes:
        sample_rate: Samples per second of the audio, in both directions.
        ignored: Messages that were of no use: unknown ones, and ones that lack what they are for.
        dropped: Messages with audio that came before the call began or after it ended.
    """

    sample_rate: int = 8_000
    ignored: int = 0
    dropped: int = 0

    @abstractmethod
    def feed(self, message: str | bytes) -> Sequence[LineEvent]:
        """Take a message of the network, and return what it reports.

        Raises:
            Refused: The message cannot be read.
        """

    @abstractmethod
    def audio(self, pcm: bytes) -> str | bytes:
        """Return the message that plays audio, whole 16-bit samples at `sample_rate`. The call must have begun."""

    def clear(self) -> str | bytes:
        """Return the message that drops what has not been played."""
        raise NotImplementedError(f"{type(self).__name__} has no message that clears audio")

    def mark(self, name: str) -> str | bytes:
        """Return the message that asks for a report once everything before it has been played."""
        raise NotImplementedError(f"{type(self).__name__} has no message for a mark")


# --- a call -----------------------------------------------------------------------------------------------------------


class TelephoneOutput(PacedOutput):
    """The agent's voice on a line that plays what it gets, clears nothing and reports nothing."""

    def __init__(self, peer: Peer, protocol: LineProtocol) -> None:
        self.sample_rate = protocol.sample_rate
        self._peer = peer
        self._protocol = protocol

    async def send(self, pcm: bytes) -> None:  # noqa: D102 - the base class says it
        await self._peer.send(self._protocol.audio(pcm))


class MarkedOutput(TelephoneOutput):
    """The agent's voice on a line that clears its buffer on request and reports marks."""

    async def clear(self) -> None:  # noqa: D102 - the base class says it
        await self._peer.send(self._protocol.clear())

    async def mark(self, name: str) -> None:  # noqa: D102 - the base class says it
        await self._peer.send(self._protocol.mark(name))


@dataclass(kw_only=True)
class TelephoneLine(Line):
    """A call over a telephone network.

    Attributes:
        protocol: The messages of this call.
        early: What the network has reported while the call was being prepared.
        has_ended: Whether the network has ended the call, or left.
        store: Where the workers of a service share what they know of the call; None without one.
    """

    protocol: LineProtocol
    early: Sequence[LineEvent] = ()
    has_ended: bool = False
    store: Store | None = None


async def begin(peer: Peer, protocol: LineProtocol) -> Started:
    """Read messages until the network has connected the call.

    Raises:
        PeerLeft: The network closed the connection, or ended the call, before that.
        Refused: A message cannot be read.
    """
    while True:
        for event in protocol.feed(await peer.receive()):
            if isinstance(event, Started):
                return event
            if isinstance(event, Ended):
                raise PeerLeft


class TelephoneTransport(Transport):
    """Base class of transports over telephone networks: what they report reaches the session in the same way."""

    async def listen(self, peer: Peer, line: Line, session: Session) -> None:
        """Take the network's messages until the call has ended. See `Transport.listen`."""
        if not isinstance(line, TelephoneLine):
            raise TypeError(f"expected the line that the transport's own start returned, not {line!r}")
        protocol, intake = line.protocol, _Intake(peer, line, session)
        try:
            for event in line.early:
                intake.take(event)
            while not intake.has_ended:
                for event in protocol.feed(await peer.receive()):
                    intake.take(event)
        except PeerLeft:
            pass
        finally:
            if useless := protocol.ignored + protocol.dropped:
                log.info("%s ignored %d messages, %d of them with audio", self.name, useless, protocol.dropped)
        line.has_ended = True


class _Intake:
    """Passes what a line reports to its session."""

    def __init__(self, peer: Peer, line: TelephoneLine, session: Session) -> None:
        self._peer = peer
        self._line = line
        self._session = session
        self._bytes_per_s = 2 * line.protocol.sample_rate
        self._arrivals = Arrivals()
        self.has_ended = False

    def take(self, event: LineEvent) -> None:
        """Take one event.

        Raises:
            Refused: The peer has sent more audio than it may.
        """
        match event:
            case AudioIn(pcm, stamp_s):
                length_s = len(pcm) / self._bytes_per_s
                self._peer.takes_audio(length_s)
                if isinstance(self._line.source, PushSource):
                    at_s = self._arrivals.spoken_s(stamp_s, length_s, anyio.current_time())
                    self._line.source.push(pcm, at_s)
            case Played(mark):
                if isinstance(self._line.output, PacedOutput):
                    self._line.output.marked(mark)
            case KeyPressed(key):
                self._session.press(key)
            case Ended():
                self.has_ended = True
            case Started():
                pass  # `begin` has taken it
