"""Classification alongside the reply and before it, in whole sessions on virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

import voicepipe as vp
from voicepipe.errors import ConfigurationError, StageError, StructuredOutputError, VendorError
from voicepipe.events import StructuredDone, StructuredFailed
from voicepipe.history import UserMessage
from voicepipe.model.model import Completion, Model, ReplyPart, Request
from voicepipe.model.structured_stage import Structured
from voicepipe.testing import (
    RecordingOutput,
    Says,
    Script,
    ScriptedModel,
    ScriptedUser,
    ScriptedVoice,
    run_on_virtual_time,
)

pytestmark = pytest.mark.anyio


class Ticket(BaseModel):
    """What a caller wants."""

    intent: str


CANCEL = '{"intent": "cancel"}'
TICKET = Ticket(intent="cancel")
REPLY = "I understand. One moment."


class Classifier(Model):
    """Gives the same answer to everything, after some seconds, or raises it if it is an error."""

    def __init__(self, answer: str | Exception = CANCEL, after_s: float = 0.5) -> None:
        self.asked: list[tuple[float, Request]] = []
        self.open_parts: list[str] = []
        self.running = [0]
        self._answer = answer
        self._after_s = after_s

    async def reply(self, request: Request, outbox: vp.Outbox[ReplyPart], turn: vp.Turn) -> None:
        raise NotImplementedError

    async def complete(self, request: Request) -> Completion:
        self.asked.append((anyio.current_time(), request))
        self.running[0] += 1
        try:
            await anyio.sleep(self._after_s)
        finally:
            self.running[0] -= 1
        if isinstance(self._answer, Exception):
            raise self._answer
        return Completion(text=self._answer)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        self.open_parts.append("open")
        yield
        self.open_parts.append("closed")


@dataclass
class Row:
    """A pipeline with a classifying stage, and its events."""

    stage: Structured | None
    user: ScriptedUser | None = None
    front: tuple[vp.Part, ...] = ()
    reply: str = REPLY
    fallback: str = "Sorry."
    output: RecordingOutput = field(default_factory=RecordingOutput)
    events: list[tuple[float, vp.Event]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model = ScriptedModel(lambda _: Says(self.reply, after_s=0.2, token_s=0.03))
        self.voice = ScriptedVoice(first_audio_s=0.1)

    @asynccontextmanager
    async def session(self, **options: Any) -> AsyncGenerator[vp.Session]:
        parts = [part for part in (self.user, *self.front, self.stage) if part]
        pipeline = vp.Pipeline(*parts, self.model, vp.SentenceChunker(), self.voice, fallback=self.fallback)
        async with anyio.create_task_group() as tasks, pipeline.session(output=self.output, **options) as session:
            tasks.start_soon(self._watch, session)
            yield session

    async def _watch(self, session: vp.Session) -> None:
        async for event in session:
            self.events.append((round(anyio.current_time(), 6), event))

    @property
    def table(self) -> list[tuple[float, str]]:
        """Time and kind of the events about turns and data."""
        kinds = (vp.TurnEnded, StructuredDone, StructuredFailed)
        return [(at_s, type(event).__name__) for at_s, event in self.events if isinstance(event, kinds)]

    @property
    def failures(self) -> list[vp.VoicepipeError]:
        return [event.error for _, event in self.events if isinstance(event, StructuredFailed)]


class Results:
    """Records results with their time, and then takes some seconds."""

    def __init__(self, after_s: float = 0.0) -> None:
        self.table: list[tuple[float, str, int]] = []
        self.ended_s: list[float] = []
        self._after_s = after_s

    async def __call__(self, ticket: Ticket, turn: vp.Turn) -> None:
        self.table.append((round(anyio.current_time(), 6), ticket.intent, turn.turn_id))
        await anyio.sleep(self._after_s)
        self.ended_s.append(round(anyio.current_time(), 6))


def alongside(llm: Model, on_result: Any, **options: Any) -> Structured:
    return Structured(Ticket, on_result=on_result, llm=llm, **options)


def before(llm: Model, gate: Any, **options: Any) -> Structured:
    return Structured(Ticket, gate=gate, llm=llm, **options)


# The reply alone: 0.2 s to its first token, 0.09 s to its first sentence, 0.1 s of TTS; 25 characters of 0.05 s each.
SPOKEN_S = [(0.36, 1.61)]


# --- alongside the reply ----------------------------------------------------------------------------------------------


def played(stage: Structured | None) -> Any:
    """Return what a session with this stage plays, with times to the microsecond, from an early transcript on."""
    user = ScriptedUser().guesses("Cancel it!", at_s=0.1).says("Cancel it!", at_s=0.4, speech_s=0.3, silence_s=0.1)
    row = Row(stage, user=user.says("Today!", at_s=1.2).hangs_up(at_s=4))

    async def call() -> Any:
        async with row.session() as session:
            await session.ended.wait()
        ended = [(at_s, event) for at_s, event in row.events if isinstance(event, vp.TurnEnded)]
        turns = [(at_s, type(event).__name__, event.heard, event.timeline.marks) for at_s, event in ended]
        return turns, row.output.written, row.output.spans(), session.history.to_json()

    return run_on_virtual_time(call)


@pytest.mark.parametrize("after_s", [0.0, 0.25, 1.0, 20.0])
def test_it_never_delays_the_reply(after_s: float) -> None:
    """With and without the stage, every frame, every mark and every word of history are the same to the microsecond."""
    alone = played(None)
    assert [name for _, name, _, _ in alone[0]] == ["TurnInterrupted", "TurnCompleted"]
    assert len(alone[1]) > 50
    assert played(alongside(Classifier(after_s=after_s), Results())) == alone


async def test_the_result_comes_alongside_the_reply() -> None:
    """The model is asked immediately; the event and the call of the function come while the agent speaks."""
    llm, results = Classifier(after_s=0.5), Results()
    row = Row(alongside(llm, results))
    async with row.session() as session:
        await session.user_says("Cancel it!")

    assert [at_s for at_s, _ in llm.asked] == [0.0]
    assert results.table == [(0.5, "cancel", 1)]
    assert row.output.spans() == SPOKEN_S
    assert row.table == [(0.5, "StructuredDone"), (1.61, "TurnCompleted")]
    assert (0.5, StructuredDone(turn_id=1, result=TICKET)) in row.events


async def test_the_turn_s_end_does_not_wait() -> None:
    """A result that takes longer than the reply comes after the turn's terminal event."""
    results = Results()
    row = Row(alongside(Classifier(after_s=3.0), results))
    async with row.session() as session:
        await session.user_says("Cancel it!")
        assert results.table == []
        await anyio.sleep(3)
    assert row.table == [(1.61, "TurnCompleted"), (3.0, "StructuredDone")]
    assert results.table == [(3.0, "cancel", 1)]


