"""Telephone calls over several workers: the gateway answers the webhooks, and the stream goes to a worker."""

from __future__ import annotations

import anyio
import pytest

import voicepipe as vp
from tests.helpers.asgi_server import needs_server
from tests.helpers.plain_transport import agent
from tests.helpers.serving_engine import fleet
from tests.helpers.telephone_calls import AUTH_TOKEN
from voicepipe.serving import Serve, Twilio
from voicepipe.testing.simulators.twilio import TwilioSimulator

pytestmark = [pytest.mark.anyio, needs_server]


async def transfers(session: vp.Session) -> None:
    await anyio.sleep(1.0)
    session.end(after_reply=True, result=vp.Transfer("+15550111"))


@pytest.mark.parametrize("shares", [True, False])
async def test_a_call_is_transferred(shares: bool) -> None:
    """Its result reaches the webhook that asks for it, by the store or because the address leads back to the worker."""
    store = vp.MemoryStore() if shares else None

    def serve() -> Serve:
        return Serve(agent(), [Twilio(AUTH_TOKEN)], greeting="Hello!", on_call=transfers, store=store)

    async with fleet(serve, 3) as (_, engine, port), anyio.create_task_group() as tasks:
        url = f"http://127.0.0.1:{port}"
        network = TwilioSimulator(AUTH_TOKEN, server=url)
        used: set[str] = set()

        async def call() -> None:
            async with network.call(f"{url}/twilio") as caller:
                await caller.wait_ended()
                assert (caller.dialed, [code for code, _ in caller.errors]) == (["+15550111"], [31921])
                used.update(
                    work.listening.media_url for work in engine.works if work.listening.media_url in caller.twiml[0]
                )

        for _ in range(3):
            tasks.start_soon(call)
            await anyio.sleep(0.1)
    assert len(used) == 3


async def test_a_call_goes_on_in_another_worker() -> None:
    """When its worker dies, the network's next request reaches another one, which goes on with the call."""
    store = vp.MemoryStore()

    def serve() -> Serve:
        return Serve(agent(), [Twilio(AUTH_TOKEN)], greeting="Hello!", store=store)

    async with fleet(serve, 2) as (_, engine, port):
        url = f"http://127.0.0.1:{port}"
        async with TwilioSimulator(AUTH_TOKEN, server=url).call(f"{url}/twilio") as caller:
            await anyio.sleep(4.0)
            (busy,) = [worker for worker in engine.workers() if worker.load.calls]
            await engine.kill(busy.id)
            await anyio.sleep(2.0)
            assert caller.status == "in-progress"
            assert [worker.index != busy.index for worker in engine.workers() if worker.load.calls] == [True]
