"""Programs as users write them. Checked, never run: each must stay about this long and type-check strictly."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Literal, Protocol, assert_type

import httpx
from pydantic import BaseModel, Field

import voicepipe as vp
from voicepipe.core.context import SessionContext, TurnContext
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedRecogniser, ScriptedUser, ScriptedVoice


class OrderStatus(BaseModel):
    order_id: str
    is_shipped: bool


class Shop:
    async def order(self, order_id: str) -> OrderStatus:
        return OrderStatus(order_id=order_id, is_shipped=True)


class Socket(Protocol):
    async def send(self, message: bytes | str) -> None: ...


shop = Shop()


# --- an agent with a tool ---------------------------------------------------------------------------------------------


@vp.tool
async def get_order_status(order_id: Annotated[str, Field(pattern=r"ORD-\d{5}")]) -> OrderStatus:
    """Look up the status of a customer order."""
    return await shop.order(order_id)


@vp.tool
async def human(reason: str, call: vp.ToolContext[Shop]) -> str:
    """Hand the caller over to a colleague."""
    assert_type(call.deps, Shop)
    call.session.end(after_reply=True, result=f"handed over: {reason}")
    return "Say that a colleague takes over."


# --- a vendor: one method, and a lifetime if it needs one -------------------------------------------------------------


class AcmeTTS(vp.TTSSink):
    sample_rate = 24_000
    url = "https://tts.example.com"
    http: httpx.AsyncClient

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        async with httpx.AsyncClient(base_url=self.url) as self.http:
            yield

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes]:
        async with self.http.stream("POST", "/speak", json={"text": sentence.text}) as reply:
            async for pcm in reply.aiter_bytes():
                yield pcm


class Echo(vp.Model):
    async def reply(self, request: vp.Request, outbox: vp.Outbox[vp.ReplyPart], turn: vp.Turn) -> None:
        await outbox.send(vp.TextDelta(turn.user_text))
        await outbox.send(vp.ReplyEnd(finish_reason="stop"))


# --- stages -----------------------------------------------------------------------------------------------------------


class Redact(vp.Stage[vp.Sentence, vp.Sentence]):
    """Replace card numbers before anything is spoken."""

    async def run(self, inbox: vp.Inbox[vp.Sentence], outbox: vp.Outbox[vp.Sentence], turn: vp.Turn) -> None:
        async for sentence in inbox:
            await outbox.send(replace(sentence, text=sentence.text.replace("4111", "****")))


class Polite(vp.Stage[vp.Sentence, vp.Sentence]):
    async def run(self, inbox: vp.Inbox[vp.Sentence], outbox: vp.Outbox[vp.Sentence], turn: vp.Turn) -> None:
        async for sentence in inbox:
            await outbox.send(sentence.text)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@vp.stage
async def shout(sentence: vp.Sentence) -> AsyncIterator[vp.Sentence]:
    yield replace(sentence, text=sentence.text.upper())


assert_type(shout, vp.Stage[vp.Sentence, vp.Sentence])


class Spy(vp.SessionStage[vp.Hearing, vp.Hearing]):
    async def run(self, inbox: vp.Inbox[vp.Hearing], outbox: vp.Outbox[vp.Hearing], session: vp.Session) -> None:
        async for heard in inbox:
            await outbox.send(heard)


# --- the protocols that parts know ------------------------------------------------------------------------------------


def is_session(session: vp.Session[Shop]) -> SessionContext[Shop]:
    return session


def is_turn(turn: vp.Turn) -> TurnContext:
    return turn


# --- what the application hands through -------------------------------------------------------------------------------

shop_agent = vp.Pipeline[Shop](vp.MicSource(), vp.STTStage(), Echo(), vp.SentenceChunker(), AcmeTTS())


def prompt(session: vp.Session[Shop]) -> str:
    return f"You answer line {session.facts['line']} of {session.facts.get('tenant', 'the shop')}."


async def facts(event: vp.Event, record: dict[str, str | int]) -> str:
    async with shop_agent.session(deps=shop, id="call-7", facts={"tenant": "acme", "line": 2}) as session:
        session.facts["line"] = 3  # type: ignore[index]  # pyright: ignore[reportIndexIssue]
    async with shop_agent.session(deps=shop, facts=record):
        pass
    async with shop_agent.session(deps=shop, facts={"cart": [1]}):  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
        pass
    return event.session_id


async def wrong_deps() -> None:
    async with shop_agent.open() as host, host.session(deps=shop) as session:
        assert_type(session.deps, Shop)
        async with host.session(deps="the shop"):  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            pass
    async with shop_agent.session(deps=shop) as session:
        assert_type(session, vp.Session[Shop])
    vp.run(shop_agent, deps=3)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]


class Kept:
    async def begins(self, call_id: str) -> bool:
        return call_id != "moved"


async def resumed(data: bytes) -> vp.CallResumed:
    async with shop_agent.session(deps=shop, resume=data, record=Kept(), is_stale=True) as session:
        assert_type(session.snapshot(), bytes)
        session.report_outcome("call_1", {"table": 7}, "failed")
        session.report_outcome("call_1", "", "pending")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        return await anext(event async for event in session if isinstance(event, vp.CallResumed))


# --- an output and a source -------------------------------------------------------------------------------------------


class Gone(vp.Output):
    sample_rate = 8_000

    async def write(self, pcm: bytes) -> None: ...

    def flush(self) -> None: ...

    @property
    def played_s(self) -> float:
        return 0.0


class Line(vp.PacedOutput):
    """A remote peer: the library paces, you send."""

    sample_rate = 8_000

    def __init__(self, socket: Socket) -> None:
        self.socket = socket

    async def send(self, pcm: bytes) -> None:
        await self.socket.send(vp.audio.to_ulaw(pcm))

    async def clear(self) -> None:
        await self.socket.send("clear")

    async def mark(self, name: str) -> None:
        await self.socket.send(name)

    def reported(self, name: str) -> int:
        self.marked(name)
        return assert_type(self.statistics(), vp.PacingStatistics).late


class Silence(vp.Source):
    async def frames(self) -> AsyncIterator[bytes]:
        yield bytes(640)


agent = vp.Pipeline(
    Silence(),
    vp.STTStage(ScriptedRecogniser()),
    Spy(),
    vp.LLMStreamStage("You are a friendly voice assistant. Keep replies short."),
    vp.ToolRouter([get_order_status, human]),
    vp.SentenceChunker(),
    Redact(),
    shout,
    AcmeTTS(),
    output=vp.WavOutput("agent.wav"),
    turns=vp.TurnRules(min_speech_s=0.5),
)
vp.Pipeline(vp.SentenceChunker)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def main() -> None:
    assert_type(vp.run(agent), object)


# --- structured output ------------------------------------------------------------------------------------------------


class Ticket(BaseModel):
    intent: Literal["billing", "support", "sales", "cancel", "other"]
    escalate: bool


async def file_ticket(ticket: Ticket, turn: vp.Turn) -> None:
    assert_type(ticket.escalate, bool)
    await shop.order(f"{turn.turn_id} {ticket.intent}")


def may_reply(ticket: Ticket, turn: vp.Turn) -> bool:
    if ticket.escalate:
        turn.session.say("A colleague takes over.")
        turn.session.end(after_reply=True, result=ticket)
    return not ticket.escalate


vp.Pipeline(
    vp.Structured(Ticket, on_result=file_ticket),
    vp.LLMStreamStage("Acknowledge in one sentence.", adjust=lambda request, turn: replace(request, temperature=0.2)),
    vp.SentenceChunker(),
    AcmeTTS(),
)
vp.Structured(Ticket, gate=may_reply)
vp.Structured(OrderStatus, on_result=file_ticket)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def classify() -> None:
    assert_type(await vp.structured(Ticket, "I want to cancel my subscription right now."), Ticket)
    await vp.structured(Ticket, 5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# --- a server: one pipeline, many calls -------------------------------------------------------------------------------


@dataclass
class Call:
    audio_in: vp.PushSource
    audio_out: vp.PullOutput


async def serve(calls: AsyncIterator[Call]) -> None:
    async with agent.open() as host:
        assert_type(host, vp.Host)
        async for call in calls:
            async with host.session(
                source=call.audio_in,
                output=call.audio_out,
                deps=shop,
                greeting="Hello!",
                settings=vp.CallSettings(language="de", voice="aai-michael", key_terms=["Flat white"]),
            ) as session:
                assert_type(session, vp.Session)
                async for event in session:
                    show(event)


def show(event: vp.Event) -> None:
    match event:
        case vp.TurnStarted(user_text=text):
            assert_type(text, str)
        case vp.TurnFailed(error=error):
            assert_type(error, vp.VoicepipeError)
        case vp.TurnEnded(heard=heard, timeline=timeline):
            assert_type(heard, str)
            assert_type(timeline, vp.Timeline)
            assert_type(timeline.first_frame, float)
        case _:
            pass


def misspelt() -> None:
    vp.Pipelin  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018


# --- a script or a test -----------------------------------------------------------------------------------------------


async def script() -> None:
    async with agent.session() as session:
        turn = await session.user_says("Where is my order?")
        assert_type(turn, vp.Turn)
        session.say("One more thing ...")
        said = await session.say("This call may be recorded.", audio="notice.wav")
        assert_type(said, vp.Said)
        assert_type(said.heard, str)
        assert_type((await session.reply("Greet the caller.")).turn, vp.Turn | None)
        session.say("Hold on.", audio=vp.PreparedAudio([b"", vp.WordMark(char_end=4, end_s=0.2)], 24_000))
        session.say("Hold on.", audio=b"")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        session.interrupt()
        session.end(after_reply=True, result="done")
        for message in session.history:
            match message:
                case vp.UserMessage(text=text):
                    assert_type(text, str)
                case vp.AssistantMessage(calls=calls):
                    assert_type(calls, list[vp.ToolCall])


test_agent = agent.replace(
    {
        vp.STTStage: ScriptedUser().says("Where is it?", at_s=0.5).hangs_up(at_s=3.0),
        vp.LLMStreamStage: ScriptedModel([Says("On its way.")]),
        AcmeTTS: ScriptedVoice(),
        vp.Output: RecordingOutput(),
    }
)
assert_type(test_agent, vp.Pipeline)
