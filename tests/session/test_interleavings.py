"""Calls in which anything happens at any time: the promises hold whatever happened."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Annotated, Any, Literal, Never, TypeAlias

import anyio
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import Field

import voicepipe as vp
from voicepipe.history import AssistantMessage, ToolCall
from voicepipe.model.model import Request
from voicepipe.testing import (
    Breaks,
    Calls,
    ChatRequest,
    RecordingOutput,
    Refuses,
    Reply,
    Says,
    ScriptedGateway,
    ScriptedModel,
    run_on_virtual_time,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from voicepipe.conversation.turn import Turn
    from voicepipe.model.model import ReplyPart
    from voicepipe.tools.tool import Tool

RATE = 8_000
CHARACTER_SAMPLES = 80  # 10 ms a character
WORD = re.compile(r"[a-z]+\d+x\d+")

# --- what may happen --------------------------------------------------------------------------------------------------

Act: TypeAlias = Literal[
    "final", "guess", "same final", "blank final", "word", "noise", "interrupt", "say", "reply", "end after reply"
]
ReplyKind: TypeAlias = Literal[
    "words",
    "call",
    "calls",
    "words and call",
    "break",
    "break in call",
    "refused",
    "busy",
    "silent",
    "empty",
    "slow",
    "cut",
]
VoiceKind: TypeAlias = Literal["speaks", "late", "fails", "fails in the middle", "hangs", "mute"]

# Mostly what makes up a conversation, and each of the faults now and then.
ACTS: tuple[Act, ...] = (*Act.__args__, "final", "final", "final", "same final")  # type: ignore[attr-defined]
REPLIES: tuple[ReplyKind, ...] = (*ReplyKind.__args__, *("call", "calls", "words and call") * 3)  # type: ignore[attr-defined]
VOICES: tuple[VoiceKind, ...] = (*VoiceKind.__args__, *("speaks",) * 9)  # type: ignore[attr-defined]
ENDS = ("leave", "end", "end after reply", "hang up", "cancel")
# Many of them coincide, on purpose: at the end of a frame, a pause or a tool, or in the same step.
PAUSES_S = (0.0, 0.0, 0.0, 0.001, 0.02, 0.1, 0.3, 0.5, 0.7, 1.0, 1.0, 2.5, 2.5, 6.0)


@dataclass(frozen=True)
class Plan:
    """The plan of one call: what the caller, the model, the tools, the voice and the application do."""

    acts: list[tuple[float, Act]]
    replies: list[ReplyKind]
    voices: list[VoiceKind]
    end: str
    over_http: bool
    fallback: bool
    crash_after: int | None
    seed: int


def plans(*, over_http: bool) -> st.SearchStrategy[Plan]:
    return st.builds(
        Plan,
        acts=st.lists(st.tuples(st.sampled_from(PAUSES_S), st.sampled_from(ACTS)), min_size=3, max_size=12),
        replies=st.lists(st.sampled_from(REPLIES), min_size=2, max_size=6),
        voices=st.lists(st.sampled_from(VOICES), min_size=1, max_size=4),
        end=st.sampled_from(ENDS),
        over_http=st.just(over_http),
        fallback=st.booleans(),
        crash_after=st.sampled_from((None, None, None, 1, 2, 3, 5)),
        seed=st.integers(0, 2**32),
    )


# --- the parts --------------------------------------------------------------------------------------------------------


@dataclass
class Record:
    """What happened in one call, for the checks.

    Attributes:
        given: Words by the number of what they were written for: each is unique, so that its sound can be recognised.
        runs: The tools that ran: call id and argument.
        dead_at_flush: For each flush its time, how many frames had been written, and how many sentences had begun.
        texts: Sentences in the order in which they were synthesised, from number 1.
        turn_of: The turn in which a word is said.
        sayings: What the application and its tools had said.
    """

    plan: Plan
    chance: Random
    given: int = 0
    runs: list[tuple[str, str, object]] = field(default_factory=list[tuple[str, str, object]])
    dead_at_flush: list[tuple[float, int, int]] = field(default_factory=list[tuple[float, int, int]])
    asked: list[ChatRequest] = field(default_factory=list[ChatRequest])
    requests: int = 0
    texts: list[str] = field(default_factory=lambda: [""])
    turn_of: dict[str, Turn] = field(default_factory=dict[str, "Turn"])
    sayings: list[vp.Saying] = field(default_factory=list[vp.Saying])
    problems: list[str] = field(default_factory=list[str])

    def words(self, kind: str) -> str:
        """Unique words in one to three sentences: "Model3x0 model3x1. Model3x2 ..."."""
        self.given += 1
        number = self.given
        words = [f"{kind}{number}x{at}" for at in range(self.chance.randint(1, 7))]
        return " ".join(word + ("." if self.chance.random() < 0.4 else "") for word in words) + "."

    def reply(self, chat: ChatRequest) -> Reply:
        """What the model answers."""
        self.asked.append(chat)
        kind = self.plan.replies[self.requests % len(self.plan.replies)] if self.requests < 12 else "words"
        self.requests += 1
        pace: dict[str, Any] = {
            "after_s": self.chance.choice((0.0, 0.1, 0.5)),
            "token_s": self.chance.choice((0.0, 0.02)),
        }
        match kind:
            case "words":
                return Says(self.words("model"), **pace)
            case "slow":
                return Says(self.words("model"), after_s=0.2, token_s=0.3)
            case "empty":
                return Says("", **pace)
            case "cut":
                return Says(self.words("model"), finish_reason="length", **pace)
            case "call":
                return self.call(**pace)
            case "words and call":
                return self.call(say=self.words("model") + " ", **pace)
            case "calls":
                return tuple(self.call(**pace) for _ in range(self.chance.randint(2, 4)))
            case "break":
                return Breaks(self.words("model"), cleanly=self.chance.random() < 0.5, **pace)
            case "break in call":
                return Calls("read_quick", '{"number": 1', **pace)
            case "refused":
                return Refuses(400, "no", after_s=pace["after_s"])
            case "busy":
                return Refuses(503, "busy", after_s=pace["after_s"])
            case "silent":
                return Says(self.words("model"), after_s=500.0)

    def call(self, **pace: Any) -> Calls:
        arguments: Any = {"number": self.requests % 2}
        if self.chance.random() < 0.15:
            arguments = self.chance.choice(("{", "[]", '{"number": -1}', '{"number": "1"}', "{}", '{"other": 1}'))
        call_id = self.chance.choice((None, "", "same"))
        return Calls(self.chance.choice([*TOOLS, "unknown"]), arguments, call_id=call_id, **pace)


@dataclass(frozen=True)
class Kind:
    """How a tool behaves."""

    effect: Literal["read", "write"] = "write"
    takes_s: float = 0.0
    raises: type[Exception] | None = None
    lingers_s: float = 0.0
    timeout_s: float = 1.5
    say: str = ""
    confirm: bool = False
    does: str = ""


FOREVER_S = 1e6
TOOLS: dict[str, Kind] = {
    "read_quick": Kind("read"),
    "read_slow": Kind("read", takes_s=0.5),
    "read_never": Kind("read", takes_s=FOREVER_S),
    "read_lingers": Kind("read", takes_s=FOREVER_S, lingers_s=0.8),
    "read_says": Kind("read", takes_s=1.2, say="wait0x0 wait0x1."),
    "write_quick": Kind(),
    "write_slow": Kind(takes_s=0.5),
    "write_overruns": Kind(takes_s=2.0),
    "write_never": Kind(takes_s=FOREVER_S),
    "write_lingers": Kind(takes_s=FOREVER_S, lingers_s=0.8),
    "write_confirmed": Kind(takes_s=0.1, confirm=True),
    "fails": Kind(takes_s=0.1, raises=ValueError),
    "refuses": Kind(takes_s=0.1, raises=vp.ToolError),
    "wants_more": Kind("read", takes_s=0.1, raises=vp.ToolRetry),
    "interrupts": Kind(takes_s=0.1, does="interrupt"),
    "says": Kind(takes_s=0.1, does="say"),
    "ends": Kind(takes_s=0.1, does="end"),
    "ends_later": Kind(takes_s=0.1, does="end after reply"),
}


def tool_of(name: str, kind: Kind, record: Record) -> Tool[Any, Any]:
    @vp.tool(name=name, effect=kind.effect, timeout_s=kind.timeout_s, say=kind.say, confirm=kind.confirm)
    async def run(number: Annotated[int, Field(ge=0)], call: vp.ToolContext[None]) -> str:
        """Do it."""
        record.runs.append((call.call_id, name, number))
        try:
            await anyio.sleep(kind.takes_s)
        finally:
            if kind.lingers_s:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(kind.lingers_s)
        if kind.raises is not None:
            raise kind.raises("it did not work")
        do(call.session, kind.does, record)
        return f"{name} did it"

    return run


def do(session: vp.Session, act: str, record: Record) -> None:
    match act:
        case "interrupt":
            session.interrupt()
        case "say":
            record.sayings.append(session.say(record.words("say")))
        case "reply":
            record.sayings.append(session.reply("Speak."))
        case "end":
            session.end()
        case "end after reply":
            session.end(after_reply=True)
        case _:
            assert not act


class Voice(vp.TTSSink):
    """Says each character as 10 ms of samples that hold it, with the number of its sentence."""

    sample_rate = RATE

    def __init__(self, record: Record) -> None:
        self._record = record

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
        record = self._record
        number = len(record.texts)  # below 256, because calls are short
        record.texts.append(sentence.text)
        kind = record.plan.voices[number % len(record.plan.voices)]
        if kind in ("late", "hangs"):
            await anyio.sleep(0.2 if kind == "late" else FOREVER_S)
        if kind == "fails":
            raise vp.VendorError("no voice", vendor="voice", retryable=False)
        marks = record.chance.random() < 0.7
        text = "" if kind == "mute" else sentence.text.rstrip()
        middle = len(text) // 2
        for at, character in enumerate(text, start=1):
            if kind == "fails in the middle" and at > middle:
                raise vp.VendorError("lost its voice", vendor="voice", retryable=False)
            if marks and (at == len(text) or text[at].isspace()):
                yield vp.WordMark(char_end=at, end_s=at * CHARACTER_SAMPLES / RATE)
            value = 128 * number + ord(character)
            yield value.to_bytes(2, "little") * CHARACTER_SAMPLES
            if record.chance.random() < 0.05:
                await anyio.sleep(0.03)


class Output(RecordingOutput):
    """Notes at each flush what must not be heard from then on."""

    def __init__(self, record: Record) -> None:
        super().__init__(RATE)
        self._notes = record

    def flush(self) -> None:
        super().flush()
        self._notes.dead_at_flush.append((anyio.current_time(), len(self.written), len(self._notes.texts)))


class Crashes(vp.Stage[vp.Sentence, vp.Sentence]):
    """A stage of the application that fails once, at its n-th sentence; it notes which turn the others belong to."""

    def __init__(self, after: int | None, record: Record) -> None:
        self._record = record
        self._left = [FOREVER_S if after is None else after]

    async def run(self, inbox: vp.Inbox[vp.Sentence], outbox: vp.Outbox[vp.Sentence], turn: Turn) -> None:
        async for sentence in inbox:
            self._left[0] -= 1
            if self._left[0] == 0:
                raise OSError("the disk is full")
            self._record.turn_of |= dict.fromkeys(WORD.findall(sentence.text), turn)
            await outbox.send(sentence)


class Caller(vp.SessionStage[Never, vp.Hearing]):
    """Reports what it is handed."""

    def __init__(self) -> None:
        self.said: list[vp.Hearing] = []
        self.news = [anyio.Event()]

    async def run(self, inbox: vp.Inbox[Never], outbox: vp.Outbox[vp.Hearing], session: vp.Session) -> None:
        while True:
            await self.news[0].wait()
            self.news[0] = anyio.Event()
            while self.said:
                event = self.said.pop(0)
                if event is HANG_UP:
                    return
                await outbox.send(event)

    def say(self, event: vp.Hearing) -> None:
        self.said.append(event)
        self.news[0].set()


HANG_UP = vp.EarlyTranscript("hangs up")


# --- the call ---------------------------------------------------------------------------------------------------------


class Model(ScriptedModel):
    """Notes a request that a service would refuse, which in a turn would look like any other failure."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.reply)
        self._record = record

    async def reply(self, request: Request, outbox: vp.Outbox[ReplyPart], turn: Turn) -> None:
        try:
            await super().reply(request, outbox, turn)
        except ValueError as error:
            self._record.problems.append(repr(error))
            raise


