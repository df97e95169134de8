"""Our stores pass the kit's checks, and each store that is broken in one way fails the check for it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import anyio
import pytest

from tests.helpers.redis_server import needs_redis, redis_serving
from voicepipe import Kept, MemoryStore, RedisStore
from voicepipe.testing.conformance import Nonconformance, check_store


def test_memory() -> None:
    """The store in memory conforms; it is for one process."""
    report = check_store(MemoryStore, refuses=[lambda: MemoryStore(most=0)])
    assert report.not_applicable == ("two stores share what they keep", "no key is shown")


@pytest.mark.scale
@needs_redis
def test_redis() -> None:
    """The store in Redis conforms, and shows no password."""
    with redis_serving("--requirepass", "open sesame") as server:
        url = f"{server.url}?password=open%20sesame"
        wrong = [lambda: RedisStore("http://localhost")]
        report = check_store(lambda: RedisStore(url), real_time=True, refuses=wrong, secrets=["open sesame"])
    assert report.not_applicable == ()


class KeepsNothing(MemoryStore):
    """Only says that it has written."""

    async def put(self, call_id: str, data: bytes, **settings: Any) -> bool:
        return True


class LetsAnyoneWrite(MemoryStore):
    """The last who writes wins."""

    async def put(self, call_id: str, data: bytes, *, revision: int, **settings: Any) -> bool:
        kept = await self.get(call_id)
        return await super().put(call_id, data, revision=kept.revision if kept else revision, **settings)


class LosesWhatCameLate(MemoryStore):
    """Refuses a worker that has lost its call, and drops what it says."""

    async def get(self, call_id: str) -> Kept | None:
        kept = await super().get(call_id)
        return kept and replace(kept, late=None)


class ClaimsInTwoSteps(MemoryStore):
    """Reads, and then writes."""

    async def claim(self, call_id: str, worker: str) -> Kept | None:
        if (record := self._found(call_id, self._clock())) is None or record.data is None:
            return None
        revision = record.revision + 1
        await anyio.sleep(0.001)
        record.revision, record.worker = revision, worker
        return await self.get(call_id)


class ForgetsTheLease(MemoryStore):
    """Keeps the lease of the worker that has the call, and no other."""

    async def claim(self, call_id: str, worker: str) -> Kept | None:
        await super().claim(call_id, worker)
        if (record := self._found(call_id, self._clock())) is not None:
            record.leased_before_s = 0.0
        return await self.get(call_id)


class NeverExpires(MemoryStore):
    """Has no clock."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: 0.0)


class CountsByRecord(MemoryStore):
    """Gives the next number, though the record was lost."""

    async def claim(self, call_id: str, worker: str) -> Kept | None:
        if (record := self._found(call_id, self._clock())) is not None:
            self._last = record.revision
        return await super().claim(call_id, worker)


class Deletes(MemoryStore):
    """Keeps no trace of a call that was forgotten, and makes it again."""

    async def forget(self, call_id: str) -> None:
        self._records.pop(call_id, None)


class LeavesTheLastCall(MemoryStore):
    """Goes on with the record of a call that had the same name."""

    async def create(self, call_id: str, worker: str, expires_s: float) -> int:
        before = await self.get(call_id)
        revision = await super().create(call_id, worker, expires_s)
        if before is not None:
            self._records[call_id].data = before.data
        return revision


class GivesTwice(MemoryStore):
    """Deletes after it has read."""

    async def take(self, key: str) -> bytes | None:
        _, value = self._values.get(key, (0.0, None))
        await anyio.sleep(0.001)
        self._values.pop(key, None)
        return value


class FoldsNames(MemoryStore):
    """Looks at the end of a name."""

    def _found(self, call_id: str, now: float) -> Any:
        return next((record for name, record in self._records.items() if name.endswith(call_id)), None)


class TakesAnyLength(MemoryStore):
    """Sets no bound."""

    async def take(self, key: str) -> bytes | None:
        return await super().take(key[:512])


class SwallowsCancellation(MemoryStore):
    """Takes the end of a call for an error of the network."""

    async def get(self, call_id: str) -> Kept | None:
        try:
            await anyio.sleep(0.01)
        except asyncio.CancelledError:
            return None
        return await super().get(call_id)


@pytest.mark.parametrize(
    ("make", "check"),
    [
        (KeepsNothing, "keeps what was written"),
        (LetsAnyoneWrite, "of two workers one has the call"),
        (LosesWhatCameLate, "of two workers one has the call"),
        (ClaimsInTwoSteps, "many claim a call at once"),
        (ForgetsTheLease, "a lease outlasts a claim"),
        (NeverExpires, "what is kept expires"),
        (CountsByRecord, "a lost record is made again"),
        (Deletes, "a call that was forgotten stays forgotten"),
        (LeavesTheLastCall, "a further call of the same name"),
        (GivesTwice, "a value is given once"),
        (FoldsNames, "any name and any data"),
        (TakesAnyLength, "refuses what is too long"),
        (SwallowsCancellation, "an operation is cancelled at each await"),
    ],
)
def test_a_broken_store_is_found(make: type[MemoryStore], check: str) -> None:
    """The check for what is broken fails, with what was expected and found, and with what to do."""
    with pytest.raises(Nonconformance) as raised:
        check_store(make, only=[check])
    assert raised.value.report.failed == (check,)
    assert "expected " in raised.value.report[check].detail
    assert "found " in raised.value.report[check].detail
