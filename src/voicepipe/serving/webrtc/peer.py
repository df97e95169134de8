"""A browser at the other end of a WebRTC connection: its sound as messages of PCM, its texts from a data channel.

Rule 1: aiortc runs tasks and a thread of its own for each connection. They live within `connected`, and not longer.
Rule 2: nothing waits without a bound: sound that nobody takes is dropped, and texts that nobody takes end the call.
"""

from __future__ import annotations

import json
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
from aiortc import RTCBundlePolicy, RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, AudioResampler

from voicepipe.core.log import log
from voicepipe.serving.page.protocol import RATE, SUBPROTOCOL
from voicepipe.serving.transport import Peer, PeerLeft, Refused
from voicepipe.serving.webrtc.offer import malformed
from voicepipe.serving.webrtc.voice_track import VoiceTrack

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from aiortc import RTCDataChannel
    from aiortc.mediastreams import MediaStreamTrack

    from voicepipe.core.context import Fact
    from voicepipe.serving.webrtc.ice import IceServer

__all__ = ["WebRTCPeer", "connected"]

MOST_WAITING: Final = 500
"""Messages that may wait for the session: 10 s of sound."""

MOST_UNSENT_BYTES: Final = 65_536
"""Texts that may wait for the network before `send` waits too."""

GOODBYE_S: Final = 0.5
"""How long the browser may take to acknowledge the last message. It needs one round trip."""

CLOSE_S: Final = 5.0
"""How long aiortc may take to end its tasks. It needs milliseconds."""


@asynccontextmanager
async def connected(
    offer: str,
    *,
    facts: Mapping[str, Fact],
    address: str,
    ice_servers: Sequence[IceServer],
    sample_rate: int,
    most_text_bytes: int,
) -> AsyncGenerator[tuple[WebRTCPeer, str]]:
    """Answer an offer, and hold the connection for as long as the block lasts: `async with ... as (peer, answer)`.

    The connection itself is made after the answer has reached the browser.

    Args:
        offer: A session description that `checked_offer` has passed.
        facts: What is known for certain about the peer.
        address: Where it asks from.
        ice_servers: STUN and TURN servers.
        sample_rate: Samples per second of the agent's voice.
        most_text_bytes: The size of the largest text; a larger one ends the call.

    Raises:
        Refused: The offer cannot be answered.
    """
    servers = [RTCIceServer(urls=[one.url], username=one.username, credential=one.password) for one in ice_servers]
    # One transport for sound and texts. Browsers ask for that, and another one would open its sockets for nothing.
    connection = RTCPeerConnection(RTCConfiguration(iceServers=servers, bundlePolicy=RTCBundlePolicy.MAX_BUNDLE))
    try:
        peer = WebRTCPeer(connection, facts, address, sample_rate=sample_rate, most_text_bytes=most_text_bytes)
        answer = await peer.answer(offer)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.hear, name="voicepipe WebRTC hears")
            yield peer, answer
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_S) as patience:
            await connection.close()
        if patience.cancelled_caught:
            log.warning("a WebRTC connection did not close within %g s", CLOSE_S)


