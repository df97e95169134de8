"""What all engines do: notice a worker that has ended, replace it, and restart one after the other."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.scripted_engine import APPLICATION, Script, ScriptedEngine
from voicepipe.fleet import Load
from voicepipe.fleet.patience import Patience

pytestmark = pytest.mark.anyio


async def test_workers_start_at_the_same_time() -> None:
    """`start` returns when all workers take calls; each has an index and a name of its own."""
    engine = ScriptedEngine([Script(starts_s=2.0), Script(starts_s=1.0, ready_s=3.0), Script()])
    async with engine.open(APPLICATION):
        await engine.start(3)
        assert anyio.current_time() == 4.0
        assert sorted(index for _, index, is_ready in engine.state() if is_ready) == [0, 1, 2]
        assert len({worker.id for worker in engine.workers()}) == 3
        await engine.start(3)  # there are as many already
        assert anyio.current_time() == 4.0
    assert engine.workers() == []


async def test_a_worker_that_ends_is_replaced() -> None:
    """A worker that ends unasked has a successor at once; one that never stays has one less and less often."""
    fails = Script(starts_s=0.0, fails=vp.WorkerError("no memory"))
    engine = ScriptedEngine([Script(dies_s=5.0), Script(dies_s=1.5), fails, fails])
    async with engine.open(APPLICATION):
        await engine.start(1)
        await anyio.sleep(20.0)
        assert engine.happened == [
            (0.0, "starts", 0),
            (5.0, "starts", 0),  # at once
            (7.0, "starts", 0),  # ended at 6.5, after 0.5 s of service
            (8.0, "starts", 0),
            (10.0, "starts", 0),
        ]
        assert engine.state() == [("w5", 0, True)]
        assert engine.lost == 2


async def test_a_worker_that_does_not_answer_is_killed() -> None:
    """A worker takes no calls after 2 s of silence, and is replaced after 10 s of it."""
    engine = ScriptedEngine([Script(silent_s=3.0)])
    async with engine.open(APPLICATION):
        await engine.start(1)
        await anyio.sleep(4.1)  # it answered at 2.5 s for the last time
        assert engine.workers()[0].load.refuses == "silent"
        await anyio.sleep(10.0)
        assert [at_s for at_s, what, _ in engine.happened if what == "starts"] == [0.0, 13.0]
        assert engine.state() == [("w2", 0, True)]


async def test_an_engine_that_stood_still_kills_nobody() -> None:
    """When the engine itself could not run for long, it asks again before it holds a worker for dead."""
    engine = ScriptedEngine([Script(silent_s=3.0)])
    async with engine.open(APPLICATION):
        await engine.start(1)
        await anyio.sleep(2.2)  # since 3 s an answer is waited for
        engine.handles[0].script.silent_s = None
        loop: Any = asyncio.get_running_loop()
        loop._clock.now_us += 12_000_000  # nothing runs meanwhile
        await anyio.sleep(5.0)
        assert engine.state() == [("w1", 0, True)]


async def test_a_rolling_restart() -> None:
    """Each worker leaves once a new one is ready, one after the other; nobody is without a worker at any time."""
    engine = ScriptedEngine([Script(calls=3), Script(calls=2), Script(ready_s=2.0)])
    async with engine.open(APPLICATION):
        await engine.start(2)
        seen: set[int] = set()

        async def look() -> None:
            while True:
                seen.add(sum(is_ready for *_, is_ready in engine.state()))
                await anyio.sleep(0.1)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            await engine.restart(within_s=30.0)
            tasks.cancel_scope.cancel()
        assert min(seen) == 2
        assert engine.state() == [("w4", 0, True), ("w3", 2, True)]
        # A new one is ready after 3 s, the old one leaves within 5 s, and so on.
        assert anyio.current_time() == 1.0 + 3.0 + 5.0 + 1.0 + 5.0
        assert (engine.replaced, engine.lost) == (2, 0)
        assert [handle.drains for handle in engine.handles] == [[(30.0, True)], [(30.0, True)], [], []]


async def test_a_restart_that_cannot_go_on() -> None:
    """If a new worker cannot be started, or never takes calls, the old one stays and the reason is raised."""
    cannot = Script(fails=vp.ConfigurationError("app.py cannot be loaded"))
    engine = ScriptedEngine([Script(), cannot, Script(ready_s=1_000.0), Script(dies_s=1.0, ready_s=1.0)])
    async with engine.open(APPLICATION):
        await engine.start(1)
        with pytest.raises(vp.ConfigurationError, match="cannot be loaded"):
            await engine.restart()
        with pytest.raises(vp.WorkerError, match="was not ready within 60 s: lag"):
            await engine.restart()
        with pytest.raises(vp.WorkerError, match="ended before it was ready"):
            await engine.restart()
        assert engine.state() == [("w1", 0, True)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.restart)
            await anyio.sleep(0.5)
            with pytest.raises(vp.ConfigurationError, match="being restarted already"):
                await engine.restart()


async def test_a_worker_that_ends_while_it_is_replaced() -> None:
    """If the old worker ends by itself meanwhile, the new one is its successor, and there is no third one."""
    engine = ScriptedEngine([Script(dies_s=2.5), Script(starts_s=2.0), Script(dies_s=6.5, starts_s=0.0)])
    async with engine.open(APPLICATION):
        await engine.start(1)
        await anyio.sleep(1.0)
        await engine.replace("w1")
        assert engine.state() == [("w2", 1, True)]
        await anyio.sleep(10.0)
        assert engine.state() == [("w2", 1, True)]


async def test_a_successor_that_fails_while_the_old_worker_ends() -> None:
    """If neither stays, a worker is started as after any loss."""
    engine = ScriptedEngine([Script(dies_s=2.5), Script(starts_s=2.0, fails=vp.WorkerError("no memory"))])
    async with engine.open(APPLICATION):
        await engine.start(1)
        await anyio.sleep(1.0)
        with pytest.raises(vp.WorkerError, match="no memory"):
            await engine.replace("w1")
        await anyio.sleep(5.0)
        assert engine.state() == [("w3", 0, True)]


async def test_a_replacement_that_is_given_up() -> None:
    """If nobody waits for a replacement any more, the new worker is ended, and the old one stays."""
    engine = ScriptedEngine([Script(), Script(ready_s=20.0)])
    async with engine.open(APPLICATION):
        await engine.start(1)
        with anyio.move_on_after(5.0):
            await engine.replace("w1")
        await anyio.sleep(30.0)
        assert engine.state() == [("w1", 0, True)]


async def test_an_engine_with_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    """An engine that raises what it should not is logged with its traceback; the other workers go on."""
    faulty = Script(starts_s=0.0, fails=ZeroDivisionError("of the engine"))
    engine = ScriptedEngine([Script(), Script(dies_s=5.0), faulty])
    async with engine.open(APPLICATION):
        await engine.start(2)
        await anyio.sleep(10.0)
        assert [is_ready for *_, is_ready in engine.state()] == [True, True]
    (record,) = [one for one in caplog.records if "no worker could be started" in one.message]
    assert record.exc_info is not None


async def test_a_worker_is_taken_away() -> None:
    """A drained worker takes no calls at once and has no successor; the last one stays."""
    engine = ScriptedEngine()
    async with engine.open(APPLICATION):
        await engine.start(2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(engine.drain, "w1", 30.0)
            await anyio.wait_all_tasks_blocked()
            assert [worker.load.refuses for worker in engine.workers()] == ["draining", ""]
            with pytest.raises(vp.ConfigurationError, match="w2 is the only worker"):
                await engine.drain("w2")
            with pytest.raises(vp.ConfigurationError, match="w1 leaves already"):
                await engine.replace("w1")
        await anyio.sleep(60.0)
        assert engine.state() == [("w2", 1, True)]
        with pytest.raises(vp.ConfigurationError, match="there is no worker 'w9'; there are: w2"):
            await engine.kill("w9")


async def test_a_worker_that_does_not_leave_is_killed() -> None:
    """A worker whose drain does not end is killed 45 s after its time."""
    engine = ScriptedEngine([Script(drains_s=None)])
    async with engine.open(APPLICATION):
        await engine.start(1)
        await engine.stop(10.0)
        assert anyio.current_time() == 1.0 + 10.0 + 45.0
        assert engine.handles[0].drains == [(10.0, False)]  # there is nobody who could take its calls over
        assert engine.workers() == []
        await anyio.sleep(60.0)
        assert engine.workers() == []  # nobody takes its place


async def test_a_killed_worker_has_a_successor() -> None:
    """`kill` ends a worker at once, as a fault of the machine would."""
    engine = ScriptedEngine()
    async with engine.open(APPLICATION):
        await engine.start(1)
        await anyio.sleep(3.0)
        await engine.kill("w1")
        await anyio.sleep(1.5)
        assert engine.state() == [("w2", 0, True)]


async def test_an_application_that_cannot_be_served() -> None:
    """What the first workers say is raised by `start`, and no worker is left."""
    engine = ScriptedEngine([Script(), Script(fails=vp.ConfigurationError("app.py has no Pipeline"))])
    with pytest.raises(vp.ConfigurationError, match="has no Pipeline"):
        async with engine.open(APPLICATION):
            await engine.start(2)
    with pytest.raises(vp.ConfigurationError, match="is not open"):
        await engine.start(1)


async def test_an_engine_that_closes_while_a_worker_starts() -> None:
    """A worker whose start is under way when the engine closes is not left behind."""
    engine = ScriptedEngine([Script(dies_s=3.0), Script(starts_s=1.0)])
    async with engine.open(APPLICATION):
        await engine.start(1)
        await anyio.sleep(2.5)  # the second one is starting
    assert [at_s for at_s, _, _ in engine.happened] == [0.0, 3.0]
    assert len(engine.handles) == 1


def test_who_is_ready() -> None:
    """A worker takes a call if it has a place, does not drain, and is not late."""
    assert Load(9, 10).is_ready
    assert not any(load.is_ready for load in (Load(10, 10), Load(0, 10, is_draining=True), Load(0, 10, refuses="lag")))


def test_how_long_a_successor_waits() -> None:
    """The wait doubles from 0.5 to 30 s, and a worker that was fine ends it."""
    patience = Patience()
    waits = []
    for _ in range(8):
        waits.append(patience.wait_s)
        patience.failed()
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0]
    patience.lasted(2.0)
    assert patience.wait_s == 0.0
