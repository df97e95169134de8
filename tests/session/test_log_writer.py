"""What an operator reads in the log of a session, and what never stands there."""

from __future__ import annotations

import logging
import typing
from logging import DEBUG, INFO, WARNING
from typing import Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.core.log import SessionLabel
from voicepipe.session.log_writer import LINES, LogWriter
from voicepipe.testing import (
    Breaks,
    Calls,
    RecordingOutput,
    Refuses,
    Says,
    ScriptedModel,
    ScriptedUser,
    ScriptedVoice,
)
from voicepipe.testing.simulators.gateway import GatewayQuirks, GatewaySimulator

pytestmark = pytest.mark.anyio

CANARIES = ("canary-caller", "canary-agent", "canary-argument", "canary-result")


@vp.tool
async def book(name: str) -> str:
    """Book a table."""
    await anyio.sleep(0.25)
    return f"booked for {name}, canary-result"


def row(model: vp.Model, *parts: vp.Part, user: vp.Part | None = None) -> vp.Pipeline:
    before = [user] if user else []
    voice = ScriptedVoice(first_audio_s=0.1, character_s=0.05)
    return vp.Pipeline(*before, model, *parts, vp.SentenceChunker(), voice, output=RecordingOutput())


def lines(caplog: pytest.LogCaptureFixture, name: str = "voicepipe") -> list[tuple[str, str]]:
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == name]


async def call(**given: Any) -> None:
    """Hold a call of three turns: a booking, one that is interrupted, one that fails."""
    user = (
        ScriptedUser()
        .says("A table for canary-caller.", at_s=0.0)
        .says("And now?", at_s=3.0)
        .guesses("so", at_s=3.9, stable=False)
        .says("Hello?", at_s=4.5)
        .hangs_up(at_s=9.0)
    )
    replies = [
        Calls("book", {"name": "canary-argument"}),
        Says("Done, canary-agent."),
        Says("Nothing else to do."),
        Breaks(),
    ]
    async with row(ScriptedModel(replies), vp.ToolRouter([book]), user=user).session(**given) as session:
        await session.ended.wait()


# --- lines ------------------------------------------------------------------------------------------------------------


def test_every_event_has_a_line() -> None:
    """Each kind of event is in the table, the four ends of a turn included."""
    kinds = {kind for kind in typing.get_args(vp.Event) if kind is not vp.TurnEnded}
    ends = {vp.TurnCompleted, vp.TurnInterrupted, vp.TurnFailed, vp.TurnEmpty}
    assert kinds | ends == {*LINES}


async def test_what_an_operator_reads(caplog: pytest.LogCaptureFixture) -> None:
    """At INFO: beginning and end of the session with its facts and its reason, and how each turn went."""
    caplog.set_level(INFO, logger="voicepipe")
    await call(id="a", facts={"line": 2, "tenant": "acme"}, greeting="")
    assert lines(caplog) == [
        ("INFO", "session a: began (line=2, tenant='acme')"),
        ("INFO", "session a: turn 1 completed (answered after 350 ms, heard 0.95 s, called book)"),
        ("INFO", "session a: turn 2 interrupted (answered after 100 ms, heard 0.80 s)"),
        ("WARNING", "session a: turn 3 failed: the scripted reply breaks here (answered after 100 ms, heard 2.80 s)"),
        ("INFO", "session a: ended after 9.0 s and 3 turns: the caller hung up"),
    ]


