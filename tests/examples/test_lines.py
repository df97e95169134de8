"""The servers among the examples, and peers that do not do what they should: their call alone is concerned."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import voicepipe as vp
from tests.helpers.asgi_server import needs_server
from voicepipe.testing import ScriptedModel, ScriptedVoice
from voicepipe.testing.simulators.twilio import TwilioSimulator

pytestmark = [pytest.mark.anyio, needs_server]


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Ear(vp.Recogniser):
    """Keeps what it hears, of all calls."""

    sample_rate = 8_000

    def __init__(self, heard: bytearray) -> None:
        self.heard = heard

    async def recognise(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: Any) -> None:
        async for frame in inbox:
            self.heard += frame.pcm


def agent(heard: bytearray, rate: int) -> vp.Pipeline:
    ear = Ear(heard)
    ear.sample_rate = rate
    voice = ScriptedVoice(character_s=0.01, sample_rate=rate)
    return vp.Pipeline(vp.STTStage(ear), ScriptedModel([]), vp.SentenceChunker(), voice)


async def closed_with(socket: ClientConnection) -> int | None:
    try:
        while True:
            await socket.recv()
    except ConnectionClosed:
        return socket.close_code


async def test_the_call_of_the_telephone(capsys: pytest.CaptureFixture[str]) -> None:
    """The example's caller is greeted, interrupts the agent, and is connected with a person."""
    await example("telephone").main()
    assert capsys.readouterr().out.splitlines() == [
        "agent: a call from +15550123",
        "caller: the agent speaks",
        "agent: TurnCompleted, heard 'Parcel line, hello!'",
        "caller: the agent is silent",
        "agent: the caller said 'Where is my parcel?'",
        "caller: the agent speaks",
        "agent: TurnInterrupted, heard 'It left Lyon on Monday, was in Paris on Tuesday, and it'",
        "caller: the agent is silent",
        "agent: the caller said 'Stop, a person please.'",
        "caller: the agent speaks",
        "agent: TurnCompleted, heard 'One moment.'",
        "caller: the agent is silent",
        "caller: connected with +15550111",
    ]


async def test_a_telephone_line_that_is_malformed(capfd: pytest.CaptureFixture[str]) -> None:
    """The example's server ends a call whose line sends what cannot be read, and the next call comes through."""
    telephone = example("telephone")
    heard = bytearray()
    async with telephone.server(agent(heard, 8_000)).listening() as port:
        network = TwilioSimulator(
            telephone.AUTH_TOKEN, server=f"http://127.0.0.1:{port}", public_url=telephone.PUBLIC_URL
        )
        async with network.call(f"{telephone.PUBLIC_URL}/twilio") as bad:
            await bad.wait_speaking()
            await bad.send({"event": "media", "media": {"payload": "!"}})
            await bad.wait_ended()
        heard.clear()
        async with network.call(f"{telephone.PUBLIC_URL}/twilio", speech=b"\xdc\x03" * 1_600) as good:
            await anyio.sleep(0.5)
            await good.hang_up()
    assert (bad.close_code, good.errors) == (1007, [])
    assert {int.from_bytes(heard[at : at + 2], "little") for at in range(0, 3_200, 2)} == {988}
    assert "Traceback" not in capfd.readouterr().err


async def test_an_odd_number_of_bytes_on_a_bare_websocket(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Half a sample would turn all later audio into noise: that call ends in order, without a traceback."""
    heard = bytearray()
    async with example("websocket_audio").serve(agent(heard, 16_000)) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as good, connect(f"ws://127.0.0.1:{port}") as bad:
            await bad.send(b"\x01\x00" * 320)
            await bad.send(b"\x01\x00\x01")
            assert await closed_with(bad) == 1007
            await good.send(b"\x02\x00" * 320)
            await anyio.sleep(0.1)
            await good.close()
            await anyio.sleep(0.5)
    assert sorted(heard[::2]) == [1] * 320 + [2] * 320
    out, err = capfd.readouterr()
    assert "no audio: PushSource.push needs whole 16-bit samples" in out
    assert "Traceback" not in err + caplog.text
