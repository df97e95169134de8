"""A late request over HTTP: the second one, the connection of the one that lost, and the tokens of both."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.questions import agent, ask, ask_raw
from tests.helpers.raw_server import END, HEAD, Act, RawServer, answer, data, delta, text
from tests.http.test_pool import Watched, wait_all_free
from voicepipe.testing import Calls, ChatRequest, RecordingOutput, Refuses, Reply, Says, ScriptedGateway, ScriptedVoice
from voicepipe.testing.simulators.gateway import GatewayQuirks, GatewaySimulator

pytestmark = pytest.mark.anyio

HEDGE = vp.Hedge(after_s=0.8, model="small")


def by_model(**replies: Reply) -> Any:
    def script(chat: ChatRequest) -> Reply:
        return replies[chat.model]

    return script


def reported(events: list[vp.Event], *kinds: type[Any]) -> list[str]:
    """Which of these events there were, and the models that they name."""
    return [
        f"{type(e).__name__} {getattr(e, 'model', '').partition(' at ')[0]}" for e in events if isinstance(e, kinds)
    ]


RACE = (vp.HedgeStarted, vp.ModelAnswered, vp.RequestRetried)


async def test_the_second_request_asks_another_model_of_the_service() -> None:
    """After 0.8 s the same request goes to the other model, which is heard; the late request is closed in that step."""
    gateway = ScriptedGateway(by_model(m=Says("Too late.", after_s=3.0), small=Says("Very well.", after_s=0.2)))
    async with gateway.serve() as base_url:
        asked = await ask(base_url, hedge=HEDGE, system="Be brief.", extra_body={"seed": 7})

    assert (asked.said, asked.took_s) == ("Very well.", 1.0)
    assert reported(asked.events, *RACE) == ["HedgeStarted small", "ModelAnswered small"]
    late, second = [request for request in gateway.requests if request.method == "POST"]
    assert round(second.received_s - late.received_s, 3) == 0.8
    assert late.closed_by_client_s is not None
    assert round(late.closed_by_client_s - late.received_s, 3) == 1.0
    assert second.closed_by_client_s is None
    bodies: list[Any] = [late.body, second.body]
    assert bodies[1] == bodies[0] | {"model": "small"}


async def test_without_a_model_the_same_one_is_asked_again() -> None:
    """A hedge without a model sends the same request twice, and the event says which of the two was heard."""
    script = iter([Says("Too late.", after_s=3.0), Says("Very well.")])
    gateway = ScriptedGateway(lambda _: next(script))
    async with gateway.serve() as base_url:
        asked = await ask(base_url, hedge=vp.Hedge(after_s=0.5))
    assert (asked.said, asked.took_s) == ("Very well.", 0.5)
    (chosen,) = [event for event in asked.events if isinstance(event, vp.ModelAnswered)]
    assert (chosen.model, chosen.was_first) == (f"m at {base_url}", False)


async def test_in_time_or_without_a_hedge_one_request_is_sent() -> None:
    """It is off by default, and costs nothing while the model is in time."""
    for options in ({}, {"hedge": HEDGE}):
        gateway = ScriptedGateway(by_model(m=Says("Very well.", after_s=0.7)))
        async with gateway.serve() as base_url:
            asked = await ask(base_url, **options)
        assert (asked.said, reported(asked.events, *RACE)) == ("Very well.", [])


@pytest.mark.parametrize("winner", ["m", "small"])
async def test_the_tokens_of_both_requests_are_reported(winner: str) -> None:
    """The one that is heard is counted by the service; of the one that is closed an estimate is reported."""
    soon, late = Says("Very well.", after_s=1.2), Says("Too late.", after_s=9.0)
    replies = {"m": late, "small": late} | {winner: soon}
    gateway = GatewaySimulator(by_model(**replies), quirks=GatewayQuirks(usage="last"))
    async with gateway.serve() as base_url:
        asked = await ask(base_url, hedge=HEDGE)

    used = {event.model: event for event in asked.events if isinstance(event, vp.ModelUsage)}
    loser = {"m": "small", "small": "m"}[winner]
    assert set(used) == {winner, loser}
    assert not used[winner].is_estimated
    assert (used[loser].is_estimated, used[loser].output_tokens) == (True, 0)
    assert used[loser].input_tokens > 10
    assert len([event for event in asked.events if isinstance(event, vp.ModelUsage)]) == 2


async def test_a_refused_request_is_not_counted() -> None:
    """A request that the service refuses is not billed, hedged or not."""
    gateway = ScriptedGateway(by_model(m=Refuses(503, "busy"), small=Says("Very well.", after_s=0.1)))
    async with gateway.serve() as base_url:
        asked = await ask(base_url, hedge=HEDGE)
    assert [event for event in asked.events if isinstance(event, vp.ModelUsage) and event.model == "m"] == []
    assert reported(asked.events, *RACE) == ["RequestRetried small", "ModelAnswered small"]
    assert (asked.said, asked.took_s) == ("Very well.", 0.1)


async def test_a_call_closes_the_other_request() -> None:
    """The first piece of a call decides: the tool runs once, and the turn's next request has a race of its own."""
    ran: list[str] = []

    @vp.tool(effect="write")
    async def order(dish: str) -> str:
        """Order a dish."""
        ran.append(dish)
        return "ordered"

    def script(chat: ChatRequest) -> Reply:
        if chat.tool_results:
            return Says("Ordered.")
        return Calls("order", {"dish": chat.model}, after_s=1.0 if chat.model == "m" else 0.25)

    gateway, voice = ScriptedGateway(script), ScriptedVoice(character_s=0.0)
    async with gateway.serve() as base_url:
        stage = vp.LLMStreamStage(base_url=base_url, model="m", hedge=HEDGE)
        async with agent(stage, voice, vp.ToolRouter([order])).session() as session:
            await session.user_says("A pizza.")
    assert (ran, [sentence for _, sentence in voice.sentences]) == (["m"], ["Ordered."])
    asked = [request for request in gateway.requests if request.chat is not None]
    assert [request.chat.model for request in asked if request.chat] == ["m", "small", "m"]
    assert [request.closed_by_client_s is None for request in asked] == [True, False, True]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param([answer("500 Internal Server Error", b"boom")], id="500"),
        pytest.param([answer("401 Unauthorized", b"no")], id="401"),
        pytest.param([b"no HTTP at all\r\n\r\n"], id="garbage"),
        pytest.param(["reset"], id="reset"),
        pytest.param([HEAD, "hold"], id="silence"),
        pytest.param([HEAD, data(delta(content=" ")), "hold"], id="blanks, then silence"),
    ],
)
async def test_a_broken_second_request_does_not_disturb_the_first(second: list[Act]) -> None:
    """Whatever becomes of the second request, the first one is heard when it comes."""
    asked, server = await ask_raw([1.5, HEAD, text("Very well."), END], second, hedge=HEDGE)
    assert (asked.said, asked.took_s, len(server.requests)) == ("Very well.", 1.5, 2)
    assert isinstance(asked.end, vp.TurnCompleted)


