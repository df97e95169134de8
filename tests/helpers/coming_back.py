"""Callers who come back: a transport that resumes calls, and its other end, on loopback.

async with server(store, row) as worker, called(worker) as caller: ...
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from websockets.exceptions import ConnectionClosed

import voicepipe as vp
from tests.helpers.plain_transport import FRAME, RATE, Caller, Plain, Voice, calling
from tests.helpers.troubled_store import Link
from voicepipe.serving import Line, Peer, Serve
from voicepipe.serving.desk import Desk


class Returning(Plain):
    """Names its key in its first words, and whether another process goes on in its last."""

    async def start(self, peer: Peer, desk: Desk) -> Line:
        hello = json.loads(await peer.receive())
        source, output = vp.PushSource(RATE), Voice(peer)
        facts = hello["facts"]
        returns = bool(facts.get("returns", True))
        return Line(source=source, output=output, facts=facts, resume=hello["resume"], returns=returns)

    async def begun(self, peer: Peer, line: Line, session: vp.Session) -> None:
        came = line.resumed
        said = {"type": "ready", "key": came.key, "resumed": came.is_resumed, "why": came.why_not, "id": session.id}
        await peer.send(json.dumps(said))

    async def restarts(self, peer: Peer, line: Line, session: vp.Session) -> None:
        await peer.send(json.dumps({"type": "bye", "resumable": line.is_handed_over}))


class Worker:
    """One server of several that share a store, and what happened in it.

    Attributes:
        sessions: Its sessions.
        link: Its connection to the store.
    """

    def __init__(self, store: vp.MemoryStore, row: vp.Pipeline[Any], **options: Any) -> None:
        self.sessions: list[vp.Session] = []
        self.link = Link(store)
        self.serve = Serve(row, [Returning()], store=self.link, on_call=self.sessions.append, **options)
        self.port = 0

    def counted(self, name: str) -> dict[str, float]:
        """Return what was counted under a name, by its one label."""
        found: dict[str, float] = {}
        for metric in self.serve.desk.metrics.registry.collect():
            for sample in metric.samples:
                if sample.name == name and sample.value:
                    found[",".join(sample.labels.values())] = sample.value
        return found


class Guest(Caller):
    """The other end of a call that can come back.

    Attributes:
        ready: What the worker said first.
    """

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller.socket)
        self.ready: dict[str, Any] = {}
        self.code: int | None = None
        self.closed = anyio.Event()
        self._is_ready = anyio.Event()

    async def hear(self) -> None:
        """Take what comes until the connection is closed."""
        try:
            async for message in self.socket:
                self._take(message)
                if self.texts and not self.ready:
                    self.ready = self.texts[0]
                    self._is_ready.set()
        except ConnectionClosed:
            pass
        self.code = self.socket.close_code
        self.closed.set()

    async def keep_sending(self) -> None:
        """Send sound at its pace: scripted recognisers count it."""
        try:
            while True:
                await self.socket.send(FRAME)
                await anyio.sleep(0.02)
        except ConnectionClosed:
            pass

    async def wait_ready(self) -> None:
        """Wait for the worker's first words."""
        await self._is_ready.wait()

    def vanish(self) -> None:
        """Break the connection, without a word."""
        self.socket.transport.abort()


@asynccontextmanager
async def workers(*given: Worker) -> AsyncGenerator[None]:
    """Run workers as long as the block lasts."""
    if not given:
        yield
        return
    async with given[0].serve.listening() as given[0].port, workers(*given[1:]):
        yield


@asynccontextmanager
async def visiting(worker: Worker, key: str | None = "", **facts: Any) -> AsyncGenerator[Guest]:
    """Call a worker, with the key of a call that is to go on if there is one."""
    async with calling(worker.port) as caller, anyio.create_task_group() as tasks:
        guest = Guest(caller)
        await guest.socket.send(json.dumps({"facts": facts, "resume": key}))
        tasks.start_soon(guest.hear)
        tasks.start_soon(guest.keep_sending)
        await guest.wait_ready()
        yield guest
        tasks.cancel_scope.cancel()
