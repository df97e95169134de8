"""A call goes on in another process from its snapshot: with what was said, and without doing anything twice."""

from __future__ import annotations

import json
import math
from contextlib import asynccontextmanager, suppress
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

import voicepipe as vp
from voicepipe.session.left_turn import plan
from voicepipe.session.snapshot import MOST_BYTES, Asked, LeftTurn, Snapshot, Waiting, messages_json, read
from voicepipe.testing import Calls, RecordingOutput, Says, ScriptedModel, ScriptedUser, ScriptedVoice

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from voicepipe.testing import Reply

pytestmark = pytest.mark.anyio


@vp.tool
async def book(seats: int) -> str:
    """Reserve a table."""
    await anyio.sleep(1)
    return f"booked {seats}"


def agent(*replies: Reply, tools: Sequence[vp.Tool[..., Any]] = (book,)) -> tuple[ScriptedModel, vp.Pipeline]:
    """Return an agent that takes 0.05 s for each character, and its model."""
    model = ScriptedModel([*replies])
    parts = [model, vp.ToolRouter(tools), vp.SentenceChunker(), ScriptedVoice()]
    return model, vp.Pipeline(*parts, output=RecordingOutput())


async def resumed(session: vp.Session) -> vp.CallResumed:
    """Return the event that reports that the call is resumed."""
    return await anext(event async for event in session if isinstance(event, vp.CallResumed))


async def test_a_settled_conversation_goes_on_elsewhere() -> None:
    """The other worker has the same id, facts and history, says no greeting, and asks its model with all of it."""
    _, before = agent(Says("It is sunny."))
    async with before.session(id="call-1", facts={"line": "A"}) as session:
        await session.say("Hello.")
        await session.user_says("How is the weather?")
        data, was = session.snapshot(), session.history.to_json()
    model, after = agent(Says("It will rain."))
    async with after.session(resume=data, greeting="Hello.") as session:
        assert (session.id, session.facts, session.history.to_json()) == ("call-1", {"line": "A"}, was)
        assert await resumed(session) == vp.CallResumed(turn="none")
        turn = await session.user_says("And tomorrow?")
    assert (turn.turn_id, turn.heard) == (3, "It will rain.")
    texts = [message.content for message in model.requests[0].messages]
    assert texts == ["Hello.", "How is the weather?", "It is sunny.", "And tomorrow?"]


