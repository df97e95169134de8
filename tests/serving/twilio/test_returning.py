"""Calls of the simulated network of Twilio that outlive their streams and their workers, on virtual time."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.telephone_calls import AUTH_TOKEN, PUBLIC, VOICE, Office, agent
from voicepipe.serving import Serve, Twilio
from voicepipe.testing import Says, ScriptedModel
from voicepipe.testing.simulators.twilio import TwilioCall, TwilioSimulator

pytestmark = pytest.mark.anyio

STORY = "One two three. Four five six. Seven eight nine."


class Service:
    """Two workers behind one public address, which share a store; `worker` is the one that the network reaches.

    Attributes:
        ports: Where they listen.
        offices: What the application notes at each.
        network: The network that calls.
    """

    def __init__(self, **line: Any) -> None:
        self.ports: list[int] = []
        self.offices = [Office(), Office()]
        store = vp.MemoryStore()
        row = [agent(replies=ScriptedModel(lambda _: Says("Fine."))) for _ in self.offices]
        self.workers = [
            Serve(
                one,
                [Twilio(AUTH_TOKEN, **line)],
                public_url=PUBLIC,
                store=store,
                greeting=STORY,
                on_call=office.on_call,
            )
            for one, office in zip(row, self.offices, strict=True)
        ]

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[TwilioSimulator]:
        """Run both workers; the network reaches the first one."""
        async with self.workers[0].listening() as first, self.workers[1].listening() as second:
            self.ports = [first, second]
            self.network = TwilioSimulator(AUTH_TOKEN, server=f"http://127.0.0.1:{first}", public_url=PUBLIC)
            yield self.network

    def reaches(self, worker: int) -> None:
        """Let the public address lead to a worker."""
        self.network.signer.server = f"http://127.0.0.1:{self.ports[worker]}"


async def hears_two_sentences(call: TwilioCall) -> None:
    await call.wait_speaking()
    await anyio.sleep(0.9)  # of 0.56 s for the first sentence


async def test_a_stream_breaks_and_the_call_goes_on_at_another_worker() -> None:
    """The sentence that was cut is said again, after which the agent goes on; it knows what the caller had heard."""
    service = Service()
    async with service.open() as network, network.call(VOICE) as call:
        await hears_two_sentences(call)
        service.reaches(1)
        call.break_off()
        await call.wait_speaking()
        await call.wait_silent()
        ((first,), (second,)) = (office.sessions for office in service.offices)
        assert [message.text for message in second.history] == [
            "One two three. Four",
            "Four five six. Seven eight nine.",
        ]
        assert (second.id, second.facts["from"]) == (call.sid, "+15550100")
        await call.hang_up()
    assert [code for code, _ in call.errors] == [31903]
    assert (call.status, first.id) == ("completed", second.id)


async def test_a_worker_that_stops_hands_its_calls_over() -> None:
    """After its present reply a call goes on at the other worker; the application is asked once, when it has ended."""
    asked: list[object] = []
    service = Service(after=lambda _, result: asked.append(result))
    async with service.open() as network, network.call(VOICE) as call, anyio.create_task_group() as tasks:
        await hears_two_sentences(call)
        service.reaches(1)
        tasks.start_soon(service.workers[0].drain, 600)
        await service.workers[0].desk.wait_empty()
        await anyio.sleep(0.5)  # the network has asked, and reached the other worker
        (second,) = service.offices[1].sessions
        assert [message.text for message in second.history] == [STORY]
        assert asked == []
        second.end(result=vp.Transfer("+15550111"))
        service.reaches(0)  # which answers what comes next, though it has not held the call to its end
        await call.wait_ended()
    assert (call.dialed, asked) == (["+15550111"], [vp.Transfer("+15550111")])


async def test_a_worker_that_takes_no_call_lets_the_caller_wait() -> None:
    """Twilio asks again each second, until a worker can go on with the call."""
    service = Service()
    async with service.open() as network, network.call(VOICE) as call:
        await hears_two_sentences(call)
        service.workers[0].desk._door.is_draining = True
        call.break_off()
        await anyio.sleep(2.5)
        service.workers[0].desk._door.is_draining = False
        await call.wait_speaking()
        await call.wait_silent()
        assert ["<Pause" in answer for answer in call.twiml] == [False, True, True, True, False]
        assert service.offices[0].sessions[1].history[0].text == "One two three. Four"


async def test_a_call_whose_streams_do_not_hold_is_hung_up() -> None:
    """A fourth stream within 10 s of the one before is not connected."""
    service = Service()
    async with service.open() as network, network.call(VOICE) as call:
        for _ in range(4):
            await call.wait_speaking()
            await anyio.sleep(0.2)
            call.break_off()
            await anyio.sleep(0.2)
        await call.wait_ended()
    assert (call.status, "<Hangup" in call.twiml[-1], len(call.twiml)) == ("completed", True, 5)


async def test_a_caller_who_hangs_up_is_not_called_back() -> None:
    """Nothing of the call is left, and its id opens no further stream."""
    service = Service()
    async with service.open() as network:
        async with network.call(VOICE) as call:
            await hears_two_sentences(call)
            await call.hang_up()
        store = service.workers[0].desk.store
        assert store is not None
        kept = await store.get(call.sid)
        assert kept is None or not kept.data
