"""ElevenLabs' multi-context text-to-speech websocket on loopback, with a tone or a voice of yours.

    async with ElevenLabsSimulator(api_key="k").serve() as url: ...               # "ws://127.0.0.1:40123"
    async with ElevenLabsSimulator(EspeakTTS()).serve() as url: ...               # real speech, in real time

Rule 1: it is honest. It refuses what the service refuses, and `sessions` keeps what a client sent.

Source, read 2026-11-30: the service's reference and guide, its Python SDK 2.78.0 (`types/*_multi.py`), and what users
of LiveKit, Pipecat and Bolna report: five contexts, code 1008 with a text, no `isFinal` without a close.
"""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from voicepipe.errors import VoicepipeError
from voicepipe.testing.simulators._contexts import (
    ContextSession,
    ContextSimulator,
    RecordedContext,
    RecordedVoiceSession,
    SessionEnded,
    VoiceFault,
)
from voicepipe.testing.simulators._simulated_voice import Timing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request

    from voicepipe.speaking.tts_sink import TTSSink

__all__ = ["ElevenLabsSimulator", "RecordedContext", "RecordedVoiceSession", "VoiceFault"]

PATH: Final = re.compile(r"/v1/text-to-speech/([^/]+)/multi-stream-input")
VOICES: Final = ("JBFqnCBsd6RMkjVDRZzb", "EXAVITQu4vr4xnSDxMaL")
SAMPLE_RATES: Final = frozenset({8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000})
MODELS: Final = {
    "eleven_flash_v2_5": True,
    "eleven_turbo_v2_5": True,
    "eleven_multilingual_v2": False,
    "eleven_flash_v2": False,
    "eleven_turbo_v2": False,
}
"""The models that have such a websocket, and whether they take a `language_code`."""


class ElevenLabsSimulator(ContextSimulator):
    """A server of ElevenLabs' multi-context websocket.

    Args:
        voice: Speaks; None is a tone as long as the words would take. It is opened, but attached to no session; its
            audio is resampled to the rate that a client asks for.
        api_key: The key that clients must send as `xi-api-key`; None accepts any.
        voices: The ids of the account's voices; None takes any.
        first_audio_s: From a flush to its first audio.
        speed: How many times faster than real time the audio comes.
        chunk_s: Length of the audio in one message.
        character_s: Length of the tone for each character.
        most_contexts: How many contexts a session may have at once.
        counts_on: Whether the times of characters count from the context's start, and not from each piece of audio.
        faults: How the first, second, ... session goes wrong; sessions of a None, and later ones, do not.
        record: Whether to keep what clients do in `sessions`; switch it off in a server that runs for long.

    Attributes:
        sessions: What each client did, in the order of arrival.
    """

    _id_header = "x-trace-id"

    def __init__(
        self,
        voice: TTSSink | None = None,
        *,
        api_key: str | None = None,
        voices: Collection[str] | None = VOICES,
        first_audio_s: float = 0.2,
        speed: float = 10.0,
        chunk_s: float = 0.1,
        character_s: float = 0.06,
        most_contexts: int = 5,
        counts_on: bool = False,
        faults: Sequence[VoiceFault | None] = (),
        record: bool = True,
    ) -> None:
        super().__init__(
            voice,
            api_key=api_key,
            first_audio_s=first_audio_s,
            speed=speed,
            chunk_s=chunk_s,
            character_s=character_s,
            faults=faults,
            record=record,
        )
        self._voices = None if voices is None else frozenset(voices)
        self._most_contexts = most_contexts
        self._counts_on = counts_on

    def _refusal(self, request: Request, query: dict[str, str]) -> tuple[int, str] | None:
        del query
        return None if PATH.fullmatch(request.path.partition("?")[0]) else (404, '{"detail": "Not Found"}')

    def _session(
        self, connection: ServerConnection, record: RecordedVoiceSession, fault: VoiceFault | None
    ) -> ContextSession:
        return _Session(self, connection, record, fault)

    def _knows(self, connection: ServerConnection) -> bool:
        """Return whether a client has sent the key."""
        key = connection.request.headers.get("xi-api-key", "") if connection.request else ""
        return self._api_key is None or secrets.compare_digest(key.encode(), self._api_key.encode())


@dataclass(slots=True, eq=False)
class _Context:
    record: RecordedContext
    buffer: str = ""
    texts: list[str] = field(default_factory=list[str])  # flushed, and not spoken yet
    is_speaking: bool = False
    is_closed: bool = False


