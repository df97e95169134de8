"""Calls over WebRTC with aiortc as the caller: in real time, because its packets, threads and timers are real."""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.webrtc import agent, needs_aiortc
from voicepipe.serving import Limits, Serve
from voicepipe.serving.webrtc import IceServer, WebRTC
from voicepipe.testing import Says, ScriptedRecogniser

pytestmark = [pytest.mark.anyio, pytest.mark.slow, needs_aiortc]

STORY = "Once upon a time there was a queue that had no end, and so it had no beginning."


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def serving(
    pipeline: vp.Pipeline[None] | None = None, transport: WebRTC | None = None, **options: Any
) -> AsyncGenerator[tuple[Serve[None], int]]:
    """Run a server. Both ends of each call run on this loop, so it is busy, and lets callers in nevertheless."""
    limits: dict[str, Any] = {"lag_s": 10, "stall_s": 10, "opening_per_s": 1_000, **options.pop("limits", {})}
    serve = Serve(pipeline or agent(), [transport or WebRTC()], limits=Limits(**limits), **options)
    async with serve.listening() as port:
        yield serve, port


# --- a conversation ---------------------------------------------------------------------------------------------------


async def test_a_conversation() -> None:
    """A caller hears the greeting, is understood and answered; events come by data channel, and `bye` at the end."""
    from tests.helpers.webrtc_client import calling

    ears = ScriptedRecogniser().says("When are you open?", at_s=1.0, speech_s=0.3)
    facts: list[dict[str, object]] = []
    async with serving(
        agent(ears, [Says("Till five.")]), greeting="Hello!", on_call=lambda session: facts.append(dict(session.facts))
    ) as (_, port):
        async with calling(port) as caller:
            await caller.until("turn_ended", 2)
            await caller.until("silence", 2)
            caller.send("end")
            await caller.until("closed")
    log = [what for _, what in caller.log if what not in ("sound", "silence")]
    assert log == [
        *("ready", "turn_started", "sentence", "utterance_ended", "turn_ended"),  # the greeting
        *("speech_started", "speech_ended", "transcript"),
        *("turn_started", "sentence", "utterance_ended", "turn_ended"),
        *("bye", "close", "closed"),
    ]
    assert [said["heard"] for said in caller.messages if said["type"] == "turn_ended"] == ["Hello!", "Till five."]
    assert caller.heard_s > 0.6  # of 0.8 s; the codec blurs where speech begins and ends
    assert caller.messages[-1] == {"type": "close", "code": 1000, "reason": ""}
    assert facts == [{"transport": "webrtc", "microphone": True, "echo_cancellation": True}]


async def test_an_interruption_is_heard_at_once() -> None:
    """`clear` comes before `paused`, then only what had left the server is heard, and the words end with it."""
    from tests.helpers.webrtc_client import calling

    ears = ScriptedRecogniser().says("A story!", at_s=0.2, speech_s=0.1).interrupts("Stop it now", at_s=1.2)
    async with serving(agent(ears, [Says(STORY), Says("Fine.")])) as (_, port):
        async with calling(port) as caller:
            ended = await caller.until("turn_ended")
            await caller.until("silence")
    log = [what for _, what in caller.log if what != "sound"]
    assert log[log.index("clear") + 1] == "paused"
    assert ended["outcome"] == "interrupted"
    assert STORY.startswith(ended["heard"])
    assert 0.5 < caller.heard_s < 3.0  # of 4 s, and the interruption came after 1.2 s


async def test_a_caller_without_a_microphone_types() -> None:
    """A page that only listens has no track of its own, and types."""
    from tests.helpers.webrtc_client import calling

    async with serving(agent(replies=[Says("Till five.")])) as (_, port):
        async with calling(port, has_microphone=False) as caller:
            caller.send("text", text="When are you open?")
            ended = await caller.until("turn_ended")
    assert ended["heard"] == "Till five."


async def test_a_caller_whose_addresses_are_hidden() -> None:
    """A browser that names only what no other network resolves finds the server, and is found by that."""
    from tests.helpers.webrtc_client import calling

    async with serving() as (_, port), calling(port, hides=True) as caller:
        caller.send("end")
        await caller.until("bye")


