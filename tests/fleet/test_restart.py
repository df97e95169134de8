"""A rolling restart under calls, and a worker that dies: callers go on behind the same gateway."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio
import pytest

import voicepipe as vp
from tests.helpers.asgi_server import needs_server
from tests.helpers.page_client import resuming
from tests.helpers.plain_transport import agent
from tests.helpers.serving_engine import fleet
from voicepipe.serving import Page, Serve

pytestmark = [pytest.mark.anyio, needs_server]


async def test_a_rolling_restart_under_calls() -> None:
    """Each call is handed over to another worker, within 100 ms, and none is cut."""
    store = vp.MemoryStore()
    calls = []
    async with fleet(lambda: Serve(agent(), [Page()], greeting="Hello!", store=store)) as (_, engine, port):
        async with AsyncExitStack() as stack:
            for _ in range(6):
                calls.append(await stack.enter_async_context(resuming(port)))
            assert [work.load().calls for work in engine.works] == [3, 3]
            await anyio.sleep(3.0)
            await engine.restart(within_s=60.0)
            await anyio.sleep(1.0)
            assert sum(worker.load.calls for worker in engine.workers()) == 6
            assert not any(call.over.is_set() for call in calls)
        resumed = [call.resumed for call in calls]
        assert all(resumed)
        assert all(all(one) for one in resumed)
        assert max(gap_s for call in calls for gap_s in call.gaps_s) < 0.1
        assert engine.replaced == 2


async def test_a_call_whose_worker_dies_goes_on() -> None:
    """Its caller gets a token of another worker from the gateway, and goes on with the call."""
    store = vp.MemoryStore()
    async with (
        fleet(lambda: Serve(agent(), [Page()], greeting="Hello!", store=store)) as (_, engine, port),
        resuming(port) as call,
    ):
        await anyio.sleep(2.0)
        (busy,) = [worker for worker in engine.workers() if worker.load.calls]
        await engine.kill(busy.id)
        await call.until_connections(2)
        assert call.resumed == [True]
        assert call.gaps_s[0] < 0.1


async def test_calls_go_on_while_the_whole_fleet_stops() -> None:
    """Nobody is left who could take a call over, so it goes on to its own end, as without a store."""
    store = vp.MemoryStore()
    async with (
        fleet(lambda: Serve(agent(), [Page()], greeting="Hello!", store=store)) as (gateway, engine, port),
        anyio.create_task_group() as tasks,
    ):
        async with resuming(port) as call:
            tasks.start_soon(gateway.drain, 600.0)
            await anyio.sleep(20.0)
            assert len(call.pages) == 1
            assert not call.page.parted.is_set()
            assert len(engine.workers()) == 1
        await anyio.sleep(10.0)
        assert engine.workers() == []
