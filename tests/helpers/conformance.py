"""The simulated services of our own vendors, as the conformance kit wants them: one function each."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final

from tests.helpers.raw_server import RawServer, answer
from tests.helpers.tts_server import Peer, SpeechServer
from voicepipe.testing import Calls, Refuses, Reply, Says, ScriptedGateway
from voicepipe.testing.conformance import KEY, Behaviour
from voicepipe.testing.simulators.cartesia import CartesiaSimulator
from voicepipe.testing.simulators.cartesia import VoiceFault as CartesiaFault
from voicepipe.testing.simulators.elevenlabs import ElevenLabsSimulator
from voicepipe.testing.simulators.elevenlabs import VoiceFault as ElevenLabsFault
from voicepipe.testing.simulators.gateway import GatewaySimulator
from voicepipe.testing.simulators.stt import Closes, Fault, Rejects, Spoken, STTSimulator
from voicepipe.testing.simulators.transcriptions import TranscriptionSimulator
from voicepipe.testing.simulators.tts import TTSFault, TTSSimulator

Served = AbstractAsyncContextManager[str] | None

OFTEN: Final = 100


def assemblyai_voice(behaviour: Behaviour) -> Served:
    """AssemblyAI's text-to-speech."""

    def closing(code: int) -> Served:
        return TTSSimulator(api_key=KEY, faults=[TTSFault(code=code)] * OFTEN).serve()

    match behaviour:
        case Behaviour.NORMAL:
            return TTSSimulator(api_key=KEY).serve()
        case Behaviour.EMPTY:
            return SpeechServer(_no_audio).serve()
        case Behaviour.UNAUTHORISED:
            return TTSSimulator(api_key="another").serve()
        case Behaviour.RATE_LIMITED:
            return closing(3009)
        case Behaviour.FAILING:
            return closing(3005)
        case Behaviour.INVALID:
            return closing(3006)
        case _:
            return None  # each message holds whole samples


async def _no_audio(peer: Peer) -> None:
    await peer.begin()
    await peer.serve(frames=0)


def elevenlabs_voice(behaviour: Behaviour) -> Served:
    """ElevenLabs' websocket."""

    def closing(code: int, reason: str) -> Served:
        return ElevenLabsSimulator(api_key=KEY, faults=[ElevenLabsFault(code=code, reason=reason)] * OFTEN).serve()

    match behaviour:
        case Behaviour.NORMAL:
            return ElevenLabsSimulator(api_key=KEY).serve()
        case Behaviour.EMPTY:
            return ElevenLabsSimulator(api_key=KEY, character_s=0.0).serve()
        case Behaviour.UNAUTHORISED:
            return ElevenLabsSimulator(api_key="another").serve()
        case Behaviour.RATE_LIMITED:
            return closing(1008, "too_many_concurrent_requests")
        case Behaviour.FAILING:
            return closing(1011, "")
        case Behaviour.INVALID:
            return ElevenLabsSimulator(api_key=KEY, voices=()).serve()
        case _:
            return None  # each message holds whole samples


def cartesia_voice(behaviour: Behaviour) -> Served:
    """Cartesia's websocket."""
    match behaviour:
        case Behaviour.NORMAL:
            return CartesiaSimulator(api_key=KEY).serve()
        case Behaviour.EMPTY:
            return CartesiaSimulator(api_key=KEY, character_s=0.0).serve()
        case Behaviour.UNAUTHORISED:
            return CartesiaSimulator(api_key="another").serve()
        case Behaviour.RATE_LIMITED:
            return CartesiaSimulator(api_key=KEY, most_contexts=0).serve()
        case Behaviour.FAILING:
            return CartesiaSimulator(api_key=KEY, faults=[CartesiaFault()] * OFTEN).serve()
        case Behaviour.INVALID:
            return CartesiaSimulator(api_key=KEY, voices=()).serve()
        case _:
            return None  # each message holds whole samples


PCM: Final = bytes(range(1, 241)) * 100
"""Half a second at 24 kHz; a longer text is no longer audio here."""


def openai_voice(behaviour: Behaviour) -> Served:
    """OpenAI's speech endpoint."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\n\r\n"
    match behaviour:
        case Behaviour.NORMAL:
            return RawServer([answer("200 OK", PCM, kind="audio/pcm")]).serve()
        case Behaviour.EMPTY:
            return RawServer([answer("200 OK", b"", kind="audio/pcm")]).serve()
        case Behaviour.ODD:
            return RawServer([head, PCM[:1001], 0.05, PCM[1001:2000], 0.05, PCM[2000:2001], 0.05, PCM[2001:]]).serve()
        case Behaviour.UNAUTHORISED:
            return RawServer([answer("401 Unauthorized", f"no such key: {KEY}".encode())]).serve()
        case Behaviour.RATE_LIMITED:
            return RawServer([answer("429 Too Many Requests", b"slow down", "retry-after: 30")]).serve()
        case Behaviour.FAILING:
            return RawServer([answer("503 Service Unavailable", b"down")]).serve()
        case Behaviour.INVALID:
            return RawServer([answer("400 Bad Request", b"no such voice")]).serve()
        case _:
            return None


TURN: Final = [Spoken("My order number is four two.", 0.5, 1.5)]


def assemblyai_ears(behaviour: Behaviour) -> Served:
    """AssemblyAI's streaming recognition."""

    def failing(fault: Fault) -> Served:
        return STTSimulator(TURN, api_key=KEY, faults=fault).serve()

    match behaviour:
        case Behaviour.NORMAL:
            return STTSimulator(TURN, api_key=KEY).serve()
        case Behaviour.UNAUTHORISED:
            return STTSimulator(TURN, api_key="another").serve()
        case Behaviour.RATE_LIMITED:
            return failing(Rejects(429))
        case Behaviour.FAILING:
            return failing(Rejects(503))
        case Behaviour.INVALID:
            return failing(Closes(3006, None))
        case _:
            return None


def openai_ears(behaviour: Behaviour) -> Served:
    """OpenAI's transcription endpoint."""
    if behaviour is Behaviour.UNAUTHORISED:
        return TranscriptionSimulator([], api_key="another").serve()
    reply = TURN[0].text if behaviour is Behaviour.NORMAL else REPLIES.get(behaviour)
    if not isinstance(reply, (str, Refuses)):
        return None
    return TranscriptionSimulator(lambda pcm, rate: reply, api_key=KEY).serve()


REPLIES: Final[dict[Behaviour, Reply]] = {
    Behaviour.NORMAL: Says("It is sunny in Lyon.", token_s=0.02),
    Behaviour.EMPTY: Says(""),
    Behaviour.TOOL_CALL: Calls("find_order", {"order_id": "12345"}),
    Behaviour.RATE_LIMITED: Refuses(429, "slow down", retry_after_s=30),
    Behaviour.FAILING: Refuses(503, "down"),
    Behaviour.INVALID: Refuses(400, "no such model"),
}


def openai_model(behaviour: Behaviour) -> Served:
    """A service like OpenAI's chat completions."""
    if behaviour is Behaviour.UNAUTHORISED:
        return ScriptedGateway([], api_key="another").serve()
    return ScriptedGateway(lambda _: REPLIES[behaviour], api_key=KEY).serve() if behaviour in REPLIES else None


def gateway_model(behaviour: Behaviour) -> Served:
    """AssemblyAI's LLM gateway."""
    if behaviour is Behaviour.UNAUTHORISED:
        return GatewaySimulator([], api_key="another").serve()
    return GatewaySimulator(lambda _: REPLIES[behaviour], api_key=KEY).serve() if behaviour in REPLIES else None
