"""A page without a browser: it speaks the protocol `voicepipe.v1`, plays by the clock, and reports what it has played.

async with page_server(agent) as (serve, port), calling(port) as page: ...
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

import voicepipe as vp
from voicepipe.audio.remote.pacing import Playhead
from voicepipe.serving import Page, Serve

RATE_IN = 16_000
SILENCE = bytes(RATE_IN // 50 * 2)


@asynccontextmanager
async def page_server(
    agent: vp.Pipeline, page: Page | None = None, **options: Any
) -> AsyncGenerator[tuple[Serve, int]]:
    """Run a server of which callers know only the page."""
    serve = Serve(agent, [page or Page()], **options)
    async with serve.listening() as port:
        yield serve, port


async def ask(port: int, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    """Send one request on a connection of its own."""
    async with httpx.AsyncClient(trust_env=False) as client:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await client.request(method, f"http://127.0.0.1:{port}{path}", headers=named)


async def token_for(port: int, *, path: str = "/", **headers: str) -> str:
    """Get a token as the page does."""
    response = await ask(port, f"{path}token", "POST", origin=f"http://127.0.0.1:{port}", **headers)
    token: str = response.raise_for_status().json()["token"]
    return token


class PageClient:
    """The page's end of a call.

    Attributes:
        log: What came, with the time in ms since the call began: the type of each message, and "audio" for the first
            frame after a message.
        messages: Each text message.
        rate: Samples per second of the agent's audio.
        pcm: All audio that came.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.log: list[tuple[float, str]] = []
        self.messages: list[dict[str, Any]] = []
        self.rate = 24_000
        self.pcm = bytearray()
        self.closed = anyio.Event()
        self.code = 0
        self._began_s = anyio.current_time()
        self._head = Playhead(self.rate)
        self._cleared = 0
        self._news = anyio.Event()

    async def send(self, kind: str, **fields: Any) -> None:
        """Send a text message."""
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def until(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Return the first message of a kind, or a later one by its number, when it has come."""
        while True:
            found = [message for message in self.messages if message["type"] == kind]
            if len(found) >= count:
                return found[count - 1]
            news = self._news
            if self.closed.is_set():
                raise AssertionError(f"the server closed with {self.code} before {kind}; it sent {self.log}")
            await news.wait()

    @property
    def position(self) -> int:
        """Up to where it has played what it was sent, in samples."""
        return self._head.played(anyio.current_time()) + self._cleared

    async def receive(self) -> None:
        """Take what comes, until the connection is closed."""
        try:
            async for message in self.socket:
                self._note("audio" if isinstance(message, bytes) else json.loads(message)["type"])
                if isinstance(message, bytes):
                    self.pcm += message
                    self._head.add(len(message) // 2, anyio.current_time())
                else:
                    await self._take(json.loads(message))
        except ConnectionClosed:
            pass
        self.code = self.socket.close_code or 0
        self.closed.set()
        self._announce()

    async def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "ready":
            self.rate = message["rate_out"]
            self._head = Playhead(self.rate)
        elif message["type"] == "clear":
            played = self._head.played(anyio.current_time())
            await self.send("cleared", id=message["id"], samples=played + self._cleared)
            self._cleared += len(self.pcm) // 2 - self._cleared - played
            self._head.cut(played)
        self.messages.append(message)
        self._announce()

    def _note(self, what: str) -> None:
        if not (what == "audio" and self.log and self.log[-1][1] == "audio"):
            self.log.append((round((anyio.current_time() - self._began_s) * 1_000, 3), what))

    def _announce(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()

    async def report(self) -> None:
        """Report what was played, ten times a second."""
        with suppress(ConnectionClosed):
            while True:
                await anyio.sleep(0.1)
                await self.send("played", samples=self.position)

    async def speak(self) -> None:
        """Send silence at the pace of speech: scripted recognisers count audio, and do not listen to it."""
        with suppress(ConnectionClosed):
            for tick in range(1, 50 * 3_600):
                await self.socket.send(SILENCE)
                await anyio.sleep_until(self._began_s + tick * 0.02)


@asynccontextmanager
async def connected(
    port: int, token: str, *, origin: str | None = None, path: str = "/"
) -> AsyncGenerator[ClientConnection]:
    """Connect to the page's websocket."""
    async with connect(
        f"ws://127.0.0.1:{port}{path}",
        subprotocols=[Subprotocol("voicepipe.v1"), Subprotocol(f"token.{token}")],
        origin=origin or f"http://127.0.0.1:{port}",
        compression=None,
        proxy=None,
    ) as socket:
        yield socket


@asynccontextmanager
async def calling(
    port: int, *, microphone: dict[str, Any] | None = None, speaks: bool = True, reports: bool = True, path: str = "/"
) -> AsyncGenerator[PageClient]:
    """Call as a page does, from the token to hello."""
    token = await token_for(port, path=path)
    async with connected(port, token, path=path) as socket, anyio.create_task_group() as tasks:
        page = PageClient(socket)
        await page.send("hello", microphone=microphone if microphone is not None else {"echo_cancellation": True})
        tasks.start_soon(page.receive)
        await page.until("ready")
        if speaks:
            tasks.start_soon(page.speak)
        if reports:
            tasks.start_soon(page.report)
        yield page
        tasks.cancel_scope.cancel()
