"""A barge-in gives its connection back at any moment: a process that loses one each time soon cannot connect."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

import voicepipe as vp
from tests.helpers.questions import agent
from voicepipe.http.client import HTTPClient
from voicepipe.testing import Says, ScriptedGateway

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.http.transport import Transport

pytestmark = pytest.mark.anyio

BARGE_INS = 1000
LONG = "This is a reply that takes a good while to say. " * 4

# When a barge-in comes, after the question: seconds, then steps of the loop, in which time stands still. The first word
# comes after 0.1 s and the last one after 4 s; connecting and sending take some ten steps.
MOMENTS = [
    *((0.0, steps) for steps in range(30)),
    *((0.05, steps) for steps in range(5)),
    *((0.5, n) for n in range(5)),
]


def watched(client: HTTPClient) -> list[Any]:
    """Note each transport that a client makes, in a list that belongs to the client."""
    made: list[Any] = []
    make = client._new_transport

    def noted() -> Any:
        made.append(make())
        return made[-1]

    client._new_transport = noted
    client._transports_made = made  # type: ignore[attr-defined]
    return made


class Watched(vp.LLMStreamStage):
    """The stage, with access to its client."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.clients: list[HTTPClient] = []  # shared with the copy that is opened

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        async with super().open():
            watched(self._http)
            self.clients.append(self._http)
            yield


async def wait_all_free(client: HTTPClient) -> None:
    """Wait until no connection is in use, and no request waits for one or is lost."""
    made: list[Transport] = client._transports_made  # type: ignore[attr-defined]
    with anyio.move_on_after(5.0):
        while not all(transport.is_free for transport in made):  # noqa: ASYNC110
            await anyio.sleep(0.01)
    assert [transport for transport in made if not transport.is_free] == []
    idle = {id(transport) for _since, transport in client._idle}
    kept = [transport for transport in made if transport._connection and not transport._connection.is_closed()]
    assert [transport for transport in kept if id(transport) not in idle] == []


def gateway() -> ScriptedGateway:
    return ScriptedGateway(
        lambda chat: Says(
            "Here I am." if chat.last_user_text.endswith("Still there?") else LONG, after_s=0.1, token_s=0.1
        )
    )


def kinds(service: ScriptedGateway) -> Counter[str]:
    """How many requests the gateway got, by how far their replies went."""
    asked = [request for request in service.requests if request.method == "POST"]
    return Counter(
        "whole"
        if request.closed_by_client_s is None
        else "before the head"
        if request.status is None
        else "in mid-stream"
        for request in asked
    )


async def moment(number: int) -> None:
    pause_s, steps = MOMENTS[number % len(MOMENTS)]
    await anyio.sleep(pause_s)
    for _ in range(steps):
        await anyio.lowlevel.checkpoint()


@pytest.mark.slow
async def test_a_thousand_interruptions_leave_every_connection_free() -> None:
    """After 1,000 turns, each interrupted twice at any moment, no connection is lost and the next turn is answered."""
    service = gateway()
    async with service.serve() as base_url:
        stage = Watched(base_url=base_url, model="m")
        async with agent(stage).session() as session, anyio.create_task_group() as tasks:
            for number in range(BARGE_INS):
                tasks.start_soon(session.user_says, f"Question {number}")
                await moment(number)
                session.interrupt()
                await anyio.lowlevel.checkpoint()
                session.interrupt()
            await wait_all_free(stage.clients[0])
            turn = await session.user_says("Still there?")
            await wait_all_free(stage.clients[0])

    assert turn.failure is None
    assert turn.speech.heard_until(60.0) == {0: "Here I am."}
    seen = kinds(service)
    assert seen["whole"] == 1
    assert min(seen["before the head"], seen["in mid-stream"]) >= BARGE_INS // 10
    assert seen.total() < BARGE_INS  # the others were stopped before they were sent


@pytest.mark.slow
async def test_a_thousand_requests_cancelled_twice_leave_every_connection_free() -> None:
    """A request cancelled from two scopes, one a step after the other, gives its connection back."""
    service = gateway()
    async with service.serve() as base_url:
        client = HTTPClient(base_url, {})
        async with client.open(), anyio.create_task_group() as tasks:
            watched(client)

            async def ask(inner: anyio.CancelScope, outer: anyio.CancelScope) -> None:
                with outer, inner:
                    async with client.post("/chat/completions", BODY % "Go on", limit_s=4.0) as response:
                        async for _ in response.events():
                            pass

            for number in range(BARGE_INS):
                inner, outer = anyio.CancelScope(), anyio.CancelScope()
                tasks.start_soon(ask, inner, outer)
                await moment(number)
                inner.cancel()
                await anyio.lowlevel.checkpoint()
                outer.cancel()
            await wait_all_free(client)
            async with client.post("/chat/completions", BODY % "Still there?", limit_s=4.0) as response:
                assert [data async for data, _ in response.events()][-1] == "[DONE]"
            await wait_all_free(client)

    seen = kinds(service)
    assert seen["whole"] == 1
    assert min(seen["before the head"], seen["in mid-stream"]) >= BARGE_INS // 10
    assert seen.total() < BARGE_INS


BODY = '{"model": "m", "stream": true, "messages": [{"role": "user", "content": "%s"}]}'
