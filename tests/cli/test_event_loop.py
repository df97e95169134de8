"""The event loop of a command: Ctrl-C ends it cleanly, however often it comes."""

from __future__ import annotations

import os
import signal
import sys

import anyio
import pytest

from voicepipe.cli._event_loop import run

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to a process"),
    pytest.mark.usefixtures("ctrl_c"),
]


def test_a_second_ctrl_c_does_not_break_off_the_end() -> None:
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

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(call)
    assert done == ["not torn apart", "cleaned up"]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_call_that_does_not_end_can_be_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ctrl-C after the time that a call may take to end counts again."""
    monkeypatch.setattr("voicepipe.cli._event_loop.END_S", 0.0)

    async def call() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it went on")

    with pytest.raises(KeyboardInterrupt):
        run(call)


def test_what_the_function_returns_is_returned() -> None:
    """Arguments go in, the result comes out."""

    async def add(one: int, other: int) -> int:
        return one + other

    assert run(add, 1, 2) == 3
