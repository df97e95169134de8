"""The record of a call: when it is written, what waits for it, and what a store that fails costs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.troubled_store import Link
from voicepipe.audio.remote.pacing import Playhead
from voicepipe.keeping.envelope import Envelope, Owner
from voicepipe.keeping.quiet import Quiet
from voicepipe.keeping.record import Record
from voicepipe.session.left_turn import plan
from voicepipe.session.snapshot import read
from voicepipe.testing import Calls, RecordingOutput, Reply, Says, ScriptedModel, ScriptedVoice

pytestmark = pytest.mark.anyio


class Bookings:
    """A tool that writes, and when it ran."""

    def __init__(self, takes_s: float = 0.0, timeout_s: float = 10.0) -> None:
        self.at_s: list[float] = []

        @vp.tool(effect="write", timeout_s=timeout_s)
        async def book(seats: int) -> str:
            """Reserve a table."""
            self.at_s.append(round(anyio.current_time() - began_s, 3))
            await anyio.sleep(takes_s)
            return f"booked {seats}"

        began_s = anyio.current_time()
        self.tool = book


def agent(replies: Sequence[Reply], *tools: vp.Tool[..., Any]) -> vp.Pipeline[Any]:
    """Return an agent that takes 0.05 s for each character."""
    parts = [ScriptedModel(list(replies)), vp.ToolRouter(tools), vp.SentenceChunker(), ScriptedVoice()]
    return vp.Pipeline(*parts, output=RecordingOutput())


@asynccontextmanager
async def kept(store: vp.Store, row: vp.Pipeline[Any], **options: Any) -> AsyncGenerator[tuple[vp.Session, Record]]:
    """Hold a call that has a record."""
    record = Record(store, "call-1", worker="w1", **options)
    async with row.session(id="call-1", observers=[record], record=record) as session:
        yield session, record


async def resumed(store: vp.Store, claimed: vp.Kept, **options: Any) -> tuple[Record, dict[str, Any]]:
    """Return the record of a call that goes on, and what its session is given."""
    known = Envelope.unpacked(claimed.data)
    until_s = anyio.current_time() + claimed.lease_left_s
    record = Record(
        store, "call-1", worker="w2", revision=claimed.revision, writes_from_s=until_s, known=known, **options
    )
    return record, {"observers": [record], "record": record, "resume": known.snapshot}


def of(session: vp.Session, *kinds: type[Any]) -> list[str]:
    """Return the names of the events of some kinds so far."""
    return [type(event).__name__ for event in session._reporting.events._kept if isinstance(event, kinds)]


async def test_when_it_is_written() -> None:
    """At the beginning, when a turn starts, before a further sentence is heard, each second, and when it settles."""
    link = Link(vp.MemoryStore())
    began_s = anyio.current_time()
    async with kept(link, agent([Says("It is sunny today in Lyon. Bring a hat.")])) as (session, _):
        await anyio.sleep(1)
        await session.user_says("How is the weather?")
        await anyio.sleep(15)
    written = [(round(at_s - began_s, 2), is_busy, lease_s) for at_s, is_busy, lease_s in link.writes]
    assert written == [
        (0.1, False, 0.0),
        (1.0, True, 2.0),  # the turn starts
        (2.0, True, 2.0),
        (2.26, True, 2.0),  # its second sentence is about to be heard
        (2.95, False, 0.0),  # it has settled
        (12.95, False, 0.0),
    ]


class Page(vp.PacedOutput):
    """A page: it plays what it is sent at once, and reports it ten times a second."""

    lead_s = 0.1
    reports_position = True

    def __init__(self) -> None:
        self.head = Playhead(self.sample_rate)

    async def send(self, pcm: bytes) -> None:
        """Take a frame."""
        self.head.add(len(pcm) // 2, anyio.current_time())

    async def clear(self) -> None:
        """Drop what was not played."""

    async def report(self) -> None:
        """Report what was played."""
        while True:
            await anyio.sleep(0.1)
            self.played(self.head.played(anyio.current_time()))


async def test_a_sentence_is_not_said_again_once_the_next_one_is_heard() -> None:
    """50 ms before the caller hears a sentence, the one before it counts as heard, whatever is still to be reported."""
    page, store = Page(), vp.MemoryStore()
    record = Record(store, "call-1", worker="w1")
    row = agent([Says("It is sunny today in Lyon. Bring a hat. Goodbye.")])
    found: list[tuple[float, str]] = []
    async with (
        row.session(id="call-1", observers=[record], record=record, output=page) as session,
        anyio.create_task_group() as tasks,
    ):
        await anyio.sleep(1)
        tasks.start_soon(page.report)
        tasks.start_soon(session.user_says, "How is the weather?")
        await anyio.sleep(0.01)
        while session.is_busy:
            kept_now = await store.get("call-1")
            assert kept_now is not None
            rest = plan(read(Envelope.unpacked(kept_now.data).snapshot), is_stale=False, writes=False).text
            if not found or found[-1][1] != rest:
                found.append((round(page.head.played(anyio.current_time()) / page.sample_rate, 2), rest))
            await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert found == [
        (0.01, "How is the weather?"),
        (1.0, "It is sunny today in Lyon. Bring a hat. Goodbye."),
        (1.26, "Bring a hat. Goodbye."),  # its first sentence takes 1.3 s
        (1.91, "Goodbye."),
    ]


async def test_a_writing_tool_waits_a_tenth_of_a_second_for_a_store_that_hangs() -> None:
    """It runs exactly 0.1 s later, and at once where the store fails at once, or answers."""
    found: list[list[float]] = []
    for takes_s, is_cut in ((0.0, False), (0.03, False), (100.0, False), (0.0, True)):
        link, bookings = Link(vp.MemoryStore()), Bookings()
        async with kept(link, agent([Calls("book", {"seats": 2}), Says("Done.")], bookings.tool)) as (session, _):
            await anyio.sleep(1)
            link.takes_s, link.is_cut = takes_s, is_cut
            await session.user_says("A table for two, please.")
        found.append(bookings.at_s)
    assert found == [[1.0], [1.06], [1.1], [1.0]]


async def test_one_outage_is_two_events() -> None:
    """A store that is down for two turns costs neither of them; once it is back, the record has both."""
    store = vp.MemoryStore()
    link = Link(store)
    async with kept(link, agent([Says("One."), Says("Two.")])) as (session, _):
        await anyio.sleep(1)
        link.is_cut = True
        turns = [await session.user_says("First?"), await session.user_says("Second?")]
        link.is_cut = False
        await anyio.sleep(1)
        claimed = await store.claim("call-1", "w2")
        assert of(session, vp.StoreFailed, vp.StoreBack) == ["StoreFailed", "StoreBack"]
        assert claimed is not None
        assert [turn.heard for turn in turns] == ["One.", "Two."]
        assert b"Two." in claimed.data


async def test_a_store_that_raises_what_it_should_not_costs_no_more_than_one_that_is_away() -> None:
    """Whatever a store of the application raises is an outage: it is reported with its place, and it ends."""
    for error, said in (
        (OSError("hidden"), "the store raised OSError at troubled_store.py:"),
        (TimeoutError(), "the store did not answer in time"),
        (vp.ConfigurationError("no table"), "the store refused: no table"),
    ):
        store = vp.MemoryStore()
        link = Link(store)
        async with kept(link, agent([Says("One.")])) as (session, _):
            await anyio.sleep(1)
            link.raises = error
            turn = await session.user_says("First?")
            link.raises = None
            await anyio.sleep(1)
            assert of(session, vp.StoreFailed, vp.StoreBack) == ["StoreFailed", "StoreBack"]
            failed = [event async for event in _first(session, vp.StoreFailed)]
            assert turn.heard == "One."
            assert str(failed[0].error).startswith(said)


async def test_a_store_that_loses_its_data_has_the_call_again_after_the_next_write() -> None:
    """What was lost is not taken for a call that another worker has."""
    store = vp.MemoryStore()
    async with kept(store, agent([Says("One.")])) as (session, _):
        await anyio.sleep(1)
        store._records.clear()
        await session.user_says("First?")
        kept_now = await store.get("call-1")
        assert kept_now is not None
        assert of(session, vp.CallMoved, vp.StoreFailed) == []


async def test_a_call_that_another_worker_claims_ends_at_its_next_write() -> None:
    """The session reports it and ends; a writing tool that was about to begin does not run."""
    store, bookings = vp.MemoryStore(), Bookings()
    async with kept(store, agent([Calls("book", {"seats": 2}), Says("Done.")], bookings.tool)) as (session, _):
        await anyio.sleep(1)
        await store.claim("call-1", "w2")
        await session.user_says("A table for two, please.")
        await session.ended.wait()
        assert of(session, vp.CallMoved) == ["CallMoved"]
    kept_now = await store.get("call-1")
    assert bookings.at_s == []
    assert kept_now is not None
    assert (kept_now.worker, kept_now.late is not None) == ("w2", True)


async def test_what_becomes_of_the_record_at_the_end() -> None:
    """A call that ends is forgotten at once; one that was sealed is kept for its time, and what it said then counts."""
    store = vp.MemoryStore()
    async with kept(store, agent([Says("One.")])) as (session, _):
        await session.user_says("First?")
    assert await store.get("call-1") is None
    async with kept(store, agent([Says("One two three four five six seven.")]), keep_s=20.0) as (session, record):
        with anyio.move_on_after(0.5):
            await session.user_says("First?")
        record.seal()
        session.end()
    await anyio.sleep(19.9)
    kept_now = await store.get("call-1")
    await anyio.sleep(0.2)
    assert await store.get("call-1") is None
    assert kept_now is not None
    envelope = Envelope.unpacked(kept_now.data)
    assert (envelope.is_busy, envelope.is_released) == (True, True)
    async with agent([]).session(resume=envelope.snapshot) as session:
        assert of(session, vp.CallResumed) == ["CallResumed"]
        assert [event.turn async for event in _first(session, vp.CallResumed)] == ["rest"]


async def _first(session: vp.Session, kind: type[Any]) -> AsyncGenerator[Any]:
    async for event in session:
        if isinstance(event, kind):
            yield event
            return


async def test_the_tool_of_a_turn_that_is_answered_again_waits_for_the_lease() -> None:
    """The worker before may act for 2 s after its last write; then its tool was not begun, and runs here, once."""
    store, link = vp.MemoryStore(), Link(vp.MemoryStore())
    link._store = store
    before, after = Bookings(), Bookings()
    replies = [Calls("book", {"seats": 2}, after_s=0.7), Says("Done.")]
    async with kept(link, agent(replies, before.tool)) as (session, _):
        await anyio.sleep(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "A table for two, please.")
            await anyio.sleep(0.5)
            link.is_cut = True  # the worker is gone
            claimed = await store.claim("call-1", "w2")
            assert claimed is not None
            assert claimed.lease_left_s == pytest.approx(1.5)
            _, options = await resumed(store, claimed)
            row = agent([Calls("book", {"seats": 2}), Says("Done.")], after.tool)
            async with row.session(**options):
                await anyio.sleep(3)
            tasks.cancel_scope.cancel()
    assert after.at_s == [3.0]


async def test_a_tool_that_had_begun_when_the_store_hung_is_not_run_again() -> None:
    """Its note arrives late, within the lease, so the worker that goes on does not run it, and the caller is told."""
    store, link = vp.MemoryStore(), Link(vp.MemoryStore())
    link._store = store
    before, after = Bookings(takes_s=5.0), Bookings()
    replies = [Calls("book", {"seats": 2}, after_s=0.2), Says("Done.")]
    async with kept(link, agent(replies, before.tool)) as (session, _):
        await anyio.sleep(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "A table for two, please.")
            await anyio.sleep(0.1)
            link.takes_s = 1.0
            await anyio.sleep(0.4)
            claimed = await store.claim("call-1", "w2")
            assert claimed is not None
            _, options = await resumed(store, claimed)
            row = agent([Calls("book", {"seats": 2}), Says("I do not know.")], after.tool)
            async with row.session(**options) as other:
                await anyio.sleep(4)
                assert [call.status for message in other.history for call in getattr(message, "calls", [])] == [
                    "unknown"
                ]
            tasks.cancel_scope.cancel()
    assert (before.at_s, after.at_s) == ([1.3], [])


async def test_a_tool_that_still_runs_keeps_its_call_here() -> None:
    """A call is not between two turns while a tool works whose turn has ended: its result would be lost."""
    bookings = Bookings(takes_s=5.0, timeout_s=1.0)
    row = agent([Calls("book", {"seats": 2}), Says("I am waiting."), Says("It is booked.")], bookings.tool)
    async with kept(vp.MemoryStore(), row) as (session, record):
        await session.user_says("A table for two, please.")
        assert (session.is_busy, record.is_quiet) == (False, False)
        with anyio.fail_after(10):
            await record.wait_quiet()
        assert session.history[-1].text == "It is booked."


def test_when_a_caller_is_quiet() -> None:
    """Not while they speak, nor for 1.5 s after their last words or keys, which may be the beginning of more."""
    quiet = Quiet()
    found = [quiet.is_quiet(0.0)]
    for at_s, event in (
        (1.0, vp.SpeechStarted(at_s=1.0)),
        (2.0, vp.SpeechEnded(at_s=2.0)),
        (2.5, vp.Transcript("Hello?", 2.0, 2.5)),
        (3.0, vp.TurnStarted(turn_id=1, user_text="Hello?")),
    ):
        quiet.note(event, at_s)
        found.append(quiet.is_quiet(at_s + 1.4))
    assert found == [True, False, False, False, True]
    assert (quiet.is_quiet(3.99), quiet.is_quiet(4.0)) == (False, True)


async def test_a_tool_does_not_run_if_a_further_worker_has_the_call() -> None:
    """Of two workers that go on with a turn, the one that lost the call runs nothing, although its writes hang."""

    class SlowWrites(Link):
        async def put(self, call_id: str, data: bytes, *, revision: int, lease_s: float, expires_s: float) -> bool:
            await anyio.sleep(3)
            return await super().put(call_id, data, revision=revision, lease_s=lease_s, expires_s=expires_s)

    store = vp.MemoryStore()
    link, slow = Link(store), SlowWrites(store)
    before, lost, after = Bookings(), Bookings(), Bookings()
    replies = [Calls("book", {"seats": 2}, after_s=0.7), Says("Done.")]

    async def go_on(by: vp.Store, tool: vp.Tool[..., Any]) -> None:
        claimed = await store.claim("call-1", "w")
        assert claimed is not None
        _, options = await resumed(by, claimed)
        async with agent([Calls("book", {"seats": 2}), Says("Done.")], tool).session(**options):
            await anyio.sleep(4)

    async with kept(link, agent(replies, before.tool)) as (session, _), anyio.create_task_group() as tasks:
        await anyio.sleep(1)
        tasks.start_soon(session.user_says, "A table for two, please.")
        await anyio.sleep(0.5)
        link.is_cut = True  # the worker is gone
        tasks.start_soon(go_on, slow, lost.tool)
        await anyio.sleep(0.2)
        await go_on(store, after.tool)
        tasks.cancel_scope.cancel()
    assert (lost.at_s, after.at_s) == ([], [3.0])


def test_an_envelope_is_read_as_it_was_written() -> None:
    """What another version wrote, or nobody, is a SnapshotError of one sentence; nothing prints what it holds."""
    owner = Owner(transport="page", secret="a" * 64, subject="ada")
    envelope = Envelope(owner=owner, is_busy=True, is_released=False, begun=("call_1",), snapshot=b'{"a":\n1}')
    assert Envelope.unpacked(envelope.packed()) == envelope
    assert "ada" not in repr(envelope)
    long = replace(envelope, snapshot=b'{"words":"' + b"And so on. " * 20_000 + b'"}', begun=("x" * 400,) * 64)
    assert Envelope.unpacked(long.packed()) == long
    assert len(long.packed()) < 32_768
    for nonsense in (
        b"",
        b"{}",
        b'{"version":2}\n',
        envelope.packed().replace(b'"version":1', b'"version":9'),
        long.packed()[:-9] + b"?" * 9,
    ):
        with pytest.raises(vp.SnapshotError, match="not one of version 1"):
            Envelope.unpacked(nonsense)
