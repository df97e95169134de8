"""A small vendor over HTTP, whole and correct, for tests of the conformance kit, which break it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

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