@asynccontextmanager
async def model_of(plan: Plan, record: Record) -> AsyncGenerator[vp.Model]:
    if not plan.over_http:
        yield Model(record)
        return
    gateway = ScriptedGateway(record.reply)
    async with gateway.serve() as url:
        yield vp.LLMStreamStage(base_url=url, model="scripted")
    posts = [request for request in gateway.requests if request.method == "POST"]
    record.problems += [f"refused: {request.body}" for request in posts if request.chat is None]


@dataclass
class Outcome:
    """What is left of a call."""

    session: vp.Session
    output: Output
    began_s: float
    let_go_s: float = 0.0
    left_s: float = 0.0
    events: list[vp.Event] = field(default_factory=list[vp.Event])
    said: list[vp.Said] = field(default_factory=list[vp.Said])


async def hold_a_call(plan: Plan, record: Record) -> Outcome:
    caller, output = Caller(), Output(record)
    outcome: Outcome | None = None
    async with model_of(plan, record) as model, anyio.create_task_group() as tasks:
        pipeline = vp.Pipeline(
            caller,
            model,
            vp.ToolRouter([tool_of(name, kind, record) for name, kind in TOOLS.items()], turn_s=8.0),
            vp.SentenceChunker(),
            Crashes(plan.crash_after, record),
            Voice(record),
            fallback="Sorry." if plan.fallback else "",
        )
        async with pipeline.open() as host:
            with anyio.CancelScope() as scope:
                async with host.session(output=output) as session:
                    outcome = Outcome(session, output, anyio.current_time())
                    tasks.start_soon(watch, outcome)
                    for pause_s, act in plan.acts:
                        if pause_s:
                            await anyio.sleep(pause_s)
                        perform(session, caller, act, record)
                    await end_call(session, caller, plan, scope)
                    outcome.let_go_s = anyio.current_time()
            assert outcome is not None
            outcome.left_s = anyio.current_time()
    assert outcome is not None
    with anyio.fail_after(0.001):  # nobody who waits is left waiting
        outcome.said = [await saying for saying in record.sayings]
    return outcome