class _Session(ContextSession):
    """One client's session."""

    _simulator: ElevenLabsSimulator

    def __init__(
        self,
        simulator: ElevenLabsSimulator,
        connection: ServerConnection,
        record: RecordedVoiceSession,
        fault: VoiceFault | None,
    ) -> None:
        super().__init__(simulator, connection, record, fault)
        self.idle_s = min(180.0, float(record.query.get("inactivity_timeout", "20")))
        self._contexts: dict[str, _Context] = {}
        self._sample_rate = 0

    def _idle(self) -> SessionEnded:
        return _ended(
            "input_timeout_exceeded",
            f"Have not received a new text input within the timeout of {self.idle_s:g} seconds. Streaming input "
            'terminated. Please make sure to send a new text input or an empty string "" to keep it open.',
        )

    async def _take(self, message: dict[str, Any]) -> None:
        self._check()
        if message.get("close_socket"):
            raise SessionEnded(1000, "")
        name = message.get("context_id") or message.get("contextId") or "default"
        context = self._contexts.get(name)
        if message.get("close_context"):
            if context is not None:
                await self._end(context)
            return
        text = message.get("text")
        if text is None and not message.get("flush"):
            raise _ended("invalid_message", "Each message needs text, flush, close_context or close_socket")
        if context is None:
            context = self._begin(name, message)
        elif message.get("voice_settings"):
            raise _ended("invalid_message", "voice_settings can only be set in the first message of a context")
        if context.is_closed:
            return
        context.buffer += text or ""
        if message.get("flush") and context.buffer.strip():
            self._speak(context)

    def _check(self) -> None:
        """Refuse what the service checks with the first message."""
        query = self._record.query
        if self._sample_rate:
            return
        if not self._simulator._knows(self._connection):
            raise _ended("invalid_api_key", "Invalid API key")
        found = PATH.fullmatch(self._record.path)
        voice = unquote(found[1]) if found else ""
        if self._simulator._voices is not None and voice not in self._simulator._voices:
            raise _ended("voice_not_found", f"A voice with voice_id {voice} does not exist.")
        model = query.get("model_id", "eleven_multilingual_v2")
        if model not in MODELS:
            raise _ended("model_not_found", f"A model with model ID {model} does not exist or has no websocket.")
        if "language_code" in query and not MODELS[model]:
            raise _ended("unsupported_language", f"Model {model} does not support the language_code parameter.")
        kind, _, rate = query.get("output_format", "mp3_44100_128").partition("_")
        if kind != "pcm" or int(rate) not in SAMPLE_RATES:
            raise _ended("invalid_output_format", f"output_format {kind}_{rate} is not served by this simulator")
        self._sample_rate = int(rate)

    def _begin(self, name: str, message: dict[str, Any]) -> _Context:
        if len(self._contexts) >= self._simulator._most_contexts:
            raise _ended(
                "max_active_conversations",
                f"Maximum simultaneous contexts per WebSocket connection exceeded ({self._simulator._most_contexts}). "
                "Please close an existing context before opening a new one.",
            )
        for setting, value in (message.get("voice_settings") or {}).items():
            if setting == "speed" and not 0.7 <= value <= 1.2:
                raise _ended("invalid_voice_settings", f"voice_settings: speed must be 0.7 to 1.2, not {value}")
        context = self._contexts[name] = _Context(RecordedContext(context_id=name))
        self._record.contexts.append(context.record)
        return context

    def _speak(self, context: _Context) -> None:
        context.texts.append(context.buffer)
        context.record.text += context.buffer
        context.buffer = ""
        if not context.is_speaking:
            context.is_speaking = True
            self._group.start_soon(self._say, context)

    async def _end(self, context: _Context) -> None:
        """Close a context: what was flushed is still spoken, and the rest is not."""
        if context.buffer.strip():
            context.record.outcome = "cancelled"
        context.is_closed = True
        if not context.is_speaking:
            await self._finish(context)

    async def _say(self, context: _Context) -> None:
        while context.texts:
            text = context.texts.pop(0)
            try:
                pcm, marks = await self._simulator._voice.synthesize(text.strip(), self._sample_rate)
            except VoicepipeError as error:
                self._simulator._failures.append(error)
                raise SessionEnded(1011, "the simulator's voice failed") from error
            timing = Timing(text.strip(), marks, len(pcm) / 2 / self._sample_rate)
            await self._play(context.record, pcm, self._sample_rate, partial(self._audio, context, text, timing))
        context.is_speaking = False
        if context.is_closed:
            await self._finish(context)

    def _audio(
        self, context: _Context, text: str, timing: Timing, piece: bytes, start_s: float
    ) -> list[dict[str, Any]]:
        message = {
            "audio": base64.b64encode(piece).decode(),
            "alignment": self._alignment(text, timing, start_s),
            "normalizedAlignment": None,
            "contextId": context.record.context_id,
        }
        return [message]

    async def _finish(self, context: _Context) -> None:
        if context.record.outcome == "waiting":
            context.record.outcome = "done"
        del self._contexts[context.record.context_id]
        await self._send({"isFinal": True, "contextId": context.record.context_id})

    def _alignment(self, text: str, timing: Timing, start_s: float) -> dict[str, Any] | None:
        """Return the times of the characters that begin within a piece of audio."""
        if self._record.query.get("sync_alignment") != "true" and start_s:
            return None
        is_whole = self._record.query.get("sync_alignment") != "true"
        until_s = float("inf") if is_whole else start_s + self._simulator._chunk_s
        found = [one for one in _characters(text, timing) if start_s - 1e-9 <= one[1] < until_s - 1e-9]
        base_s = 0.0 if self._simulator._counts_on else start_s
        return {
            "chars": [character for character, _, _ in found],
            "charStartTimesMs": [round(1000 * (begins_s - base_s)) for _, begins_s, _ in found],
            "charDurationsMs": [round(1000 * (ends_s - begins_s)) for _, begins_s, ends_s in found],
        }


def _characters(text: str, timing: Timing) -> Iterator[tuple[str, float, float]]:
    """Yield each character with its times; the white space around the text takes none."""
    lead = len(text) - len(text.lstrip())
    for at, character in enumerate(text):
        if at < lead:
            yield character, 0.0, 0.0
        elif at < len(text.rstrip()):
            yield character, timing.at(at - lead), timing.at(at - lead + 1)


def _ended(kind: str, text: str) -> SessionEnded:
    return SessionEnded(1008, text, {"message": text, "error": kind, "code": 1008})
