"""How late the event loop is."""

from __future__ import annotations

import time

import anyio
import anyio.lowlevel
import pytest

import voicepipe as vp
from voicepipe.testing import DeadlockError, RecordingOutput, Says, ScriptedModel, ScriptedVoice, run_on_virtual_time
from voicepipe.watching.telemetry.loop_lag import LoopLag


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # real time is what it measures
@pytest.mark.slow
async def test_a_loop_that_stands_still_is_late(anyio_backend: str) -> None:
    """A step that takes 0.3 s makes a tick of 0.1 s at least 0.2 s late."""
    lag = LoopLag()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lag.watch)
        await anyio.lowlevel.checkpoint()
        time.sleep(0.3)  # noqa: TID251, ASYNC251 - a blocked loop
        await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert lag.worst_s >= 0.19


def test_a_test_that_waits_for_nothing_still_fails() -> None:
    """On virtual time there is no tick: it would be a timer that goes on for ever, and a test would never end."""

    async def wait() -> None:
        row = ScriptedModel([Says("Hello.")]), vp.SentenceChunker(), ScriptedVoice()
        watching = vp.PrometheusMetrics()
        async with vp.Pipeline(*row, output=RecordingOutput(), observers=[watching]).session():
            await anyio.Event().wait()

    with pytest.raises(DeadlockError, match="nothing can end this wait"):
        run_on_virtual_time(wait)