async def test_a_plain_function_is_called() -> None:
    """`on_result` need not be async; it is given the result and the turn."""
    given: list[tuple[Ticket, str]] = []
    async with Row(
        alongside(Classifier(), lambda ticket, turn: given.append((ticket, turn.user_text)))
    ).session() as session:
        await session.user_says("Cancel it!")
    assert given == [(TICKET, "Cancel it!")]


@vp.stage
async def translate(transcript: vp.Transcript) -> AsyncIterator[vp.Transcript]:
    yield replace(transcript, text=transcript.text.replace("Resilie", "Cancel"))


async def test_the_conversation_is_what_is_asked_about() -> None:
    """The model is asked about the whole conversation, with the last words as an earlier stage has changed them."""
    llm = Classifier()
    row = Row(alongside(llm, Results(), instructions="Classify."), front=(translate,))
    async with row.session(greeting="Hello!") as session:
        await anyio.sleep(1)
        await session.user_says("I have two lines.")
        await session.user_says("Resilie it.")

    asked = llm.asked[1][1]
    assert [message.text for message in asked.messages] == ["Hello!", "I have two lines.", REPLY, "Cancel it."]
    assert asked.messages[-1] == UserMessage("Cancel it.")
    assert asked.system == "Classify."


async def test_its_model_is_warm_with_the_host() -> None:
    """The stage's model is opened once with the pipeline, however many sessions there are."""
    llm = Classifier()
    pipeline = vp.Pipeline(
        alongside(llm, Results()), ScriptedModel(lambda _: Says(REPLY)), vp.SentenceChunker(), ScriptedVoice()
    )
    async with pipeline.open() as host:
        for _ in range(2):
            async with host.session(output=RecordingOutput()) as session:
                await session.user_says("Cancel it!")
        assert llm.open_parts == ["open"]
    assert llm.open_parts == ["open", "closed"]
    assert len(llm.asked) == 2


