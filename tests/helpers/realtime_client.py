"""A plain client of the Realtime protocol, and an agent that it talks to; on virtual time."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import voicepipe as vp
from tests.helpers.realtime_events import checked
from voicepipe.serving import Realtime, Serve
from voicepipe.testing import Reply, ScriptedModel, ScriptedRecogniser, ScriptedVoice

RATE = 24_000
PIECE_S = 0.04
STORY = "Once upon a time there was a queue that had no end, and so it had no beginning either."


def scripted(
    ears: ScriptedRecogniser, replies: list[Reply] | Callable[[Any], Reply], *tools: vp.Tool[..., Any], **voice: Any
) -> tuple[vp.Pipeline, ScriptedModel]:
    """Return an agent that hears, thinks and speaks by script, and its model."""
    model = ScriptedModel(replies)
    parts = (vp.STTStage(ears), model, vp.ToolRouter(tools), vp.SentenceChunker(), ScriptedVoice(**voice))
    return vp.Pipeline(*parts, detector=None), model


def ears() -> ScriptedRecogniser:
    """Return a recogniser at the protocol's rate, so that nothing is resampled."""
    return ScriptedRecogniser(sample_rate=RATE)


class Client:
    """One connection.

    Attributes:
        events: What the server has sent, each with its time since the connection.
        code: How the server has closed the connection; 0 as long as it has not.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.events: list[tuple[float, dict[str, Any]]] = []
        self.code = 0
        self._socket = socket
        self._began_s = anyio.current_time()
        self._news = anyio.Event()

    async def read(self) -> None:
        """Note what the server sends, until it closes."""
        try:
            async for message in self._socket:
                event = dict(checked(json.loads(message)))
                self.events.append((round(anyio.current_time() - self._began_s, 3), event))
                self._wake()
        except ConnectionClosed:
            pass
        self.code = self._socket.close_code or 0
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()

    async def send(self, kind: str, **fields: Any) -> None:
        """Send an event."""
        await self._socket.send(json.dumps({"type": kind, **fields}))

    async def send_text(self, message: str | bytes) -> None:
        """Send anything."""
        await self._socket.send(message)

    async def says(self, text: str) -> None:
        """Type words, and ask for the reply."""
        await self.send("conversation.item.create", item=typed(text))
        await self.send("response.create")

    async def speak(self, seconds: float, *, at_once: bool = False) -> None:
        """Send audio, at the pace of speech."""
        began_s = anyio.current_time()
        audio = base64.b64encode(b"\0\x10" * round(PIECE_S * RATE)).decode()
        for tick in range(1, round(seconds / PIECE_S) + 1):
            await self.send("input_audio_buffer.append", audio=audio)
            if not at_once:
                await anyio.sleep_until(began_s + tick * PIECE_S)

    async def wait(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Return the event of this kind, or the one that is so many later."""
        with anyio.fail_after(60):
            while len(found := self.of(kind)) < count:
                assert not self.code, f"closed with {self.code} before {kind} {count}: {self.kinds()}"
                await self._news.wait()
        return found[count - 1]

    async def wait_closed(self) -> int:
        """Return the code with which the server closes."""
        with anyio.fail_after(60):
            while not self.code:
                await self._news.wait()
        return self.code

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for _, event in self.events if event["type"] == kind]

    def kinds(self) -> list[str]:
        return [event["type"] for _, event in self.events]

    def time_of(self, kind: str, count: int = 1) -> float:
        return [at_s for at_s, event in self.events if event["type"] == kind][count - 1]

    def audio_s(self, item_id: str) -> float:
        """Seconds of audio that came for an item."""
        deltas = [one for one in self.of("response.output_audio.delta") if one["item_id"] == item_id]
        return round(sum(len(base64.b64decode(one["delta"])) for one in deltas) / 2 / RATE, 3)

    def status(self, count: int = 1) -> tuple[str, str | None]:
        """How a response ended, and its reason."""
        response = self.of("response.done")[count - 1]["response"]
        return response["status"], (response["status_details"] or {}).get("reason")


def typed(text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}], **fields}


@asynccontextmanager
async def serving(agent: vp.Pipeline, realtime: Realtime | None = None, **settings: Any) -> AsyncGenerator[int]:
    """Run a server, and return its port."""
    async with Serve(agent, [realtime or Realtime()], **settings).listening() as port:
        yield port


@asynccontextmanager
async def connected(port: int, *, resume: str = "", **options: Any) -> AsyncGenerator[Client]:
    """Connect to the server, and read what it sends; `resume` is the key of a call that goes on."""
    options = {"compression": None, "proxy": None, **options}
    query = f"?model=voicepipe&resume={resume}" if resume else "?model=voicepipe"
    async with connect(f"ws://127.0.0.1:{port}/v1/realtime{query}", **options) as socket:
        client = Client(socket)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.read)
            try:
                yield client
            finally:
                tasks.cancel_scope.cancel()
