"""An event loop whose time jumps from timer to timer."""

from __future__ import annotations

import asyncio
import math
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextvars import Context

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe import Pipeline, SentenceChunker
from voicepipe.testing import (
    VIRTUAL_TIME,
    DeadlockError,
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

        def call_at(
            self, when: float, callback: Callable[..., object], *args: object, context: Context | None = None
        ) -> asyncio.TimerHandle:
            self.timers += 1
            if self.timers > 100:
                raise SystemExit("the same deadline is set again and again")
            return super().call_at(when, callback, *args, context=context)

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


# --- waits that nothing can end ---------------------------------------------------------------------------------------


def deadlock(main: Callable[[], Awaitable[object]]) -> str:
    with pytest.raises(DeadlockError) as caught:
        run_on_virtual_time(main)
    return str(caught.value)


def waiting(message: str) -> list[str]:
    """Return the lines of a message that name tasks and places, without the files' folders and the lines' numbers."""
    return [re.sub(r"/.*/(\w+\.py):\d+", r"\1", line) for line in message.splitlines()[1:]]


def test_a_wait_that_nothing_can_end_fails_at_once() -> None:
    """The error says when that was, which task waits, and the file and line of the await."""

    async def main() -> None:
        await anyio.sleep(1.5)
        await anyio.Event().wait()

    message = deadlock(main)
    assert message.startswith(
        "nothing can end this wait: it is 1.500000 s, every task waits, no timer is set, and there is no peer to hear "
        "from; give the wait a deadline, or let the script end it\n"
    )
    line = main.__code__.co_firstlineno + 2
    assert message.splitlines()[2] == f"    {__file__}:{line} in {main.__qualname__}: await anyio.Event().wait()"


def test_each_task_that_waits_is_named() -> None:
    """A task is named with all its awaits from the outermost on, through generators and tasks that wait for tasks."""

    async def numbers() -> AsyncGenerator[int]:
        yield 1
        await anyio.Event().wait()

    async def consume() -> None:
        async for _ in numbers():
            pass

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever, name="a sleeper")
            tasks.start_soon(consume, name="a consumer")

    where = "test_each_task_that_waits_is_named.<locals>"
    lines = waiting(deadlock(main))
    assert lines[:3] == [
        "  a consumer",
        f"    test_clock.py in {where}.consume: async for _ in numbers():",
        f"    test_clock.py in {where}.numbers: await anyio.Event().wait()",
    ]
    assert lines[3] == "  a sleeper"
    assert any(" in sleep_forever: " in line for line in lines[4:-2])
    assert lines[-1:] == [f"    test_clock.py in {where}.main: async with anyio.create_task_group() as tasks:"]


def test_nothing_hides_a_deadlock_and_all_is_cleaned_up() -> None:
    """It passes by every `except Exception`; the tasks are cancelled, and may take their time to clean up."""
    ended: list[float] = []

    async def main() -> None:
        try:
            await anyio.Event().wait()
        except Exception:  # noqa: BLE001 - as an application would
            ended.append(-1.0)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(2.0)
            ended.append(anyio.current_time())

    deadlock(main)
    assert ended == [2.0]


@pytest.mark.parametrize("forever", [anyio.sleep, anyio.sleep_until])
def test_a_timer_at_the_end_of_all_days_is_none(forever: Callable[[float], Awaitable[None]]) -> None:
    """Who sleeps for ever sets a timer that never comes: it does not make the wait one that can end."""

    async def main() -> None:
        with anyio.move_on_after(math.inf):
            await forever(math.inf)

    assert deadlock(main).startswith("nothing can end this wait: it is 0.000000 s")


async def test_a_timer_at_the_end_of_all_days_can_be_taken_back() -> None:
    """Cancelling it is no error, and other timers fire on time."""
    asyncio.get_running_loop().call_later(math.inf, print).cancel()
    await anyio.sleep(2.0)
    assert anyio.current_time() == 2.0


def test_a_peer_outside_is_waited_for() -> None:
    """What another thread answers on a socket comes, though no timer is set, and costs no virtual time."""
    asked = threading.Event()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            asked.wait()
            connection.sendall(connection.recv(5))

    async def main() -> tuple[bytes, float]:
        async with await anyio.connect_tcp(*server.getsockname()) as stream:
            await stream.send(b"hello")
            asyncio.get_running_loop().call_soon(asked.set)  # once this task waits
            return await stream.receive(), anyio.current_time()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        assert run_on_virtual_time(main) == (b"hello", 0.0)
        thread.join()


def test_a_peer_that_is_silent_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket on which nothing comes ends the wait after some seconds of real time, with the same error."""
    monkeypatch.setattr("voicepipe.testing.clock.PEER_S", 0.0)

    async def main() -> None:
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            await listener.serve(lambda _: anyio.lowlevel.checkpoint())

    message = deadlock(main)
    assert "no peer did anything for 0 s of real time; give the wait a deadline" in message
    assert "await listener.serve(lambda _: anyio.lowlevel.checkpoint())" in message


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal to a process")
def test_a_signal_can_end_a_wait() -> None:
    """Who waits for a signal is not stuck: somebody outside may send it."""
    listening = threading.Event()

    def interrupt() -> None:
        listening.wait()
        os.kill(os.getpid(), signal.SIGUSR1)

    async def main() -> signal.Signals:
        with anyio.open_signal_receiver(signal.SIGUSR1) as signals:
            asyncio.get_running_loop().call_soon(listening.set)
            return await anext(signals)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert run_on_virtual_time(main) is signal.SIGUSR1
    thread.join()


def test_a_loop_in_a_thread_waits_for_who_started_it() -> None:
    """Virtual time in a thread of its own stands still, without an error, until somebody outside calls something."""
    with anyio.from_thread.start_blocking_portal(*VIRTUAL_TIME) as portal:
        assert portal.call(anyio.sleep, 5.0) is None
        assert portal.call(anyio.current_time) == 5.0


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
        user = ScriptedUser().guesses("hello", at_s=0.3).says("Hello!", at_s=0.5, speech_s=0.2).coughs(at_s=1.15)
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