async def test_two_of_them_do_not_wait_for_each_other() -> None:
    """A pipeline can have several such stages, each with its own result."""
    slow, quick = Results(), Results()
    row = Row(alongside(Classifier(after_s=1.0), slow), front=(alongside(Classifier(after_s=0.3), quick),))
    async with row.session() as session:
        await session.user_says("Cancel it!")
    assert (slow.table, quick.table) == ([(1.0, "cancel", 1)], [(0.3, "cancel", 1)])
    assert row.output.spans() == SPOKEN_S


# --- failures alongside the reply -------------------------------------------------------------------------------------


def fails(ticket: Ticket, turn: vp.Turn) -> None:
    raise KeyError("canary-1")


async def fails_later(ticket: Ticket, turn: vp.Turn) -> None:
    await anyio.sleep(0.1)
    raise vp.ToolError("canary-1")


async def cancelled_inside(ticket: Ticket, turn: vp.Turn) -> None:
    lost = asyncio.get_running_loop().create_future()
    lost.cancel()
    await lost


FAILURES: dict[str, tuple[Structured, list[tuple[float, str]], type[Exception], str]] = {
    "the service": (
        alongside(Classifier(VendorError("down", vendor="acme", retryable=True)), Results()),
        [(0.5, "StructuredFailed"), (1.61, "TurnCompleted")],
        VendorError,
        "down",
    ),
    "no data": (
        alongside(Classifier("I cannot say."), Results()),
        [(1.0, "StructuredFailed"), (1.61, "TurnCompleted")],
        StructuredOutputError,
        "Classifier was asked twice; its answer is no valid Ticket: the answer: not JSON",
    ),
    "the deadline": (
        alongside(Classifier(after_s=20.0), Results(), deadline_s=1.25),
        [(1.25, "StructuredFailed"), (1.61, "TurnCompleted")],
        VendorError,
        "Classifier gave no Ticket within 1.25 s",
    ),
    "the default deadline": (
        alongside(Classifier(after_s=20.0), Results()),
        [(1.61, "TurnCompleted"), (8.0, "StructuredFailed")],
        VendorError,
        "Classifier gave no Ticket within 8 s",
    ),
    "on_result": (
        alongside(Classifier(), fails),
        [(0.5, "StructuredDone"), (0.5, "StructuredFailed"), (1.61, "TurnCompleted")],
        StageError,
        "Structured(Ticket): on_result raised KeyError",
    ),
    "on_result, later": (
        alongside(Classifier(), fails_later),
        [(0.5, "StructuredDone"), (0.6, "StructuredFailed"), (1.61, "TurnCompleted")],
        StageError,
        "Structured(Ticket): on_result raised ToolError",
    ),
    "on_result, cancelled": (
        alongside(Classifier(), cancelled_inside),
        [(0.5, "StructuredDone"), (0.5, "StructuredFailed"), (1.61, "TurnCompleted")],
        StageError,
        "Structured(Ticket): on_result was cancelled from inside",
    ),
}


