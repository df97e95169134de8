"""ElevenLabs' own SDK as the judge: it has no client of this websocket, but a model of each of its messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.helpers.context_voices import KEY
from voicepipe.testing.simulators.elevenlabs import ElevenLabsSimulator
from voicepipe.vendors.elevenlabs.protocol import ElevenLabsProtocol
from voicepipe.vendors.line.speech_protocol import SpeechRequest

pytestmark = [pytest.mark.anyio, pytest.mark.oracle, pytest.mark.slow]

PATH = "/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb/multi-stream-input"
QUERY = "model_id=eleven_flash_v2_5&output_format=pcm_24000&sync_alignment=true"


def extra(model: Any, message: dict[str, Any]) -> object:
    """Return what the SDK's model of a message does not know."""
    return model.model_validate(message).model_extra


async def test_the_sdk_knows_every_message() -> None:
    """What the voice sends and what the simulator answers are messages of the SDK's models, and nothing else."""
    from elevenlabs import types

    protocol = ElevenLabsProtocol(0.0, sample_rate=24_000, clean=str, voice_settings={"speed": 1.1})
    protocol.ask(SpeechRequest("Hello there."))
    sent = [json.loads(frame) for frame in protocol.frames(0.0)]
    async with ElevenLabsSimulator(api_key=KEY).serve() as url:
        async with connect(f"{url}{PATH}?{QUERY}", additional_headers={"xi-api-key": KEY}) as socket:
            for message in sent:
                await socket.send(json.dumps(message))
            received = [json.loads(await socket.recv())]
            while not received[-1].get("isFinal"):
                received.append(json.loads(await socket.recv()))

    models = (types.InitializeConnectionMulti, types.SendTextMulti, types.CloseContext)
    for model, message in zip(models, sent, strict=True):
        assert extra(model, message) == {}
    *audio, final = received
    assert extra(types.FinalOutputMulti, final) == {}
    for message in audio:
        assert extra(types.AudioOutputMulti, message) == {}
    found = types.AudioOutputMulti.model_validate(audio[0])
    assert "".join(found.alignment.chars) == " He"
    assert found.alignment.char_start_times_ms == [0, 0, 60]