async def test_a_restart_is_announced() -> None:
    """A server that stops says that it restarts, and closes with 1012."""
    from tests.helpers.webrtc_client import calling

    async with serving() as (serve, port):
        async with calling(port) as caller:
            await serve.desk.drain(0.0)
            await caller.until("closed")
    assert caller.messages[-2:] == [
        {"type": "bye", "reason": "restarting", "resumable": False},
        {"type": "close", "code": 1012, "reason": "the server is restarting"},
    ]


async def test_a_call_goes_on_after_a_restart() -> None:
    """The server says that the call goes on, and with the key of the data channel it does, without a greeting."""
    from tests.helpers.webrtc_client import calling

    store = vp.MemoryStore()
    async with serving(greeting="Hello!", store=store) as (serve, port), serving(store=store) as (_, other):
        async with calling(port) as caller, anyio.create_task_group() as tasks:
            ready = await caller.until("ready")
            await caller.until("turn_ended")
            tasks.start_soon(serve.desk.drain, 600)
            bye = await caller.until("bye")
        async with calling(other, resume=ready["resume"]) as again:
            goes_on = await again.until("ready")
            again.send("end")
            await again.until("bye")
    assert bye == {"type": "bye", "reason": "restarting", "resumable": True}
    assert goes_on == {**ready, "resumed": True}


# --- nothing is left --------------------------------------------------------------------------------------------------


def alive() -> dict[str, int]:
    """Return what a call could leave behind. The threads of asyncio's own pool stay, for whatever comes next."""
    gc.collect()
    own = [thread for thread in threading.enumerate() if not thread.name.startswith("asyncio")]
    found = {"tasks": len(asyncio.all_tasks()), "threads": len(own)}
    return found | ({"files": len(list(Path("/proc/self/fd").iterdir()))} if sys.platform == "linux" else {})


async def polite(port: int) -> None:
    """Call, and hang up in order."""
    from tests.helpers.webrtc_client import calling

    async with calling(port) as caller:
        caller.send("end")
        await caller.until("closed")


async def rude(port: int) -> None:
    """Call, and leave in the middle of a sentence."""
    from tests.helpers.webrtc_client import calling

    async with calling(port) as caller:
        await caller.until("sentence")


async def absent(port: int) -> None:
    """Get an answer, and never connect."""
    from tests.helpers.webrtc_client import offered, post, token_for

    assert (await post(port, "/webrtc", await offered(), token=await token_for(port))).status_code == 201


async def settled(before: dict[str, int]) -> None:
    """Wait until no more is alive than was before: a task that has ended is gone in a later round of the loop."""
    with anyio.move_on_after(5):
        while more_than(before):  # noqa: ASYNC110 - nothing announces it
            await anyio.sleep(0.01)
    assert more_than(before) == {}


def more_than(before: dict[str, int]) -> dict[str, int]:
    """Return what there is more of than before."""
    return {kind: count - before[kind] for kind, count in alive().items() if count > before[kind]}


@pytest.mark.parametrize(("calls", "start_s"), [((polite, rude), 5.0), ((absent,), 1.0)], ids=["held", "not connected"])
async def test_twenty_calls_leave_nothing_behind(
    calls: tuple[Callable[[int], Awaitable[None]]], start_s: float
) -> None:
    """Calls that end in order, break off, or never connect leave no task, no thread and no file."""
    async with serving(greeting=STORY, limits={"start_s": start_s}) as (serve, port):
        before = alive()
        async with anyio.create_task_group() as callers:
            for number in range(20):
                callers.start_soon(calls[number % len(calls)], port)
        await serve.desk.wait_empty()
        await settled(before)


async def test_a_server_that_stops_ends_calls_that_are_connecting() -> None:
    """A call whose browser has not connected yet keeps neither the server nor a task alive."""
    before = alive()
    async with serving() as (_, port):
        await absent(port)
    await settled(before)


# --- who may call -----------------------------------------------------------------------------------------------------


async def test_the_door_is_the_pages() -> None:
    """Without a token, with a used one, or from another page there is no call; a stranger's page uses no token up."""
    from tests.helpers.webrtc_client import post, token_for

    async with serving() as (serve, port):
        token = await token_for(port)
        offers = [
            await post(port, "/webrtc", "v=0"),
            await post(port, "/webrtc", "v=0", token="made-up"),
            await post(port, "/webrtc", "v=0", token=token, origin="https://evil.example"),
            await post(port, "/webrtc", "v=0", token=token),  # the token is good, and the offer is not
            await post(port, "/webrtc", "v=0", token=token),
        ]
        tokens = [await post(port, "/webrtc/token", origin=origin) for origin in ("https://evil.example", "null")]
        assert serve.desk.why_closed() is None
    assert [offer.status_code for offer in offers] == [401, 401, 403, 400, 401]
    assert [token.status_code for token in tokens] == [403, 403]
    assert {answer.headers["cache-control"] for answer in offers + tokens} == {"no-store"}


