"""Blocking functions, run off the event loop."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from contextvars import ContextVar

import anyio
import pytest

from voicepipe.core.threads import run_in_daemon_thread

pytestmark = pytest.mark.anyio

CALLER: ContextVar[str] = ContextVar("CALLER", default="nobody")


@pytest.fixture
def anyio_backend() -> str:
    """Real time, because threads do not exist on virtual time."""
    return "asyncio"


def threads_called(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]


async def test_the_result_comes_back() -> None:
    """The function gets its arguments in order, and its result is returned."""
    assert await run_in_daemon_thread(divmod, 7, 2, name="arithmetic") == (3, 1)


async def test_it_runs_in_a_named_daemon_thread() -> None:
    """The function runs in a daemon thread of the given name, not in the loop's thread."""
    thread = await run_in_daemon_thread(threading.current_thread, name="voicepipe tool get_order")

    assert thread is not threading.current_thread()
    assert (thread.name, thread.daemon) == ("voicepipe tool get_order", True)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
async def test_errors_come_back(error: BaseException) -> None:
    """Whatever the function raises, exactly that exception is raised to the caller."""

    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await run_in_daemon_thread(fail, name="fail")

    assert caught.value is error


async def test_the_end_of_an_iterator_comes_back() -> None:
    """A StopIteration, which no future can carry, is raised as coroutines raise it."""
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        await run_in_daemon_thread(next, iter(()), name="next")

    assert isinstance(caught.value.__cause__, StopIteration)


async def test_context_variables_are_copied() -> None:
    """The function sees the caller's context variables, and what it sets stays in the thread."""

    def read_and_set() -> str:
        before = CALLER.get()
        CALLER.set("the thread")
        return before

    CALLER.set("the caller")

    assert await run_in_daemon_thread(read_and_set, name="context") == "the caller"
    assert CALLER.get() == "the caller"


async def test_a_function_may_run_a_loop_of_its_own() -> None:
    """A plain function may use `anyio.run`: its thread does not appear to run in the caller's loop."""

    async def seven() -> int:
        return 7

    assert await run_in_daemon_thread(anyio.run, seven, name="loop") == 7


async def test_cancelling_abandons_the_thread(caplog: pytest.LogCaptureFixture) -> None:
    """Cancelling returns while the function still blocks, and names its thread; what it raises later is dropped."""
    started, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def block() -> None:
        loop.call_soon_threadsafe(started.set)
        release.wait()
        raise ValueError("nobody hears this")

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: run_in_daemon_thread(block, name="abandoned"))
        await started.wait()
        group.cancel_scope.cancel()

    assert [record.message.split(";")[0] for record in caplog.records] == ["abandoned is still running"]
    (thread,) = threads_called("abandoned")
    release.set()
    thread.join()  # the warning about an unhandled exception would fail this test


def test_a_closed_loop_is_no_error() -> None:
    """A function that ends after its loop was closed ends silently."""
    release = threading.Event()

    async def abandon() -> None:
        loop, started = asyncio.get_running_loop(), asyncio.Event()

        def block() -> None:
            loop.call_soon_threadsafe(started.set)
            release.wait()

        async with anyio.create_task_group() as group:
            group.start_soon(lambda: run_in_daemon_thread(block, name="late"))
            await started.wait()
            group.cancel_scope.cancel()

    asyncio.run(abandon())
    (thread,) = threads_called("late")
    release.set()
    thread.join()  # the warning about an unhandled exception would fail this test


def test_a_blocked_thread_does_not_hold_the_exit() -> None:
    """A program exits immediately with its own exit code while a function blocks forever; its thread is named."""
    program = """
import asyncio, sys, threading
from voicepipe.core.threads import run_in_daemon_thread

async def main():
    loop, started = asyncio.get_running_loop(), asyncio.Event()

    def block():
        loop.call_soon_threadsafe(started.set)
        threading.Event().wait()

    task = loop.create_task(run_in_daemon_thread(block, name="blocked"))
    await started.wait()
    task.cancel()

asyncio.run(main())
sys.exit(5)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=30)

    assert (ended.returncode, ended.stdout, ended.stderr.split(";")[0]) == (5, "", "blocked is still running")
