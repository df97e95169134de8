"""AssemblyAI's LLM Gateway on loopback: a scripted LLM service with the gateway's peculiarities as switches.

    async with GatewaySimulator([Says("Hello there.")]).serve() as base_url: ...
    GatewaySimulator([...], quirks=GatewayQuirks(usage="every"))                  # only this one
    GatewaySimulator([...], quirks=replace(ASSEMBLYAI, streams=False))            # the real gateway's, and this one

Rule 1: without any switch it answers like `ScriptedGateway`; a switch changes what its name says and nothing else.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import anyio
import h11

from voicepipe.flow import ReplyEnd
from voicepipe.testing import _completions as wire
from voicepipe.testing._completions import Refused, Timetable
from voicepipe.testing.gateway import CHUNK, SSE_HEADERS, ScriptedGateway, _Connection
from voicepipe.testing.script import Breaks, ChatRequest, Refuses
from voicepipe.testing.simulators._gateway_quirks import (
    ASSEMBLYAI,
    BLANK,
    GatewayQuirks,
    envelope,
    fallbacks_of,
    model_record,
    refused_for,
    wants_hidden_retry,
)
from voicepipe.testing.simulators._service_demands import state_of_message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import JsonValue

    from voicepipe.testing._record import RecordedRequest
    from voicepipe.testing.script import Reply, Script

__all__ = ["ASSEMBLYAI", "GatewayQuirks", "GatewaySimulator"]

WINDOW_S = 60.0


class GatewaySimulator(ScriptedGateway):
    """A server of the gateway's `/v1/chat/completions` and `/v1/models` that answers from a script.

    Args:
        script: The replies in order, a function of the request, or a `Script`. A retry by the gateway itself takes the
            next reply.
        quirks: How the gateway differs from OpenAI.
        models: The models in its catalogue.
        options: The other arguments of `ScriptedGateway`: the key, the address, the pace.
    """

    def __init__(
        self,
        script: Script | Sequence[Reply] | Callable[[ChatRequest], Reply],
        *,
        quirks: GatewayQuirks = ASSEMBLYAI,
        models: Sequence[str] = ("gpt-5.2", "claude-haiku-4-5-20251001", "gemini-2.5-flash"),
        **options: Any,  # noqa: ANN401 - `ScriptedGateway` declares them
    ) -> None:
        super().__init__(script, **options)
        self.quirks = quirks
        self.models = tuple(models)
        self._windows: dict[str, tuple[float, int]] = {}
        self._key_header = quirks.key_header
        self._calls_to_refuse = quirks.refused_calls

    async def _converse(self, stream: anyio.abc.SocketStream) -> None:
        self._connections += 1
        try:
            with suppress(anyio.BrokenResourceError):  # the client has disconnected
                await _GatewayConnection(self, stream, self._connections).run()
        finally:
            with anyio.CancelScope(shield=True):
                await stream.aclose()

    def count(self, model: str, now: float) -> dict[str, str]:
        """Count a request and return the headers that say how many are left; refused requests count, too."""
        limit = self.quirks.requests_per_minute
        if limit is None:
            return {}
        since_s, used = self._windows.get(model, (now, 0))
        if now >= since_s + WINDOW_S:
            since_s, used = now, 0
        self._windows[model] = since_s, used + 1
        return {
            "x-ratelimit-limit": str(limit),
            "x-ratelimit-remaining": str(max(0, limit - used - 1)),
            "x-ratelimit-reset": f"{since_s + WINDOW_S - now:g}",
            "x-ratelimit-model": model,
            "x-ratelimit-service": "llm-gateway",
            **({"retry-after": f"{since_s + WINDOW_S - now:g}"} if used >= limit else {}),
        }

    def refuses_call(self) -> bool:
        """Return whether a request fails because its call cannot be read; so many of the first ones do."""
        self._calls_to_refuse -= 1
        return self._calls_to_refuse >= 0

    def __repr__(self) -> str:
        """Show what was asked and what is left to answer."""
        return super().__repr__().replace("ScriptedGateway", "GatewaySimulator")


class _GatewayConnection(_Connection):
    """One client's connection, with the gateway's peculiarities."""

    def __init__(self, gateway: GatewaySimulator, stream: anyio.abc.SocketStream, number: int) -> None:
        super().__init__(gateway, stream, number)
        self._simulator = gateway
        self._quirks = gateway.quirks
        self._limit_headers: dict[str, str] = {}

    def _admitted(self, request: RecordedRequest, body: bytes | None) -> ChatRequest | None:
        """Return the chat request. See `_Connection._admitted`."""
        self._limit_headers = {}
        if self._quirks.needs_version and "api-version=" not in request.path.partition("?")[2]:
            raise Refused(404, "Resource not found")
        if request.method == "GET":
            request._has_key = True  # the catalogue needs no key
        chat = super()._admitted(request, body)
        if chat is None:
            return None
        self._limit_headers = self._simulator.count(chat.model, request.received_s)
        if wait_s := self._limit_headers.pop("retry-after", ""):
            raise Refused(429, f"rate limit of {chat.model} exceeded", retry_after=wait_s)
        if refused := refused_for(self._quirks, chat, cast("dict[str, JsonValue]", request.body)):
            raise Refused(*refused)
        if chat.tools and self._simulator.refuses_call():
            raise Refused(400, "Failed to call a function.", code="tool_use_failed")
        return chat

    async def _reply(self, request: RecordedRequest, body: bytes | None) -> None:
        try:
            chat = self._admitted(request, body)
            if chat is None:
                records = [model_record(model, self._quirks) for model in self._simulator.models]
                await self._respond(request, *wire.response(200, {"object": "list", "data": records}))
                return
            chat, reply, late_s = await self._asked(request, chat)
            if isinstance(reply, Refuses):
                await anyio.sleep_until(request.received_s + late_s + reply.after_s)
                await self._refuse(request, wire.refusal(reply))
                return
            timetable = self._quirks.written(
                [(late_s + due_s, piece) for due_s, piece in self._gateway._schedule(reply)]
            )
            is_stream = chat.stream and self._quirks.streams
            await (self._stream_chat if is_stream else self._send_chat)(request, chat, timetable)
        except Refused as refused:
            await self._refuse(request, refused)

    async def _asked(self, request: RecordedRequest, chat: ChatRequest) -> tuple[ChatRequest, Reply, float]:
        """Ask the model, with the gateway's retry or fallbacks; return the request, the reply, and the delay."""
        sent, pause_s = cast("dict[str, JsonValue]", request.body), self._quirks.hidden_retry_s
        others = fallbacks_of(sent) if self._quirks.falls_back else []
        reply, late_s = self._gateway._ask(chat), 0.0
        if _is_broken(reply) and pause_s is not None and wants_hidden_retry(sent):
            late_s = reply.after_s + pause_s
            await anyio.sleep_until(request.received_s + late_s)
            return chat, self._gateway._ask(chat), late_s
        for other in others:
            if not _is_broken(reply):
                break
            late_s += reply.after_s
            await anyio.sleep_until(request.received_s + late_s)
            chat = replace(chat, model=other)
            reply = self._gateway._ask(chat)
        return chat, reply, late_s

    async def _refuse(self, request: RecordedRequest, refused: Refused) -> None:
        body = envelope(self._quirks, refused, f"req-{request.number}")
        await self._respond(request, *wire.response(refused.status, body, **refused.headers))

    async def _respond(self, request: RecordedRequest, *events: h11.Event) -> None:
        """Send a part of the response; the head carries the headers about the rate limit."""
        if self._limit_headers and isinstance(head := events[0], h11.Response):
            headers = [*head.headers, *((name.encode(), value.encode()) for name, value in self._limit_headers.items())]
            events = (h11.Response(status_code=head.status_code, headers=headers), *events[1:])
        await super()._respond(request, *events)

    async def _stream_chat(self, request: RecordedRequest, chat: ChatRequest, timetable: Timetable) -> None:
        quirks = self._quirks
        stream = _Stream(quirks, request, chat, timetable)
        opening: list[h11.Event] = [h11.Response(status_code=200, headers=SSE_HEADERS), *stream.opening()]
        for due_s, piece in timetable:
            await anyio.sleep_until(request.received_s + due_s)
            match piece:
                case Breaks(cleanly=cleanly):
                    broken = stream.broken(request)
                    ends = [h11.EndOfMessage()] if cleanly or broken else []
                    await self._respond(request, *opening, *broken, *ends)
                case ReplyEnd(finish_reason=reason):
                    done = [h11.Data(b"data: [DONE]\n\n")] if quirks.sends_done else []
                    await self._respond(request, *opening, *stream.closing(reason), *done, h11.EndOfMessage())
                case _:
                    await self._respond(request, *opening, stream.chunk(quirks.delta(piece)))
            opening = []

    async def _send_chat(self, request: RecordedRequest, chat: ChatRequest, timetable: Timetable) -> None:
        end_s, end = timetable[-1]
        reason = self._quirks.reason(end.finish_reason) if isinstance(end, ReplyEnd) else None
        choice: JsonValue = {"index": 0, "finish_reason": reason, **self._quirks.message(timetable)}
        counted = cast("dict[str, JsonValue]", wire.usage(chat, timetable))
        usage = counted | {"input_tokens": counted["prompt_tokens"], "output_tokens": counted["completion_tokens"]}
        whole = wire.completion(request, chat, "chat.completion", choice)
        beside: dict[str, JsonValue] = {
            "model": self._quirks.other_model or chat.model,
            "request_id": f"req-{request.number}",
            "usage": usage,
            "request": {},
            "response_time": round(1e9 * end_s),
            "llm_status_code": 200,
        }
        head, body, done = wire.response(200, whole | beside)
        await anyio.sleep_until(request.received_s + end_s)
        if isinstance(end, Breaks) and not end.cleanly:
            await self._respond(request, head, h11.Data(body.data[: len(body.data) // 2]))
        else:
            await self._respond(request, head, body, done)


def _is_broken(reply: Reply) -> TypeGuard[Refuses]:
    return isinstance(reply, Refuses) and reply.status >= 500


class _Stream:
    """The events of one stream. Pure."""

    def __init__(
        self, quirks: GatewayQuirks, request: RecordedRequest, chat: ChatRequest, timetable: Timetable
    ) -> None:
        self._quirks = quirks
        self._request = request
        self._chat = chat
        self._usage = wire.usage(chat, timetable)

    def opening(self) -> list[h11.Data]:
        """Return the events before the first token."""
        events = [self._event(None)] if self._quirks.null_choices else []
        events.append(self.chunk({"role": "assistant", "content": "", **state_of_message(self._quirks.wants_state)}))
        if self._quirks.blank_tool_delta and self._chat.tools:
            events.append(self.chunk(BLANK))
        return events

    def broken(self, request: RecordedRequest) -> list[h11.Data]:
        """Return the events that report a failure; none if the connection just breaks."""
        events = [self.chunk({}, self._quirks.failure_reason)] if self._quirks.failure_reason else []
        if self._quirks.error_in_stream:
            error = Refused(503, "the model is overloaded")
            events.insert(0, wire.sse(envelope(self._quirks, error, f"req-{request.number}")))
        return events

    def chunk(self, delta: JsonValue, finish_reason: str | None = None) -> h11.Data:
        """Return a piece of the reply."""
        reason = finish_reason or self._quirks.running_reason
        choice: JsonValue = {"index": 0, "delta": delta, "finish_reason": reason}
        return self._event([choice])

    def closing(self, finish_reason: str) -> list[h11.Data]:
        """Return the events after the last token."""
        events = [self.chunk({}, self._quirks.reason(finish_reason))] if self._quirks.sends_reason else []
        if self._quirks.usage != "every" and (self._quirks.usage == "last" or self._chat.include_usage):
            events.append(self._event(None if self._quirks.null_choices else [], has_usage=True))
        return events

    def _event(self, choices: JsonValue, *, has_usage: bool = False) -> h11.Data:
        body = wire.completion(self._request, self._chat, CHUNK) | {"choices": choices}
        body["model"] = self._quirks.other_model or self._chat.model
        if has_usage or self._quirks.usage == "every":
            body["usage"] = self._usage
        event = wire.sse(body)
        if self._quirks.comment:
            return h11.Data(f": {self._quirks.comment}\n\n".encode() + event.data)
        return event
