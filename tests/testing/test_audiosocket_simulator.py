"""The simulated Asterisk: it sends, plays and hangs up as the real one says that it does."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import anyio
import anyio.abc
import pytest

import voicepipe as vp
from voicepipe.audio.wav import write_wav
from voicepipe.testing.simulators.audiosocket import AudioSocketSimulator

pytestmark = pytest.mark.anyio

ID = UUID("40325ec2-5efd-4bd3-805f-53576e581d13")
FRAME = b"\x10\x01\x40" + b"\x00\x10" * 160

Act = Callable[[anyio.abc.SocketStream], Awaitable[None]]


async def stay(stream: anyio.abc.SocketStream) -> None:
    await anyio.sleep_forever()


@asynccontextmanager
async def listening(act: Act = stay) -> AsyncGenerator[tuple[int, list[tuple[float, bytes]]]]:
    """Accept calls, keep what arrives and when, and do something with each."""
    got: list[tuple[float, bytes]] = []

    async def take(stream: anyio.abc.SocketStream) -> None:
        async with stream, anyio.create_task_group() as tasks:
            tasks.start_soon(act_and_close, stream, tasks.cancel_scope)
            try:
                while True:
                    data = await stream.receive()
                    got.append((round(anyio.current_time(), 3), data))
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                tasks.cancel_scope.cancel()

    async def act_and_close(stream: anyio.abc.SocketStream, scope: anyio.CancelScope) -> None:
        await act(stream)
        scope.cancel()

    server = socket.create_server(("127.0.0.1", 0))
    async with await anyio.abc.SocketListener.from_socket(server) as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, take)
        yield server.getsockname()[1], got
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("says_so", [True, False])
async def test_a_call_from_its_beginning_to_its_end(says_so: bool, tmp_path: Path) -> None:
    """The UUID comes first, then 20 ms of audio each 20 ms; keys and the hang-up are messages of their own."""
    write_wav(tmp_path / "caller.wav", b"\x00\x10" * 240, 8_000)
    async with listening() as (port, got):
        asterisk = AudioSocketSimulator("127.0.0.1", port, says_when_it_hangs_up=says_so)
        async with asterisk.call(ID, speech=tmp_path / "caller.wav") as call:
            await anyio.sleep(0.05)
            await call.press("5#")
            await call.hang_up()
        await anyio.sleep(0.01)
    assert b"".join(data for _, data in got) == b"".join(
        [
            b"\x01\x00\x10" + ID.bytes,
            FRAME,
            b"\x10\x01\x40" + b"\x00\x10" * 80 + b"\0\0" * 80,
            *(b"\x03\x00\x015", b"\x03\x00\x01#"),
            b"\x00\x00\x00" if says_so else b"",
        ]
    )
    assert [at_s for at_s, _ in got[:3]] == [0.0, 0.02, 0.04]
    assert (call.closed_by, call.errors, call.uuid) == ("caller", [], str(ID))


@pytest.mark.parametrize("end", [b"\x00\x00\x00", b""])
async def test_what_it_gets_is_played_at_the_pace_of_speech(end: bytes) -> None:
    """Audio is heard in order, 20 ms a frame; the server may end the call by a message or by closing."""

    async def act(stream: anyio.abc.SocketStream) -> None:
        await anyio.sleep(0.1)
        for _ in range(10):  # 0.2 s at once
            await stream.send(FRAME[:100])
            await stream.send(FRAME[100:])
        await anyio.sleep(0.4)
        await stream.send(FRAME * 10)
        await anyio.sleep(0.05)
        await stream.send(end) if end else None

    async with listening(act) as (port, _), AudioSocketSimulator("127.0.0.1", port).call() as call:
        await call.wait_speaking()
        assert anyio.current_time() == pytest.approx(0.1)
        await call.wait_silent(0.1)
        assert anyio.current_time() == pytest.approx(0.4)
        await call.wait_ended()
        assert (call.closed_by, call.errors) == ("server", [])
        assert call.heard_s() == pytest.approx(0.25)
        assert len(call.heard) == 2 * 8_000 * 0.55
        assert call.early_s == pytest.approx(0.18)


@pytest.mark.parametrize(
    "sent", [b"\x03\x00\x015", b"\x12\x00\x02ab", b"\x10\x00\x00", b"\x10\x00\x01a", b"\x55\x00\x00"]
)
async def test_a_message_that_asterisk_does_not_know(sent: bytes) -> None:
    """Anything but audio of the call's kind and the hang-up ends the call, and is noted."""

    async def act(stream: anyio.abc.SocketStream) -> None:
        await stream.send(sent)
        await anyio.sleep(1.0)

    async with listening(act) as (port, _), AudioSocketSimulator("127.0.0.1", port).call() as call:
        await call.wait_ended()
    assert ([code for code, _ in call.errors], call.closed_by) == ([sent[0]], "network")


async def test_another_rate() -> None:
    """A call at 16 kHz has its own kind of message, in both directions."""

    async def act(stream: anyio.abc.SocketStream) -> None:
        await stream.send(b"\x12\x02\x80" + bytes(640))
        await anyio.sleep_forever()

    async with listening(act) as (port, got):
        async with AudioSocketSimulator("127.0.0.1", port, sample_rate=16_000).call() as call:
            await call.wait_speaking()
            await call.wait_silent(0.03)
            assert call.heard_s() == pytest.approx(0.02)
    assert got[1] == (0.02, b"\x12\x02\x80" + bytes(640))


def test_what_cannot_be_simulated_is_refused() -> None:
    """A rate that AudioSocket has no kind for."""
    with pytest.raises(vp.ConfigurationError, match=r"AudioSocket has the rates 8000, .* not 11025"):
        AudioSocketSimulator("127.0.0.1", 1, sample_rate=11_025)


async def test_half_a_sample_is_no_speech() -> None:
    """What the caller says is whole samples."""
    async with listening() as (port, _):
        with pytest.raises(vp.ConfigurationError, match="whole 16-bit samples, not 3 bytes"):
            async with AudioSocketSimulator("127.0.0.1", port).call(speech=b"abc"):
                pass
