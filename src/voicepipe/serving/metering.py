"""How much a peer may send: messages and audio, each from a bucket that refills.

Rule 1: a line that stalled and then delivers what it has kept is no flood: a bucket holds 10 s.
Rule 2: what exceeds a limit ends that peer's call, and no other one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voicepipe.core.clock import running_clock
from voicepipe.serving.bucket import Bucket
from voicepipe.serving.refusal import PeerLeft, Refused
from voicepipe.serving.transport import Peer

if TYPE_CHECKING:
    from voicepipe.serving.limits import Limits
    from voicepipe.serving.transport import Transport

__all__ = ["MeteredPeer"]

MESSAGES_S: Final = 10.0
"""A peer may send the messages of so many seconds at once."""

PIECE_BYTES: Final = 8_192
"""A larger message counts as several: to parse one takes as long as it is large, and holds up all other calls."""


class MeteredPeer(Peer):
    """A peer whose messages and audio are counted.

    Args:
        peer: The connection.
        transport: Says how large messages may be, and how many.
        limits: Says how much audio the peer may send.

    Attributes:
        last_s: When the last message came, on the loop's clock; at first when the peer was let in.
        has_broken: Whether the connection broke, and the peer did not close it on purpose.
    """

    def __init__(self, peer: Peer, transport: Transport, limits: Limits) -> None:
        self.facts = peer.facts
        self.address = peer.address
        self.resume = peer.resume
        self._peer = peer
        self._clock = running_clock()
        self.last_s = self._clock()
        self.has_broken = False
        self._most_bytes = transport.most_message_bytes
        per_s = transport.most_messages_per_s
        self._messages = Bucket(per_s, per_s * MESSAGES_S, self.last_s)
        self._audio = Bucket(limits.audio_rate, limits.audio_ahead_s, self.last_s)

    async def receive(self) -> str | bytes:
        """Return the next message. See `Peer.receive`."""
        try:
            message = await self._peer.receive()
        except PeerLeft as left:
            self.has_broken = not left.is_orderly
            raise
        now = self.last_s = self._clock()
        if len(message) > self._most_bytes or (
            isinstance(message, str) and 4 * len(message) > self._most_bytes < len(message.encode())
        ):
            raise Refused("size", f"a message may have at most {self._most_bytes} bytes", code=1009)
        if not self._messages.take(1 + len(message) // PIECE_BYTES, now):
            raise Refused("messages", "too many messages", code=4429)
        return message

    async def send(self, message: str | bytes) -> None:
        """Send a message. See `Peer.send`."""
        await self._peer.send(message)

    def discard(self) -> None:
        """Drop audio that has not left. See `Peer.discard`."""
        self._peer.discard()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection. See `Peer.close`."""
        await self._peer.close(code, reason)

    def takes_audio(self, seconds: float) -> None:
        """Count audio. See `Peer.takes_audio`."""
        if not self._audio.take(seconds, self._clock()):
            raise Refused("audio", "more audio than time has passed", code=4429)
