"""Keeps the record of one call in a store, so that another worker can go on with it.

Rule 1: the call waits for nothing here, with one exception: a writing tool waits up to 100 ms until it is written that
        it begins.
Rule 2: there is one write at a time, and it takes what is true when it begins. What happens meanwhile is in the next.
Rule 3: a store that fails costs the chance to resume, and never the call. One outage is two events.
"""

from __future__ import annotations

import math
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.call_events import CallMoved, CallResumed, StoreBack, StoreFailed
from voicepipe.core.clock import loop_time
from voicepipe.core.log import log
from voicepipe.core.observer import Observer
from voicepipe.errors import SnapshotError, StoreError
from voicepipe.events import SentenceStarted, ToolFinished, TurnEnded, TurnStarted
from voicepipe.keeping.answering import answering
from voicepipe.keeping.envelope import Envelope, Owner
from voicepipe.keeping.quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.events import Event
    from voicepipe.keeping.store import Store
    from voicepipe.session.session import Session

__all__ = ["BEGUN_S", "LEASE_S", "Record"]

LEASE_S: Final = 2.0
"""For how long after a write the worker may act for the turn in flight, and others must not."""

BEGUN_S: Final = 0.1
"""How long a writing tool waits until it is written that it begins. The caller hears no pause of this length."""

BUSY_S: Final = 1.0
"""How often the record is written while a turn is in flight, so that the lease does not lapse."""

REFRESH_S: Final = 10.0
"""How often it is written between turns, so that what a worker leaves behind when it dies does not last for long."""

PACE_S: Final = 0.1
"""The least time between two writes, unless one is urgent: a snapshot costs more the longer the call has lasted."""

LOOK_S: Final = 0.5
"""How long after a sentence began that is written, where it is not known when the caller hears it."""

RETRY_S: Final = 1.0
"""How long after a write that failed there is another one."""

LAST_S: Final = 0.5
"""How long the end of a session may wait for the last write."""

MOST_BEGUN: Final = 64

WORTH_A_WRITE: Final = (CallResumed, TurnStarted, ToolFinished, TurnEnded)


