"""A bare websocket client of the simulated STT service: what it sends as steps, what it gets as a table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import anyio
import anyio.abc
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from voicepipe.testing.simulators.stt import (
    Spoken,
    STTSimulator,
    Timing,
)

if TYPE_CHECKING:
    pass

RATE = 16_000
FRAME_S = 0.05
U3 = {"sample_rate": RATE, "speech_model": "u3-rt-pro"}
ORDER = Spoken("My order number is four two.", 1.2, 2.6)
HELD = Spoken("My order number is", 1.2, 2.6)
AT_ONCE = Timing(final_s=0.0, force_s=0.0, terminate_s=0.0, speed=math.inf)


@dataclass
class Wait:
    """Nothing is sent for a while."""

    seconds: float


@dataclass
class Frame:
    """One frame of audio, at once."""

    pcm: bytes


@dataclass
class Call:
    """What a client got, with the microsecond of its arrival."""

    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    close: tuple[int, str] | None = None
    closed_s: float = 0.0

    @property
    def code(self) -> int:
        return self.close[0] if self.close else 0

    def brief(self) -> list[tuple[float, str]]:
        return [(at_s, in_short(message)) for at_s, message in self.events]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for _, message in self.events if message["type"] == kind]


Step = float | str | dict[str, Any] | Wait | Frame
"""Seconds of silence in frames as they are spoken, raw text, a control message, or one of the above."""


def in_short(message: dict[str, Any]) -> str:
    if message["type"] == "Turn":
        return f"{'final' if message['end_of_turn'] else 'partial'}: {message['transcript']}"
    return str(message["type"])


def control(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": kind, **fields}


FORCE = control("ForceEndpoint")
END = control("Terminate")


def dial(url: str, query: dict[str, Any] | str = U3, key: str = "k") -> connect:
    asked = query if isinstance(query, str) else urlencode(query)
    headers = {"Authorization": key} if key else {}
    return connect(
        f"{url}/v3/ws?{asked}",
        additional_headers=headers,
        compression=None,
        ping_interval=None,
        proxy=None,
        close_timeout=1,
    )


async def send(socket: ClientConnection, step: Step) -> None:
    match step:
        case Wait(seconds=seconds):
            await anyio.sleep(seconds)
        case Frame(pcm=pcm):
            await socket.send(pcm)
        case dict():
            await socket.send(json.dumps(step))
        case str():
            await socket.send(step)
        case _:
            for _ in range(round(step / FRAME_S)):
                await anyio.sleep(FRAME_S)  # a frame exists when its last sample was spoken
                await socket.send(bytes(round(RATE * FRAME_S) * 2))


async def hold(socket: ClientConnection, steps: Iterable[Step]) -> Call:
    """Send the steps, read to the end of the session, and hang up half a minute later if it has none."""
    call, start_s = Call(), anyio.current_time()

    async def read() -> None:
        try:
            async for text in socket:
                call.events.append((round(anyio.current_time() - start_s, 6), json.loads(text)))
        except ConnectionClosed:
            pass
        call.closed_s = round(anyio.current_time() - start_s, 6)
        call.close = (socket.close_code or 0, socket.close_reason or "")
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        try:
            for step in steps:
                await send(socket, step)
        except ConnectionClosed:
            pass
        await anyio.sleep(30)
        group.cancel_scope.cancel()
    return call


async def shaken_by_hand(url: str) -> anyio.abc.SocketStream:
    """Return a connection that has asked for a session, and answers nothing."""
    stream = await anyio.connect_tcp("127.0.0.1", int(url.rpartition(":")[2]))
    lines = [
        f"GET /v3/ws?sample_rate={RATE} HTTP/1.1",
        "host: h",
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ]
    await stream.send("\r\n".join([*lines, "", ""]).encode())
    return stream


async def called(simulator: STTSimulator, *steps: Step, query: dict[str, Any] | str = U3, key: str = "k") -> Call:
    async with simulator.serve() as url, dial(url, query, key) as socket:
        return await hold(socket, steps)
