"""A page without a browser: it speaks the protocol `voicepipe.v1`, plays by the clock, and reports what it has played.

async with page_server(agent) as (serve, port), calling(port) as page: ...
async with resuming(port) as call: ...  # goes on over another connection when one is gone, as the page does
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import anyio
import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

import voicepipe as vp
from voicepipe.audio.remote.pacing import Playhead
from voicepipe.serving import Page, Serve

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

RATE_IN = 16_000
SILENCE = bytes(RATE_IN // 50 * 2)

RETRIES_S = (0.0, 0.1, 0.25, 0.5)
"""When the page tries to go on: these pauses, and then 1 s each."""

CONNECT_S = 8.0
CLOSED_S = 2.0
"""How long the server has to close a connection that another one follows."""

GOES_ON = frozenset({1001, 1005, 1006, 1012, 1013})
"""Close codes after which the page calls again."""


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


async def admission(port: int, *, path: str = "/", **headers: str) -> dict[str, Any]:
    """Get what the page needs for a connection: a token, and the websocket's address if that is elsewhere."""
    response = await ask(port, f"{path}token", "POST", origin=f"http://127.0.0.1:{port}", **headers)
    given: dict[str, Any] = response.raise_for_status().json()
    return given


async def token_for(port: int, *, path: str = "/", **headers: str) -> str:
    """Get a token as the page does."""
    token: str = (await admission(port, path=path, **headers))["token"]
    return token