async def test_debug_is_one_line_an_event(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG each event is one line, between those of the session's beginning and end."""
    caplog.set_level(DEBUG, logger="voicepipe")
    async with row(ScriptedModel([Says("Hello.")])).session() as session:
        await session.user_says("Hello?")
    events = [event async for event in session]
    assert len(events) >= 4
    assert len(lines(caplog)) == len(events) + 2


class Untouchable(str):
    """A text that must not be shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        raise AssertionError("a line was put together although its level is off")


@pytest.mark.parametrize("level", [WARNING, logging.CRITICAL + 1])
async def test_a_level_that_is_off_costs_nothing(level: int, caplog: pytest.LogCaptureFixture) -> None:
    """No line is put together for nobody."""
    caplog.set_level(level, logger="voicepipe")
    writer = LogWriter(SessionLabel("a"))
    writer.write(vp.ToolStarted(turn_id=1, call_id="1", name=Untouchable("book")))
    caplog.set_level(DEBUG, logger="voicepipe")
    with pytest.raises(AssertionError, match="although its level is off"):  # the test can fail
        writer.write(vp.ToolStarted(turn_id=1, call_id="1", name=Untouchable("book")))


FORGED = "a\nsession b: ended after 1.0 s"


@pytest.mark.parametrize(
    "event",
    [
        vp.ToolFinished(turn_id=1, call_id="1", name=FORGED, status="failed"),
        vp.ToolFinished(turn_id=1, call_id=FORGED, name="book", status="done"),
        vp.ModelUsage(turn_id=1, model=FORGED, input_tokens=1, output_tokens=1),
        vp.HedgeStarted(turn_id=1, model=FORGED),
        vp.ModelAnswered(turn_id=1, model=FORGED, was_first=True),
        vp.TurnEmpty(turn_id=1, user_text=FORGED, heard=FORGED, timeline=vp.Timeline(), finish_reason=FORGED),
    ],
    ids=lambda event: type(event).__name__,
)
async def test_a_service_cannot_forge_a_line(event: vp.Event, caplog: pytest.LogCaptureFixture) -> None:
    """A name that a model or a service makes up stays within its line, also in a transcript."""
    caplog.set_level(DEBUG, logger="voicepipe")
    caplog.set_level(DEBUG, logger="voicepipe.transcripts")
    LogWriter(SessionLabel("a")).write(event)
    assert [message.count("\n") for message in caplog.messages] == [0] * len(caplog.messages)
    assert {message.partition(":")[0] for message in caplog.messages} == {"session a"}


async def test_the_log_says_why_a_session_ended(caplog: pytest.LogCaptureFixture) -> None:
    """The application, its block, a part, or somebody from outside: each is another line."""
    caplog.set_level(INFO, logger="voicepipe")
    words = CANARIES[0]

    class Unplugged(vp.Source):
        sample_rate = 16_000

        async def frames(self) -> Any:
            yield bytes(640)
            raise OSError(words)

    agent = row(ScriptedModel(lambda _: Says("Hello.")))
    async with agent.session(greeting="Bye.") as session:
        session.end(after_reply=True)
        await session.ended.wait()
    async with agent.session() as session:
        session.end()
    async with agent.session():
        pass
    with pytest.raises(ZeroDivisionError):
        async with agent.session():
            _ = 1 / 0
    with anyio.move_on_after(1):
        async with agent.session():
            await anyio.sleep(2)
    with pytest.raises(vp.StageError):
        async with vp.Pipeline(vp.STTStage(Deaf()), *agent.parts).session(source=Unplugged(), output=RecordingOutput()):
            await anyio.sleep(2)
    ends = [message.partition(" turns: ")[2].partition(" at ")[0] for _, message in lines(caplog) if "ended" in message]
    assert ends == [
        "the application ended it",
        "the application ended it",
        "its block ended",
        "its block raised ZeroDivisionError",
        "it was cancelled",
        "Unplugged raised OSError",
    ]
    assert "canary" not in caplog.text


class Deaf(vp.Recogniser):
    sample_rate = 16_000

    async def recognise(
        self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session
    ) -> None:
        async for _ in inbox:
            pass


# --- whose line it is -------------------------------------------------------------------------------------------------


async def test_warnings_of_a_shared_service_name_the_right_session(caplog: pytest.LogCaptureFixture) -> None:
    """Two calls of one host, held by one task and served by one client: each warning has the id of its own call."""

    @vp.tool(effect="read")
    async def look(what: str) -> str:
        """Look it up."""
        raise LookupError(what)

    def reply(request: Any) -> Any:
        if request.last_user_text == "Look!" and not request.tool_results:
            return Calls("look", {"what": "map"})
        return Says("Hello there.")

    gateway = GatewaySimulator(reply, quirks=GatewayQuirks(thoughts="closing_tag"))
    async with gateway.serve() as base_url:
        model = vp.LLMStreamStage(base_url=base_url, model="m")
        async with (
            row(model, vp.ToolRouter([look])).open() as host,
            host.session(id="a", facts={"line": 1}) as one,
            host.session(id="b", facts={"line": 2}) as other,
        ):
            for _ in range(2):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(one.user_says, "Hello?")
                    tasks.start_soon(other.user_says, "Hello?")
            await one.user_says("Look!")
    thoughts = [record for record in caplog.records if "begins_in_thoughts" in record.getMessage()]
    named = [(vars(record)["session_id"], vars(record)["facts"]) for record in thoughts]
    assert {session_id for session_id, _ in named} == {"a", "b"}
    assert {(session_id, facts["line"]) for session_id, facts in named} == {("a", 1), ("b", 2)}
    assert all(record.getMessage().startswith(f"session {vars(record)['session_id']}: ") for record in thoughts)
    (broken,) = [record.getMessage() for record in caplog.records if "LookupError" in record.getMessage()]
    assert broken == "session a: the tool look raised LookupError"


async def test_a_failure_of_one_call_is_not_anothers(caplog: pytest.LogCaptureFixture) -> None:
    """What the application does to the outer of two sessions is logged as the outer one's."""
    caplog.set_level(INFO, logger="voicepipe")
    async with row(ScriptedModel(lambda _: Refuses(500, "down"))).open() as host:
        async with host.session(id="outer") as outer, host.session(id="inner"):
            await outer.user_says("Hello?")
            outer.end()
    said = [message for _, message in lines(caplog)]
    assert [message.partition(":")[0] for message in said if "turn 1" in message] == ["session outer"]
    assert [message.partition(" after")[0] for message in said if "ended" in message] == [
        "session outer: ended",
        "session inner: ended",
    ]


# --- what was said ----------------------------------------------------------------------------------------------------


async def test_nothing_that_was_said_is_logged_canary(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG no record holds words of caller or agent, an argument, or a result, in its message or beside it."""
    caplog.set_level(DEBUG)
    await call()
    shown = "\n".join([caplog.text, *(repr(vars(record)) for record in caplog.records)])
    assert len(lines(caplog)) > 15
    assert [canary for canary in CANARIES if canary in shown] == []


async def test_transcripts_are_logged_when_they_are_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    """A level of the logger for transcripts itself turns them on: what the caller said, and what they heard."""
    caplog.set_level(DEBUG, logger="voicepipe.transcripts")
    await call(id="a", greeting="")
    assert lines(caplog, "voicepipe.transcripts")[:4] == [
        ("DEBUG", "session a: the caller said 'A table for canary-caller.'"),
        ("DEBUG", "session a: turn 1: the caller heard 'Done, canary-agent.'"),
        ("DEBUG", "session a: the caller said 'And now?'"),
        ("DEBUG", "session a: turn 2: the caller heard 'Nothing else to'"),
    ]
    assert [canary for canary in CANARIES[2:] if canary in caplog.text] == []


@pytest.mark.parametrize("level", [logging.NOTSET, INFO])
async def test_an_inherited_level_asks_for_no_transcripts(level: int, caplog: pytest.LogCaptureFixture) -> None:
    """DEBUG for the whole package, or for the whole program, does not turn transcripts on."""
    caplog.set_level(DEBUG)
    caplog.set_level(DEBUG, logger="voicepipe")
    caplog.set_level(level, logger="voicepipe.transcripts")
    await call()
    assert lines(caplog, "voicepipe.transcripts") == []
