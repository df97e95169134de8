"""A small vendor over HTTP, whole and correct, for tests of the conformance kit, which break it."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.abc
import httpx

import voicepipe as vp
from tests.helpers.raw_server import RawServer, answer
from voicepipe.testing.conformance import KEY, Behaviour

SPOKEN: Final = bytes(range(1, 241)) * 60
STREAM: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END: Final = b"0\r\n\r\n"

REFUSALS: Final = {
    Behaviour.UNAUTHORISED: ("401 Unauthorized", f"{KEY} is no key"),
    Behaviour.RATE_LIMITED: ("429 Too Many Requests", "slow down"),
    Behaviour.FAILING: ("503 Service Unavailable", "down"),
    Behaviour.INVALID: ("400 Bad Request", "no such voice"),
}


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def served(behaviour: Behaviour, *pieces: bytes) -> AbstractAsyncContextManager[str]:
    if behaviour in REFUSALS:
        status, words = REFUSALS[behaviour]
        return RawServer([answer(status, words.encode())]).serve()
    acts = [part for piece in pieces for part in (chunk(piece), 0.05)]
    return RawServer([STREAM, *acts, END]).serve()


def voice_server(behaviour: Behaviour) -> AbstractAsyncContextManager[str] | None:
    match behaviour:
        case Behaviour.TOOL_CALL:
            return None
        case Behaviour.EMPTY:
            return served(behaviour)
        case Behaviour.ODD:
            return served(behaviour, SPOKEN[:4001], SPOKEN[4001:])
        case _:
            return served(behaviour, SPOKEN[:4000], SPOKEN[4000:8000], SPOKEN[8000:])


def model_server(behaviour: Behaviour) -> AbstractAsyncContextManager[str] | None:
    def lines(*parts: object) -> list[bytes]:
        return [json.dumps(part).encode() + b"\n" for part in parts]

    match behaviour:
        case Behaviour.ODD:
            return None
        case Behaviour.EMPTY:
            return served(behaviour, *lines({"end": "stop"}))
        case Behaviour.TOOL_CALL:
            call = {"call": "find_order", "arguments": '{"order_id": "12345"}'}
            return served(behaviour, *lines(call, {"end": "tool_calls"}))
        case _:
            return served(behaviour, *lines({"text": "It is "}, {"text": "sunny."}, {"end": "stop"}))


def refusal(status: int, words: str) -> vp.VoicepipeError:
    said = f"Acme answered HTTP {status}: {words.replace(KEY, '***')}"
    if status == 401:
        return vp.AuthenticationError(f"{said}; check api_key", vendor="acme")
    if status == 429:
        return vp.RateLimited(f"{said}; ask less often", vendor="acme", retry_after_s=None)
    return vp.VendorError(said, vendor="acme", retryable=status >= 500)


class Client(vp.Part):
    """What Acme's voice and model share."""

    def __init__(self, url: str, api_key: str = KEY) -> None:
        if not api_key:
            raise vp.ConfigurationError(f"{self.name}: api_key is empty; pass the key of your account")
        self.url = url
        self._key = api_key
        self.http: httpx.AsyncClient

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        headers = {"authorization": f"Bearer {self._key}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, timeout=4, verify=False) as self.http:
            yield

    async def asked(self, text: str) -> AsyncGenerator[bytes]:
        """Yield what the service answers, as it comes."""
        try:
            async with self.http.stream("POST", "/ask", json={"text": text}) as reply:
                if reply.status_code != 200:
                    raise refusal(reply.status_code, (await reply.aread()).decode())
                async for piece in reply.aiter_bytes():
                    yield piece
        except httpx.HTTPError as error:
            raise vp.VendorError(f"Acme cannot be reached: {error!r}", vendor="acme", retryable=True) from error


class AcmeTTS(Client, vp.TTSSink):
    sample_rate = 16_000

    async def synthesize(self, sentence: vp.Sentence) -> AsyncGenerator[bytes | vp.WordMark]:
        async for pcm in self.asked(sentence.text):
            yield pcm


class AcmeModel(Client, vp.Model):
    async def reply(self, request: vp.Request, outbox: vp.Outbox[vp.ReplyPart], turn: vp.Turn) -> None:
        rest = b""
        async for piece in self.asked("reply"):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                await outbox.send(self.part(json.loads(line)))

    def part(self, line: dict[str, str]) -> vp.ReplyPart:
        if "call" in line:
            return vp.ToolCallDelta(index=0, call_id="1", name=line["call"], arguments=line["arguments"])
        return vp.TextDelta(line["text"]) if "text" in line else vp.ReplyEnd(finish_reason=line["end"])


# --- ears, over a bare connection: the key in a line, then audio; a dot for each piece that was heard, and words ------

HEARD: Final = "Hello there."
RATE: Final = 16_000


@asynccontextmanager
async def ears_server(behaviour: Behaviour) -> AsyncGenerator[str]:
    async def converse(stream: anyio.abc.SocketStream) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
            async with stream:
                key, _, audio = (await stream.receive()).partition(b"\n")
                is_known = key.decode() == KEY and behaviour is not Behaviour.UNAUTHORISED
                said = REFUSALS.get(behaviour if is_known else Behaviour.UNAUTHORISED, ("200 OK", ""))[0]
                await stream.send(f"{said}\n".encode())
                heard_s, is_said = len(audio) / 2 / RATE, False
                while True:
                    try:
                        heard_s += len(await stream.receive()) / 2 / RATE
                    except anyio.EndOfStream:
                        if heard_s > 1.5 and not is_said:
                            await stream.send(f"{HEARD}\n".encode())
                        return
                    await stream.send(b".\n")
                    if heard_s > 2 and not is_said:
                        is_said = True
                        await stream.send(f"{HEARD}\n".encode())

    server = socket.create_server(("127.0.0.1", 0))
    async with await anyio.abc.SocketListener.from_socket(server) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, converse, tasks)
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        tasks.cancel_scope.cancel()