class Recorded:
    """Keeps what a snapshot says each time a writing tool begins, and refuses those of `refused`."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.session: vp.Session | None = None
        self.kept: list[bytes] = []

    async def begins(self, call_id: str) -> bool:
        assert self.session is not None
        await anyio.sleep(0.05)
        self.kept.append(self.session.snapshot())
        return call_id not in self.refused


async def test_a_writing_tool_waits_for_its_record_and_counts_as_begun_in_it() -> None:
    """The tool runs once `begins` returns; the worker that goes on from that record does not run it again."""
    record = Recorded()
    _, before = agent(Calls("book", {"seats": 2}), Says("It is booked."))
    async with before.session(record=record) as session:
        record.session = session
        turn = await session.user_says("Book a table for two.")
        assert turn.heard == "It is booked."
    model, after = agent(Says("I do not know whether it is booked."))
    async with after.session(resume=record.kept[0]) as session:
        event = await resumed(session)
        assert (event.turn, event.unknown_calls) == ("note", ("call_1",))
        await anyio.sleep(3)
        assert session.history[-1].text == "I do not know whether it is booked."
    assert [len(request.messages) for request in model.requests] == [4]


async def test_a_call_that_another_worker_has_taken_runs_no_writing_tool() -> None:
    """Where `begins` returns False the tool is not run, and the model is shown that the outcome is unknown."""
    record = Recorded("call_1")
    _, pipeline = agent(Calls("book", {"seats": 2}), Says("I cannot tell."))
    async with pipeline.session(record=record) as session:
        record.session = session
        await session.user_says("Book a table for two.")
        message = session.history[1]
    assert isinstance(message, vp.AssistantMessage)
    assert [call.status for call in message.calls] == ["unknown"]


class Counts(ScriptedVoice):
    """A part with state: it counts its sessions."""

    def __init__(self) -> None:
        super().__init__()
        self.sessions = 1

    def state(self) -> object:
        return {"sessions": self.sessions}

    def restore(self, state: Any) -> None:
        self.sessions = state["sessions"] + 1


async def test_a_part_takes_its_state_along() -> None:
    """What `state` returned in one worker, `restore` is given in the next one, before the session begins."""
    pipeline = vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), Counts(), output=RecordingOutput())
    async with pipeline.session() as session:
        first = session.snapshot()
    async with pipeline.session(resume=first) as session:
        second = session.snapshot()
    assert b'"parts":{"Counts":{"sessions":2}}' in second


WHOLE = Snapshot(
    id="call",
    facts={"line": "A"},
    history=messages_json([vp.UserMessage("Hello?"), vp.AssistantMessage.said("Hello.")]),
    turn=LeftTurn(kind="reply", words="And now?", messages=messages_json([vp.UserMessage("And now?")])),
    waiting=[Waiting(text="Bye.")],
    asked=[Asked(call_id="1", ended_well=True)],
)


NONE: list[tuple[Any, str]] = [
    (b"", "this is no snapshot: 0 bytes that are not JSON"),
    (b"[" * 100_000, "this is no snapshot: 100000 bytes that are not JSON"),
    (WHOLE.to_bytes()[:-9], "bytes that are not JSON, or not all of it"),
    (b" " * (MOST_BYTES + 1), f"a snapshot has at most {MOST_BYTES} bytes, and this has {MOST_BYTES + 1}"),
    ("text", "resume takes the bytes of session.snapshot\\(\\), not str"),
    (b"[]", "this is no snapshot: it is JSON without a version"),
    (b'{"version":2}', "this snapshot has the version 2, and this voicepipe reads 1"),
    (b'{"version":1}', "this snapshot cannot be read: id: Field required"),
    (replace(WHOLE, id="a\nb").to_bytes(), "this snapshot cannot be read: host.session: id needs printable"),
    (replace(WHOLE, lasted_s=math.nan).to_bytes(), "lasted_s, idle_step and turns must be 0 or more"),
    (replace(WHOLE, history=[{"role": "user"}]).to_bytes(), "history: message 0 has the version None"),
]


async def test_what_is_no_snapshot_is_refused_in_a_sentence() -> None:
    """Bytes that are no snapshot, or one of another version, raise a SnapshotError before any part begins."""
    _, pipeline = agent()
    async with pipeline.open() as host:
        for data, message in NONE:
            with pytest.raises(vp.SnapshotError, match=message):
                async with host.session(resume=data):
                    pass


places = st.sampled_from([field.name for field in fields(WHOLE) if field.name != "version"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
)


@given(places, values)
def test_whatever_a_snapshot_holds_it_is_read_or_refused(place: str, value: Any) -> None:
    """A field with anything in it leads to a plan or to a SnapshotError, and to nothing else."""
    changed = {**json.loads(WHOLE.to_bytes()), place: value}
    with suppress(vp.SnapshotError):
        plan(read(json.dumps(changed).encode()), is_stale=False, writes=True)


def test_a_snapshot_is_read_as_it_was_written() -> None:
    """Its bytes are JSON, and give the same snapshot again; half of a surrogate pair becomes a question mark."""
    assert read(WHOLE.to_bytes()) == WHOLE
    assert read(replace(WHOLE, facts={"line": "\ud800"}).to_bytes()).facts == {"line": "?"}


async def test_what_is_personal_stays_out_of_the_log_of_the_next_worker(caplog: pytest.LogCaptureFixture) -> None:
    """A fact that is `Personal` is so in the session that goes on, and its records do not have it."""
    _, before = agent()
    async with before.session(facts={"caller": vp.Personal("+15550100"), "line": "A"}) as session:
        data = session.snapshot()
    _, after = agent()
    with caplog.at_level("DEBUG", "voicepipe"):
        async with after.session(resume=data, facts={"line": "B"}) as session:
            assert session.facts == {"caller": "+15550100", "line": "B"}
    assert {str(vars(record)["facts"]) for record in caplog.records} == {"{'line': 'B'}"}


async def test_another_agent_is_reported_and_goes_on() -> None:
    """What differs in its configuration is named; a part that is gone loses its state, and the call goes on."""
    first = vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), Counts(), output=RecordingOutput())
    async with first.session() as session:
        data = session.snapshot()
    _, second = agent(Says("Hello."))
    async with second.session(resume=data) as session:
        event = await resumed(session)
        assert (event.differs, event.lost_state) == (("parts", "tools"), ("Counts",))
        assert (await session.user_says("Hello?")).heard == "Hello."


async def test_a_part_that_cannot_keep_or_take_its_state_costs_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """It is named in `CallResumed` and logged once in each session, however many snapshots are taken."""
    for method in ("state", "restore"):
        caplog.clear()

        def fail(*_: object) -> object:
            raise ValueError("no state")

        voice = type("Forgetful", (Counts,), {method: fail})()
        pipeline = vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), voice, output=RecordingOutput())
        async with pipeline.session() as session:
            session.snapshot()
            data = session.snapshot()
        async with pipeline.session(resume=data) as session:
            assert (await resumed(session)).lost_state == ("Forgetful",)
        assert [record.levelname for record in caplog.records if "Forgetful" in record.getMessage()] == ["WARNING"]


def test_a_snapshot_is_taken_in_the_event_loop_alone() -> None:
    """In another thread the session may change while it is read, so it is refused there."""

    async def call() -> None:
        async with agent()[1].session() as session:
            with pytest.raises(vp.ConfigurationError, match="is called in the session's event loop"):
                await anyio.to_thread.run_sync(session.snapshot)

    anyio.run(call)


async def test_what_the_application_gives_takes_the_place_of_what_was_kept() -> None:
    """A given id and given facts win; the other facts stay."""
    _, pipeline = agent()
    async with pipeline.session(id="one", facts={"line": "A", "tries": 1}) as session:
        data = session.snapshot()
    async with pipeline.session(resume=data, id="two", facts={"tries": 2}) as session:
        assert (session.id, session.facts) == ("two", {"line": "A", "tries": 2})


async def test_a_draft_is_no_turn() -> None:
    """A reply that is prepared before the caller has ended their turn is no part of a snapshot."""
    user = ScriptedUser().guesses("Hello there.", at_s=0.5, stable=True)
    parts = [user, ScriptedModel([Says("Hello.")]), vp.SentenceChunker(), ScriptedVoice()]
    async with vp.Pipeline(*parts, output=RecordingOutput()).session() as session:
        await anyio.sleep(0.6)
        assert session._floor.turn is not None
        assert session._floor.turn.state is vp.TurnState.DRAFT
        left = json.loads(session.snapshot())
    assert (left["turn"], left["turns"], left["history"]) == (None, 0, [])


class Slow(ScriptedVoice):
    """A part that takes its time to be attached."""

    @asynccontextmanager
    async def attach(self, session: vp.Session) -> AsyncGenerator[None]:
        self.seen = session.snapshot()
        await anyio.sleep(1.0)
        async with super().attach(session):
            yield


async def test_a_session_that_has_not_begun_yet_can_be_taken_down() -> None:
    """While its parts are attached, a fresh session is empty, and a resumed one is still what it is resumed from."""
    voices: list[Slow] = []

    class Kept(Slow):
        def _copied(self) -> Any:
            voices.append(super()._copied())
            return voices[-1]

    model = ScriptedModel([Says("One two three."), Says("Again.")])
    pipeline = vp.Pipeline(model, vp.ToolRouter([book]), vp.SentenceChunker(), Kept(), output=RecordingOutput())
    async with pipeline.session(id="call") as session, anyio.create_task_group() as tasks:
        assert json.loads(voices[-1].seen)["history"] == []
        tasks.start_soon(session.user_says, "Count.")
        await anyio.sleep(0.1)
        data = session.snapshot()
        tasks.cancel_scope.cancel()
    async with pipeline.session(resume=data) as session:
        assert voices[-1].seen == data
        assert session.snapshot() != data
