"""What the model's service reports about a request: the tokens, and how many requests are left."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from pydantic import BaseModel

import voicepipe as vp
from tests.helpers.questions import ask, ask_raw, calling
from tests.helpers.raw_server import DONE, HEAD, Act, RawServer, answer, data, delta, text
from voicepipe.model_events import ModelUsage, RateLimitNear
from voicepipe.testing import Calls, RecordingOutput, Refuses, Says, ScriptedUser, ScriptedVoice
from voicepipe.testing.simulators.gateway import GatewayQuirks, GatewaySimulator
from voicepipe.vendors.openai.usage import RateLimit, limit_in

pytestmark = pytest.mark.anyio

STOP = data(delta("stop"))
COUNTED = {"prompt_tokens": 30, "completion_tokens": 4, "total_tokens": 34}


def usage(counted: Any = COUNTED, **fields: Any) -> bytes:
    """A chunk that carries only the tokens used."""
    return data({"choices": [], "usage": counted, **fields})


def counted(events: list[vp.Event]) -> list[tuple[str, int, int]]:
    return [(e.model, e.input_tokens, e.output_tokens) for e in events if isinstance(e, ModelUsage)]


def near(events: list[vp.Event]) -> list[tuple[int, int, float | None]]:
    return [(e.remaining, e.limit, e.reset_s) for e in events if isinstance(e, RateLimitNear)]


def limited(limit: object, remaining: object, reset: object = None, kind: str = "") -> list[Act]:
    """A reply with headers that say how many requests are left."""
    lines = [("limit", limit), ("remaining", remaining), ("reset", reset)]
    said = "".join(f"x-ratelimit-{name}{kind}: {value}\r\n" for name, value in lines if value is not None)
    return [HEAD.replace(b"\r\n\r\n", f"\r\n{said}\r\n".encode()), text("Well."), STOP, DONE]


# --- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("acts", "found"),
    [
        pytest.param([HEAD, text("Well."), STOP, usage(model="m-2"), DONE], [("m-2", 30, 4)], id="a last chunk"),
        pytest.param([HEAD, text("Well."), STOP, usage(), DONE], [("m", 30, 4)], id="without a model's name"),
        pytest.param([HEAD, text("Well."), STOP, usage()], [("m", 30, 4)], id="no [DONE]"),
        pytest.param(
            [HEAD, text("Well."), data(delta("stop") | {"usage": COUNTED})], [("m", 30, 4)], id="with the end"
        ),
        pytest.param(
            [
                HEAD,
                data(delta(content="Well.") | {"usage": COUNTED | {"completion_tokens": 1}}),
                data(delta("stop") | {"usage": COUNTED | {"completion_tokens": 2}}),
                DONE,
            ],
            [("m", 30, 2)],
            id="on every chunk the last counts",
        ),
        pytest.param(
            [HEAD, text("Well."), STOP, usage({"input_tokens": 3, "output_tokens": 1})], [("m", 3, 1)], id="other names"
        ),
        pytest.param([HEAD, text("Well."), STOP, usage(None), DONE], [], id="null"),
        pytest.param([HEAD, text("Well."), STOP, usage([30, 4]), DONE], [], id="a list"),
        pytest.param([HEAD, text("Well."), STOP, usage({"prompt_tokens": 30}), DONE], [], id="half of it"),
        pytest.param([HEAD, text("Well."), STOP, usage(COUNTED | {"prompt_tokens": -1})], [], id="negative"),
        pytest.param([HEAD, text("Well."), STOP, usage(COUNTED | {"prompt_tokens": True})], [], id="no number"),
        pytest.param([HEAD, text("Well."), STOP, data(b'{"usage": {'), DONE], [], id="broken"),
        pytest.param([HEAD, text("Well."), STOP, data(b'["usage"]'), DONE], [], id="no object"),
        pytest.param([HEAD, text('The "usage": Well.'), STOP, DONE], [], id="words"),
    ],
)
async def test_tokens_are_reported_when_the_service_counts_them(acts: list[Act], found: list[Any]) -> None:
    """A request reports its tokens once, wherever they stand in its stream; malformed counts are ignored."""
    asked, server = await ask_raw(acts)
    assert isinstance(asked.end, vp.TurnCompleted)
    assert counted(asked.events) == found
    assert "stream_options" not in server.requests[0].body


async def test_tokens_of_a_whole_answer_are_reported() -> None:
    """The answer of a service that does not stream holds the tokens."""
    choice = {"message": {"content": "Well."}, "finish_reason": "stop"}
    whole = json.dumps({"choices": [choice], "usage": COUNTED, "model": "m-2"}).encode()
    for options in ({}, {"streams": False}):
        asked, _ = await ask_raw([answer("200 OK", whole)], **options)
        assert counted(asked.events) == [("m-2", 30, 4)]


async def test_each_request_of_a_turn_reports_its_tokens() -> None:
    """A turn with a tool has two requests and reports both before it ends."""

    @vp.tool(effect="read")
    async def look() -> str:
        """Look."""
        return "there"

    gateway = GatewaySimulator([Calls("look", {}), Says("There.")], quirks=GatewayQuirks(usage="last"))
    async with gateway.serve() as base_url, calling(base_url, router=vp.ToolRouter([look])) as session:
        await session.user_says("Where?")
    events = [event async for event in session]

    assert [event.turn_id for event in events if isinstance(event, ModelUsage)] == [1, 1]
    assert isinstance(events[-1], vp.TurnCompleted)


async def test_a_failed_request_reports_its_tokens() -> None:
    """A reply that is cut after the service has counted it reports its tokens: they were billed."""
    asked, _ = await ask_raw([HEAD, data(delta(content="First. Second") | {"usage": COUNTED}), "reset"])
    assert isinstance(asked.end, vp.TurnFailed)
    assert counted(asked.events) == [("m", 30, 4)]


async def test_a_dropped_draft_reports_nothing() -> None:
    """Of two requests only the one of the turn is reported, not the one of the dropped draft."""
    user = ScriptedUser().guesses("Where is", at_s=0.5).says("Where is it?", at_s=2.0).hangs_up(at_s=6.0)
    quirks = GatewayQuirks(usage="every", requests_per_minute=2)
    gateway = GatewaySimulator([Says("What?"), Says("There.")], quirks=quirks)
    async with gateway.serve() as base_url:
        stage = vp.LLMStreamStage(base_url=base_url, model="m")
        row = vp.Pipeline(user, stage, vp.SentenceChunker(), ScriptedVoice(), output=RecordingOutput())
        async with row.session() as session:
            await session.ended.wait()
    events = [event async for event in session]

    assert len([request for request in gateway.requests if request.chat]) == 2
    assert len(counted(events)) == 1
    assert near(events) == [(0, 2, 58.5)]


@pytest.mark.parametrize(
    ("acts", "found"),
    [
        pytest.param(
            [HEAD, data(delta(content="One. Two.") | {"usage": COUNTED}), "hold"], (30, 4, False), id="counted so far"
        ),
        pytest.param([HEAD, text("One. Two."), "hold"], (None, 3, True), id="not counted"),
        pytest.param([HEAD, "hold"], (None, 0, True), id="no word yet"),
    ],
)
async def test_an_interrupted_request_is_counted(acts: list[Act], found: tuple[int | None, int, bool]) -> None:
    """An interrupted reply was billed: it reports the tokens counted so far, or an estimate, before its turn's end."""
    server = RawServer(acts)
    async with server.serve() as base_url, calling(base_url) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Count.")
        await anyio.sleep(1)
        session.interrupt()
    events = [event async for event in session]
    assert isinstance(events[-1], vp.TurnInterrupted)
    (event,) = [event for event in events if isinstance(event, ModelUsage)]
    request = json.dumps(server.requests[0].body, ensure_ascii=False, separators=(",", ":"))
    input_tokens = found[0] or -(-len(request) // 4)
    assert (event.input_tokens, event.output_tokens, event.is_estimated) == (input_tokens, *found[1:])


async def test_a_reply_that_broke_off_is_counted() -> None:
    """A reply that the service cut before it counted is estimated, once; a refusal is not billed."""
    asked, _ = await ask_raw([HEAD, text("First. Second"), "reset"])
    assert isinstance(asked.end, vp.TurnFailed)
    (event,) = [event for event in asked.events if isinstance(event, ModelUsage)]
    assert (event.output_tokens, event.is_estimated) == (4, True)

    refused, _ = await ask_raw([answer("400 Bad Request", b"{}")])
    assert counted(refused.events) == []


class Mood(BaseModel):
    """How the caller feels."""

    is_glad: bool


async def test_every_request_of_a_call_is_counted() -> None:
    """A reply, two requests of a `Structured` and an interrupted reply are four requests, and four reports."""
    quirks = GatewayQuirks(usage="last")
    replies = GatewaySimulator([Says("Well."), Says("One. Two.", token_s=5.0)], quirks=quirks)
    moods = GatewaySimulator([Says("Glad."), Says('{"is_glad": true}'), Says('{"is_glad": true}')], quirks=quirks)
    async with replies.serve() as base_url, moods.serve() as mood_url:
        row = vp.Pipeline(
            vp.Structured(
                Mood, on_result=lambda mood, turn: None, llm=vp.LLMStreamStage(base_url=mood_url, model="mood")
            ),
            vp.LLMStreamStage(base_url=base_url, model="m"),
            vp.SentenceChunker(),
            ScriptedVoice(),
            output=RecordingOutput(),
        )
        async with row.session() as session:
            await session.user_says("How are you?")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.user_says, "Count.")
                await anyio.sleep(2)
                session.interrupt()
    events = [event async for event in session]

    reports = [(event.turn_id, event.model, event.is_estimated) for event in events if isinstance(event, ModelUsage)]
    asked = [request for request in (*replies.requests, *moods.requests) if request.chat]
    assert len(reports) == len(asked) == 5
    assert sorted(reports) == [
        (1, "m", False), (1, "mood", False), (1, "mood", False), (2, "m", True), (2, "mood", False),
    ]  # fmt: skip


