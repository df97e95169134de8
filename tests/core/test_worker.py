"""WorkerThread: order, results, cancellation, and the end of the thread."""

from __future__ import annotations

import threading

import anyio
import pytest

from voicepipe.core.worker import WorkerThread

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """Real time, because threads do not exist on virtual time."""
    return "asyncio"


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


async def test_returns_the_result() -> None:
    """The caller gets what the function returns."""
    async with WorkerThread("w") as worker:
        assert await worker.run(divmod, 7, 2) == (3, 1)


async def test_raises_the_error() -> None:
    """What the function raises is raised where it is awaited, and the next function runs."""
    async with WorkerThread("w") as worker:
        with pytest.raises(ZeroDivisionError):
            await worker.run(divmod, 7, 0)
        assert await worker.run(int, "7", base=8) == 7


async def test_a_function_that_ends_the_interpreter_does_not_end_the_thread() -> None:
    """SystemExit reaches the caller, and the thread keeps running."""

    def leave() -> None:
        raise SystemExit(3)

    async with WorkerThread("w") as worker:
        with pytest.raises(SystemExit):
            await anyio.to_thread.run_sync(worker.submit(leave).result)
        assert await worker.run(int) == 0


async def test_runs_on_one_thread_in_order() -> None:
    """Functions submitted together run one after another, in order, on one thread that is not the loop's."""
    seen: list[tuple[int, int]] = []

    async with WorkerThread("w") as worker:
        for number in range(100):
            worker.submit(lambda n: seen.append((n, threading.get_ident())), number)
        await worker.run(int)

    assert [number for number, _ in seen] == list(range(100))
    assert {thread for _, thread in seen}.isdisjoint({threading.get_ident()})
    assert len({thread for _, thread in seen}) == 1


async def test_the_loop_runs_meanwhile() -> None:
    """A function that waits for the event loop gets what it waits for."""
    loop_ran = threading.Event()

    async def run_later() -> None:
        await anyio.lowlevel.checkpoint()
        loop_ran.set()

    async with WorkerThread("w") as worker, anyio.create_task_group() as tasks:
        tasks.start_soon(run_later)
        assert await worker.run(loop_ran.wait, 10)


async def test_a_cancelled_function_that_waits_never_runs() -> None:
    """Cancelling the await removes a queued function and does not disturb a running one."""
    started, release = threading.Event(), threading.Event()
    ran: list[str] = []

    def hold() -> None:
        started.set()
        release.wait(10)
        ran.append("first")

    async with WorkerThread("w") as worker:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.run, hold)
            await anyio.to_thread.run_sync(started.wait, 10)
            tasks.start_soon(worker.run, ran.append, "second")
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
        release.set()
        await worker.run(ran.append, "third")

    assert ran == ["first", "third"]


async def test_the_thread_ends_with_the_block() -> None:
    """After its block the thread has ended, and everything that was queued has run."""
    ran: list[str] = []
    async with WorkerThread("ends with the block") as worker:
        worker.submit(ran.append, "queued")

    assert "ends with the block" not in names()
    assert ran == ["queued"]
    assert repr(worker) == "<WorkerThread ends with the block ended>"


async def test_the_thread_ends_when_the_block_is_cancelled() -> None:
    """A cancelled block ends its thread too."""
    with anyio.CancelScope() as scope:
        async with WorkerThread("cancelled"):
            scope.cancel()
            await anyio.lowlevel.checkpoint()

    assert "cancelled" not in names()


@pytest.mark.slow
async def test_a_function_that_hangs_does_not_hold_the_end() -> None:
    """Closing gives up on a function that never returns; its thread is a daemon."""
    release = threading.Event()
    async with WorkerThread("hangs") as worker:
        worker.submit(release.wait)
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "hangs"]

    assert thread.daemon
    release.set()
    thread.join(10)
    assert not thread.is_alive()


async def test_refuses_work_after_the_end() -> None:
    """A closed worker raises an error with its name, and can be closed again."""
    async with WorkerThread("closed one") as worker:
        pass
    await worker.aclose()

    with pytest.raises(RuntimeError, match="closed one has been closed"):
        await worker.run(int)
