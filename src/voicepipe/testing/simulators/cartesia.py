"""Cartesia's text-to-speech websocket on loopback, with a tone or a voice of yours.

    async with CartesiaSimulator(api_key="k").serve() as url: ...                 # "ws://127.0.0.1:40123"
    async with CartesiaSimulator(EspeakTTS()).serve() as url: ...                 # real speech, in real time

Rule 1: it is honest. It refuses what the service refuses, and `sessions` keeps what a client sent.

Source, read 2026-11-30: the service's reference of version 2026-03-01, its pages on contexts, errors and limits, and
its Python SDK 4.2.0, which also names a voice by its id alone.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

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
    from collections.abc import Collection, Sequence

    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request

    from voicepipe.speaking.tts_sink import TTSSink

__all__ = ["CartesiaSimulator", "RecordedContext", "RecordedVoiceSession", "VoiceFault"]

PATH: Final = "/tts/websocket"
VERSIONS: Final = frozenset({"2024-06-10", "2024-11-13", "2025-04-16", "2026-03-01", "2026-08-14"})
VOICES: Final = ("f786b574-daa5-4673-aa0c-cbe3e8534c02", "a0e99841-438c-4a64-b679-ae501e7d6091")
MODELS: Final = re.compile(r"sonic(-2|-3|-3\.5|-turbo|-latest)?(-20\d\d-\d\d-\d\d)?")
SAMPLE_RATES: Final = frozenset({8_000, 16_000, 22_050, 24_000, 44_100, 48_000})
LANGUAGES: Final = {
    "ar", "bg", "bn", "cs", "da", "de", "el", "en", "es", "fi", "fr", "gu", "he", "hi", "hr", "hu", "id", "it",
    "ja", "ka", "kn", "ko", "ml", "mr", "ms", "nl", "no", "or", "pa", "pl", "pt", "ro", "ru", "sk", "sv", "ta",
    "te", "th", "tl", "tr", "uk", "ur", "vi", "zh",
}  # fmt: skip

IDLE_S: Final = 300.0
EXPIRES_S: Final = 1.0
"""How long a context that may go on is kept after its last audio."""


class CartesiaSimulator(ContextSimulator):
    """A server of Cartesia's text-to-speech websocket.

    Args:
        voice: Speaks; None is a tone as long as the words would take. It is opened, but attached to no session; its
            audio is resampled to the rate that a client asks for.
        api_key: The key that clients must send, as `X-API-Key` or as a bearer token; None accepts any.
        voices: The ids of the account's voices; None takes any.
        first_audio_s: From a text to its first audio.
        speed: How many times faster than real time the audio comes.
        chunk_s: Length of the audio in one message.
        character_s: Length of the tone for each character.
        most_contexts: How many contexts the account may have at once, on all sockets; None for no limit.
        strips_punctuation: Whether the words that are timed come without their punctuation, as in the reference.
        faults: How the first, second, ... session goes wrong; sessions of a None, and later ones, do not.
        record: Whether to keep what clients do in `sessions`; switch it off in a server that runs for long.

    Attributes:
        sessions: What each client did, in the order of arrival.
    """

    _id_header = "X-Request-Id"

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
        most_contexts: int | None = None,
        strips_punctuation: bool = False,
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
        self._strips_punctuation = strips_punctuation
        self._active = 0

    def _refusal(self, request: Request, query: dict[str, str]) -> tuple[int, str] | None:
        if request.path.partition("?")[0] != PATH:
            return 404, _problem("not_found", "Not found", f"there is no such path, only {PATH}")
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        key = request.headers.get("X-API-Key") or bearer or query.get("api_key", "")
        if self._api_key is not None and not secrets.compare_digest(key.encode(), self._api_key.encode()):
            return 401, _problem("unauthorized", "Unauthorized", "Invalid API key")
        if (query.get("cartesia_version") or request.headers.get("Cartesia-Version", "")) not in VERSIONS:
            return 400, _problem("invalid_version", "Invalid version", "Cartesia-Version is missing or unknown")
        return None

    def _session(
        self, connection: ServerConnection, record: RecordedVoiceSession, fault: VoiceFault | None
    ) -> ContextSession:
        return _Session(self, connection, record, fault)


class _Refused(Exception):  # noqa: N818 - names what became of the message
    """One message is refused; the session goes on."""

    def __init__(self, status: int, code: str, title: str, message: str) -> None:
        super().__init__(message)
        self.event = {"type": "error", "done": True, "status_code": status, "error_code": code} | {
            "title": title,
            "message": message,
            "request_id": "00000000-0000-4000-8000-000000000000",
        }


@dataclass(slots=True, eq=False)
class _Context:
    record: RecordedContext
    sample_rate: int
    has_times: bool
    texts: list[tuple[str, bool]] = field(default_factory=list[tuple[str, bool]])  # each, and whether it is flushed
    made_s: float = 0.0
    flushes: int = 0
    may_go_on: bool = True
    news: anyio.Event = field(default_factory=anyio.Event)
    is_speaking: bool = False


class _Session(ContextSession):
    """One client's session."""

    idle_s = IDLE_S
    _simulator: CartesiaSimulator

    def __init__(
        self,
        simulator: CartesiaSimulator,
        connection: ServerConnection,
        record: RecordedVoiceSession,
        fault: VoiceFault | None,
    ) -> None:
        super().__init__(simulator, connection, record, fault)
        self._contexts: dict[str, _Context] = {}
        self._over: set[str] = set()

    def _idle(self) -> SessionEnded:
        return SessionEnded(1000, "the connection was idle for 5 minutes")

    async def _take(self, message: dict[str, Any]) -> None:
        name = message.get("context_id")
        try:
            if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise _invalid("context_id", "must be a text of letters, digits, _ and -")
            if message.get("cancel"):
                self._cancel(name)
            else:
                self._generate(name, message)
        except _Refused as refused:
            known = {"context_id": name} if isinstance(name, str) else {}
            await self._send(refused.event | known)

    def _cancel(self, name: str) -> None:
        """Halt what has not begun; what is being spoken goes on to its end."""
        if (context := self._contexts.get(name)) is not None:
            context.record.outcome = "cancelled"
            context.texts.clear()
            context.may_go_on = False
            context.news.set()

    def _generate(self, name: str, message: dict[str, Any]) -> None:
        self._check(message)
        context = self._contexts.get(name)
        if context is None:
            context = self._begin(name, message)
        elif not context.may_go_on:
            raise _Refused(400, "context_closed", "Context has closed", f"The context {name} takes no more input.")
        text = message["transcript"]
        is_flushed = bool(message.get("flush")) or message.get("max_buffer_delay_ms") == 0
        context.may_go_on = bool(message.get("continue"))
        context.record.text += text
        context.texts.append((text, is_flushed))
        context.news.set()

    def _check(self, message: dict[str, Any]) -> None:
        voice, form = message.get("voice"), message.get("output_format")
        if not isinstance(message.get("transcript"), str):
            raise _invalid("transcript", "must be a text")
        if not isinstance(form, dict) or (form.get("container"), form.get("encoding")) != ("raw", "pcm_s16le"):
            raise _invalid("output_format", "is raw pcm_s16le alone in this simulator")
        if form.get("sample_rate") not in SAMPLE_RATES:
            raise _invalid("sample_rate", f"must be one of {', '.join(map(str, sorted(SAMPLE_RATES)))}")
        if not MODELS.fullmatch(str(message.get("model_id"))):
            text = "The model is not valid, make sure it is a valid model ID."
            raise _Refused(400, "model_not_found", "Invalid model", text)
        name, known = voice.get("id") if isinstance(voice, dict) else voice, self._simulator._voices
        if not isinstance(name, str) or (known is not None and name not in known):
            raise _Refused(404, "voice_not_found", "Voice not found", "The voice does not exist or is not yours.")
        if message.get("language", "en") not in LANGUAGES:
            raise _invalid("language", "is not supported by the model")
        speed = (message.get("generation_config") or {}).get("speed", 1.0)
        if not 0.6 <= speed <= 1.5:
            raise _invalid("generation_config", "speed must be between 0.6 and 1.5")

    def _begin(self, name: str, message: dict[str, Any]) -> _Context:
        most = self._simulator._most_contexts
        if name in self._over:
            raise _Refused(400, "context_closed", "Context has closed", f"The context {name} is over.")
        if most is not None and self._simulator._active >= most:
            text = "You have exceeded your plan's concurrency limit."
            raise _Refused(429, "concurrency_limited", "Too many concurrent requests", text)
        context = _Context(
            RecordedContext(context_id=name),
            sample_rate=message["output_format"]["sample_rate"],
            has_times=bool(message.get("add_timestamps")),
        )
        self._contexts[name] = context
        self._record.contexts.append(context.record)
        self._simulator._active += 1
        self._group.start_soon(self._say, context)
        return context

    async def _say(self, context: _Context) -> None:
        try:
            while context.texts or context.may_go_on:
                if context.texts:
                    await self._say_text(context, *context.texts.pop(0))
                    continue
                context.news = anyio.Event()
                with anyio.move_on_after(EXPIRES_S if context.made_s else IDLE_S):
                    await context.news.wait()
                    continue
                context.may_go_on = False
        finally:
            self._simulator._active -= 1
            del self._contexts[context.record.context_id]
            self._over.add(context.record.context_id)
        if context.record.outcome == "waiting":
            context.record.outcome = "done"
        await self._send(self._event(context, "done", done=True, status_code=200))

    async def _say_text(self, context: _Context, text: str, is_flushed: bool) -> None:
        try:
            pcm, marks = await self._simulator._voice.synthesize(text, context.sample_rate)
        except VoicepipeError as error:
            self._simulator._failures.append(error)
            raise SessionEnded(1011, "the simulator's voice failed") from error
        timing = Timing(text, marks, len(pcm) / 2 / context.sample_rate)
        await self._play(context.record, pcm, context.sample_rate, partial(self._audio, context, text, timing))
        context.made_s += len(pcm) / 2 / context.sample_rate
        if is_flushed:
            context.flushes += 1
            await self._send(self._event(context, "flush_done", flush_done=True, flush_id=context.flushes))

    def _audio(
        self, context: _Context, text: str, timing: Timing, piece: bytes, start_s: float
    ) -> list[dict[str, Any]]:
        data = base64.b64encode(piece).decode()
        messages = [self._event(context, "chunk", data=data, step_time=1.0, flush_id=context.flushes + 1)]
        until_s = start_s + self._simulator._chunk_s
        found = [
            (word[0], timing.at(word.start()), timing.at(word.end()))
            for word in re.finditer(r"\S+", text)
            if start_s - 1e-9 <= timing.at(word.start()) < until_s - 1e-9
        ]
        if context.has_times and found:
            strip = self._simulator._strips_punctuation
            times = {
                "words": [re.sub(r"^\W+|\W+$", "", word) if strip else word for word, _, _ in found],
                "start": [round(context.made_s + begins_s, 4) for _, begins_s, _ in found],
                "end": [round(context.made_s + ends_s, 4) for _, _, ends_s in found],
            }
            messages.append(self._event(context, "timestamps", word_timestamps=times, flush_id=context.flushes + 1))
        return messages

    def _event(self, context: _Context, kind: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        base = {"type": kind, "done": False, "status_code": 206, "context_id": context.record.context_id}
        return base | fields


def _invalid(name: str, problem: str) -> _Refused:
    return _Refused(400, "invalid_request", f"Invalid {name}", f"{name} {problem}")


def _problem(code: str, title: str, message: str) -> str:
    return json.dumps({"error_code": code, "title": title, "message": message})
