"""A store in the memory of one process: for tests, and for one worker whose callers may come back.

Rule 1: it does what a store of many workers does, in the same order, so that a test with it tells something.
Rule 2: what has expired is deleted within a second of the next write, and is never given to anybody.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voicepipe.core.clock import loop_time
from voicepipe.errors import ConfigurationError, StoreError
from voicepipe.keeping.store import Kept, Store, check_data, check_name, check_times

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

__all__ = ["MemoryStore"]

SWEEP_S: Final = 1.0
"""How often what has expired is looked for: 10,000 records take a millisecond."""


@dataclass(slots=True)
class _Record:
    """A call.

    Attributes:
        first: The revision that began it: what came before is of another call.
        revision: The revision that counts.
        expires_s: When it expires.
        data: None once it is forgotten.
        leased_s: Until when the worker that has it may act.
        leased_before_s: Until when the workers before may.
        late: What one of them wrote.
    """

    first: int
    revision: int
    worker: str
    expires_s: float
    data: bytes | None
    leased_s: float = 0.0
    leased_before_s: float = 0.0
    late: bytes | None = None


class MemoryStore(Store):
    """Keeps records in this process, where they end with it. All workers have to be in one event loop.

    Args:
        most: How many records, and how many values, are kept at a time. A further one is refused.
        clock: What tells the time in seconds; the running event loop's by default.

    Raises:
        ConfigurationError: `most` is below 1.
    """

    def __init__(self, *, most: int = 10_000, clock: Callable[[], float] = loop_time) -> None:
        if most < 1:
            raise ConfigurationError(f"MemoryStore: most must be at least 1, not {most!r}")
        self._most = most
        self._clock = clock
        self._records: dict[str, _Record] = {}
        self._values: dict[str, tuple[float, bytes]] = {}  # with the time at which they expire
        self._last = 0  # the largest revision that there has been
        self._swept_s = -SWEEP_S
        self._openings = 0

    @property
    def is_shared(self) -> bool:
        """Whether several workers in this process use it: with the process its records end."""
        return self._openings > 1

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Count who uses it. See `Store.open`."""
        self._openings += 1
        try:
            yield
        finally:
            self._openings -= 1

    async def create(self, call_id: str, worker: str, expires_s: float) -> int:
        """See `Store.create`."""
        check_name("id of the call", call_id)
        check_name("name of the worker", worker)
        check_times(expires_s)
        now = self._sweep()
        self._make_room(self._records, call_id, now)
        self._last += 1
        self._records[call_id] = _Record(self._last, self._last, worker, now + expires_s, b"")
        return self._last

    async def put(self, call_id: str, data: bytes, *, revision: int, lease_s: float, expires_s: float) -> bool:
        """See `Store.put`."""
        check_name("id of the call", call_id)
        check_data(data)
        check_times(expires_s, lease_s)
        now = self._sweep()
        record = self._found(call_id, now)
        if record is None:
            self._make_room(self._records, call_id, now)
            record = self._records[call_id] = _Record(revision, revision, "", 0.0, b"")
            self._last = max(self._last, revision)
        if revision < record.revision:
            if record.data is not None and revision >= record.first:
                record.late = data
            return False
        record.expires_s = now + expires_s
        if record.data is not None:
            record.worker = record.worker if revision == record.revision else ""  # a claim was lost
            record.revision, record.data, record.leased_s = revision, data, now + lease_s
        return True

    async def get(self, call_id: str) -> Kept | None:
        """See `Store.get`."""
        check_name("id of the call", call_id)
        now = self._clock()
        record = self._found(call_id, now)
        return None if record is None else _kept(record, now)

    async def claim(self, call_id: str, worker: str) -> Kept | None:
        """See `Store.claim`."""
        check_name("id of the call", call_id)
        check_name("name of the worker", worker)
        now = self._clock()
        record = self._found(call_id, now)
        if record is None or record.data is None:
            return None
        self._last += 1
        record.revision, record.worker = self._last, worker
        record.leased_before_s, record.leased_s = max(record.leased_before_s, record.leased_s), 0.0
        return _kept(record, now)

    async def forget(self, call_id: str) -> None:
        """See `Store.forget`."""
        check_name("id of the call", call_id)
        if (record := self._found(call_id, self._clock())) is not None:  # its revision stays, for those who write late
            record.data = record.late = None

    async def keep(self, key: str, value: bytes, *, expires_s: float) -> None:
        """See `Store.keep`."""
        check_name("key", key)
        check_data(value)
        check_times(expires_s)
        now = self._sweep()
        self._make_room(self._values, key, now)
        self._values[key] = now + expires_s, value

    async def take(self, key: str) -> bytes | None:
        """See `Store.take`."""
        check_name("key", key)
        expires_s, value = self._values.pop(key, (0.0, b""))
        return value if expires_s > self._clock() else None

    def _found(self, call_id: str, now: float) -> _Record | None:
        record = self._records.get(call_id)
        return record if record is not None and record.expires_s > now else None

    def _make_room(self, kept: dict[str, _Record] | dict[str, tuple[float, bytes]], name: str, now: float) -> None:
        if name in kept or len(kept) < self._most:
            return
        self._delete_expired(now)
        if len(kept) >= self._most:
            raise StoreError(f"the memory store is full: it keeps {self._most}; write MemoryStore(most=...) for more")

    def _sweep(self) -> float:
        """Delete what has expired, now and then, and return the time."""
        now = self._clock()
        if now >= self._swept_s + SWEEP_S:
            self._delete_expired(now)
        return now

    def _delete_expired(self, now: float) -> None:
        self._swept_s = now
        for call_id in [call_id for call_id, record in self._records.items() if record.expires_s <= now]:
            del self._records[call_id]
        for key in [key for key, (expires_s, _) in self._values.items() if expires_s <= now]:
            del self._values[key]

    def __repr__(self) -> str:
        """Show how much there is, and nothing of it."""
        return f"<MemoryStore {len(self._records)} records, {len(self._values)} values>"


def _kept(record: _Record, now: float) -> Kept | None:
    if record.data is None:
        return None
    left_s = max(0.0, record.leased_s - now, record.leased_before_s - now)
    return Kept(record.data, record.revision, record.worker, left_s, record.late)
