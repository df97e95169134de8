"""The records of a server's calls, and the call that a line goes on with.

Rule 1: who does not show the right key changes nothing: a record is read and checked before it is claimed.
Rule 2: whatever is wrong with a record or its store, the caller gets a call: a new one, if not the old one.
"""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.core.clock import loop_time
from voicepipe.core.failures import for_log
from voicepipe.core.log import log
from voicepipe.errors import SnapshotError, StoreError
from voicepipe.keeping.answering import answering
from voicepipe.keeping.envelope import Envelope, Owner
from voicepipe.keeping.record import Record
from voicepipe.serving.resumption import Key, Resumption, WhyNot
from voicepipe.session.label import ID_BYTES
from voicepipe.session.snapshot import check, read

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from voicepipe.core.context import Fact
    from voicepipe.keeping.store import Kept, Store
    from voicepipe.serving.limits import Limits
    from voicepipe.serving.metrics import Metrics
    from voicepipe.serving.transport import Line

__all__ = ["Keeper", "KeptCall"]

CLAIM_S: Final = 1.0
"""How long a caller waits for the record of their call; then they get a new call."""

MOST_ID: Final = 256
"""A key with a longer id was given by nobody here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCall:
    """A call that has a record.

    Attributes:
        id: The id of a new call; None for one that goes on, whose snapshot has it.
        record: Its record: an observer of the session, and its `CallRecord`.
        snapshot: What the call goes on from; None for a new one.
        is_stale: Whether something may have been done after that of which the snapshot does not know.
        facts: What was known about the caller of a call that goes on.
    """

    id: str | None
    record: Record
    snapshot: bytes | None = None
    is_stale: bool = False
    facts: Mapping[str, Fact] = field(default_factory=dict[str, "Fact"])

    @property
    def for_session(self) -> dict[str, Any]:
        """What `Host.session` has to know of it."""
        goes_on = {} if self.snapshot is None else {"resume": self.snapshot, "is_stale": self.is_stale}
        return {"record": self.record, "observers": [self.record], **goes_on}


class _NotResumed(Exception):  # noqa: N818 - it is what happened
    def __init__(self, why: WhyNot) -> None:
        super().__init__(why)
        self.why: WhyNot = why


class Keeper:
    """Keeps the records of the calls of one server.

    Args:
        store: Where; None keeps none.
        limits: Say for how long callers may come back.
        metrics: Count who did, and who could not.
    """

    def __init__(self, store: Store | None, limits: Limits, metrics: Metrics) -> None:
        self._store = store if limits.resume_s > 0 else None
        self._keep_s = limits.resume_s
        self._metrics = metrics
        self._worker = token_hex(ID_BYTES)
        self._slot_s = -math.inf  # when the next call may be handed over
        self._slot_gap_s = 1 / limits.opening_per_s
        self._here: dict[str, Callable[[], Awaitable[None]]] = {}  # how each call that is held here is let go

    @property
    def hands_over(self) -> bool:
        """Whether another process could go on with the calls of this server when it stops."""
        return self._store is not None and self._store.is_shared

    @asynccontextmanager
    async def keeping(
        self, line: Line, facts: Mapping[str, Fact], transport: str, let_go: Callable[[], Awaitable[None]]
    ) -> AsyncGenerator[KeptCall | None]:
        """Have a record for the call of a line as long as the block lasts, and set `Line.resumed`.

        Args:
            line: The line. Nothing is kept of a call whose peer cannot come back.
            facts: What is known about its caller.
            transport: The name of its transport.
            let_go: Ends this call because its caller comes back on another connection; returns once it is kept.
        """
        if line.resume is None and line.resume_call is None:
            yield None
            return
        if self._store is None:
            line.resumed = Resumption(why_not="off" if line.resume or line.resume_call else "")
            yield None
            return
        kept = await self._kept(self._store, line, Owner(transport=transport, subject=str(facts.get("subject", ""))))
        call_id = kept.record.call_id
        self._here[call_id] = let_go
        try:
            yield kept
        finally:
            if self._here.get(call_id) is let_go:
                del self._here[call_id]

    async def wait_slot(self) -> None:
        """Wait until it is this call's turn to be handed over: other servers let in only so many a second."""
        at_s = max(loop_time(), self._slot_s)
        self._slot_s = at_s + self._slot_gap_s
        await anyio.sleep_until(at_s)

    async def _kept(self, store: Store, line: Line, owner: Owner) -> KeptCall:
        """Return the call that the line goes on with, or a new one."""
        why_not: WhyNot = ""
        if line.resume or line.resume_call:
            key = Key(line.resume_call) if line.resume_call else Key.read(line.resume or "")
            try:
                kept = await self._resumed(store, key, owner)
            except _NotResumed as reason:
                why_not = reason.why
                log.info("a call could not go on: %s", why_not)
                self._metrics.resumed(why_not)
            else:
                line.resumed = Resumption(key=key.text, is_resumed=True)
                self._metrics.resumed("resumed")
                return kept
        return self._new(store, line, owner, why_not)

    def _new(self, store: Store, line: Line, owner: Owner, why_not: WhyNot) -> KeptCall:
        call_id = token_hex(ID_BYTES) if line.id is None else line.id
        key = Key(call_id) if line.resume is None else Key.new(call_id)
        line.resumed = Resumption(key=key.text, why_not=why_not)
        owner = Owner(transport=owner.transport, subject=owner.subject, secret=key.hashed if key.secret else "")
        record = Record(store, call_id, worker=self._worker, owner=owner, keep_s=self._keep_s)
        return KeptCall(id=call_id, record=record)

    async def _resumed(self, store: Store, key: Key, owner: Owner) -> KeptCall:
        if not 0 < len(key.call_id) <= MOST_ID:
            raise _NotResumed("unknown")
        try:
            with anyio.fail_after(CLAIM_S):
                _checked(await _read(store.get(key.call_id)), key, owner)
                if let_go := self._here.get(key.call_id):
                    await let_go()
                kept = await _read(store.claim(key.call_id, self._worker))
        except (StoreError, TimeoutError) as error:
            log.warning(
                "the store of calls fails: %s", for_log(error) if isinstance(error, StoreError) else "no answer"
            )
            self._metrics.store_failed("claim")
            raise _NotResumed("store") from None
        envelope = _checked(kept, key, owner)
        record = Record(
            store,
            key.call_id,
            worker=self._worker,
            owner=envelope.owner,
            keep_s=self._keep_s,
            revision=kept.revision,
            writes_from_s=loop_time() + kept.lease_left_s,
            known=envelope,
        )
        return KeptCall(
            id=None,
            record=record,
            snapshot=envelope.snapshot,
            is_stale=envelope.is_busy and not envelope.is_released and kept.lease_left_s <= 0,
            facts=read(envelope.snapshot).known,
        )


async def _read(reading: Awaitable[Kept | None]) -> Kept:
    with answering():
        kept = await reading
    if kept is None or not kept.data:
        raise _NotResumed("unknown")
    return kept


def _checked(kept: Kept, key: Key, owner: Owner) -> Envelope:
    """Return what a record holds, if it is of this caller's call."""
    try:
        envelope = Envelope.unpacked(kept.data)
        check(envelope.snapshot)
    except SnapshotError:
        raise _NotResumed("version") from None
    theirs = envelope.owner
    is_theirs = key.fits(theirs.secret) and theirs.subject == owner.subject if key.secret else not theirs.secret
    if not is_theirs or theirs.transport != owner.transport:
        raise _NotResumed("secret")
    return envelope
