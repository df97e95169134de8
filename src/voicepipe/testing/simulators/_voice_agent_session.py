"""One session of the simulated Voice Agent API: its rules, and its messages."""

from __future__ import annotations

import base64
import binascii
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import anyio
from websockets.exceptions import ConnectionClosed

from voicepipe.audio.g711 import from_ulaw, to_ulaw
from voicepipe.hosted.messages import (
    AgentEvent,
    CallerSaid,
    CallerSpeaks,
    CallerStopped,
    CallResult,
    ReplyAudio,
    ReplyBegan,
    ReplyCalls,
    ReplyDone,
    ReplyText,
)
from voicepipe.testing.hosted_service import Asked

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

    from voicepipe.testing.hosted_service import HostedService

__all__ = ["RESUMABLE_S", "AgentRefusal", "Session"]

RESUMABLE_S: Final = 30.0

AHEAD_S: Final = 2.0
"""How much faster than real time the caller's audio may come, in all; the service's own limit is not documented."""

VOICES: Final = frozenset(
    {
        *("alba", "anna", "charles", "estelle", "eve", "george", "giovanni", "iris", "jane", "jean", "juergen", "lola"),
        *("mary", "michael", "paul", "rafael", "reid", "vera"),
    }
)

RATES: Final = {"audio/pcm": 24_000, "audio/pcmu": 8_000, "audio/pcma": 8_000}

FIELDS: Final = {
    "session": {"agent_id", "system_prompt", "greeting", "tools", "input", "output"},
    "input": {
        "format",
        "keyterms",
        "turn_detection",
        "transcription_mode",
        "continuous_partials",
        "transcription_prompt",
        "language_codes",
        "voice_focus",
        "voice_focus_threshold",
    },
    "output": {"voice", "format", "volume"},
    "turn_detection": {"vad_threshold", "min_silence", "max_silence", "interrupt_response", "interruption_delay"},
}

IMMUTABLE: Final = (("greeting",), ("output", "voice"), ("output", "format"))