@pytest.mark.parametrize("first", [["hold"], [HEAD, "hold"], [HEAD, data(delta(content="")), "hold"]], ids=str)
async def test_a_service_that_hangs_is_overtaken(first: list[Act]) -> None:
    """A first request that hangs anywhere before its first word costs the caller the time of the hedge."""
    asked, _ = await ask_raw(first, [HEAD, text("Very well."), END], hedge=HEDGE)
    assert (asked.said, asked.took_s) == ("Very well.", 0.8)


async def test_if_both_fail_the_pair_is_sent_again() -> None:
    """The request's own retries go on, each with its hedge, and in the end the first one's error is the turn's."""
    asked, server = await ask_raw(
        *[[answer(f"{status} Broken", status.encode())] for status in ("500", "502") * 3], hedge=HEDGE
    )
    assert [request.body["model"] for request in server.requests] == ["m", "small"] * 3
    assert "HTTP 500" in str(asked.end.error)
    assert reported(asked.events, *RACE) == ["RequestRetried small", "RequestRetried "] * 2 + ["RequestRetried small"]


async def test_a_reply_that_breaks_off_is_not_asked_for_again() -> None:
    """Once a word was used, neither a hedge nor a retry follows."""
    asked, server = await ask_raw([HEAD, text("First. Second"), 1.0, "reset"], hedge=HEDGE)
    assert isinstance(asked.end.error, vp.IncompleteReply)
    assert len(server.requests) == 1


