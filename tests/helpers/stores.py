"""A store that can be away, or slow."""

from __future__ import annotations

import anyio

from voicepipe import Kept, MemoryStore, StoreError


class FailingStore(MemoryStore):
    """A store in memory that fails when a test says so.

    Attributes:
        is_away: Whether each operation raises `StoreError`.
        delay_s: How long each operation takes, before it does anything.
        operations: The names of those that were called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.delay_s = 0.0
        self.operations: list[str] = []

    async def create(self, call_id: str, worker: str, expires_s: float) -> int:
        await self._reach("create")
        return await super().create(call_id, worker, expires_s)

    async def put(self, call_id: str, data: bytes, *, revision: int, lease_s: float, expires_s: float) -> bool:
        await self._reach("put")
        return await super().put(call_id, data, revision=revision, lease_s=lease_s, expires_s=expires_s)

    async def get(self, call_id: str) -> Kept | None:
        await self._reach("get")
        return await super().get(call_id)

    async def claim(self, call_id: str, worker: str) -> Kept | None:
        await self._reach("claim")
        return await super().claim(call_id, worker)

    async def forget(self, call_id: str) -> None:
        await self._reach("forget")
        await super().forget(call_id)

    async def keep(self, key: str, value: bytes, *, expires_s: float) -> None:
        await self._reach("keep")
        await super().keep(key, value, expires_s=expires_s)

    async def take(self, key: str) -> bytes | None:
        await self._reach("take")
        return await super().take(key)

    async def _reach(self, operation: str) -> None:
        self.operations.append(operation)
        await anyio.sleep(self.delay_s)
        if self.is_away:
            raise StoreError("the store is away")