async def watch(outcome: Outcome) -> None:
    async for event in outcome.session:
        outcome.events.append(event)
    outcome.let_go_s = max(outcome.let_go_s, anyio.current_time())


def perform(session: vp.Session, caller: Caller, act: Act, record: Record) -> None:
    now = anyio.current_time()
    match act:
        case "guess":
            record.given += 1
            caller.say(vp.EarlyTranscript(f"user {record.given}", stable=True))
        case "same final":
            caller.say(vp.Transcript(f"User {record.given}.", now, now))
        case "final":
            record.given += 1
            caller.say(vp.Transcript(f"Yes {record.given}", now, now))
        case "blank final":
            caller.say(vp.Transcript("...", now, now))
        case "word":
            caller.say(vp.EarlyTranscript("well", stable=False))
        case "noise":
            caller.say(vp.SpeechStarted(at_s=now))
        case _:
            do(session, act, record)


async def end_call(session: vp.Session, caller: Caller, plan: Plan, scope: anyio.CancelScope) -> None:
    match plan.end:
        case "cancel":
            scope.cancel()
        case "hang up":
            caller.say(HANG_UP)
            await session.ended.wait()
        case "end" | "end after reply":
            session.end(after_reply=plan.end == "end after reply")
            await session.ended.wait()
        case _:
            assert plan.end == "leave"


