"""The event loop of a program: the signals that end a program end it in order, however often they come."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from functools import partial
from typing import Any

import anyio
import pytest

from tests.helpers.event_loops import UVLOOP
from voicepipe.core import process
from voicepipe.core.process import Stopped
from voicepipe.errors import ConfigurationError

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to a process"),
    pytest.mark.usefixtures("ctrl_c"),
]


@pytest.fixture(params=UVLOOP)
def run(request: pytest.FixtureRequest) -> Any:
    """The function under test, on each event loop."""
    return partial(process.run, uvloop=request.param)


@pytest.mark.parametrize("uvloop", UVLOOP)
def test_uvloop_is_used_unless_it_is_switched_off(uvloop: bool) -> None:
    """Where uvloop is installed, the function runs on it; `uvloop=False` keeps asyncio's own loop."""

    async def loop_module() -> str:
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]

    assert process.run(loop_module, uvloop=uvloop) == ("uvloop" if uvloop else "asyncio")


def test_without_uvloop_it_runs_on_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where uvloop is not installed, asyncio's own loop takes its place."""
    monkeypatch.setitem(sys.modules, "uvloop", None)

    async def loop_module() -> str:
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]

    assert process.run(loop_module) == "asyncio"


def test_a_second_ctrl_c_does_not_break_off_the_end(run: Any) -> None:
    """The first Ctrl-C cancels; later ones do not disturb the clean-up."""
    done: list[str] = []

    async def call() -> None:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        done.append("not torn apart")
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                os.kill(os.getpid(), signal.SIGINT)
                await anyio.sleep(0.001)
                done.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        run(call)
    assert done == ["not torn apart", "cleaned up"]


ENDING = """
import atexit, os, signal, sys, threading
from voicepipe.core import process

async def call():
    os.kill(os.getpid(), signal.{name})
    await __import__("anyio").sleep_forever()

class Last:
    def __del__(self, kill=os.kill, own=os.getpid(), number=signal.{name}):
        kill(own, number)  # after Python has given back its handlers

sys.last = Last()
try:
    process.run(call, uvloop={uvloop})
except process.Stopped as stopped:
    os.kill(os.getpid(), signal.{name})
    atexit.register(os.kill, os.getpid(), signal.{name})
    raise SystemExit(stopped.status)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("uvloop", UVLOOP)
def test_a_second_signal_does_not_change_the_exit_status(number: signal.Signals, uvloop: bool) -> None:
    """A signal that comes while the program ends after the first one, however late, is ignored."""
    code = ENDING.format(name=number.name, uvloop=uvloop)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (128 + number, "")


def test_a_program_that_goes_on_is_stopped_again(run: Any) -> None:
    """A program that runs another function after a signal has ended the first can be stopped like the first time."""

    async def call() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep_forever()

    for _ in range(2):
        with pytest.raises(Stopped):
            run(call)


def test_a_call_that_does_not_end_can_be_broken_off(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    """A Ctrl-C after the time that a call may take to end counts again."""
    monkeypatch.setattr("voicepipe.core.process.END_S", 0.0)

    async def call() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it went on")

    with pytest.raises(KeyboardInterrupt):
        run(call)


SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_ends_a_program_cancels_its_function(number: signal.Signals, run: Any) -> None:
    """Service managers, containers and closed terminals end a program as Ctrl-C does: after its clean-up."""
    done: list[str] = []

    async def call() -> None:
        os.kill(os.getpid(), number)
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.001)
                done.append("cleaned up")

    before = signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    try:
        with pytest.raises(Stopped) as caught:
            run(call)
    finally:
        signal.signal(number, before)
    assert (caught.value.number, caught.value.status, done) == (number, 128 + number, ["cleaned up"])


def test_handlers_are_given_back_when_no_signal_came(run: Any) -> None:
    """After a function that ended by itself, each signal has the handler that it had before."""

    async def call() -> None:
        assert signal.getsignal(signal.SIGTERM) not in before

    numbers = [signal.SIGINT, signal.SIGTERM]
    before = [signal.getsignal(number) for number in numbers]
    run(call)
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_handler_of_the_application_stays(number: signal.Signals, run: Any) -> None:
    """An application that handles a signal itself, or ignores it as under nohup, goes on to do so."""
    came: list[int] = []

    async def call() -> str:
        os.kill(os.getpid(), number)
        await anyio.sleep(0.001)
        return "went on"

    before = signal.signal(number, lambda number, _: came.append(number))
    try:
        assert run(call) == "went on"
        signal.signal(number, signal.SIG_IGN)
        assert run(call) == "went on"
    finally:
        signal.signal(number, before)
    assert came == [number]


def test_it_runs_off_the_main_thread(run: Any) -> None:
    """Where no signal can be handled, the function runs all the same."""
    results: list[str] = []

    async def call() -> str:
        return "ran"

    thread = threading.Thread(target=lambda: results.append(run(call)))
    thread.start()
    thread.join()
    assert results == ["ran"]


async def nothing() -> None:
    """Do nothing."""


def test_a_running_loop_is_refused(run: Any) -> None:
    """In a notebook or a server, the error says what to write."""

    async def cell() -> None:
        run(nothing)

    with pytest.raises(ConfigurationError, match=r"an event loop runs here already.*write `async with agent.session"):
        anyio.run(cell)


def test_what_the_function_returns_is_returned(run: Any) -> None:
    """Arguments go in, the result comes out."""

    async def add(one: int, other: int) -> int:
        return one + other

    assert run(add, 1, 2) == 3