class AcmeEars(vp.Recogniser):
    """Hears over one connection for each call; a connection that is lost ends the call with an error."""

    silent_s = 3.0

    def __init__(self, url: str, api_key: str = KEY) -> None:
        self.url = urlsplit(url)
        self._key = api_key
        self.stream: anyio.abc.SocketStream

    @asynccontextmanager
    async def attach(self, session: vp.Session) -> AsyncGenerator[None]:
        try:
            self.stream = await anyio.connect_tcp(self.url.hostname or "", self.url.port or 0)
        except OSError as error:
            raise vp.VendorError(f"Acme cannot be reached: {error}", vendor="acme", retryable=True) from error
        async with self.stream:
            await self.stream.send(f"{self._key}\n".encode())
            self.lines = self.read()
            said = await self.line()
            if not said.startswith("200"):
                raise refusal(int(said[:3]), said)
            yield
            await self.lines.aclose()

    async def read(self) -> AsyncGenerator[str]:
        rest = b""
        while True:
            *lines, rest = (rest + await self.stream.receive()).split(b"\n")
            for line in lines:
                yield line.decode()

    async def line(self) -> str:
        try:
            with anyio.fail_after(self.silent_s):
                return await anext(self.lines)
        except TimeoutError as error:
            raise vp.VendorError("Acme fell silent", vendor="acme", retryable=True) from error
        except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise vp.VendorError("Acme was lost", vendor="acme", retryable=True) from error

    async def recognise(self, inbox: Any, outbox: Any, session: vp.Session) -> None:
        self.ended_s, self.is_over = 0.0, False
        raised: list[vp.VoicepipeError] = []
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # the reader sees it, too
                    async for frame in inbox:
                        if any(frame.pcm):
                            self.ended_s = frame.start_s + frame.duration_s
                        await self.stream.send(frame.pcm)
                    self.is_over = True
                    await self.stream.send_eof()

            tasks.start_soon(send)
            try:
                await self.hear(outbox)
            except vp.VendorError as error:
                if not self.is_over:
                    raised.append(error)
            tasks.cancel_scope.cancel()
        if raised:
            raise raised[0]

    async def hear(self, outbox: Any) -> None:
        while True:
            if (line := await self.line()) != ".":
                await outbox.send(vp.Transcript(line, self.ended_s, anyio.current_time()))