async def test_a_full_server_refuses() -> None:
    """A call beyond the limit is refused by status, with a time to try again; the answer is no session description."""
    from tests.helpers.webrtc_client import Caller, calling, token_for

    async with serving(limits={"sessions": 1}) as (_, port):
        token = await token_for(port)
        async with calling(port):
            caller = Caller()
            response = await caller.connect(port, token)
            await caller.connection.close()
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json() == {"message": "all 1 lines are busy"}


async def test_servers_for_ice_go_only_to_pages_that_may_call() -> None:
    """A page gets the names and passwords of TURN servers together with its token."""
    from tests.helpers.webrtc_client import post

    turn = IceServer(url="turn:turn.example:3478", username="user", password="secret")
    transport = WebRTC(ice_servers=[IceServer(url="stun:stun.example"), turn])
    async with serving(None, transport) as (_, port):
        given = (await post(port, "/webrtc/token")).json()["ice_servers"]
        refused = await post(port, "/webrtc/token", origin="https://evil.example")
    assert given == [
        {"urls": "stun:stun.example"},
        {"urls": "turn:turn.example:3478", "username": "user", "credential": "secret"},
    ]
    assert "ice_servers" not in refused.json()
    assert "secret" not in repr(turn)


# --- bad input --------------------------------------------------------------------------------------------------------


async def test_damaged_offers_are_refused() -> None:
    """Offers with a line lost, doubled, cut or exchanged are answered or refused by status, and leave nothing."""
    from tests.helpers.webrtc_client import offered, post, token_for

    lines, dice, statuses = (await offered()).splitlines(), random.Random(1), []
    async with serving(limits={"start_s": 1.0}) as (serve, port):
        before = alive()
        for number in range(40):
            damaged, at = list(lines), dice.randrange(len(lines))
            match number % 4:
                case 0:
                    del damaged[at]
                case 1:
                    damaged.insert(at, damaged[at])
                case 2:
                    damaged[at] = damaged[at][: dice.randrange(len(damaged[at]) + 1)]
                case _:
                    damaged[at] = damaged[dice.randrange(len(lines))]
            response = await post(port, "/webrtc", "\r\n".join(damaged) + "\r\n", token=await token_for(port))
            statuses.append(response.status_code)
        await serve.desk.wait_empty()
        await settled(before)
    assert set(statuses) == {201, 400}


async def test_an_offer_is_small_and_has_its_type() -> None:
    """A body that is too large, of another type or too slow is refused."""
    from tests.helpers.webrtc_client import post, token_for

    async with serving() as (_, port):
        large = await post(port, "/webrtc", "v=0\r\n" * 10_000, token=await token_for(port))
        other = await post(port, "/webrtc", "v=0", token=await token_for(port), content_type="text/plain")
    assert (large.status_code, other.status_code) == (413, 415)


@pytest.mark.parametrize(
    ("message", "code"),
    [("x" * 16_385, 1009), (b"\0\0", 1008), ("no JSON", 1008), ('{"type":"hello"}', 1008)],
    ids=["large", "binary", "malformed", "hello again"],
)
async def test_a_message_that_is_not_in_the_protocol_ends_the_call(message: str | bytes, code: int) -> None:
    """Such a message closes its call with the code that a websocket would have, and no other call."""
    from tests.helpers.webrtc_client import calling

    async with serving() as (_, port), calling(port) as other:
        async with calling(port) as caller:
            caller.channel.send(message)
            await caller.until("closed")
        assert caller.messages[-1]["code"] == code
        other.send("end")
        await other.until("bye")


async def test_a_second_channel_ends_the_call() -> None:
    """There is one data channel, of the protocol's name."""
    from tests.helpers.webrtc_client import calling

    async with serving() as (_, port), calling(port) as caller:
        caller.connection.createDataChannel("more", protocol="voicepipe.v1")
        await caller.until("closed")
    assert (caller.messages[-1]["code"], caller.messages[-1]["type"]) == (1008, "close")