@pytest.mark.parametrize(("stage", "table", "kind", "said"), FAILURES.values(), ids=FAILURES)
async def test_a_failure_is_reported_and_touches_nothing(
    stage: Structured,
    table: list[tuple[float, str]],
    kind: type[Exception],
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A failure is an event and a warning without values; the turn and the session go on."""
    row = Row(stage)
    async with row.session() as session:
        await session.user_says("Cancel it!")
        await anyio.sleep(8)
        assert not session.ended.is_set()

    assert row.table == table
    assert [(type(error), str(error).startswith(said)) for error in row.failures] == [(kind, True)]
    (warning,) = [record for record in caplog.records if record.name == "voicepipe"]
    assert (warning.levelno, warning.getMessage()) == (
        logging.WARNING,
        f"session {session.id}: turn 1: {row.failures[0]}",
    )
    assert "canary" not in warning.getMessage()
    assert row.output.spans() == SPOKEN_S


async def test_a_foreign_error_is_the_cause() -> None:
    """The exception that `on_result` raised is the cause of the error in the event, which names the stage."""
    row = Row(alongside(Classifier(), fails))
    async with row.session() as session:
        await session.user_says("Cancel it!")
    (error,) = row.failures
    assert isinstance(error, StageError)
    assert (error.part, repr(error.__cause__)) == ("Structured(Ticket)", "KeyError('canary-1')")


# --- interruptions and drafts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("survives", "results_at"),
    [(False, [(5.0, "cancel", 2)]), (True, [(3.0, "cancel", 1), (5.0, "cancel", 2)])],
    ids=["cancelled", "survives"],
)
async def test_the_caller_interrupts_before_there_is_a_result(
    survives: bool, results_at: list[tuple[float, str, int]]
) -> None:
    """A barge-in drops the result for the words before it, unless the option says that it survives."""
    llm, results = Classifier(after_s=3.0), Results()
    user = ScriptedUser().says("Cancel it!", at_s=0.0).says("No, wait.", at_s=2.0).hangs_up(at_s=7)
    row = Row(alongside(llm, results, survives_interruption=survives), user=user, reply="One two three. " * 5)
    async with row.session() as session:
        await anyio.sleep(2.5)
        assert llm.running == [1 + survives]
        await session.ended.wait()

    assert results.table == results_at
    done = [(at_s, "StructuredDone") for at_s, _, _ in results_at]
    assert row.table == sorted([(2.0, "TurnInterrupted"), *done, row.table[-1]])


async def test_a_result_in_hand_survives_every_interruption() -> None:
    """Once `on_result` has begun, no barge-in cancels it."""
    results = Results(after_s=3.0)
    row = Row(alongside(Classifier(after_s=0.5), results))
    async with row.session() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Cancel it!")
        await anyio.sleep(1)
        session.interrupt()
        await anyio.sleep(3)
    assert row.table == [(0.5, "StructuredDone"), (1.0, "TurnInterrupted")]
    assert results.ended_s == [3.5]


async def test_an_interruption_in_the_very_step_drops_the_result() -> None:
    """An answer in the same step as an interruption emits no event."""
    results = Results()
    row = Row(alongside(Classifier(after_s=1.0), results), reply="One two three. " * 5)
    async with row.session() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Cancel it!")
        await anyio.sleep(1)
        session.interrupt()
        await anyio.sleep(1)
    assert (row.table, results.table) == ([(1.0, "TurnInterrupted")], [])


async def test_a_draft_is_classified_before_the_caller_has_finished() -> None:
    """The model is asked during the draft; the result waits for the commit before its event is emitted."""
    llm, results = Classifier(after_s=0.5), Results()
    user = ScriptedUser().guesses("Cancel it", at_s=0.0).says("Cancel it.", at_s=0.8).hangs_up(at_s=4)
    row = Row(alongside(llm, results), user=user)
    async with row.session() as session:
        await session.ended.wait()
    assert [at_s for at_s, _ in llm.asked] == [0.0]
    assert results.table == [(0.8, "cancel", 1)]
    assert row.table[0] == (0.8, "StructuredDone")


async def test_a_draft_that_fails_is_reported_at_its_commit(caplog: pytest.LogCaptureFixture) -> None:
    """The failure of a draft waits for the commit as well, both as an event and in the log."""
    user = ScriptedUser().guesses("Cancel it", at_s=0.0).says("Cancel it.", at_s=0.8).hangs_up(at_s=4)
    row = Row(alongside(Classifier(VendorError("down", vendor="a", retryable=True)), Results()), user=user)
    async with row.session() as session:
        await anyio.sleep(0.7)
        assert (row.table, caplog.records) == ([], [])
        await session.ended.wait()
    assert row.table[0] == (0.8, "StructuredFailed")


DROPPED = {
    "alongside": alongside,
    "alongside, survives": partial(alongside, survives_interruption=True),
    "before": before,
}


@pytest.mark.parametrize("answer", [CANCEL, VendorError("down", vendor="a", retryable=True)], ids=["done", "failed"])
@pytest.mark.parametrize("after_s", [0.3, 3.0], ids=["had answered", "still asked"])
@pytest.mark.parametrize("make", DROPPED.values(), ids=DROPPED)
async def test_a_draft_that_is_dropped_leaves_no_trace(
    make: Any, after_s: float, answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A roll-back cancels the question silently: no event, no call, no line in the log."""
    llm, results = Classifier(answer, after_s=after_s), Results()
    row = Row(make(llm, results), user=ScriptedUser().guesses("Can", at_s=0.0).hangs_up(at_s=4))
    async with row.session() as session:
        await anyio.sleep(1)
        session.interrupt()
        await anyio.sleep(0.001)
        assert llm.running == [0]
        await anyio.sleep(5)
    assert (row.table, results.table, caplog.records) == ([], [], [])


# --- the end of the session -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after_s", "ended_s", "is_reported"),
    [(2.5, 2.5, True), (3.5, 3.0, False), (60.0, 3.0, False)],
    ids=["in time", "too late", "hangs"],
)
async def test_a_result_has_a_second_when_the_session_ends(
    after_s: float, ended_s: float, is_reported: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A hang-up is not an interruption: a question has 1 s to finish; then it is cancelled, and the log says so."""
    llm, results = Classifier(after_s=after_s), Results()
    row = Row(alongside(llm, results), user=ScriptedUser().says("Cancel it!", at_s=0).hangs_up(at_s=2), reply=REPLY * 3)
    async with row.session() as session:
        await session.ended.wait()
    assert anyio.current_time() == ended_s
    assert results.table == ([(2.5, "cancel", 1)] if is_reported else [])
    warnings = [record.getMessage() for record in caplog.records]
    said = f"session {session.id}: turn 1: the session ended before Structured(Ticket) was done"
    assert warnings == ([] if is_reported else [said])
    assert llm.running == [0]


async def test_nothing_is_left_however_the_session_ends() -> None:
    """After the block only the test's own task is left, even if everything was still running."""
    before_s, own = anyio.current_time(), len(asyncio.all_tasks())
    row = Row(alongside(Classifier(after_s=60.0), Results()), front=(alongside(Classifier(), Results(after_s=60.0)),))
    async with row.session() as session:
        with anyio.move_on_after(1):
            await session.user_says("Cancel it!")
    assert anyio.current_time() - before_s == 2.0
    assert len(asyncio.all_tasks()) == own


# --- before the reply -------------------------------------------------------------------------------------------------


async def test_a_gate_that_says_yes_lets_the_model_reply() -> None:
    """The model is asked once the result is there, and receives the caller's words."""
    asked: list[tuple[float, str]] = []

    async def gate(ticket: Ticket, turn: vp.Turn) -> bool:
        await anyio.sleep(0.1)
        asked.append((anyio.current_time(), ticket.intent))
        return True

    row = Row(before(Classifier(), gate))
    async with row.session() as session:
        await session.user_says("Cancel it!")
    assert asked == [(0.6, "cancel")]
    assert row.table == [(0.5, "StructuredDone"), (2.21, "TurnCompleted")]
    assert row.model.requests[0].last_user_text == "Cancel it!"
    assert row.output.spans() == [(0.96, 2.21)]


async def test_a_gate_that_says_no_has_answered_itself() -> None:
    """The model is not asked; the gate's own answer is played to its end, without a fallback; then the session ends."""

    def hand_over(ticket: Ticket, turn: vp.Turn) -> bool:
        turn.session.say("I am connecting you.")
        turn.session.end(after_reply=True, result="handed over")
        return False

    row = Row(before(Classifier(), hand_over))
    async with row.session() as session:
        await session.user_says("Cancel it!")
        await session.ended.wait()
        ended_s = anyio.current_time()

    assert row.model.requests == []
    assert [text for _, text in row.voice.sentences] == ["I am connecting you."]
    assert row.table == [(0.5, "StructuredDone"), (0.5, "TurnEmpty"), (1.6, "TurnCompleted")]
    assert (ended_s, session.result, row.output.spans()) == (1.6, "handed over", [(0.6, 1.6)])
    assert [message.text for message in session.history] == ["Cancel it!", "I am connecting you."]


def not_a_bool(ticket: Ticket, turn: vp.Turn) -> Any:
    return None


GATE_FAILURES: dict[str, tuple[Structured, float, type[Exception], str]] = {
    "the service": (
        before(Classifier(VendorError("down", vendor="acme", retryable=True)), Results()),
        0.5,
        VendorError,
        "down",
    ),
    "no data": (before(Classifier("```json\n{}\n```"), Results()), 1.0, StructuredOutputError, "Classifier was asked"),
    "the deadline": (
        before(Classifier(after_s=20), Results(), deadline_s=1.25),
        1.25,
        VendorError,
        "Classifier gave no Ticket within 1.25 s",
    ),
    "the gate": (before(Classifier(), fails), 0.5, StageError, "Structured(Ticket): gate raised KeyError"),
    "the gate, later": (
        before(Classifier(), fails_later),
        0.6,
        StageError,
        "Structured(Ticket): gate raised ToolError",
    ),
    "the gate, cancelled": (
        before(Classifier(), cancelled_inside),
        0.5,
        StageError,
        "Structured(Ticket): gate was cancelled from inside",
    ),
    "no verdict": (
        before(Classifier(), not_a_bool),
        0.5,
        StageError,
        "Structured(Ticket): gate returned NoneType; return True to let the model reply, or False",
    ),
}


@pytest.mark.parametrize(("stage", "at_s", "kind", "said"), GATE_FAILURES.values(), ids=GATE_FAILURES)
async def test_the_caller_hears_an_answer_whatever_fails(
    stage: Structured, at_s: float, kind: type[Exception], said: str
) -> None:
    """Without a verdict the model replies, and an event reports the failure."""
    row = Row(stage)
    async with row.session() as session:
        await session.user_says("Cancel it!")
    assert [when for when, event in row.events if isinstance(event, StructuredFailed)] == [at_s]
    assert [(type(error), str(error).startswith(said)) for error in row.failures] == [(kind, True)]
    assert row.table[-1] == (round(at_s + 1.61, 6), "TurnCompleted")


@pytest.mark.parametrize(
    ("llm", "reply_at", "table"),
    [
        (Classifier(after_s=0.5), 0.8, [(0.8, "StructuredDone"), (2.41, "TurnCompleted")]),
        (Classifier(after_s=1.2), 1.2, [(1.2, "StructuredDone"), (2.81, "TurnCompleted")]),
        # The reply to a draft that could not be classified begins before the commit; its events come after it.
        (
            Classifier(VendorError("down", vendor="a", retryable=True), after_s=0.5),
            0.5,
            [(0.8, "StructuredFailed"), (2.11, "TurnCompleted")],
        ),
    ],
    ids=["before the commit", "after it", "failed"],
)
async def test_a_draft_is_classified_and_its_gate_waits(
    llm: Classifier, reply_at: float, table: list[tuple[float, str]]
) -> None:
    """Classifying a draft saves its time; the gate is asked when the words are final."""
    passed: list[float] = []

    def gate(ticket: Ticket, turn: vp.Turn) -> bool:
        passed.append(round(anyio.current_time(), 6))
        return True

    user = ScriptedUser().guesses("Cancel it", at_s=0.0).says("Cancel it.", at_s=0.8).hangs_up(at_s=4)
    row = Row(before(llm, gate), user=user)
    asked: list[float] = []
    row.model.script = Script(
        lambda _: asked.append(round(anyio.current_time(), 6)) or Says(REPLY, after_s=0.2, token_s=0.03)
    )
    async with row.session() as session:
        await session.ended.wait()
    assert [at_s for at_s, _ in llm.asked] == [0.0]
    assert passed == [at_s for at_s, name in table if name == "StructuredDone"]
    assert asked == [reply_at]
    assert row.table == table


async def test_a_barge_in_ends_a_gate() -> None:
    """A gate ends with its turn: when the caller goes on, the longer text is classified again."""
    results = Results()
    user = ScriptedUser().says("Cancel.", at_s=0.0).says("My order.", at_s=1.0).hangs_up(at_s=9)
    llm = Classifier(after_s=3.0)
    row = Row(before(llm, lambda ticket, turn: True), user=user)
    async with row.session() as session:
        await session.ended.wait()
    assert [at_s for at_s, _ in llm.asked] == [0.0, 1.0]
    assert row.table == [(1.0, "TurnInterrupted"), (4.0, "StructuredDone"), (5.61, "TurnCompleted")]
    assert results.table == []


async def test_a_gate_in_front_of_another_stage_keeps_the_words() -> None:
    """A transcript that a gate withholds reaches no later stage."""
    results = Results()
    row = Row(alongside(Classifier(), results), front=(before(Classifier(), lambda ticket, turn: False),))
    async with row.session() as session:
        await session.user_says("Cancel it!")
    assert (results.table, row.table) == ([], [(0.5, "StructuredDone"), (0.5, "TurnEmpty")])
    assert row.voice.sentences == []


# --- how it is made ---------------------------------------------------------------------------------------------------


def yes(ticket: Ticket, turn: vp.Turn) -> bool:
    return True


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "give either on_result, to classify alongside the reply, or gate, to classify before it"),
        ({"on_result": fails, "gate": yes}, "give either on_result, to classify alongside the reply, or gate"),
        ({"gate": yes, "survives_interruption": True}, "use survives_interruption with on_result"),
        ({"gate": yes, "output": dict}, "needs a pydantic model class"),
        ({"gate": yes, "form": "yaml"}, "form must be"),
        ({"gate": yes, "deadline_s": -1}, "deadline_s must be a positive number of seconds, not -1"),
        ({"gate": yes, "llm": ScriptedVoice()}, "llm must be a model"),
    ],
)
def test_an_invalid_option_is_refused(given: dict[str, Any], said: str) -> None:
    """An invalid option is an error when the stage is made, before any session."""
    with pytest.raises(ConfigurationError) as raised:
        Structured(**({"output": Ticket, "llm": Classifier()} | given))
    assert said in str(raised.value)


