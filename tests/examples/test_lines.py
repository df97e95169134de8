"""The servers among the examples, and peers that do not do what they should: their call alone is concerned."""

from __future__ import annotations

import base64
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

import voicepipe as vp
from voicepipe.testing import ChatRequest, Says, ScriptedModel, ScriptedVoice

pytestmark = pytest.mark.anyio


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


def agent(heard: bytearray, rate: int, model: ScriptedModel | None = None) -> vp.Pipeline:
    ear = Ear(heard)
    ear.sample_rate = rate
    voice = ScriptedVoice(character_s=0.01, sample_rate=rate)
    return vp.Pipeline(vp.STTStage(ear), model or ScriptedModel([]), vp.SentenceChunker(), voice)


async def closed_with(socket: ClientConnection) -> int | None:
    try:
        while True:
            await socket.recv()
    except ConnectionClosed:
        return socket.close_code


def media(sample: int, **fields: str) -> str:
    payload = base64.b64encode(vp.audio.to_ulaw(sample.to_bytes(2, "little") * 160)).decode()
    return json.dumps({"event": "media", "media": {"payload": payload, **fields}})


START = json.dumps({"event": "start", "start": {"streamSid": "MZ1"}})


async def test_a_telephone_line_that_sends_both_tracks() -> None:
    """The agent's own voice, which the line sends back as its outbound track, is not mixed into the caller's."""
    heard = bytearray()
    async with example("telephone").serve(agent(heard, 8_000)) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as socket:
            await socket.send(START)
            for _ in range(25):
                await socket.send(media(988, track="inbound"))
                await socket.send(media(4_988, track="outbound"))
                await anyio.sleep(0.02)
            await socket.send(media(988))  # a line that has one track need not name it
            await socket.send(json.dumps({"event": "stop"}))
            assert await closed_with(socket) == 1000
    samples = {int.from_bytes(heard[at : at + 2], "little") for at in range(0, len(heard), 2)}
    assert (samples, len(heard)) == ({988}, 26 * 320)


async def test_keys_that_are_pressed_on_a_telephone(capfd: pytest.CaptureFixture[str]) -> None:
    """Keys make one message; what is no key is not pressed, and ends no call."""
    asked = anyio.Event()

    def answer(request: ChatRequest) -> Says:
        asked.set()
        return Says(f"You pressed {request.last_user_text}.")

    model = ScriptedModel(answer)
    async with example("telephone").serve(agent(bytearray(), 8_000, model)) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as socket:
            await socket.send(START)
            for key in ["4", "x", "", "12", "7", "#"]:
                await socket.send(json.dumps({"event": "dtmf", "dtmf": {"track": "inbound_track", "digit": key}}))
            await asked.wait()
            await socket.send(json.dumps({"event": "stop"}))
            assert await closed_with(socket) == 1000
    assert model.requests[0].last_user_text == "47"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("sent", ["{", '{"event": "media", "media": {"payload": "!"}}'])
async def test_a_telephone_message_that_cannot_be_read(sent: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The call ends in order, with the code for such data and without a traceback; a second call goes on."""
    heard = bytearray()
    async with example("telephone").serve(agent(heard, 8_000)) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as good, connect(f"ws://127.0.0.1:{port}") as bad:
            await good.send(START)
            await bad.send(START)
            await bad.send(sent)
            assert await closed_with(bad) == 1007
            await good.send(media(988))
            await good.send(json.dumps({"event": "stop"}))
            assert await closed_with(good) == 1000
    assert len(heard) == 320
    out, err = capfd.readouterr()
    assert "cannot be read" in out
    assert err == ""


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
