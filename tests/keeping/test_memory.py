"""The store in memory: what a worker keeps of its calls, and who has a call."""

from __future__ import annotations

import pytest

from voicepipe import ConfigurationError, Kept, MemoryStore, StoreError

pytestmark = pytest.mark.anyio


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_what_was_written_is_there() -> None:
    """A worker begins a record and writes it; another one sees it, and when it claims it, gets the next revision."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    async with store.open():
        assert await store.create("call", "one", 30.0) == 1
        assert await store.get("call") == Kept(b"", 1, "one")
        assert await store.put("call", b"hello", revision=1, lease_s=2.0, expires_s=30.0)
        clock.now += 0.5
        assert await store.get("call") == Kept(b"hello", 1, "one", 1.5)
        assert await store.claim("call", "two") == Kept(b"hello", 2, "two", 1.5)


async def test_a_worker_that_lost_its_call_is_refused() -> None:
    """What it writes is kept apart, and the record stays as the new worker left it."""
    store = MemoryStore()
    first = await store.create("call", "one", 30.0)
    claimed = await store.claim("call", "two")
    assert claimed is not None
    assert not await store.put("call", b"began to pay", revision=first, lease_s=2.0, expires_s=30.0)
    assert await store.get("call") == Kept(b"", claimed.revision, "two", 0.0, b"began to pay")
    assert await store.put("call", b"more", revision=claimed.revision, lease_s=0.0, expires_s=30.0)
    assert await store.get("call") == Kept(b"more", claimed.revision, "two", 0.0, b"began to pay")


async def test_the_lease_of_the_worker_before_outlasts_a_claim() -> None:
    """It counts until it is over, also for the worker after the next; a worker's own ends when it writes 0."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    revision = await store.create("call", "one", 30.0)
    await store.put("call", b"", revision=revision, lease_s=2.0, expires_s=30.0)
    await store.put("call", b"", revision=revision, lease_s=0.0, expires_s=30.0)
    assert await store.get("call") == Kept(b"", 1, "one", 0.0)
    await store.put("call", b"", revision=revision, lease_s=2.0, expires_s=30.0)
    await store.claim("call", "two")
    await store.put("call", b"", revision=2, lease_s=0.0, expires_s=30.0)
    clock.now += 0.5
    assert await store.claim("call", "three") == Kept(b"", 3, "three", 1.5)
    clock.now += 1.5
    assert await store.get("call") == Kept(b"", 3, "three", 0.0)


async def test_records_and_values_expire() -> None:
    """After its time a record is neither given nor claimed; what is written later makes it again."""
    clock = Clock()
    store = MemoryStore(clock=clock)
    revision = await store.create("call", "one", 30.0)
    await store.keep("token", b"facts", expires_s=30.0)
    clock.now += 30.0
    assert (await store.get("call"), await store.claim("call", "two"), await store.take("token")) == (None, None, None)
    assert await store.put("call", b"again", revision=revision, lease_s=0.0, expires_s=1.0)
    assert await store.claim("call", "two") == Kept(b"again", revision + 1, "two")


async def test_a_value_is_given_once() -> None:
    """The second who asks gets nothing."""
    store = MemoryStore()
    await store.keep("token", b"old", expires_s=30.0)
    await store.keep("token", b"facts", expires_s=30.0)
    assert [await store.take("token"), await store.take("token")] == [b"facts", None]


async def test_a_call_that_was_forgotten_stays_forgotten() -> None:
    """A worker that writes late brings nothing back, and one that has the call still has it."""
    store = MemoryStore()
    first = await store.create("call", "one", 30.0)
    await store.claim("call", "two")
    await store.forget("call")
    assert not await store.put("call", b"late", revision=first, lease_s=0.0, expires_s=30.0)
    assert await store.put("call", b"more", revision=first + 1, lease_s=0.0, expires_s=30.0)
    assert (await store.get("call"), await store.claim("call", "three")) == (None, None)
    assert await store.create("call", "four", 30.0) == 3


async def test_a_further_call_of_the_same_id_is_another_call() -> None:
    """The worker of the first has lost it, and nothing of it is left."""
    store = MemoryStore()
    first = await store.create("call", "one", 30.0)
    await store.put("call", b"secret", revision=first, lease_s=2.0, expires_s=30.0)
    second = await store.create("call", "two", 30.0)
    assert not await store.put("call", b"secret", revision=first, lease_s=2.0, expires_s=30.0)
    assert await store.get("call") == Kept(b"", second, "two")


async def test_memory_is_bounded() -> None:
    """So many records and values are kept and no more; those that have expired make room."""
    clock = Clock()
    store = MemoryStore(most=1, clock=clock)
    await store.create("one", "worker", 0.1)
    await store.keep("one", b"", expires_s=0.1)
    with pytest.raises(StoreError, match="the memory store is full: it keeps 1"):
        await store.create("two", "worker", 30.0)
    with pytest.raises(StoreError, match="full"):
        await store.keep("two", b"", expires_s=30.0)
    clock.now += 0.1
    await store.create("two", "worker", 30.0)
    await store.keep("two", b"", expires_s=30.0)
    assert repr(store) == "<MemoryStore 1 records, 1 values>"


async def test_what_no_store_takes() -> None:
    """The messages say what was found and what to do, and quote nothing of a call."""
    store = MemoryStore()
    refused = [
        (store.get(""), "the id of the call has 0 characters; a store takes from 1 to 512"),
        (store.claim("call", "w" * 513), "the name of the worker has 513 characters"),
        (store.take("k" * 513), "the key has 513 characters"),
        (store.put("call", bytes(65_537), revision=1, lease_s=0, expires_s=1), "65537 bytes, and a store takes 65536"),
        (store.keep("key", bytes(65_537), expires_s=1), "65537 bytes"),
    ]
    for operation, message in refused:
        with pytest.raises(StoreError, match=message):
            await operation
    for expires_s, lease_s in ((0.0, 0.0), (-1.0, 0.0), (float("inf"), 0.0), (float("nan"), 0.0), (1.0, -1.0)):
        with pytest.raises(ConfigurationError, match="seconds, not"):
            await store.put("call", b"", revision=1, lease_s=lease_s, expires_s=expires_s)
    with pytest.raises(ConfigurationError, match="most must be at least 1, not 0"):
        MemoryStore(most=0)
    assert "personal" not in repr(Kept(b"personal", 1, "one", late=b"personal"))


async def test_no_revision_is_used_twice() -> None:
    """A record that was lost, and made again by a worker that had lost its call, gives the next claim another number.

    With the same number two workers would have the call.
    """
    clock = Clock()
    store = MemoryStore(clock=clock)
    first = await store.create("call", "one", 30.0)
    second = await store.claim("call", "two")
    clock.now += 30.0
    assert await store.put("call", b"", revision=first, lease_s=0.0, expires_s=30.0)
    third = await store.claim("call", "three")
    assert second is not None
    assert third is not None
    assert third.revision > second.revision
    assert not await store.put("call", b"", revision=second.revision, lease_s=0.0, expires_s=30.0)
