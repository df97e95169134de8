"""An event loop whose time jumps from timer to timer."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe import Pipeline, SentenceChunker
from voicepipe.testing import (
    VIRTUAL_TIME,
    RecordingOutput,
    Says,
    ScriptedModel,
    ScriptedUser,
    ScriptedVoice,
    VirtualTimeLoop,
    run_on_virtual_time,
)

pytestmark = pytest.mark.anyio


async def test_waiting_takes_no_time() -> None:
    """A day passes at once, and exactly."""
    await anyio.sleep(86_400.0)
    assert anyio.current_time() == 86_400.0


async def test_time_begins_at_zero() -> None:
    """Each test has the same clock, whatever ran before it."""
    assert anyio.current_time() == 0.0


async def test_tests_run_on_it() -> None:
    """The setting for anyio's pytest plugin makes this very loop."""
    assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
    assert VIRTUAL_TIME[0] == "asyncio"


async def test_equal_deadlines_fire_in_the_order_set() -> None:
    """A hundred timers for the same time fire first set, first served."""
    fired: list[int] = []
    loop = asyncio.get_running_loop()
    for number in range(100):
        loop.call_at(1.0, fired.append, number)
    await anyio.sleep(2.0)
    assert fired == list(range(100))


async def test_times_that_differ_by_rounding_are_equal() -> None:
    """0.1 + 0.2 and 0.3 are one time: their timers fire in the order set."""
    fired: list[str] = []
    loop = asyncio.get_running_loop()
    loop.call_at(0.1 + 0.2, fired.append, "first")
    loop.call_at(0.3, fired.append, "second")
    await anyio.sleep(1.0)
    assert fired == ["first", "second"]


@given(tenths=st.lists(st.integers(0, 5), max_size=30))
def test_timers_fire_by_time_and_then_by_order(tenths: list[int]) -> None:
    """Whatever is set in whatever order: a stable sort by time is what happens."""

    async def main() -> None:
        fired: list[tuple[float, int]] = []
        loop = asyncio.get_running_loop()
        for number, tenth in enumerate(tenths):
            loop.call_at(tenth / 10, lambda n: fired.append((loop.time(), n)), number)
        await anyio.sleep(1.0)
        assert fired == sorted((tenth / 10, number) for number, tenth in enumerate(tenths))

    run_on_virtual_time(main)


async def test_a_cancelled_timer_does_not_fire() -> None:
    """A timer that is taken back neither fires nor holds time up."""
    fired: list[int] = []
    asyncio.get_running_loop().call_at(1.0, fired.append, 1).cancel()
    await anyio.sleep(2.0)
    assert (fired, anyio.current_time()) == ([], 2.0)


@pytest.mark.parametrize("tenth", range(1, 60))
def test_a_deadline_comes_whatever_its_last_bit_is(tenth: int) -> None:
    """A wait of 0.3 s that begins at 1.1 s ends at 1.4 s, although 1.1 + 0.3 is a bit more than that."""

    class Patient(VirtualTimeLoop):
        timers = 0

        def call_at(self, *settings: Any, **more: Any) -> asyncio.TimerHandle:
            self.timers += 1
            if self.timers > 100:
                raise SystemExit("the same deadline is set again and again")
            return super().call_at(*settings, **more)

    async def wait() -> float:
        await anyio.sleep(tenth / 10)
        with anyio.move_on_after(0.3):
            await anyio.sleep_forever()
        return anyio.current_time()

    with asyncio.Runner(loop_factory=Patient) as runner:
        assert runner.run(wait()) == round(tenth / 10 + 0.3, 6)


def connect(address: tuple[str, int]) -> None:
    with socket.socket() as client:
        client.connect(address)


@pytest.mark.parametrize(
    ("forbidden", "message"),
    [
        (lambda: threading.Thread(target=print).start(), "a thread was started on virtual time"),
        (lambda: connect(("192.0.2.1", 80)), r"a connection to 192\.0\.2\.1 was tried on virtual time"),
        (lambda: socket.getaddrinfo("example.invalid", 80), "'example.invalid' was looked up on virtual time"),
        (lambda: socket.gethostbyname("example.invalid"), "'example.invalid' was looked up on virtual time"),
    ],
    ids=["thread", "connection", "getaddrinfo", "gethostbyname"],
)
async def test_what_has_no_place_in_virtual_time_is_refused(forbidden: Callable[[], object], message: str) -> None:
    """Threads, foreign hosts and name look-ups raise where they are tried."""
    with pytest.raises(RuntimeError, match=message):
        forbidden()


async def test_a_blocking_call_in_a_thread_is_refused() -> None:
    """Also anyio's own way to a thread."""
    with pytest.raises(RuntimeError, match="a thread was started on virtual time"):
        await anyio.to_thread.run_sync(print)


async def test_loopback_is_welcome() -> None:
    """A server and a client on this machine talk while time stands still."""

    async def answer(client: anyio.abc.SocketStream) -> None:
        async with client:
            await client.send(b"hello " + await client.receive())

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"there")
            assert await stream.receive() == b"hello there"
        tasks.cancel_scope.cancel()
    assert anyio.current_time() == 0.0


def test_threads_are_free_outside() -> None:
    """Where no virtual time runs, nothing is refused."""
    ran: list[int] = []
    run_on_virtual_time(anyio.lowlevel.checkpoint)
    thread = threading.Thread(target=ran.append, args=[1])
    thread.start()
    thread.join()
    assert ran == [1]


def test_a_result_comes_back() -> None:
    """`run_on_virtual_time` returns what the function returns, and raises what it raises."""

    async def works() -> float:
        await anyio.sleep(5.0)
        return anyio.current_time()

    async def fails() -> None:
        raise KeyError("lost")

    assert run_on_virtual_time(works) == 5.0
    with pytest.raises(KeyError, match="lost"):
        run_on_virtual_time(fails)


def test_the_same_script_gives_the_same_events_twice() -> None:
    """A conversation with an early guess, a barge-in and a hang-up is the same each time it is played."""

    async def call() -> list[tuple[float, str]]:
        user = ScriptedUser().guesses("hello", at_s=0.3).says("Hello!", at_s=0.5, speech_s=0.2).interrupts(at_s=1.15)
        agent = Pipeline(
            user.says("And now?", at_s=2.5).hangs_up(at_s=4.0),
            ScriptedModel(
                [Says("Good morning, it is a fine day."), Says("Now it is noon.")], first_token_s=0.123, token_s=0.017
            ),
            SentenceChunker(),
            ScriptedVoice(first_audio_s=0.11),
        )
        async with agent.session(output=RecordingOutput()) as session:
            return [(anyio.current_time(), repr(event)) async for event in session]

    first, second = run_on_virtual_time(call), run_on_virtual_time(call)
    assert first == second
    assert len(first) > 8
