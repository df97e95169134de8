"""A chat completions server in a separate process, which logs when it did what.

    async with served(first_token_s=0.08, token_s=0.01) as server: ... server.base_url ... await server.log()

It is a bare protocol instead of `ScriptedGateway`: at 50 conversations the server must cost next to nothing, and each
token is stamped just before its bytes go to the socket. The clock is the event loop's, which on Linux is the same in
all processes, so stamps of both sides can be subtracted. `marked(n)` returns the user's words by which the log
identifies the request.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from asyncio import Protocol, Transport, get_running_loop
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

import anyio
import httpx

from voicepipe.testing.script import tokens

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

__all__ = ["REPLIES", "Server", "listening", "marked", "served"]

REPLIES = {
    "answer": (
        "Your parcel left our depot before nine this morning.",
        "You can expect it at your door on Thursday.",
        "Can I help you with anything else today?",
    ),
    "parcel": (
        "Your parcel left our depot at nine.",
        "It should be there by Thursday.",
    ),
    "tool": (
        "It is on its way and arrives on Thursday.",
        "Can I help you with anything else today?",
    ),
    "story": tuple(f"This is part {part} of a story that nobody will ever hear to its end." for part in range(1, 41)),
}
MARK = re.compile(r"#(\d+) (\w+)")


def marked(number: int, reply: str = "answer") -> str:
    """Return what the caller says to get a reply, with a number that is used once per server."""
    return f"#{number} {reply}: where is my parcel?"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        base_url: For the model stage.
    """

    base_url: str

    async def log(self) -> dict[int, dict[str, Any]]:
        """Return, by number, what the server took of a turn (`spent_s`): from a request to the token that is waited
        for, which ends a tool call or the first sentence, the requests of a turn added up; the two times of each
        request (`waits`); and when the client closed the connection before the end (`closed_s`).
        """
        async with httpx.AsyncClient() as http:
            entries = (await http.get(f"{self.base_url}/log")).json()
        return {int(number): entry for number, entry in entries.items()}


@asynccontextmanager
async def served(*, first_token_s: float, token_s: float):
    """Run a server while the block lasts."""
    command = [sys.executable, "-m", "benchmarks.server", str(first_token_s), str(token_s)]
    async with await anyio.open_process(command, stdout=PIPE, stderr=None) as process:
        try:
            yield Server((await process.stdout.receive()).decode().strip())
        finally:
            process.kill()


class _Connection(Protocol):
    def __init__(self, options: argparse.Namespace, log: dict[int, dict[str, Any]], tasks: TaskGroup) -> None:
        self._options = options
        self._log = log
        self._tasks = tasks
        self._buffer = b""
        self._entry: dict[str, Any] | None = None  # of the reply that is being sent
        self._scope = anyio.CancelScope()
        self._now = get_running_loop().time

    def connection_made(self, transport: Transport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._entry is not None:
            self._entry["closed_s"] = self._now()
            self._scope.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = re.search(rb"(?i)content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            return
        body, self._buffer = rest[:size], rest[size:]
        if head.startswith(b"GET"):
            self._answer(self._log if b"/log" in head.split(b"\r\n")[0] else {"object": "list", "data": []})
        else:
            received_s = self._now()
            messages = json.loads(body)["messages"]
            said = next(m["content"] for m in reversed(messages) if m["role"] == "user")
            number, reply = MARK.findall(marked(0, self._options.reply) if self._options.reply else said)[-1]
            self._entry = self._log.setdefault(int(number), {"spent_s": 0.0, "waits": []})
            self._scope = anyio.CancelScope()
            calls = reply == "tool" and messages[-1]["role"] == "user"
            deltas = _call(int(number)) if calls else [{"content": piece} for piece in tokens(" ".join(REPLIES[reply]))]
            awaited = len(deltas) if calls else len(tokens(REPLIES[reply][0]))
            self._tasks.start_soon(self._reply, self._entry, received_s, deltas, awaited - 1)

    def _answer(self, value: Any) -> None:
        data = json.dumps(value).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
        self._transport.write(head.encode() + data)

    async def _reply(
        self, entry: dict[str, Any], received_s: float, deltas: list[dict[str, Any]], awaited: int
    ) -> None:
        start_s = received_s + self._options.first_token_s
        with self._scope:
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            )
            for index, delta in enumerate(deltas):
                await anyio.sleep_until(start_s + index * self._options.token_s)
                if index == awaited:
                    awaited_s = self._now()
                    entry["spent_s"] += awaited_s - received_s
                    entry["waits"].append((received_s, awaited_s))
                self._transport.write(_event(json.dumps(_chunk(delta))))
            self._entry = None
            self._transport.write(_event(json.dumps(_chunk({}, "stop"))) + _event("[DONE]") + b"0\r\n\r\n")


def _call(number: int) -> list[dict[str, Any]]:
    """Return the deltas of one call of the tool `find_parcel`."""
    opening = {"index": 0, "id": f"call_{number}", "type": "function"}
    pieces = tokens(json.dumps({"parcel": number, "street": "Main Street"}))
    return [
        {"tool_calls": [{**opening, "function": {"name": "find_parcel", "arguments": ""}}]},
        *({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces),
    ]


def _chunk(delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "scripted", "choices": [choice]}


def _event(data: str) -> bytes:
    event = f"data: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(event), event)


@asynccontextmanager
async def listening(options: argparse.Namespace):
    """Serve in this process while the block lasts, and yield the URL; `options` are those of the command line."""
    async with anyio.create_task_group() as tasks:
        server = await get_running_loop().create_server(
            partial(_Connection, options, {}, tasks), "127.0.0.1", 0, backlog=1024
        )
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}/v1"
        server.close()
        tasks.cancel_scope.cancel()


async def _serve(options: argparse.Namespace) -> None:
    async with listening(options) as url:
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        await anyio.sleep_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("first_token_s", type=float)
    parser.add_argument("token_s", type=float)
    parser.add_argument("--reply", choices=REPLIES, help="the reply to each request, whatever the user says")
    anyio.run(_serve, parser.parse_args())
