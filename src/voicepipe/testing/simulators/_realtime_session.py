"""One session of the simulated Realtime API: its rules, and its events."""

from __future__ import annotations

import base64
import binascii
import itertools
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import anyio
from websockets.exceptions import ConnectionClosed

from voicepipe.audio.g711 import from_ulaw, to_ulaw
from voicepipe.hosted.messages import (
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

    from voicepipe.hosted.messages import AgentEvent
    from voicepipe.testing.hosted_service import HostedService

__all__ = ["RealtimeSession", "RecordedRealtimeSession"]

VERBATIM: Final = "Say exactly"


@dataclass(slots=True)
class RecordedRealtimeSession:
    """What one client did.

    Attributes:
        path: What it asked for.
        messages: What it sent, audio left out, with the time.
        audio_s: Seconds of the caller's audio.
        truncated: Where replies were cut: the item, and after how many milliseconds.
        close_code: How the connection ended; 0 as long as it is open.
    """

    path: str
    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list[tuple[float, dict[str, Any]]])
    audio_s: float = 0.0
    truncated: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])
    close_code: int = 0

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages of a type."""
        return [message for _, message in self.messages if message.get("type") == kind]


class _Rejected(Exception):  # noqa: N818 - names what happened to the event
    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


@dataclass(slots=True)
class _Response:
    id: str
    metadata: dict[str, str]
    item_id: str
    text: str = ""
    audio_s: float = 0.0
    calls: int = 0


class RealtimeSession:
    """One session.

    Args:
        connection: To the client.
        service: What hears, answers and speaks.
        record: What the client does.
        sent: Takes every event that is sent.
    """

    def __init__(
        self,
        connection: ServerConnection,
        service: HostedService,
        record: RecordedRealtimeSession,
        sent: list[dict[str, Any]],
    ) -> None:
        self._connection = connection
        self._service = service
        self._record = record
        self._sent = sent
        self._ids = itertools.count(1)
        self._session: dict[str, Any] = {"type": "realtime", "id": "sess_1", "object": "realtime.session"}
        self._calls: dict[str, str] = {}  # that wait for a result, and their names
        self._results: list[CallResult] = []
        self._typed = ""
        self._user_item = ""
        self._response: _Response | None = None
        self._spoken: dict[str, float] = {}  # seconds of audio, by item

    async def run(self) -> None:
        """Converse until the connection is over."""
        await self._send("session.created", session=self._session)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._service.run)
            tasks.start_soon(self._report)
            with suppress(ConnectionClosed):
                async for data in self._connection:
                    await self._take(data)
            tasks.cancel_scope.cancel()

    # --- from the client ----------------------------------------------------------------------------------------------

    async def _take(self, data: str | bytes) -> None:
        message: Any = None
        try:
            message = json.loads(data)
            if message.get("type") != "input_audio_buffer.append":
                self._record.messages.append((anyio.current_time(), message))
            await self._act(message)
        except _Rejected as rejected:
            await self._send(
                "error",
                error={
                    "type": "invalid_request_error",
                    "code": rejected.code,
                    "message": str(rejected),
                    "param": rejected.param,
                    "event_id": message.get("event_id"),
                },
            )

    async def _act(self, message: dict[str, Any]) -> None:
        match message.get("type"):
            case "input_audio_buffer.append":
                self._hear(message.get("audio"))
            case "session.update":
                await self._update(message.get("session"))
            case "conversation.item.create":
                await self._add(message["item"])
            case "conversation.item.truncate":
                await self._truncate(message)
            case "response.create":
                self._create(message.get("response") or {})
            case "response.cancel":
                if self._response is None:
                    raise _Rejected("response_cancel_not_active", "There is no active response")
                self._service.stop()
            case kind:
                raise _Rejected("unknown_event", f"There is no event {kind}", "type")

    @property
    def _rate(self) -> int:
        output = self._session.get("audio", {}).get("output", {})
        return 8_000 if output.get("format", {}).get("type") == "audio/pcmu" else 24_000

    def _hear(self, audio: object) -> None:
        try:
            data = base64.b64decode(audio if isinstance(audio, str) else "!", validate=True)
        except binascii.Error:
            raise _Rejected("invalid_value", "audio must be base64", "audio") from None
        pcm = data if self._rate == 24_000 else from_ulaw(data)
        if len(pcm) % 2:
            raise _Rejected("invalid_value", "audio must be whole samples", "audio")
        self._record.audio_s += len(pcm) / 2 / self._rate
        self._service.hear(pcm)

    async def _update(self, session: object) -> None:
        if not isinstance(session, dict) or session.get("type") != "realtime":
            raise _Rejected("missing_required_parameter", "Missing required parameter: 'session.type'", "session.type")
        if session.get("audio", {}).get("output", {}).get("voice") == "nobody":
            raise _Rejected("invalid_value", "Invalid value: 'nobody'", "session.audio.output.voice")
        audio = self._session.get("audio", {})
        self._session |= session
        self._session["audio"] = {
            side: audio.get(side, {}) | session.get("audio", {}).get(side, {}) for side in ("input", "output")
        }
        self._service.sample_rate = self._rate
        turns = self._session["audio"]["input"].get("turn_detection") or {}
        self._service.is_interruptible = turns.get("interrupt_response", True)
        await self._send("session.updated", session=self._session)

    async def _add(self, item: dict[str, Any]) -> None:
        if item["type"] == "function_call_output":
            call_id = item["call_id"]
            if call_id not in self._calls and call_id not in self._known_calls():
                raise _Rejected("invalid_tool_call_id", f"There is no call {call_id}", "item.call_id")
            if name := self._calls.pop(call_id, None):
                self._results.append(CallResult(call_id, name, item["output"], is_error=False))
        elif item["type"] == "message" and item["role"] == "user":
            self._typed = "".join(part.get("text", "") for part in item["content"])
        made = {"id": f"item_{next(self._ids)}", **item}
        await self._send("conversation.item.added", item=made)
        await self._send("conversation.item.done", item=made)

    def _known_calls(self) -> set[str]:
        made = [message["item"] for message in self._record.of("conversation.item.create")]
        return {item["call_id"] for item in made if item["type"] == "function_call"}

    async def _truncate(self, message: dict[str, Any]) -> None:
        item_id, end_ms = message["item_id"], message["audio_end_ms"]
        if item_id not in self._spoken or end_ms > self._spoken[item_id] * 1000 + 1:
            raise _Rejected("invalid_value", f"There is no such place in {item_id}", "audio_end_ms")
        self._record.truncated.append((item_id, end_ms))
        await self._send(
            "conversation.item.truncated", item_id=item_id, content_index=message["content_index"], audio_end_ms=end_ms
        )

    def _create(self, wanted: dict[str, Any]) -> None:
        if self._response is not None:
            raise _Rejected("conversation_already_has_active_response", "There is an active response already")
        instructions, tag = wanted.get("instructions", ""), json.dumps(wanted.get("metadata") or {})
        if self._results:
            results, self._results = tuple(self._results), []
            self._service.ask(Asked("results", results=results, tag=tag))
        elif instructions.startswith(VERBATIM):
            self._service.ask(Asked("say", json.loads(instructions.partition(": ")[2]), tag=tag))
        elif instructions:
            self._service.ask(Asked("note", instructions, tag=tag))
        else:
            self._service.ask(Asked("typed", self._typed, tag=tag))

    # --- to the client ------------------------------------------------------------------------------------------------

    async def _send(self, kind: str, **fields: object) -> None:
        event = {"type": kind, "event_id": f"event_{next(self._ids)}", **fields}
        self._sent.append(event)
        with suppress(ConnectionClosed):  # the task that reads from it sees that it is over
            await self._connection.send(json.dumps(event))

    async def _report(self) -> None:
        while True:
            await self._show(await self._service.event())

    async def _show(self, event: AgentEvent) -> None:
        match event:
            case CallerSpeaks():
                self._user_item = f"item_{next(self._ids)}"
                await self._buffer("speech_started", audio_start_ms=round(self._record.audio_s * 1000))
            case CallerStopped():
                await self._buffer("speech_stopped", audio_end_ms=round(self._record.audio_s * 1000))
                await self._buffer("committed", previous_item_id=None)
            case CallerSaid(text=text, is_final=is_final):
                if is_final:
                    usage = {"type": "duration", "seconds": 1.0}
                    await self._transcription("completed", transcript=text, usage=usage)
                else:
                    await self._transcription("delta", delta=text)
            case ReplyBegan(tag=tag):
                metadata = json.loads(tag or "{}")
                self._response = _Response(f"resp_{next(self._ids)}", metadata, f"item_{next(self._ids)}")
                await self._send("response.created", response=self._json(self._response, "in_progress"))
            case ReplyText() | ReplyAudio() | ReplyCalls() if self._response is not None:
                await self._give(event, self._response)
            case ReplyDone(status=status) if self._response is not None:
                response, self._response = self._response, None
                await self._end(response, was_cut=status == "interrupted")
            case _:
                pass

    async def _buffer(self, what: str, **fields: object) -> None:
        await self._send(f"input_audio_buffer.{what}", item_id=self._user_item, **fields)

    async def _transcription(self, what: str, **fields: object) -> None:
        kind = f"conversation.item.input_audio_transcription.{what}"
        await self._send(kind, item_id=self._user_item, content_index=0, **fields)

    async def _give(self, event: ReplyText | ReplyAudio | ReplyCalls, response: _Response) -> None:
        place = {"response_id": response.id, "item_id": response.item_id, "output_index": 0, "content_index": 0}
        if isinstance(event, ReplyText):
            response.text += event.text
            await self._send("response.output_audio_transcript.delta", **place, delta=event.text)
        elif isinstance(event, ReplyAudio):
            response.audio_s += len(event.pcm) / 2 / self._rate
            self._spoken[response.item_id] = response.audio_s
            data = event.pcm if self._rate == 24_000 else to_ulaw(event.pcm)
            await self._send("response.output_audio.delta", **place, delta=base64.b64encode(data).decode())
        else:
            response.calls += 1
            call_id = f"call_{next(self._ids)}"
            self._calls[call_id] = event.name
            item = {"id": f"item_{next(self._ids)}", "type": "function_call", "status": "completed", "call_id": call_id}
            item |= {"name": event.name, "arguments": event.arguments}
            kind = "response.output_item.done"
            await self._send(kind, response_id=response.id, output_index=response.calls, item=item)

    async def _end(self, response: _Response, *, was_cut: bool) -> None:
        if response.text:
            content = [{"type": "output_audio", "transcript": response.text}]
            status = "incomplete" if was_cut else "completed"
            item: dict[str, Any] = {
                "id": response.item_id,
                "type": "message",
                "role": "assistant",
                "status": status,
                "content": content,
            }
            await self._send("response.output_item.done", response_id=response.id, output_index=0, item=item)
        await self._send("response.done", response=self._json(response, "cancelled" if was_cut else "completed"))

    def _json(self, response: _Response, status: str) -> dict[str, Any]:
        details = {"type": "cancelled", "reason": "turn_detected"} if status == "cancelled" else None
        made: dict[str, Any] = {"id": response.id, "object": "realtime.response", "status": status, "output": []}
        return made | {"metadata": response.metadata, "status_details": details, "usage": None}
