"""What a store may do, as a model: hypothesis does operations in any order on both, and compares what they return."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from voicepipe import Kept, Store

IDS = st.sampled_from(["call", "another", "with\x00 {odd}:*characters/é\ud800"])
WORKERS = st.sampled_from(["one", "two", "three"])
DATA = st.binary(max_size=8)
LEASES = st.sampled_from([0.0, 100.0, 300.0])

HELD_S = 600.0


@dataclass
class Record:
    """A call, as the model has it."""

    first: int
    revision: int
    worker: str
    data: bytes | None
    late: bytes | None = None
    lease_until_s: float = 0.0
    before_until_s: float = 0.0


@dataclass(frozen=True)
class Held:
    """What a worker knows of a call that it has, or had."""

    call_id: str
    revision: int


class StoreMachine(RuleBasedStateMachine):
    """Several workers use one store; subclasses say which one, and what its clock shows.

    Attributes:
        tolerance_s: By how much a lease may differ, where time goes on by itself.
    """

    tolerance_s: ClassVar[float] = 0.0
    held = Bundle("held")
    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.records: dict[str, Record] = {}
        self.values: dict[str, bytes] = {}
        self.last: dict[str, int] = {}
        self.opened: AbstractAsyncContextManager[None] | None = None
        self.count = 0

    def make(self) -> Store:
        raise NotImplementedError

    def now(self) -> float:
        raise NotImplementedError

    def lose(self) -> None:
        """Let the store lose what it keeps."""
        raise NotImplementedError

    @initialize()
    def opens(self) -> None:
        self.store = self.make()
        self.opened = self.store.open()
        self.run(self.opened.__aenter__())

    def run(self, operation: Coroutine[Any, Any, Any]) -> Any:
        """Do an operation that waits for nothing."""
        try:
            operation.send(None)
        except StopIteration as ended:
            return ended.value
        raise AssertionError("the operation waits")

    def teardown(self) -> None:
        if self.opened is not None:
            self.run(self.opened.__aexit__(None, None, None))

    # --- records ------------------------------------------------------------------------------------------------------

    @rule(target=held, call_id=IDS, worker=WORKERS)
    def creates(self, call_id: str, worker: str) -> Held:
        revision = self.run(self.store.create(call_id, worker, HELD_S))
        self.grows(call_id, revision)
        self.records[call_id] = Record(revision, revision, worker, b"")
        return Held(call_id, revision)

    @rule(target=held, call_id=IDS, worker=WORKERS)
    def claims(self, call_id: str, worker: str) -> Any:
        kept = self.run(self.store.claim(call_id, worker))
        record = self.records.get(call_id)
        if record is None or record.data is None:
            assert kept is None
            return multiple()
        self.grows(call_id, kept.revision)
        record.revision, record.worker = kept.revision, worker
        record.before_until_s = max(record.before_until_s, record.lease_until_s)
        record.lease_until_s = 0.0
        self.compare(kept, record)
        return Held(call_id, kept.revision)

    @rule(one=held, data=DATA, lease_s=LEASES)
    def puts(self, one: Held, data: bytes, lease_s: float) -> None:
        still = self.run(self.store.put(one.call_id, data, revision=one.revision, lease_s=lease_s, expires_s=HELD_S))
        record = self.records.setdefault(one.call_id, Record(one.revision, one.revision, "", b""))
        assert still is (one.revision >= record.revision)
        if record.data is None:
            return
        if still:
            record.worker = record.worker if one.revision == record.revision else ""
            record.revision, record.data, record.lease_until_s = one.revision, data, self.now() + lease_s
        elif one.revision >= record.first:
            record.late = data

    @rule(call_id=IDS)
    def forgets(self, call_id: str) -> None:
        self.run(self.store.forget(call_id))
        if record := self.records.get(call_id):
            record.data = None

    @rule()
    def loses(self) -> None:
        self.lose()
        self.records.clear()
        self.values.clear()

    # --- values -------------------------------------------------------------------------------------------------------

    @rule(target=keys, value=DATA)
    def keeps(self, value: bytes) -> str:
        self.count += 1
        key = f"token {self.count}"
        self.run(self.store.keep(key, value, expires_s=HELD_S))
        self.values[key] = value
        return key

    @rule(key=keys)
    def takes(self, key: str) -> None:
        assert self.run(self.store.take(key)) == self.values.pop(key, None)

    @rule(key=consumes(keys), value=DATA)
    def replaces(self, key: str, value: bytes) -> None:
        self.run(self.store.keep(key, value, expires_s=HELD_S))
        assert self.run(self.store.take(key)) == value
        self.values.pop(key, None)

    # --- what holds always --------------------------------------------------------------------------------------------

    @invariant()
    def shows_what_is_kept(self) -> None:
        if self.opened is None:
            return
        for call_id in {*self.records, "never"}:
            record = self.records.get(call_id)
            kept = self.run(self.store.get(call_id))
            if record is None or record.data is None:
                assert kept is None
            else:
                self.compare(kept, record)

    def compare(self, kept: Kept, record: Record) -> None:
        assert kept is not None
        assert (kept.data, kept.revision, kept.worker) == (record.data, record.revision, record.worker)
        assert kept.late == record.late
        left_s = max(0.0, record.lease_until_s - self.now(), record.before_until_s - self.now())
        assert abs(kept.lease_left_s - left_s) <= self.tolerance_s

    def grows(self, call_id: str, revision: int) -> None:
        """No revision is ever used twice, whatever was forgotten or lost."""
        assert revision > self.last.get(call_id, 0)
        self.last[call_id] = revision
