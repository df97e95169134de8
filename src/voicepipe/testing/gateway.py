"""A scripted LLM service: a real HTTP server on loopback that speaks OpenAI's chat completions.

    async with ScriptedGateway([Says("Hello there.", after_s=0.2)]).serve() as base_url: ...
    python -m voicepipe.testing --token-s 0.01        # in a separate process; prints its base URL

Rule 1: it is as strict as a service: it refuses what a service would refuse, and keeps each request in `requests`.
Rule 2: its only clock is the event loop's and it needs no thread, so it also runs on virtual time.
"""

from __future__ import annotations

import json
import secrets
import socket
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import anyio.abc
import h11

from voicepipe.flow import ReplyEnd
from voicepipe.testing import _completions as wire
from voicepipe.testing._completions import Refused, Timetable
from voicepipe.testing._record import RecordedRequest
from voicepipe.testing.script import (
    Breaks,
    ChatRequest,
    InvalidRequest,
    Refuses,
    Reply,
    Script,
    parse_request,
    schedule,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from pydantic import JsonValue

__all__ = ["RecordedRequest", "ScriptedGateway"]

CHUNK: Final = "chat.completion.chunk"
MAX_BODY_BYTES: Final = 4 * 1024 * 1024
METHODS: Final = {"/v1/chat/completions": "POST", "/v1/models": "GET"}
MODEL: Final[JsonValue] = {"id": "scripted", "object": "model", "created": 0, "owned_by": "voicepipe"}
SECRET_HEADERS: Final = {"authorization", "api-key", "x-api-key", "cookie"}
SSE_HEADERS: Final = [("content-type", "text/event-stream"), ("cache-control", "no-cache")]


class ScriptedGateway:
    """A server of `/v1/chat/completions` and `/v1/models` that answers from a script.

    Args:
        script: The replies in order, a function of the request, or a `Script`.
        api_key: The key that clients must send, as `Bearer <key>` or bare; None to require no key.
        host: The address to listen on.
        port: The port to listen on; 0 for a free one.
        first_token_s: Seconds from the request to the first token, for replies that do not set it.
        token_s: Seconds between tokens, for replies that do not set it.
        record: Whether to keep requests in `requests`; a long-running server should not.

    Attributes:
        script: The script; `script.unused` are the replies that were not asked for.
        requests: Every complete request, in the order of arrival.
    """

    def __init__(
        self,
        script: Script | Sequence[Reply] | Callable[[ChatRequest], Reply],
        *,
        api_key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        first_token_s: float = 0.0,
        token_s: float = 0.0,
        record: bool = True,
    ) -> None:
        self.script = script if isinstance(script, Script) else Script(script)
        self.requests: list[RecordedRequest] = []
        self._address = (host, port)
        self._api_key = api_key
        self._record = record
        self._received = 0
        self._connections = 0
        self._failures: list[Exception] = []
        self._key_header = "authorization"
        self._schedule = partial(schedule, first_token_s=first_token_s, token_s=token_s)

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[str]:
        """Listen while the block runs; the block gets the base URL, e.g. "http://127.0.0.1:40123/v1".

        Leaving the block closes every connection.

        Raises:
            AssertionError: A client asked more often than the script has replies. The client got status 500; the error
                is raised when the block ends, so that a client that copes with a 500 does not hide it. An exception of
                a script function is raised in the same way.
        """
        # Created here, because `anyio.create_tcp_listener` resolves addresses in a thread, and virtual time has none.
        server = socket.create_server(self._address, backlog=1024)
        host, port = server.getsockname()
        raised: Exception | None = None
        async with await anyio.abc.SocketListener.from_socket(server) as listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, self._converse, group)
            try:
                yield f"http://{host}:{port}/v1"
            except Exception as error:  # noqa: BLE001 - re-raised below: the group would wrap it in an ExceptionGroup
                raised = error
            group.cancel_scope.cancel()
        if raised is None and self._failures:
            raised = self._failures.pop(0)
        self._failures.clear()
        if raised is not None:
            raise raised

    async def _converse(self, stream: anyio.abc.SocketStream) -> None:
        """Serve one connection to its end."""
        self._connections += 1
        try:
            with suppress(anyio.BrokenResourceError):  # the client has disconnected
                await _Connection(self, stream, self._connections).run()
        finally:
            with anyio.CancelScope(shield=True):  # does not wait for the peer: what it has not read yet is dropped
                await stream.aclose()

    def _note(self, head: h11.Request, connection: int) -> RecordedRequest:
        """Record a complete request, without its keys."""
        self._received += 1
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        key = headers.get(self._key_header, "").removeprefix("Bearer ").encode()
        request = RecordedRequest(
            number=self._received,
            connection=connection,
            method=head.method.decode("ascii"),
            path=head.target.decode("ascii"),
            headers=headers | dict.fromkeys(SECRET_HEADERS & headers.keys(), "***"),
            received_s=anyio.current_time(),
            _has_key=self._api_key is None or secrets.compare_digest(key, self._api_key.encode()),
        )
        if self._record:
            self.requests.append(request)
        return request

    def _ask(self, chat: ChatRequest) -> Reply:
        try:
            return self.script.answer(chat)
        except Exception as error:
            self._failures.append(error)
            raise Refused(500, f"{type(error).__name__} in the script: {error}") from error

    def __repr__(self) -> str:
        """Show what was asked and what is left to answer."""
        return f"<ScriptedGateway {len(self.requests)} requests {self.script!r}>"


