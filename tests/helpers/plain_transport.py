"""A small transport for the tests of the server: a first message of JSON, then plain audio, both ways."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from starlette.requests import HTTPConnection
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import voicepipe as vp
from voicepipe.serving import Line, Peer, Refused, Transport
from voicepipe.serving.desk import Desk
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice

RATE = 16_000
FRAME = b"\x00\x10" * (RATE // 50)


class Voice(vp.PacedOutput):
    sample_rate = RATE

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    async def send(self, pcm: bytes) -> None:
        await self._peer.send(pcm)


class Plain(Transport):
    """Checks origin and token as a page does; a message "bye" hangs up."""

    name = "plain"
    path = "/plain"
    subprotocol = "plain.v1"
    most_message_bytes = 4_096
    caller_rate = agent_rate = RATE

    def proven_by(self, desk: Desk) -> str:
        return desk.browser_proof

    async def check(self, request: HTTPConnection, desk: Desk) -> Mapping[str, Any]:
        desk.check_origin(request)
        shown = [word.removeprefix("token.") for word in request.scope["subprotocols"] if word.startswith("token.")]
        if shown:
            return await desk.tokens.redeem(self.name, shown[0])
        return await desk.identify(request)

    async def start(self, peer: Peer, desk: Desk) -> Line:
        try:
            hello = json.loads(await peer.receive())
            facts = dict(hello["facts"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise Refused("malformed", "the first message must be JSON with facts", code=1007) from None
        return Line(source=vp.PushSource(RATE), output=Voice(peer), facts=facts)

    async def listen(self, peer: Peer, line: Line, session: vp.Session) -> None:
        assert isinstance(line.source, vp.PushSource)
        async for message in peer:
            if message == "bye":
                return
            if isinstance(message, str) or len(message) % 2:
                raise Refused("malformed", "audio of 16 bits only", code=1007)
            peer.takes_audio(len(message) / 2 / RATE)
            line.source.push(message)

    async def finish(self, peer: Peer, line: Line, session: vp.Session) -> None:
        await peer.send(json.dumps({"type": "bye", "result": session.result}))

    async def restarts(self, peer: Peer, line: Line, session: vp.Session) -> None:
        await peer.send(json.dumps({"type": "restarts"}))


def agent(*, character_s: float = 0.01, says: str = "Hello?", **settings: Any) -> vp.Pipeline[Any]:
    ears = ScriptedRecogniser().says(says, at_s=0.4)
    model = ScriptedModel(lambda request: Says(f"You said {request.last_user_text}"))
    voice = ScriptedVoice(character_s=character_s, sample_rate=RATE)
    return vp.Pipeline(vp.STTStage(ears), model, vp.SentenceChunker(), voice, detector=None, **settings)


class Caller:
    """The other end: what came, and how the connection was closed."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.texts: list[Any] = []
        self.heard_s = 0.0

    async def hello(self, **facts: Any) -> None:
        await self.socket.send(json.dumps({"facts": facts}))

    async def speak(self, seconds: float) -> None:
        began_s = anyio.current_time()
        for number in range(round(seconds * 50)):
            await self.socket.send(FRAME)
            await anyio.sleep_until(began_s + (number + 1) * 0.02)

    async def wait_closed(self) -> int | None:
        """Take what comes until the connection is closed, and return the code."""
        try:
            async for message in self.socket:
                self._take(message)
        except ConnectionClosed:
            pass
        return self.socket.close_code

    async def wait_audio(self) -> None:
        while not self.heard_s:
            self._take(await self.socket.recv())

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self.heard_s += len(message) / 2 / RATE
        else:
            self.texts.append(json.loads(message))


@asynccontextmanager
async def calling(port: int, path: str = "/plain", *, scheme: str = "ws", **settings: Any) -> AsyncGenerator[Caller]:
    """Connect as a page of the server itself does."""
    given = {"origin": f"http://127.0.0.1:{port}", "compression": None, "proxy": None, **settings}
    async with connect(f"{scheme}://127.0.0.1:{port}{path}", **given) as socket:
        yield Caller(socket)
