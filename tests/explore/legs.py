"""The workers that hold a call one after another, and how it gets from one to the next.

Rule 1: each has parts, a host and a session of its own, as another process has. They share the store, and the world.
Rule 2: nothing of a worker that was killed counts any more. Of one that merely lost its caller, what its tools do does.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio

from voicepipe.audio.source import PushSource
from voicepipe.keeping.memory import MemoryStore
from voicepipe.serving.limits import Limits
from voicepipe.serving.resuming import Keeper
from voicepipe.serving.transport import Line

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import AsyncGenerator

    import voicepipe as vp
    from tests.explore.parts import Caller, Driver
    from tests.explore.world import Ear
    from voicepipe.keeping.store import Kept

LEG: ContextVar[Leg | None] = ContextVar("leg", default=None)
"""The worker that the current task is of; None for the caller and the application."""

KEEP_S = 30.0


class Leg:
    """A worker that holds the call.

    Attributes:
        number: Counts them, from 0.
        ear: What the caller hears of it.
        caller: Through which it hears them.
        session: Its session; None before it is open, and once the worker no longer has the call.
        scope: Cancelling it kills the worker.
        leave: Set when its application is to leave the session's block.
        is_dead: Whether it was killed.
        has_lost: Whether it has lost the caller.
        record: The record of the call; None if it keeps none.
        task: The task that it is.
    """

    def __init__(self, number: int, ear: Ear, caller: Caller) -> None:
        self.number = number
        self.ear = ear
        self.caller = caller
        self.session: vp.Session[Driver] | None = None
        self.scope = anyio.CancelScope()
        self.leave = anyio.Event()
        self.is_dead = False
        self.has_lost = False
        self.record: Any = None
        self.task: Task[Any] | None = None


class Uncounted:
    """Stands for the metrics of a server, in which nobody looks."""

    def resumed(self, why_not: str) -> None:
        """Take whether a call goes on."""

    def store_failed(self, doing: str) -> None:
        """Take that the store failed."""


class SlowStore(MemoryStore):
    """The store of one worker: it is slow, and does nothing more once the worker is dead."""

    def __init__(self, shared: MemoryStore, leg: Leg, slow_s: float) -> None:
        super().__init__()
        self._shared = shared
        self._leg = leg
        self._slow_s = slow_s

    async def _arrives(self) -> None:
        await anyio.sleep(self._slow_s)
        if self._leg.is_dead:
            await anyio.sleep_forever()

    async def create(self, call_id: str, worker: str, expires_s: float) -> int:
        await self._arrives()
        return await self._shared.create(call_id, worker, expires_s)

    async def put(self, call_id: str, data: bytes, *, revision: int, lease_s: float, expires_s: float) -> bool:
        await self._arrives()
        is_ours = await self._shared.put(call_id, data, revision=revision, lease_s=lease_s, expires_s=expires_s)
        await self._arrives()
        return is_ours

    async def get(self, call_id: str) -> Kept | None:
        await self._arrives()
        return await self._shared.get(call_id)

    async def claim(self, call_id: str, worker: str) -> Kept | None:
        await self._arrives()
        return await self._shared.claim(call_id, worker)

    async def forget(self, call_id: str) -> None:
        await self._arrives()
        await self._shared.forget(call_id)


class Keeping:
    """What is kept of a call between two workers.

    Args:
        kind: "exact" for a snapshot of the moment; anything else for a record in a store.
        slow_s: How long the store takes, there and back each.

    Attributes:
        snapshot: The snapshot of the moment.
        is_resumed: Whether the present worker goes on with the call.
    """

    def __init__(self, kind: str, slow_s: float) -> None:
        self.kind = kind
        self.slow_s = slow_s
        self.snapshot: bytes | None = None
        self.is_resumed = False
        self._store = MemoryStore()
        self._key = ""

    @property
    def lag_s(self) -> float:
        """How much older than the moment may be what is kept, at most."""
        return 0.0 if self.kind == "exact" else 0.35 + 4 * self.slow_s

    @asynccontextmanager
    async def arguments(self, leg: Leg) -> AsyncGenerator[dict[str, Any]]:
        """Return what `Host.session` is given so that the worker keeps the call, and goes on with it."""
        if self.kind in ("exact", ""):
            self.is_resumed = self.snapshot is not None
            yield {"resume": self.snapshot, "observers": []}
            return
        metrics: Any = Uncounted()
        keeper = Keeper(SlowStore(self._store, leg, self.slow_s), Limits(resume_s=KEEP_S), metrics)
        line = Line(source=PushSource(), output=leg.ear, resume=self._key)

        async def let_go() -> None:
            """Never called: each worker has a keeper of its own."""

        async with keeper.keeping(line, {}, "explore", let_go) as kept:
            assert kept is not None
            self._key, self.is_resumed = line.resumed.key, line.resumed.is_resumed
            leg.record = kept.record
            yield {"id": kept.id, **kept.for_session}
