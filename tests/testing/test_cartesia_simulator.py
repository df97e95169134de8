"""What the simulator of Cartesia's websocket does and refuses, seen by a client that sends what it likes."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from voicepipe.errors import VendorError
from voicepipe.flow import Sentence
from voicepipe.testing import ScriptedVoice
from voicepipe.testing.simulators.cartesia import VOICES, CartesiaSimulator

pytestmark = pytest.mark.anyio

Message = dict[str, Any]

HEADERS = {"X-API-Key": "k", "Cartesia-Version": "2026-03-01"}

REQUEST: Message = {
    "model_id": "sonic-3.5",
    "voice": {"mode": "id", "id": VOICES[0]},
    "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 16_000},
    "context_id": "a",
    "transcript": "Hi. ",
}


async def talked(simulator: CartesiaSimulator, *messages: Message | str | float) -> list[Message]:
    """Send these messages, waiting where there is a number, and return what came until two seconds were silent."""
    received: list[Message] = []

    async def receive(socket: Any) -> None:
        with suppress(ConnectionClosed):
            async for message in socket:
                received.append(json.loads(message))

    async with simulator.serve() as url, connect(f"{url}/tts/websocket", additional_headers=HEADERS) as socket:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive, socket)
            for message in messages:
                if isinstance(message, float):
                    await anyio.sleep(message)
                else:
                    await socket.send(message if isinstance(message, str) else json.dumps(message))
            await anyio.sleep(2)
            tasks.cancel_scope.cancel()
    return received


def request(transcript: str = "Hi. ", **changes: Any) -> Message:
    return {**REQUEST, "transcript": transcript, **changes}


CANCEL: Message = {"context_id": "a", "cancel": True}


@pytest.mark.parametrize(
    ("messages", "kinds", "spoken"),
    [
        ([request()], ["chunk", "done"], [("Hi.", "done")]),
        ([request(add_timestamps=True)], ["chunk", "timestamps", "done"], [("Hi.", "done")]),
        ([request(max_buffer_delay_ms=0)], ["chunk", "flush_done", "done"], [("Hi.", "done")]),
        ([request(flush=True)], ["chunk", "flush_done", "done"], [("Hi.", "done")]),
        ([request(**{"continue": True}), request("Yes.")], ["chunk", "done"], [("Hi. Yes.", "done")]),
        ([request(**{"continue": True}), 0.5, request("")], ["chunk", "done"], [("Hi.", "done")]),
        ([request(**{"continue": True}), 1.5, request()], ["chunk", "done", "error"], [("Hi.", "done")]),
        ([request(), request()], ["error", "chunk", "done"], [("Hi.", "done")]),
        ([request(**{"continue": True}), 0.21, CANCEL], ["chunk", "done"], [("Hi.", "cancelled")]),
        ([request(**{"continue": True}), CANCEL], ["done"], [("Hi.", "cancelled")]),
        ([CANCEL], [], []),
    ],
    ids=[
        "one text", "with times", "without a buffer", "flushed", "two texts", "an empty end", "too late",
        "after the end", "cancelled while it is spoken", "cancelled before", "unknown",
    ],
)  # fmt: skip
async def test_a_context_takes_texts_until_it_ends(
    messages: list[Any], kinds: list[str], spoken: list[tuple[str, str]]
) -> None:
    """Texts with `continue` are one context; it ends without it, a second after its audio, or when it is cancelled."""
    simulator = CartesiaSimulator(api_key="k")
    received = await talked(simulator, *messages)
    assert list(dict.fromkeys(message["type"] for message in received)) == kinds
    assert simulator.sessions[0].spoken == spoken
    assert {message["context_id"] for message in received} <= {"a"}


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"transcript": None}, 400, "invalid_request"),
        ({"output_format": {**REQUEST["output_format"], "encoding": "pcm_f32le"}}, 400, "invalid_request"),
        ({"output_format": {**REQUEST["output_format"], "sample_rate": 1}}, 400, "invalid_request"),
        ({"model_id": "sonata"}, 400, "model_not_found"),
        ({"voice": {"id": "nobody"}}, 404, "voice_not_found"),
        ({"voice": VOICES[1]}, 0, ""),
        ({"language": "tlh"}, 400, "invalid_request"),
        ({"generation_config": {"speed": 3}}, 400, "invalid_request"),
        ({"context_id": "a b"}, 400, "invalid_request"),
    ],
)
async def test_what_the_service_refuses(change: Message, status: int, code: str) -> None:
    """A refusal concerns one context, and the next text is spoken."""
    simulator = CartesiaSimulator(api_key="k")
    received = await talked(simulator, {**REQUEST, "context_id": "b", **change}, request())
    refusals = [message for message in received if message["type"] == "error"]
    found = [(message["status_code"], message["error_code"]) for message in refusals]
    assert found == ([(status, code)] if code else [])
    assert simulator.sessions[0].spoken[-1] == ("Hi.", "done")


async def test_a_handshake_needs_a_key_and_a_version() -> None:
    """A client without them is sent away before the websocket opens; so is one that is idle for five minutes."""
    async with CartesiaSimulator(api_key="k").serve() as url:
        for path, headers, status in (
            ("/tts/websocket", {**HEADERS, "X-API-Key": "other"}, 401),
            ("/tts/websocket", {"X-API-Key": "k"}, 400),
            ("/tts/bytes", HEADERS, 404),
        ):
            with pytest.raises(InvalidStatus, match=f"HTTP {status}"):
                async with connect(url + path, additional_headers=headers):
                    raise AssertionError("it opened")
        async with connect(f"{url}/tts/websocket?api_key=k&cartesia_version=2026-03-01") as socket:
            with pytest.raises(ConnectionClosed, match="idle"):
                await socket.recv()
            assert anyio.current_time() == 300.0


async def test_a_message_that_is_no_object_ends_the_session() -> None:
    """What cannot be read has no context, so that the connection is closed."""
    simulator = CartesiaSimulator(api_key="k")
    await talked(simulator, "nothing")
    assert (simulator.sessions[0].close_code, simulator.sessions[0].error) == (1008, "a message is a JSON object")


async def test_a_voice_that_fails_ends_the_block() -> None:
    """A defect of the voice is shown to whoever runs the simulator."""

    class Fails(ScriptedVoice):
        async def synthesize(self, sentence: Sentence) -> Any:
            raise VendorError("no", vendor="mine", retryable=False)
            yield b""

    with pytest.raises(VendorError, match="no"):
        await talked(CartesiaSimulator(Fails(), api_key="k"), request())