class PageClient:
    """The page's end of a call.

    Attributes:
        log: What came, with the time in ms since the call began: the type of each message, and "audio" for the first
            frame after a message.
        messages: Each text message.
        rate: Samples per second of the agent's audio.
        pcm: All audio that came.
        parted: Set when this connection has nothing more to say: it is closed, or the call goes on over another one.
        parted_s: When that was.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.log: list[tuple[float, str]] = []
        self.messages: list[dict[str, Any]] = []
        self.rate = 24_000
        self.pcm = bytearray()
        self.closed = anyio.Event()
        self.code = 0
        self.parted = anyio.Event()
        self.parted_s = 0.0
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
        self._part()
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
        elif message["type"] == "bye" and message["resumable"]:
            self._part()
        self.messages.append(message)
        self._announce()

    def _part(self) -> None:
        if not self.parted.is_set():
            self.parted_s = anyio.current_time()
            self.parted.set()

    @property
    def key(self) -> str | None:
        """The key with which the call can be resumed; None without one."""
        return next((said.get("resume") for said in self.messages if said["type"] == "ready"), None)

    @property
    def goes_on(self) -> bool:
        """Whether a page would call again after this connection."""
        bye = next((said for said in self.messages if said["type"] == "bye"), None)
        if bye is not None and (bye["resumable"] or bye["reason"] == "ended"):
            return bool(bye["resumable"])
        return self.code in GOES_ON

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
    port: int, token: str, *, origin: str | None = None, path: str = "/", url: str | None = None
) -> AsyncGenerator[ClientConnection]:
    """Connect to the page's websocket, which is at `url` if the token's answer names one."""
    async with connect(
        url or f"ws://127.0.0.1:{port}{path}",
        subprotocols=[Subprotocol("voicepipe.v1"), Subprotocol(f"token.{token}")],
        origin=origin or f"http://127.0.0.1:{port}",
        compression=None,
        proxy=None,
    ) as socket:
        yield socket


@asynccontextmanager
async def calling(
    port: int,
    *,
    microphone: dict[str, Any] | None = None,
    speaks: bool = True,
    reports: bool = True,
    path: str = "/",
    resume: str | None = None,
) -> AsyncGenerator[PageClient]:
    """Call as a page does, from the token to ready; `resume` is the key of a call that goes on."""
    given = await admission(port, path=path)
    async with (
        connected(port, given["token"], path=path, url=given.get("url")) as socket,
        anyio.create_task_group() as tasks,
    ):
        page = PageClient(socket)
        hello = {"microphone": microphone if microphone is not None else {"echo_cancellation": True}}
        await page.send("hello", **hello, **({} if resume is None else {"resume": resume}))
        tasks.start_soon(page.receive)
        await page.until("ready")
        if speaks:
            tasks.start_soon(page.speak)
        if reports:
            tasks.start_soon(page.report)
        yield page
        tasks.cancel_scope.cancel()


# --- a call that outlives its connections -----------------------------------------------------------------------------


class ResumingCall:
    """A call that goes on over further connections, as the page's does.

    Attributes:
        pages: The client of each connection that was answered, the newest last.
        gaps_s: For each further one, how long there was none: from the break, or the server's `bye`, to `ready`.
        failures: Why attempts to connect failed.
        port: Where it connects next.
        over: Set when the call has ended, or could not be resumed in time.
    """

    def __init__(self, port: int, within_s: float, options: dict[str, Any]) -> None:
        self.pages: list[PageClient] = []
        self.gaps_s: list[float] = []
        self.failures: list[str] = []
        self.over = anyio.Event()
        self.port = port
        self._within_s = within_s
        self._options = options
        self._news = anyio.Event()

    @property
    def page(self) -> PageClient:
        """The client of the newest connection."""
        return self.pages[-1]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Each text message, of all connections."""
        return [message for page in self.pages for message in page.messages]

    @property
    def resumed(self) -> list[bool]:
        """Whether each further connection went on with the same call."""
        return [said["resumed"] for page in self.pages[1:] for said in page.messages if said["type"] == "ready"]

    async def until_connections(self, count: int) -> PageClient:
        """Return the client of a connection by its number, when there is one."""
        while len(self.pages) < count:
            assert not self.over.is_set(), f"the call was over after {len(self.pages)} connections: {self.failures}"
            await self._news.wait()
        return self.pages[count - 1]

    async def hold(self) -> None:
        """Call, and go on until the call has ended or was not resumed in time."""
        try:
            async with anyio.create_task_group() as connections:
                page = await connections.start(self._connection, None)
                while True:
                    self.pages.append(page)
                    self._announce()
                    await page.parted.wait()
                    if not page.goes_on or (found := await self._again(page, connections)) is None:
                        break
                    self.gaps_s.append(anyio.current_time() - page.parted_s)
                    page = found
        finally:
            self.over.set()
            self._announce()

    async def _again(self, lost: PageClient, connections: anyio.abc.TaskGroup) -> PageClient | None:
        for pause_s in chain(RETRIES_S, repeat(1.0)):
            await anyio.sleep(pause_s)
            if anyio.current_time() > lost.parted_s + self._within_s:
                return None
            try:
                with anyio.fail_after(CONNECT_S):
                    page: PageClient = await connections.start(self._connection, lost.key)
            except (OSError, httpx.HTTPError, InvalidHandshake, ConnectionClosed, AssertionError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            else:
                return page
        raise AssertionError  # the pauses do not end

    async def _connection(self, key: str | None, *, task_status: TaskStatus[PageClient]) -> None:
        """Hold one connection. What fails before it is answered is raised where it was started."""
        failed: Exception | None = None
        try:
            async with calling(self.port, resume=key, **self._options) as page:
                task_status.started(page)
                await page.parted.wait()
                with anyio.move_on_after(CLOSED_S):
                    await page.closed.wait()
        except ExceptionGroup as group:
            failed = _only(group)
        if failed is not None:
            raise failed

    def _announce(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()


def _only(group: ExceptionGroup[Exception]) -> Exception:
    first = group.exceptions[0]
    return _only(first) if isinstance(first, ExceptionGroup) else first


@asynccontextmanager
async def resuming(port: int, *, within_s: float = 30.0, **options: Any) -> AsyncGenerator[ResumingCall]:
    """Hold a call that goes on over further connections; options are those of `calling`. Leaving it hangs up."""
    call = ResumingCall(port, within_s, options)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call.hold)
        await call.until_connections(1)
        yield call
        tasks.cancel_scope.cancel()