async def test_the_form_is_the_stage_s() -> None:
    """With `form="tool"` the model is made to call a tool, and its arguments are the data."""

    class Caller(Classifier):
        async def complete(self, request: Request) -> Completion:
            return Completion(arguments=(await super().complete(request)).text)

    llm, results = Caller(), Results()
    async with Row(alongside(llm, results, form="tool")).session() as session:
        await session.user_says("Cancel it!")
    assert results.table == [(0.5, "cancel", 1)]
    assert llm.asked[0][1].must_call == "Ticket"


def test_it_shows_what_it_does() -> None:
    """The name and the repr show the class and the time of the question."""
    stage = before(Classifier(), yes)
    assert (stage.name, repr(stage)) == (
        "Structured(Ticket)",
        "<Structured(Ticket) before the reply, from <Classifier>>",
    )
    assert repr(alongside(Classifier(), yes)) == "<Structured(Ticket) alongside the reply, from <Classifier>>"


async def test_a_gate_that_does_not_return_is_passed() -> None:
    """A gate has as long to decide as the question had; then the model replies, and an event reports the failure."""

    async def never(ticket: Ticket, turn: vp.Turn) -> bool:
        await anyio.sleep_forever()
        raise AssertionError

    row = Row(Structured(Ticket, gate=never, llm=Classifier(), deadline_s=3.0))
    async with row.session() as session:
        await session.user_says("Cancel it")

    (failed,) = [event for _, event in row.events if isinstance(event, StructuredFailed)]
    assert "gate did not return within 3 s" in str(failed.error)
    assert session.history[-1].text == REPLY


@pytest.mark.parametrize("role", ["on_result", "gate"])
def test_what_is_no_function_is_refused_when_it_is_given(role: str) -> None:
    """Not in the first call."""
    with pytest.raises(ConfigurationError, match=f"{role} must be a function, not 'x'"):
        Structured(Ticket, llm=Classifier(), **{role: "x"})  # type: ignore[arg-type]


async def test_data_that_comes_with_the_interruption_is_dropped() -> None:
    """When the caller says something else in the step of the result, the result is dropped."""
    user = ScriptedUser().says("Cancel it", at_s=0.0).says("No, keep it", at_s=0.5).hangs_up(at_s=9.0)
    called: list[Ticket] = []
    row = Row(
        Structured(Ticket, on_result=lambda ticket, turn: called.append(ticket), llm=Classifier(after_s=0.5)), user
    )
    async with row.session() as session:
        await session.ended.wait()

    assert len(called) == 1  # that of the second turn