# --- requests left ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("acts", "found"),
    [
        pytest.param(limited(30, 5, 42), [(5, 30, 42.0)], id="less than a fifth"),
        pytest.param(limited(30, 6), [], id="a fifth"),
        pytest.param(limited(10_000, 1_999, "6m0s", "-requests"), [(1_999, 10_000, 360.0)], id="OpenAI's names"),
        pytest.param(limited(5, 3, "1.5"), [(3, 5, 1.5)], id="three"),
        pytest.param(limited(5, 4), [], id="four"),
        pytest.param(limited(30, 0, 1_790_000_000), [(0, 30, None)], id="a date"),
        pytest.param(limited(30, 0, "soon"), [(0, 30, None)], id="no time"),
        pytest.param(limited(None, 0), [], id="no limit"),
        pytest.param(limited(30, "few"), [], id="no number"),
        pytest.param(limited(-1, -1), [], id="negative"),
        pytest.param(limited(30, 29), [], id="plenty"),
    ],
)
async def test_few_requests_left_are_reported(acts: list[Act], found: list[Any]) -> None:
    """Below a fifth of the limit, or with three requests left, an event says so; malformed headers are ignored."""
    asked, _ = await ask_raw(acts)
    assert isinstance(asked.end, vp.TurnCompleted)
    assert near(asked.events) == found