class Record(Observer):
    """The record of one call: an observer of its session, and its `CallRecord`.

    record = Record(store, "call-1", worker="w1")
    async with host.session(id="call-1", observers=[record], record=record) as session: ...

    When the session ends, the record is deleted, unless `seal` was called: then it is kept for `keep_s`. If another
    worker claims the call, the session emits `CallMoved` and ends.

    Args:
        store: Where it is kept.
        call_id: Its name there.
        worker: What this worker is called.
        owner: Who may go on with the call.
        keep_s: For how long it is kept after the call has broken off, or its worker has died, at least.
        revision: What `Store.claim` has given this worker for a call that goes on; None for a new one.
        writes_from_s: Until then writing tools wait, because the worker that had the call may still run one.
        known: What was known of the call that goes on: what that worker writes late is compared with it.
    """

    def __init__(
        self,
        store: Store,
        call_id: str,
        *,
        worker: str,
        owner: Owner | None = None,
        keep_s: float = 30.0,
        revision: int | None = None,
        writes_from_s: float = -math.inf,
        known: Envelope | None = None,
    ) -> None:
        self.call_id = call_id
        self.writes_from_s = writes_from_s
        self._store = store
        self._worker = worker
        self._owner = owner or Owner()
        self._keep_s = keep_s
        self._revision = revision
        self._known = known
        self._is_clear = None if known is not None and known.is_busy else True  # None until it is looked at
        self._session: Session
        self._quiet = Quiet()
        self._has_sentence = anyio.Event()
        self._begun = deque[str](known.begun if known else (), maxlen=MOST_BEGUN)
        self._is_busy = False  # a turn is in flight
        self._final: bytes | None = None
        self._is_moved = self._is_failing = False
        # Writes are numbered: one is wanted, begins, and is tried, with success or without.
        self._wanted = self._tried = self._written = 0
        self._is_urgent = False
        self._next_s = -math.inf  # no write before that
        self._news = anyio.Event()  # set, and replaced, when something changes

    @property
    def is_moved(self) -> bool:
        """Whether another worker has the call."""
        return self._is_moved

    @property
    def is_quiet(self) -> bool:
        """Whether the call is between two turns: nothing is said, waits or runs, and the caller says nothing."""
        works = self._session.is_busy or self._session._calls.are_running
        return not works and self._quiet.is_quiet(loop_time())

    # --- what the session reports -------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        """Take what is worth a write. See `Observer.on_event`."""
        if isinstance(event, TurnStarted):
            self._is_busy = True
        elif isinstance(event, TurnEnded):
            self._is_busy = False
            if self._is_clear is False:
                self._is_clear = True  # the model knows of what may have been done
        elif isinstance(event, SentenceStarted):
            self._has_sentence.set()
        if isinstance(event, WORTH_A_WRITE):
            if self._final is None:
                self._want()
        elif self._quiet.note(event, loop_time()):
            self._announce()

    @asynccontextmanager
    async def attach(self, session: Session) -> AsyncGenerator[None]:
        """Write until the session has ended. See `Part.attach`."""
        self._session = session
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_writing)
            tasks.start_soon(self._follow_sentences)
            self._next_s = loop_time() + PACE_S
            if self._revision is None:  # else what was claimed counts until the session goes on with it
                self._want()
            yield
            with anyio.move_on_after(LAST_S):
                await self._last()
            tasks.cancel_scope.cancel()

    async def begins(self, call_id: str) -> bool:
        """Write that a writing tool begins, and return whether it may run. See `CallRecord.begins`.

        It waits up to 0.1 s for the store. The turn that was in flight in another worker also waits until that one can
        do nothing more, at most for its lease of 2 s, and its tools do not run if that one had begun one.
        """
        if not await self._may_begin():
            return False
        self._begun.append(call_id)
        number = self._want(is_urgent=True)
        with anyio.move_on_after(BEGUN_S):
            await self._until_tried(number)
        return not self._is_moved

    async def _may_begin(self) -> bool:
        with anyio.move_on_after(LAST_S):
            while self._final is not None:  # until it is certain whether the call goes on here
                await self._news.wait()
        if self._is_clear is None:
            await anyio.sleep_until(self.writes_from_s)
            self._is_clear = await self._has_nothing_late()
        return self._is_clear and self._final is None and not self._is_moved

    async def _has_nothing_late(self) -> bool:
        """Return whether the worker before has begun nothing that this one does not know of."""
        try:
            with answering():
                kept = await self._store.get(self.call_id)
            if kept is None or kept.revision != self._revision:
                return False  # a further worker has the call by now, or nobody knows who has it
            if kept.late is None:
                return True
            return set(Envelope.unpacked(kept.late).begun) <= set(self._begun)
        except (SnapshotError, StoreError):  # what cannot be known is not done twice
            return False

    # --- the end of the call here -------------------------------------------------------------------------------------

    def seal(self) -> bool:
        """Take the last snapshot now, from which another worker goes on, and return whether there is one.

        There is none if the session has ended before: then the call is over.
        """
        if self._final is None and not self._session.ended.is_set():
            try:
                self._final = self._packed(is_released=True)
            except Exception:  # noqa: BLE001 - a part's state may raise, and who ends a call can do nothing about it
                log.exception("the call %s cannot be kept", self.call_id)
            else:
                self._want(is_urgent=True)
        return self._final is not None

    async def hand_over(self, *, in_mid_turn: bool = False) -> bool:
        """Seal the record, and return whether it is kept, so that the session may end here and go on elsewhere.

        If not, because the store fails or the call is no longer between two turns, the call goes on here.

        Args:
            in_mid_turn: Whether a turn may be in flight.
        """
        self.seal()
        number = self._wanted
        with anyio.move_on_after(LAST_S):
            await self._until_tried(number)
        is_over = self._is_moved or self._session.ended.is_set()
        if self._written >= number and not is_over and (in_mid_turn or self.is_quiet):
            return True
        self._final = None
        self._want()
        return False

    async def wait_quiet(self) -> None:
        """Wait until the call is between two turns."""
        while not self.is_quiet:
            with anyio.move_on_after(PACE_S):
                await self._news.wait()

    async def wait_kept(self) -> None:
        """Wait until the last snapshot is written, or could not be, for 0.5 s at most."""
        with anyio.move_on_after(LAST_S):
            await self._until_tried(self._wanted)

    async def _last(self) -> None:
        """Write the last snapshot; or delete the record of a call that has ended in order."""
        if self._final is not None:
            await self._until_tried(self._wanted)
        elif self._revision is not None and not self._is_moved:
            try:
                with answering():
                    kept = await self._store.get(self.call_id)
                    if kept is not None and kept.revision == self._revision:
                        await self._store.forget(self.call_id)
            except StoreError as error:
                self._fails(error)

    # --- writing ------------------------------------------------------------------------------------------------------

    def _want(self, *, is_urgent: bool = False) -> int:
        self._wanted += 1
        self._is_urgent |= is_urgent
        self._announce()
        return self._wanted

    def _announce(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()

    async def _until_tried(self, number: int) -> None:
        while self._tried < number and not self._is_moved:
            await self._news.wait()

    async def _keep_writing(self) -> None:
        while not self._is_moved:
            await self._wait_due()
            if self._final is None and self._session.ended.is_set():
                return  # what an ended session says of itself is not what the call was
            await self._write()

    async def _follow_sentences(self) -> None:
        """Write when the caller is about to hear a sentence: from then on those before it are not said again."""
        while True:
            await self._has_sentence.wait()
            self._has_sentence = anyio.Event()
            turn = self._session._floor.turn
            if turn is None or turn.speech.sentences < 2:
                continue  # no sentence has been heard to its end
            due_s = turn.speech.nearly_audible_s
            await anyio.sleep_until(due_s if due_s < math.inf else loop_time() + LOOK_S)
            if self._final is None:
                self._want(is_urgent=True)

    async def _wait_due(self) -> None:
        """Wait until something is to be written, or the lease has to be renewed."""
        while not (self._is_urgent and self._wanted > self._tried):
            due_s = self._next_s
            if self._wanted == self._tried:
                due_s += (BUSY_S if self._is_busy else REFRESH_S) - PACE_S
            with anyio.CancelScope(deadline=due_s) as until_due:
                await self._news.wait()
            if until_due.cancelled_caught:  # the time may be a rounding error before that
                break
        self._wanted = max(self._wanted, self._tried + 1)

    async def _write(self) -> None:
        number, self._is_urgent = self._wanted, False
        try:
            with answering():
                is_ours = await self._put()
        except StoreError as error:
            self._fails(error)
        else:
            self._next_s = loop_time() + PACE_S
            self._written = number
            if not is_ours:
                self._moves()
            elif self._is_failing:
                self._is_failing = False
                self._report(StoreBack())
        self._tried = number
        self._announce()

    async def _put(self) -> bool:
        is_final = self._final is not None
        if self._revision is None:
            self._revision = await self._store.create(self.call_id, self._worker, self._keep_s + REFRESH_S)
        return await self._store.put(
            self.call_id,
            self._final or self._packed(),
            revision=self._revision,
            lease_s=LEASE_S if self._is_busy and not is_final else 0.0,
            expires_s=self._keep_s + (0.0 if is_final else REFRESH_S),
        )

    def _packed(self, *, is_released: bool = False) -> bytes:
        return Envelope(
            owner=self._owner,
            is_busy=self._is_busy,
            is_released=is_released,
            begun=tuple(self._begun),
            snapshot=self._session.snapshot(),
        ).packed()

    def _fails(self, error: StoreError) -> None:
        self._next_s = loop_time() + RETRY_S
        self._wanted += 1  # what was to be written still is
        if not self._is_failing:
            self._is_failing = True
            self._report(StoreFailed(error=error))

    def _moves(self) -> None:
        self._is_moved = True
        self._report(CallMoved())
        self._session.end()

    def _report(self, event: Event) -> None:
        if not self._session.ended.is_set():  # no event follows then
            self._session.emit(event)