async def test_adjust_is_asked_once() -> None:
    """The second request is the first one as `adjust` left it, with the hedge's model."""
    seen: list[str] = []

    def note(request: vp.Request, _turn: vp.Turn) -> vp.Request:
        seen.append(request.model)
        return request

    gateway = ScriptedGateway(by_model(m=Says("Late.", after_s=3.0), small=Says("Very well.")))
    async with gateway.serve() as base_url:
        asked = await ask(base_url, hedge=HEDGE, adjust=note)
    assert (asked.said, seen) == ("Very well.", ["m"])


TURNS = 50


@pytest.mark.parametrize("after_s", [0.05, 0.1, 0.15])  # the hedge wins, both come at once, the first wins
@pytest.mark.slow
async def test_many_lost_requests_leave_every_connection_free(after_s: float) -> None:
    """The connection of a request that lost is given back, whether it was connecting, waiting or speaking."""
    gateway = ScriptedGateway(lambda chat: Says("Very well.", after_s=0.1 if chat.model == "small" else 0.2))
    async with gateway.serve() as base_url:
        stage = Watched(base_url=base_url, model="m", hedge=vp.Hedge(after_s=after_s, model="small"))
        async with agent(stage).session() as session:
            for number in range(TURNS):
                turn = await session.user_says(f"Question {number}")
                assert turn.failure is None
            await wait_all_free(stage.clients[0])
    asked = [request for request in gateway.requests if request.method == "POST"]
    assert len(asked) == 2 * TURNS
    assert any(request.closed_by_client_s is not None for request in asked)


async def test_an_interruption_closes_both_requests() -> None:
    """A barge-in in the middle of the race closes both, and the next turn is answered."""
    gateway = ScriptedGateway(
        lambda chat: Says(
            "Here." if chat.last_user_text == "Still there?" else "Well.",
            after_s=0.0 if "?" in chat.last_user_text else 9.0,
        )
    )
    async with gateway.serve() as base_url:
        stage = Watched(base_url=base_url, model="m", hedge=HEDGE)
        async with agent(stage).session() as session, anyio.create_task_group() as tasks:
            tasks.start_soon(session.user_says, "Tell me everything")
            await anyio.sleep(1.0)
            session.interrupt()
            turn = await session.user_says("Still there?")
            await wait_all_free(stage.clients[0])
    assert turn.failure is None
    first, second, third = [request for request in gateway.requests if request.method == "POST"]
    assert None not in (first.closed_by_client_s, second.closed_by_client_s)
    assert third.closed_by_client_s is None


async def test_a_model_that_cannot_retry_in_time_makes_way_at_once() -> None:
    """A service that asks to wait beyond the end of the turn is not waited for: the next model has all the time."""
    first = ScriptedGateway([Refuses(429, "slow down", retry_after_s=3.0)])
    second = ScriptedGateway([Says("Very well.", after_s=0.1)])
    async with first.serve() as first_url, second.serve() as second_url:
        models = vp.LLMStreamStage(base_url=first_url, model="a"), vp.LLMStreamStage(base_url=second_url, model="b")
        voice = ScriptedVoice(character_s=0.0)
        parts = [vp.FirstOf(*models), vp.ToolRouter([], turn_s=2.0), vp.SentenceChunker(), voice]
        async with vp.Pipeline(*parts, output=RecordingOutput()).session() as session:
            began_s = anyio.current_time()
            await session.user_says("Hello")
    assert [(round(at_s - began_s, 3), text) for at_s, text in voice.sentences] == [(0.1, "Very well.")]


async def test_two_servers_race_over_their_own_connections() -> None:
    """`FirstOf` over two services: the one that hangs is closed, and the other one is heard."""
    hanging = RawServer(["hold"])
    gateway = ScriptedGateway([Says("Very well.")])
    async with hanging.serve() as first_url, gateway.serve() as second_url:
        models = vp.LLMStreamStage(base_url=first_url, model="a"), vp.LLMStreamStage(base_url=second_url, model="b")
        row = vp.Pipeline(
            vp.FirstOf(*models, after_s=0.5),
            vp.SentenceChunker(),
            ScriptedVoice(character_s=0.0),
            output=RecordingOutput(),
        )
        async with row.session() as session:
            turn = await session.user_says("Hello")
            with anyio.fail_after(1.0):
                await hanging.gone.wait()
    assert turn.heard == "Very well."
