"""Cartesia's own SDK as the judge: its client talks to the simulator, and its models read our messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter
from websockets.asyncio.client import connect

from tests.helpers.context_voices import KEY
from voicepipe.testing.simulators.cartesia import CartesiaSimulator
from voicepipe.vendors.cartesia.protocol import CartesiaProtocol
from voicepipe.vendors.cartesia.tts import VERSION, CartesiaTTS
from voicepipe.vendors.line.speech_protocol import SpeechRequest

pytestmark = [pytest.mark.anyio, pytest.mark.oracle, pytest.mark.slow]


def sent_by_us() -> list[dict[str, Any]]:
    """Return what the voice sends for a sentence, and to cancel it."""
    settings = CartesiaTTS(language="en", speed=1.1)._settings()
    protocol = CartesiaProtocol(0.0, sample_rate=24_000, clean=str, settings=settings)
    request = SpeechRequest("Hello, there.")
    protocol.ask(request)
    frames = protocol.frames(0.0)
    protocol.drop(request, 0.0)
    return [json.loads(frame) for frame in [*frames, *protocol.frames(0.0)]]


def test_the_sdk_knows_what_we_send() -> None:
    """Both messages are of the types that the SDK's client may send, without a field that it does not have."""
    from cartesia.types.generation_request import GenerationRequest
    from cartesia.types.generation_request_param import GenerationRequestParam
    from cartesia.types.websocket_client_event import CancelContextRequest

    request, cancel = sent_by_us()
    assert CancelContextRequest.model_validate(cancel).model_extra == {}
    assert GenerationRequest.model_validate(request).model_extra == {}
    assert GenerationRequest.model_validate(request).transcript == "Hello, there."
    assert set(request) <= set(GenerationRequestParam.__annotations__) | {"continue"}


async def test_the_sdk_knows_what_the_simulator_sends() -> None:
    """Each answer is a message of the SDK's union of messages, with every field that it requires and no other."""
    from cartesia.types.websocket_response import Chunk, Done, Error, FlushDone, Timestamps

    models = {"chunk": Chunk, "done": Done, "error": Error, "flush_done": FlushDone, "timestamps": Timestamps}
    request, _ = sent_by_us()
    headers = {"X-API-Key": KEY, "Cartesia-Version": VERSION}
    received: list[dict[str, Any]] = []
    async with CartesiaSimulator(api_key=KEY).serve() as url:
        async with connect(f"{url}/tts/websocket", additional_headers=headers) as socket:
            for one in (request, {**request, "context_id": "2", "model_id": "nonsense"}):
                await socket.send(json.dumps(one))
                while not received or not received[-1]["done"] or received[-1]["context_id"] != one["context_id"]:
                    received.append(json.loads(await socket.recv()))
    assert {message["type"] for message in received} == set(models)
    for message in received:
        assert TypeAdapter(models[message["type"]]).validate_python(message).model_extra == {}


async def test_the_sdk_speaks_with_the_simulator() -> None:
    """The SDK's client sends a sentence in two pieces on one context, and hears it with its words and its end."""
    from cartesia import AsyncCartesia

    simulator = CartesiaSimulator(api_key=KEY)
    async with simulator.serve() as url:
        client = AsyncCartesia(api_key=KEY, websocket_base_url=url)
        async with client.tts.websocket_connect() as connection:
            context = connection.context(
                model_id="sonic-3.5",
                voice={"id": "f786b574-daa5-4673-aa0c-cbe3e8534c02"},
                output_format={"container": "raw", "encoding": "pcm_s16le", "sample_rate": 16_000},
                add_timestamps=True,
            )
            await context.push("One two ")
            await context.push("three.")
            await context.no_more_inputs()
            events = [event async for event in context.receive()]
        await client.close()
    audio = b"".join(event.audio for event in events if event.type == "chunk")
    words = [word for event in events if event.type == "timestamps" for word in event.word_timestamps.words]
    assert len(audio) == 2 * 16_000 * (7 + 6) * 6 // 100
    assert words == ["One", "two", "three."]
    assert events[-1].type == "done"
    assert simulator.sessions[0].spoken == [("One two three.", "done")]
