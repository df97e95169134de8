"""A browser's end of a WebRTC call, played by aiortc: it speaks the page's protocol on a data channel, in real time.

async with page_server(agent, WebRTC()) as (serve, port), calling(port) as caller: ...
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioResampler

from voicepipe.serving.webrtc.voice_track import VoiceTrack

RATE = 24_000
LOUD = 300
"""The amplitude of a sample that is no silence; Opus returns silence with a little noise."""


class Caller:
    """The caller's end of a call.

    Attributes:
        log: The types of the messages that came, "sound" where the agent became audible and "silence" where it ended,
            each with the time in seconds.
        messages: Each message.
        microphone: What the caller says.
    """

    def __init__(self) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.microphone = VoiceTrack(RATE)
        self.channel = self.connection.createDataChannel("voicepipe", protocol="voicepipe.v1")
        self.log: list[tuple[float, str]] = []
        self.messages: list[dict[str, Any]] = []
        self.is_closed = False
        self.heard_s = 0.0
        self._voice: MediaStreamTrack | None = None
        self._news = anyio.Event()
        self.connection.on("track", self._take_track)
        self.channel.on("message", self._take)
        self.channel.on("close", self._close)

    async def connect(
        self, port: int, token: str, *, has_microphone: bool = True, hides: bool = False
    ) -> httpx.Response:
        """Post an offer, and take the answer if there is one."""
        if has_microphone:
            self.connection.addTrack(self.microphone)
        else:
            self.connection.addTransceiver("audio", direction="recvonly")
        await self.connection.setLocalDescription()
        offer = self.connection.localDescription.sdp
        if hides:
            offer = re.sub(r"(a=candidate:\S+ \S+ \S+ \S+) \S+", r"\1 hidden.local", offer)
        response = await post(port, "/webrtc", offer, token=token)
        if response.status_code == 201:
            await self.connection.setRemoteDescription(RTCSessionDescription(response.text, "answer"))
        return response

    def send(self, kind: str, **fields: Any) -> None:
        """Send a message."""
        self.channel.send(json.dumps({"type": kind, **fields}))

    async def open(self) -> None:
        """Wait until messages can be sent."""
        if self.channel.readyState != "open":
            opened = anyio.Event()
            self.channel.on("open", opened.set)
            await opened.wait()

    async def until(self, what: str, count: int = 1) -> dict[str, Any]:
        """Wait for a message of a type, or for "sound" or "silence", and return the message."""
        while sum(name == what for _, name in self.log) < count:
            if self.is_closed:
                raise AssertionError(f"the call ended before {what}; there came {self.log}")
            self._news = anyio.Event()
            await self._news.wait()
        found = [message for message in self.messages if message["type"] == what]
        return found[count - 1] if found else {}

    async def listen(self) -> None:
        """Hear the agent until the track ends."""
        resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
        is_audible = False
        while self._voice is not None:
            try:
                frame = await self._voice.recv()
            except MediaStreamError:
                return
            for piece in resampler.resample(frame):
                is_loud = max(array("h", bytes(piece.planes[0])[: 2 * piece.samples]), default=0) > LOUD
                self.heard_s += is_loud * piece.samples / RATE
                if is_loud != is_audible:
                    is_audible = is_loud
                    self._note("sound" if is_audible else "silence")

    def _take_track(self, track: MediaStreamTrack) -> None:
        self._voice = track

    def _take(self, text: str) -> None:
        message = json.loads(text)
        self.messages.append(message)
        self._note(message["type"])

    def _close(self) -> None:
        self.is_closed = True
        self._note("closed")

    def _note(self, what: str) -> None:
        self.log.append((anyio.current_time(), what))
        self._news.set()


async def post(
    port: int, path: str, body: str = "", *, token: str = "", origin: str = "", **headers: str
) -> httpx.Response:
    """Send one request as a page does."""
    named = {"origin": origin or f"http://127.0.0.1:{port}", "content-type": "application/sdp"}
    named |= {"authorization": f"Bearer {token}"} if token else {}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # to read authorities takes longer
        return await client.post(f"http://127.0.0.1:{port}{path}", content=body, headers=named)


async def offered() -> str:
    """Return the offer of a caller who then leaves."""
    caller = Caller()
    caller.connection.addTrack(caller.microphone)
    await caller.connection.setLocalDescription()
    offer: str = caller.connection.localDescription.sdp
    await caller.connection.close()
    return offer


async def token_for(port: int) -> str:
    """Get a token as a page does."""
    token: str = (await post(port, "/webrtc/token")).raise_for_status().json()["token"]
    return token


@asynccontextmanager
async def calling(
    port: int, *, has_microphone: bool = True, hides: bool = False, resume: str | None = None
) -> AsyncGenerator[Caller]:
    """Call, from the token to the server's answer to hello; a caller who hides names no address of theirs.

    `resume` is the key of a call that goes on.
    """
    caller = Caller()
    try:
        with anyio.fail_after(20):
            response = await caller.connect(port, await token_for(port), has_microphone=has_microphone, hides=hides)
            assert response.status_code == 201, response.text
            await caller.open()
            caller.send("hello", microphone={"echo_cancellation": True} if has_microphone else None, resume=resume)
            await caller.until("ready")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller.listen)
            yield caller
            tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await caller.connection.close()