# --- one connection ---------------------------------------------------------------------------------------------------


class _Connection:
    """One client's connection: request, reply, request, reply, until one side closes it."""

    def __init__(self, gateway: ScriptedGateway, stream: anyio.abc.SocketStream, number: int) -> None:
        self._gateway = gateway
        self._stream = stream
        self._number = number
        self._http = h11.Connection(h11.SERVER)

    async def run(self) -> None:
        try:
            while isinstance(head := await self._next_event(), h11.Request):
                body = await self._body()
                await self._reply_while_connected(self._gateway._note(head, self._number), body)
                if self._http.our_state is not h11.DONE:  # cut, abandoned, or the client wants no further reply
                    return
                self._http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            # A client that disconnects in the middle of a request causes this too; then nothing reads the response.
            if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                refused = Refused(error.error_status_hint, str(error))
                await self._write(*wire.response(refused.status, wire.envelope(refused)))

    async def _receive(self) -> bytes:
        """Return the next bytes, or b"" if the client has closed the connection."""
        try:
            return await self._stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return b""

    async def _write(self, *events: h11.Event) -> None:
        """Send events in one piece.

        Raises:
            anyio.BrokenResourceError: The client has disconnected.
        """
        await self._stream.send(b"".join(self._http.send(event) or b"" for event in events))

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._receive())
        return event

    async def _body(self) -> bytes | None:
        """Read the rest of a request and return its body; None if it is too long.

        Even then the body is read to its end, because a client that is still sending would not see the answer.
        """
        body, size = bytearray(), 0
        while isinstance(event := await self._next_event(), h11.Data):
            size += len(event.data)
            if size <= MAX_BODY_BYTES:
                body += event.data
        return bytes(body) if size <= MAX_BODY_BYTES else None

    async def _reply_while_connected(self, request: RecordedRequest, body: bytes | None) -> None:
        """Reply, and stop immediately if the client disconnects."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._watch, request, group.cancel_scope)
                with suppress(anyio.BrokenResourceError):  # `_watch` sees it too
                    await self._reply(request, body)
                    group.cancel_scope.cancel()
        finally:
            request._end()

    async def _watch(self, request: RecordedRequest, scope: anyio.CancelScope) -> None:
        """Cancel `scope` when the client closes its side; clients of such a service never close only one direction."""
        while data := await self._receive():
            self._http.receive_data(data)  # the next request came early and waits until this reply is done
        # A client in another process can read the last bytes and close before our last write returns. That is no
        # disconnection in the middle of the reply.
        if self._http.our_state in (h11.SEND_RESPONSE, h11.SEND_BODY):
            request.closed_by_client_s = anyio.current_time()
        scope.cancel()

    async def _reply(self, request: RecordedRequest, body: bytes | None) -> None:
        try:
            chat = self._admitted(request, body)
            if chat is None:
                await self._respond(request, *wire.response(200, {"object": "list", "data": [MODEL]}))
                return
            reply = self._gateway._ask(chat)
            if isinstance(reply, Refuses):
                await anyio.sleep_until(request.received_s + reply.after_s)
                await self._refuse(request, wire.refusal(reply))
                return
            await (self._stream_chat if chat.stream else self._send_chat)(request, chat, self._gateway._schedule(reply))
        except Refused as refused:
            await self._refuse(request, refused)

    async def _refuse(self, request: RecordedRequest, refused: Refused) -> None:
        await self._respond(request, *wire.response(refused.status, wire.envelope(refused), **refused.headers))

    def _admitted(self, request: RecordedRequest, body: bytes | None) -> ChatRequest | None:
        """Return the chat request; None stands for the list of models.

        Raises:
            Refused: The request is invalid.
        """
        path = request.path.partition("?")[0]
        method = METHODS.get(path)
        if method is None:
            raise Refused(404, f"there is no {path}, only {' and '.join(METHODS)}")
        if request.method != method:
            raise Refused(405, f"{path} takes {method}, not {request.method}", allow=method)
        if not request._has_key:
            raise Refused(401, "the API key is missing or wrong; send it as `Authorization: Bearer <key>`")
        if body is None:
            raise Refused(413, f"the body is longer than {MAX_BODY_BYTES} bytes; send less")
        if method == "GET":
            return None
        try:
            request.body = json.loads(body)
            request.chat = parse_request(request.body)
        except InvalidRequest as error:
            raise Refused(400, str(error), param=error.param) from error
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"the body must be JSON: {error}") from error
        return request.chat

    async def _stream_chat(self, request: RecordedRequest, chat: ChatRequest, timetable: Timetable) -> None:
        def chunk(delta: JsonValue, finish_reason: str | None = None) -> h11.Event:
            choice: JsonValue = {"index": 0, "delta": delta, "finish_reason": finish_reason}
            return wire.sse(wire.completion(request, chat, CHUNK, choice))

        opening = [h11.Response(status_code=200, headers=SSE_HEADERS), chunk({"role": "assistant", "content": ""})]
        for due_s, piece in timetable:
            await anyio.sleep_until(request.received_s + due_s)
            match piece:
                case Breaks(cleanly=cleanly):
                    await self._respond(request, *opening, *([h11.EndOfMessage()] if cleanly else []))
                case ReplyEnd(finish_reason=reason):
                    last = [chunk({}, reason)]
                    if chat.include_usage:
                        usage = wire.usage(chat, timetable)
                        last.append(wire.sse(wire.completion(request, chat, CHUNK) | {"usage": usage}))
                    # Sent in one piece, so that a client that disconnects at [DONE] has not disconnected early.
                    await self._respond(request, *opening, *last, h11.Data(b"data: [DONE]\n\n"), h11.EndOfMessage())
                case _:
                    await self._respond(request, *opening, chunk(wire.delta(piece)))
            opening = []

    async def _send_chat(self, request: RecordedRequest, chat: ChatRequest, timetable: Timetable) -> None:
        end_s, end = timetable[-1]
        reason = end.finish_reason if isinstance(end, ReplyEnd) else None
        choice: JsonValue = {"index": 0, "message": wire.message(timetable), "finish_reason": reason}
        whole = wire.completion(request, chat, "chat.completion", choice) | {"usage": wire.usage(chat, timetable)}
        head, body, done = wire.response(200, whole)
        await anyio.sleep_until(request.received_s + end_s)
        if isinstance(end, Breaks) and not end.cleanly:
            await self._respond(request, head, h11.Data(body.data[: len(body.data) // 2]))
        else:
            await self._respond(request, head, body, done)

    async def _respond(self, request: RecordedRequest, *events: h11.Event) -> None:
        """Send a part of the response, and record the status when it is the first part."""
        if request.status is None and isinstance(first := events[0], h11.Response):
            request.status = first.status_code
            request.first_byte_s = anyio.current_time()
        if request.method == "HEAD":
            events = tuple(event for event in events if not isinstance(event, h11.Data))
        await self._write(*events)