async def one_call(plan: Plan, record: Record) -> Outcome:
    """Hold a call, and check that nothing of it is left."""
    tasks, files = asyncio.all_tasks(), open_files()
    with anyio.fail_after(900):  # of virtual time; otherwise a call that hangs would hang the test
        outcome = await hold_a_call(plan, record)
    assert asyncio.all_tasks() == tasks
    assert open_files() == files
    return outcome


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


# --- the checks -------------------------------------------------------------------------------------------------------


def calls_of(session: vp.Session) -> list[ToolCall]:
    return [call for message in session.history if isinstance(message, AssistantMessage) for call in message.calls]


def check_history(outcome: Outcome, record: Record) -> None:
    """R4: each call has one result, and every request is one that a service accepts."""
    calls = calls_of(outcome.session)
    assert record.problems == []
    assert [call for call in calls if call.status == "pending"] == []
    assert all(call.call_id and isinstance(call.result, str) for call in calls)
    assert max(Counter(call.call_id for call in calls).values(), default=1) == 1
    for message in outcome.session.history:
        assert not isinstance(message, AssistantMessage) or message.is_settled


def check_tools(outcome: Outcome, record: Record) -> None:
    """R5: a writing tool ran at most once for each call, with that call's arguments, which validate."""
    calls = {call.call_id: call for call in calls_of(outcome.session)}
    writing = [run for run in record.runs if TOOLS[run[1]].effect == "write"]
    assert max(Counter(call_id for call_id, _, _ in writing).values(), default=1) == 1
    for call_id, name, number in writing:
        assert (calls[call_id].name, json.loads(calls[call_id].arguments)) == (name, {"number": number})
    assert all(type(number) is int and number >= 0 for _, _, number in record.runs)
    ran = {call_id for call_id, _, _ in record.runs}
    # A call that did not run itself joined an equal one that was running.
    joined = [call for call in calls.values() if call.status == "done" and call.call_id not in ran]
    assert [call for call in joined if (call.name, json.loads(call.arguments)["number"]) not in {
        (name, number) for _, name, number in writing
    }] == []  # fmt: skip


