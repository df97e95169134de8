"""What the simulator of ElevenLabs' websocket does and refuses, seen by a client that sends what it likes."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from voicepipe.errors import VendorError
from voicepipe.flow import Sentence
from voicepipe.testing import ScriptedVoice
from voicepipe.testing.simulators.elevenlabs import VOICES, ElevenLabsSimulator

pytestmark = pytest.mark.anyio

QUERY = "model_id=eleven_flash_v2_5&output_format=pcm_24000&sync_alignment=true"

Message = dict[str, Any]


async def talked(
    simulator: ElevenLabsSimulator, *messages: Message | str, voice: str = VOICES[0], query: str = QUERY, key: str = "k"
) -> tuple[list[Message], int | None]:
    """Send these messages, and return what came until nothing more came for a second, and the close code."""
    received: list[Message] = []
    async with simulator.serve() as url:
        path = f"/v1/text-to-speech/{voice}/multi-stream-input?{query}"
        async with connect(url + path, additional_headers={"xi-api-key": key}) as socket:
            try:
                for message in messages:
                    await socket.send(message if isinstance(message, str) else json.dumps(message))
                while True:
                    with anyio.fail_after(1):
                        received.append(json.loads(await socket.recv()))
            except (ConnectionClosed, TimeoutError):
                pass
        return received, socket.close_code if simulator.sessions[0].error else None


def begin(name: str = "a", **settings: Any) -> Message:
    return {"text": " ", "context_id": name, **settings}


def text(words: str, name: str = "a", **more: Any) -> Message:
    return {"text": words, "context_id": name, **more}


def close(name: str = "a") -> Message:
    return {"context_id": name, "close_context": True}


@pytest.mark.parametrize(
    ("messages", "finals", "spoken"),
    [
        ([begin(), text("Hi. ", flush=True)], 0, [("Hi.", "waiting")]),
        ([begin(), text("Hi. ", flush=True), close()], 1, [("Hi.", "done")]),
        ([begin(), text("Hi. "), {"context_id": "a", "flush": True}, close()], 1, [("Hi.", "done")]),
        ([begin(), text("Hi. "), text("", flush=True), text("Yes. ", flush=True), close()], 1, [("Hi. Yes.", "done")]),
        ([begin(), text("Hi. "), close()], 1, [("", "cancelled")]),
        ([begin(), close(), close(), text("")], 1, [("", "done"), ("", "waiting")]),
        ([begin(), close("b"), text("", "c")], 0, [("", "waiting"), ("", "waiting")]),
        ([begin(), text("Hi. ", flush=True), close(), text("More. ", flush=True)], 1, [("Hi.", "done")]),
        ([{"text": ""}, begin(), close()], 1, [("", "waiting"), ("", "done")]),
        ([begin(), {"close_socket": True}], 0, [("", "waiting")]),
    ],
    ids=[
        "flushed only", "flushed and closed", "flush alone", "two flushes", "closed without a flush", "closed twice",
        "unknown contexts", "text after the close", "no context", "the socket is closed",
    ],
)  # fmt: skip
async def test_only_a_closed_context_ends(messages: list[Message], finals: int, spoken: list[tuple[str, str]]) -> None:
    """A flush speaks, a close ends, what was flushed before it is still spoken, and what was not is not."""
    simulator = ElevenLabsSimulator(api_key="k")
    received, code = await talked(simulator, *messages)
    assert code is None
    assert sum(bool(message.get("isFinal")) for message in received) == finals
    assert simulator.sessions[0].spoken == spoken


@pytest.mark.parametrize(
    ("change", "messages", "kind"),
    [
        ({"key": "other"}, [begin()], "invalid_api_key"),
        ({"voice": "nobody"}, [begin()], "voice_not_found"),
        ({"query": "model_id=eleven_v3&output_format=pcm_24000"}, [begin()], "model_not_found"),
        ({"query": "model_id=eleven_multilingual_v2&language_code=de"}, [begin()], "unsupported_language"),
        ({"query": "model_id=eleven_flash_v2_5"}, [begin()], "invalid_output_format"),
        ({"query": "model_id=eleven_flash_v2_5&output_format=pcm_11025"}, [begin()], "invalid_output_format"),
        ({}, [begin(voice_settings={"speed": 9})], "invalid_voice_settings"),
        ({}, [begin(), text("a", voice_settings={})], None),
        ({}, [begin(), text("a", voice_settings={"speed": 1})], "invalid_message"),
        ({}, [{"context_id": "a"}], "invalid_message"),
        ({}, ["nothing"], None),
        ({}, [begin(str(number)) for number in range(6)], "max_active_conversations"),
        ({}, [begin(str(number)) for number in range(5)] + [close("0"), begin("5")], None),
    ],
)
async def test_what_the_service_refuses(change: Any, messages: list[Message | str], kind: str | None) -> None:
    """A refusal is a message with its name, and a close with code 1008 and the same text."""
    simulator = ElevenLabsSimulator(api_key="k")
    received, code = await talked(simulator, *messages, **change)
    refusals = [message for message in received if "error" in message]
    assert [message["error"] for message in refusals] == ([kind] if kind else [])
    if kind:
        assert (code, simulator.sessions[0].error) == (1008, refusals[0]["message"])


async def test_a_silent_client_is_closed() -> None:
    """Without a message for its timeout, 20 s if it asks for none, a client is sent away."""
    simulator = ElevenLabsSimulator()
    async with simulator.serve() as url:
        path = f"{url}/v1/text-to-speech/{VOICES[0]}/multi-stream-input"
        for query, idle_s in (("", 20.0), ("?inactivity_timeout=60", 60.0), ("?inactivity_timeout=999", 180.0)):
            began_s = anyio.current_time()
            async with connect(path + query) as socket:
                assert json.loads(await socket.recv())["error"] == "input_timeout_exceeded"
            assert anyio.current_time() == began_s + idle_s
        with pytest.raises(InvalidStatus, match="HTTP 404"):
            async with connect(f"{url}/v1/text-to-speech/x/stream-input"):
                raise AssertionError("it opened")


async def test_times_come_with_the_first_piece_where_they_are_not_asked_for() -> None:
    """Without `sync_alignment` the first piece of a flush has the times of all its characters, and others have none."""
    messages = [begin(), text("Hi you. ", flush=True), close()]
    received, _ = await talked(ElevenLabsSimulator(), *messages, query=QUERY.replace("true", "false"))
    first, *others = [message["alignment"] for message in received if "audio" in message]
    assert "".join(first["chars"]) == " Hi you."
    assert len(others) == 4
    assert not any(others)


async def test_a_voice_of_yours_speaks_at_the_rate_of_the_client() -> None:
    """Its audio is resampled, its marks time the words, and its failure ends the session and then the block."""

    class Fails(ScriptedVoice):
        async def synthesize(self, sentence: Sentence) -> Any:
            raise VendorError("no", vendor="mine", retryable=False)
            yield b""

    messages = [begin(), text("One two. ", flush=True), close()]
    query = QUERY.replace("24000", "16000")
    simulator = ElevenLabsSimulator(ScriptedVoice(character_s=0.1))
    await talked(simulator, *messages, query=query)
    assert simulator.sessions[0].contexts[0].audio_s == pytest.approx(0.8)
    assert repr(simulator) == "<ElevenLabsSimulator <ScriptedVoice> 1 sessions>"
    with pytest.raises(VendorError, match="no"):
        await talked(ElevenLabsSimulator(Fails()), *messages, query=query)
