"""A worker's connection to a store that others share: it can be slow, hang, or be cut, and shows what went over it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from voicepipe.errors import StoreError
from voicepipe.keeping.envelope import Envelope
from voicepipe.keeping.memory import MemoryStore
from voicepipe.keeping.store import Kept, Store


class Link(Store):
    """The connection of one worker.

    Attributes:
        takes_s: How long each operation takes before it is done; inf for a store that hangs.
        is_cut: Whether nothing arrives any more, as after `kill -9`: each operation fails.
        raises: What each operation raises that no store should.
        writes: Each write that arrived: when it was begun, whether the turn was in flight, and its lease.
        forgotten: The records that were deleted over it.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.takes_s = 0.0
        self.is_cut = False
        self.raises: Exception | None = None
        self.writes: list[tuple[float, bool, float]] = []
        self.forgotten: list[str] = []
        self._store = store

    @property
    def is_shared(self) -> bool:
        return self._store.is_shared

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        async with self._store.open():
            yield

    async def _pass(self) -> None:
        await anyio.sleep(self.takes_s)
        if self.is_cut:
            raise StoreError("the store cannot be reached")
        if self.raises is not None:
            raise self.raises

    async def create(self, call_id: str, worker: str, expires_s: float) -> int:
        await self._pass()
        return await self._store.create(call_id, worker, expires_s)

    async def put(self, call_id: str, data: bytes, *, revision: int, lease_s: float, expires_s: float) -> bool:
        began_s = anyio.current_time()
        await self._pass()
        self.writes.append((round(began_s, 3), Envelope.unpacked(data).is_busy, lease_s))
        return await self._store.put(call_id, data, revision=revision, lease_s=lease_s, expires_s=expires_s)

    async def get(self, call_id: str) -> Kept | None:
        await self._pass()
        return await self._store.get(call_id)

    async def claim(self, call_id: str, worker: str) -> Kept | None:
        await self._pass()
        return await self._store.claim(call_id, worker)

    async def forget(self, call_id: str) -> None:
        await self._pass()
        self.forgotten.append(call_id)
        await self._store.forget(call_id)

    async def keep(self, key: str, value: bytes, *, expires_s: float) -> None:
        await self._pass()
        await self._store.keep(key, value, expires_s=expires_s)

    async def take(self, key: str) -> bytes | None:
        await self._pass()
        return await self._store.take(key)