def check_events(events: list[vp.Event]) -> None:
    """R1: each turn that was reported ended once; no tool is reported to start after that."""
    started = Counter(event.turn_id for event in events if isinstance(event, vp.TurnStarted))
    ended = Counter(event.turn_id for event in events if isinstance(event, vp.TurnEnded))
    assert started == ended
    assert max(ended.values(), default=1) == 1
    finished: set[str] = set()
    for event in events:
        if isinstance(event, vp.ToolFinished):
            finished.add(event.call_id)
        assert not (isinstance(event, vp.ToolStarted) and event.call_id in finished)


def check_said(outcome: Outcome) -> None:
    """What became of a text that was said is what the terminal event of its turn says; the others were not heard."""
    ended = {event.turn_id: event for event in outcome.events if isinstance(event, vp.TurnEnded)}
    for said in outcome.said:
        event = ended[said.turn.turn_id] if said.turn is not None else None
        assert (said.heard, said.is_whole) == (event.heard if event else "", isinstance(event, vp.TurnCompleted))


@dataclass
class Sound:
    """A stretch of one sentence.

    Attributes:
        number: Which sentence.
        text: Its characters that were played completely.
        end: The sample after it.
    """

    number: int
    text: str
    end: int


def sounds(pcm: bytes) -> list[Sound]:
    """Return what can be heard in audio."""
    found: list[Sound] = []
    end = 0
    was_paused = False
    for value, run in groupby(memoryview(pcm).cast("h")):
        length = sum(1 for _ in run)
        end += length
        was_paused |= not value and length > 0.4 * RATE  # then a word that was cut is said again
        # One missing sample is rounding, in the output as in the record of what was heard.
        text = chr(value % 128) * ((length + 1) // CHARACTER_SAMPLES)
        if value and found and found[-1].number == value // 128 and not was_paused:
            found[-1] = Sound(value // 128, found[-1].text + text, end)
        elif value:
            found.append(Sound(value // 128, text, end))
        was_paused = was_paused and not value
    return found


def check_heard(outcome: Outcome, record: Record) -> None:
    """R4: a word counts as heard only if it was played completely. R6: nothing interrupted is written afterwards."""
    played = sounds(bytes(outcome.output.played))
    replies = [message for message in outcome.session.history if isinstance(message, AssistantMessage)]
    heard = [word for message in replies for word in WORD.findall(message.heard)]
    places = iter([word for sound in played for word in WORD.findall(sound.text)])
    assert [word for word in heard if word not in places] == []  # in the order in which they were played
    cut_at = {
        round(turn.timeline.ended, 5) for turn in record.turn_of.values() if turn.state is vp.TurnState.INTERRUPTED
    }
    for at_s, at, sentences in record.dead_at_flush:
        if round(at_s, 5) not in cut_at:
            continue  # a pause: what was not heard is played again
        after = sounds(b"".join(pcm for _, pcm in outcome.output.written[at:]))
        assert [sound for sound in after if sound.number < sentences] == []
    for sound in played:
        for word in WORD.findall(record.texts[sound.number]):
            turn = record.turn_of[word]
            silent_at = (turn.timeline.ended - outcome.began_s) * RATE
            assert turn.state is not vp.TurnState.INTERRUPTED or sound.end <= silent_at + 1


def check_call(plan: Plan) -> None:
    record = Record(plan, Random(plan.seed))
    outcome = run_on_virtual_time(partial(one_call, plan, record))
    assert outcome.left_s - outcome.let_go_s <= 3.0
    check_history(outcome, record)
    check_tools(outcome, record)
    check_events(outcome.events)
    check_said(outcome)
    check_heard(outcome, record)


@pytest.mark.slow
@settings(derandomize=True, max_examples=40)
@given(plans(over_http=False))
@example(  # a draft that is dropped while something waits to be said
    Plan(
        acts=[(0.0, "guess"), (0.1, "say"), (0.1, "blank final")],
        replies=["slow"],
        voices=["speaks"],
        end="end after reply",
        over_http=False,
        fallback=False,
        crash_after=None,
        seed=0,
    )
)
def test_any_call_keeps_the_promises(plan: Plan) -> None:
    """Whatever happens in a call, and whenever: history, tools, events, sound and the exit are as promised."""
    check_call(plan)


@pytest.mark.slow
@settings(derandomize=True, max_examples=15)
@given(plans(over_http=True))
def test_any_call_over_http_keeps_the_promises(plan: Plan) -> None:
    """The same holds with a model behind a socket that breaks, refuses and falls silent."""
    check_call(plan)