async def test_a_refused_request_reports_what_is_left() -> None:
    """At the limit an event comes before the turn fails, with the time to wait."""
    gateway = GatewaySimulator(lambda _: Says("Well."), quirks=GatewayQuirks(requests_per_minute=1))
    async with gateway.serve() as base_url:
        first = await ask(base_url)
        await anyio.sleep(10)
    assert near(first.events) == [(0, 1, 60.0)]

    gateway = GatewaySimulator([Refuses(503, "busy"), Says("Well.")], quirks=GatewayQuirks(requests_per_minute=2))
    async with gateway.serve() as base_url:
        second = await ask(base_url)
    assert near(second.events) == [(1, 2, 60.0), (0, 2, 60.0)]
    kinds = [type(event) for event in second.events]
    assert kinds.index(RateLimitNear) < kinds.index(vp.RequestRetried)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("12", 12.0),
        (" 0.5 ", 0.5),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("120ms", 0.12),
        ("1m120ms", 60.12),
        ("", None),
        (None, None),
        ("-1", None),
        ("1e9", None),
        ("nan", None),
        ("1790000000", None),
        ("Sun, 22 Nov 2026 10:00:00 GMT", None),
    ],
)
def test_the_time_to_wait_is_read_in_each_of_its_ways(written: str | None, seconds: float | None) -> None:
    """Seconds, or a duration with units; a date is ignored, because this library has no calendar."""
    sent = {"x-ratelimit-limit": "9", "x-ratelimit-remaining": "9", "x-ratelimit-reset": written}
    assert [*limit_in(sent.get)] == [RateLimit(remaining=9, limit=9, reset_s=seconds)]