class WebRTCPeer(Peer):
    """The peer of a connection that `connected` holds.

    Args:
        connection: The connection of aiortc.
        facts: What is known for certain about the peer.
        address: Where it asks from.
        sample_rate: Samples per second of the agent's voice.
        most_text_bytes: The size of the largest text.
    """

    def __init__(
        self,
        connection: RTCPeerConnection,
        facts: Mapping[str, Fact],
        address: str,
        *,
        sample_rate: int,
        most_text_bytes: int,
    ) -> None:
        self.facts = facts
        self.address = address
        self._connection = connection
        self._voice = VoiceTrack(sample_rate)
        self._most_text_bytes = most_text_bytes
        self._microphone: MediaStreamTrack | None = None
        self._channel: RTCDataChannel | None = None
        self._waiting: deque[str | bytes | Refused] = deque()
        self._has_greeted = self._has_left = self._is_closed = False
        self._news = anyio.Event()
        self._room = anyio.Event()
        self._channel_closed = anyio.Event()
        connection.on("track", self._take_track)
        connection.on("datachannel", self._take_channel)
        connection.on("connectionstatechange", self._note_state)

    async def answer(self, offer: str) -> str:
        """Return the answer to an offer, with all candidates of this server.

        Raises:
            Refused: The offer cannot be answered.
        """
        try:
            await self._connection.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
            self._connection.addTrack(self._voice)
            await self._connection.setLocalDescription()
        except Exception as error:  # aiortc's parser raises whatever a wrong text makes it stumble over
            log.debug("an offer of WebRTC failed: %s", type(error).__name__)
            raise malformed("it is no session description of WebRTC") from error
        return self._connection.localDescription.sdp

    # --- from the browser ---------------------------------------------------------------------------------------------

    async def hear(self) -> None:
        """Take the sound of the microphone until it ends."""
        if self._microphone is None:
            return
        resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
        try:
            while True:
                frame = await self._microphone.recv()
                # The protocol begins with a text, and sound may arrive before it.
                if self._has_greeted and len(self._waiting) < MOST_WAITING and isinstance(frame, AudioFrame):
                    for piece in resampler.resample(frame):
                        self._put(bytes(piece.planes[0])[: 2 * piece.samples])
        except MediaStreamError:
            return

    async def receive(self) -> str | bytes:
        """Return the next message. See `Peer.receive`."""
        while not self._waiting:
            if self._has_left:
                raise PeerLeft
            self._news = anyio.Event()
            await self._news.wait()
        message = self._waiting.popleft()
        if isinstance(message, Refused):
            raise message
        return message

    def takes_audio(self, seconds: float) -> None:
        """Count nothing: `MeteredPeer` does."""

    def _take_track(self, track: MediaStreamTrack) -> None:
        self._microphone = track

    def _take_channel(self, channel: RTCDataChannel) -> None:
        if self._channel is not None or channel.protocol != SUBPROTOCOL:
            self._put(Refused("protocol", f"open one data channel of the protocol {SUBPROTOCOL}"))
            return
        self._channel = channel
        channel.bufferedAmountLowThreshold = MOST_UNSENT_BYTES // 2
        channel.on("message", self._take_message)
        channel.on("bufferedamountlow", self._make_room)
        channel.on("close", self._leave)

    def _take_message(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self._put(Refused("malformed", "sound comes by a track, not by the data channel"))
        elif len(message.encode()) > self._most_text_bytes:
            self._put(Refused("size", f"a message may have at most {self._most_text_bytes} bytes", code=1009))
        elif len(self._waiting) >= MOST_WAITING:
            self._put(Refused("messages", "too many messages", code=4429))
        else:
            self._has_greeted = True
            self._put(message)

    def _put(self, message: str | bytes | Refused) -> None:
        if self._waiting and isinstance(self._waiting[-1], Refused):
            return  # nothing after it counts
        self._waiting.append(message)
        self._news.set()

    def _note_state(self) -> None:
        if self._connection.connectionState in ("failed", "closed"):
            self._leave()

    def _leave(self) -> None:
        self._has_left = True
        self._channel_closed.set()
        self._news.set()
        self._make_room()

    # --- to the browser -----------------------------------------------------------------------------------------------

    async def send(self, message: str | bytes) -> None:
        """Send a text, or 20 ms of the agent's voice. See `Peer.send`."""
        if isinstance(message, bytes):
            self._voice.put(message)
            return
        channel = self._channel
        while channel is not None and not self._has_left and channel.bufferedAmount > MOST_UNSENT_BYTES:
            self._room = anyio.Event()
            await self._room.wait()
        if channel is not None and channel.readyState == "open":
            channel.send(message)

    def discard(self) -> None:
        """Drop sound that has not left. See `Peer.discard`."""
        self._voice.clear()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send the code as a last message, and close the connection. See `Peer.close`.

        A data channel has no close code, so a message stands for it.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if self._channel is not None and self._channel.readyState == "open":
            self._channel.send(json.dumps({"type": "close", "code": code, "reason": reason}))
            self._channel.close()
            with anyio.move_on_after(GOODBYE_S):
                await self._channel_closed.wait()  # its acknowledgement comes after all that was sent before
        await self._connection.close()

    def _make_room(self) -> None:
        self._room.set()
