"""A call goes on in another process from its snapshot: with what was said, and without doing anything twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.testing import Calls, RecordingOutput, Says, ScriptedModel, ScriptedVoice

if TYPE_CHECKING:
    from collections.abc import Sequence

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


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "this is no snapshot: 0 bytes that are not JSON"),
        (b"[]", "this is no snapshot: it is JSON without a version"),
        (b'{"version":2}', "this snapshot has the version 2, and this voicepipe reads 1"),
        (b'{"version":1}', "this snapshot cannot be read: id: Field required"),
    ],
)
async def test_what_is_no_snapshot_is_refused_in_a_sentence(data: bytes, message: str) -> None:
    """Bytes that are no snapshot, or one of another version, raise a SnapshotError before any part begins."""
    _, pipeline = agent()
    with pytest.raises(vp.SnapshotError, match=message):
        async with pipeline.session(resume=data):
            pass