class AgentRefusal(Exception):  # noqa: N818 - names what happened
    """The service refuses a message.

    Attributes:
        code: Its name for it.
        param: The field that it is about.
    """

    def __init__(self, code: str, message: str, param: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class Server(Protocol):
    """What a session asks of its server."""

    names_replies: bool
    is_messy: bool
    words_come_last: bool

    def check_key(self, authorization: str) -> None: ...

    def begin(self, sample_rate: int) -> tuple[str, HostedService]: ...

    def resume(self, session_id: str) -> HostedService: ...


class Record(Protocol):
    """Where a session notes what its client did."""

    session_id: str
    messages: list[tuple[float, dict[str, Any]]]
    audio_s: float


class Session:
    """One session.

    Args:
        server: The simulator.
        connection: To the client.
        record: What the client does.

    Attributes:
        service: The service's side; None until it has begun.
        has_ended: Whether the client has ended it.
    """

    def __init__(self, server: Server, connection: ServerConnection, record: Record) -> None:
        self.service: HostedService | None = None
        self.has_ended = False
        self._server = server
        self._connection = connection
        self._record = record
        self._encoding = "audio/pcm"
        self._calls: set[str] = set()
        self._began_s = 0.0
        self._said = ""

    async def run(self, authorization: str) -> None:
        """Converse until the connection is over."""
        try:
            self._server.check_key(authorization)
            service = await self._begin(self._message(await self._connection.recv()))
        except AgentRefusal as refusal:
            await self._refuse(refusal)
            await self._connection.close(1008, refusal.code)
            return
        except ConnectionClosed:
            return
        self.service = service
        if self._server.is_messy:
            await self._send("session.weather", outlook="fair")
            await self._connection.send("this is no JSON")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(service.run)
            tasks.start_soon(self._report, service)
            with suppress(ConnectionClosed):
                await self._read(service)
            tasks.cancel_scope.cancel()

    async def _read(self, service: HostedService) -> None:
        async for data in self._connection:
            try:
                if await self._take(service, self._message(data)):
                    return
            except AgentRefusal as refusal:
                await self._refuse(refusal)
                if refusal.code == "audio_rate_violation":
                    await self._connection.close(1008, refusal.code)

    # --- from the client ----------------------------------------------------------------------------------------------

    def _message(self, data: str | bytes) -> dict[str, Any]:
        try:
            message: Any = json.loads(data)
        except ValueError:
            raise AgentRefusal("invalid_format", "Messages are JSON objects") from None
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            raise AgentRefusal("invalid_format", "Messages are JSON objects with a type")
        if message["type"] != "input.audio":
            self._record.messages.append((anyio.current_time(), message))
        return message

    async def _begin(self, message: dict[str, Any]) -> HostedService:
        if message["type"] == "session.resume":
            service = self._server.resume(message.get("session_id", ""))
            self._record.session_id = message["session_id"]
        elif message["type"] == "session.update":
            session = self._checked(message)
            self._encoding = session.get("input", {}).get("format", {}).get("encoding", "audio/pcm")
            self._record.session_id, service = self._server.begin(RATES[self._encoding])
            service.greeting = session.get("greeting", "")
            self._apply(service, session)
        else:
            raise AgentRefusal("invalid_format", "The first message must be session.update or session.resume", "type")
        self._began_s = anyio.current_time()
        await self._send("session.ready", session_id=self._record.session_id, config={}, expires_at=7200)
        return service

    def _checked(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the session of an update that the service accepts."""
        session = message.get("session")
        if not isinstance(session, dict):
            raise AgentRefusal("invalid_format", "session must be an object", "session")
        turns = session.get("input", {}).get("turn_detection", {})
        found = {"session": session, "turn_detection": turns}
        found |= {name: session.get(name, {}) for name in ("input", "output")}
        for place, fields in found.items():
            for name in sorted(set(fields) - FIELDS[place]):
                raise AgentRefusal("invalid_format", f"Unknown field {name}", f"{place}.{name}")
        if "greeting" in session and not isinstance(session["greeting"], str):
            raise AgentRefusal("invalid_format", "greeting must be a string", "session.greeting")
        voice = session.get("output", {}).get("voice", "jane")
        if voice not in VOICES:
            raise AgentRefusal("invalid_value", f"Unknown voice {voice}", "session.output.voice")
        for name in ("input", "output"):
            encoding = session.get(name, {}).get("format", {}).get("encoding", "audio/pcm")
            if encoding not in RATES:
                raise AgentRefusal("invalid_value", f"Unknown encoding {encoding}", f"session.{name}.format.encoding")
        for tool in session.get("tools", []):
            if tool.get("type") != "function" or not tool.get("name") or "function" in tool:
                raise AgentRefusal("invalid_format", "Tools are flat functions", "session.tools")
        return session

    def _apply(self, service: HostedService, session: dict[str, Any]) -> None:
        turns = session.get("input", {}).get("turn_detection", {})
        service.is_interruptible = turns.get("interrupt_response", service.is_interruptible)

    async def _take(self, service: HostedService, message: dict[str, Any]) -> bool:
        """Act on a message; return whether it ends the session."""
        match message["type"]:
            case "input.audio":
                self._hear(service, message.get("audio"))
            case "session.update":
                session = self._checked(message)
                for path in IMMUTABLE:
                    if _has(session, path):
                        raise AgentRefusal("immutable_field", "It cannot change", "session." + ".".join(path))
                self._apply(service, session)
                await self._send("session.updated")
            case "tool.result":
                service.show([self._result(message)], "asked")
            case "reply.create":
                service.ask(_asked(str(message.get("instructions", ""))))
            case "session.end":
                audio_s = round(self._record.audio_s, 3)
                await self._send("session.ended", session_duration_seconds=1, audio_duration_seconds=audio_s)
                await self._connection.close(1000, "ended")
                self.has_ended = True
                return True
            case kind:
                raise AgentRefusal("invalid_format", f"Unknown type {kind}", "type")
        return False

    def _hear(self, service: HostedService, audio: object) -> None:
        try:
            data = base64.b64decode(audio if isinstance(audio, str) else "!", validate=True)
        except binascii.Error:
            raise AgentRefusal("invalid_audio", "audio must be base64", "audio") from None
        pcm = data if self._encoding == "audio/pcm" else from_ulaw(data)
        if not pcm or len(pcm) % 2:
            raise AgentRefusal("invalid_audio", "audio must be whole samples", "audio")
        self._record.audio_s += len(pcm) / 2 / RATES[self._encoding]
        if self._record.audio_s > anyio.current_time() - self._began_s + AHEAD_S:
            raise AgentRefusal("audio_rate_violation", "Audio came faster than real time")
        service.hear(pcm)

    def _result(self, message: dict[str, Any]) -> CallResult:
        call_id, result = message.get("call_id", ""), message.get("result")
        if call_id not in self._calls:
            raise AgentRefusal("invalid_value", f"There is no call {call_id}", "call_id")
        try:
            json.loads(result if isinstance(result, str) else "")
        except ValueError:
            raise AgentRefusal("invalid_format", "result must be a JSON string", "result") from None
        return CallResult(call_id, "", str(result), is_error=bool(message.get("is_error")))

    # --- to the client ------------------------------------------------------------------------------------------------

    async def _refuse(self, refusal: AgentRefusal) -> None:
        await self._send("session.error", code=refusal.code, message=str(refusal), param=refusal.param)

    async def _send(self, kind: str, **fields: object) -> None:
        extra = {"trace": {"id": 7}} if self._server.is_messy else {}
        with suppress(ConnectionClosed):  # the task that reads from it sees that it is over
            await self._connection.send(json.dumps({"type": kind, **fields, **extra}))

    async def _report(self, service: HostedService) -> None:
        while True:
            for kind, fields in self._messages(await service.event()):
                await self._send(kind, **fields)

    def _messages(self, event: AgentEvent) -> list[tuple[str, dict[str, Any]]]:
        name = {"reply_id": getattr(event, "reply_id", "")} if self._server.names_replies else {}
        match event:
            case CallerSpeaks():
                return [("input.speech.started", {})]
            case CallerStopped():
                return [("input.speech.stopped", {})]
            case CallerSaid(text=text, is_final=False):
                return [("transcript.user.delta", {"text": text})]
            case CallerSaid(text=text):
                return [("transcript.user", {"text": text, "item_id": "u1"})]
            case ReplyBegan(reply_id=reply_id):
                self._said = ""
                return [("reply.started", {"reply_id": reply_id})]
            case ReplyAudio(pcm=pcm):
                return [("reply.audio", {"data": data, **name}) for data in self._encoded(pcm)]
            case ReplyText(text=text, start_s=start_s, end_s=end_s):
                self._said += text
                if self._server.words_come_last:
                    return []
                if start_s is None or end_s is None:
                    return [("transcript.agent.delta", {"delta": text, **name})]
                times = {"start_ms": round(start_s * 1000), "end_ms": round(end_s * 1000)}
                return [("transcript.agent.delta", {"delta": text.strip(), **times, **name})]
            case ReplyCalls(call_id=call_id, name=tool, arguments=arguments):
                self._calls.add(call_id)
                given = {"args": arguments} if self._server.is_messy else {"arguments": _parsed(arguments)}
                return [("tool.call", {"call_id": call_id, "name": tool, **given, **name})]
            case ReplyDone(status=status):
                was_cut = status == "interrupted"
                said = ("transcript.agent", {"text": self._said, "interrupted": was_cut, **name})
                done = ("reply.done", {"status": status, **name})
                return [done, said] if self._server.words_come_last else [said, done] if self._said else [done]
            case _:
                return []

    def _encoded(self, pcm: bytes) -> list[str]:
        data = pcm if self._encoding == "audio/pcm" else to_ulaw(pcm)
        pieces = [data[: len(data) // 2 | 1], data[len(data) // 2 | 1 :]] if self._server.is_messy else [data]
        return [base64.b64encode(piece).decode() for piece in pieces if piece]


def _asked(instructions: str) -> Asked:
    """Return what a model that obeys takes instructions for."""
    text = re.search(r'(?s)(Say exactly|has typed).*?: (".*")$', instructions)
    if text is None:
        return Asked("note", instructions)
    return Asked("say" if text[1] == "Say exactly" else "typed", json.loads(text[2]))


def _parsed(arguments: str) -> object:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _has(session: dict[str, Any], path: tuple[str, ...]) -> bool:
    found: Any = session
    for name in path:
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True
