"""A gateway: one address for pages, tokens and webhooks, in front of several workers.

Rule 1: no audio passes through it. A token names the worker's own address, and the caller connects there.
Rule 2: it reaches nothing but its workers, and of those only the paths that they have. Who may call is decided by them,
        by the same headers as without a gateway.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute, compile_path

from voicepipe.core.clock import loop_time
from voicepipe.core.failures import single_error
from voicepipe.core.log import log
from voicepipe.errors import WorkerError
from voicepipe.fleet.care import Care
from voicepipe.fleet.choosing import Choice
from voicepipe.fleet.client import WorkerClient, WorkerInterrupted, bearer
from voicepipe.fleet.exposition import FleetMetrics
from voicepipe.fleet.passing import passed_back, passed_on
from voicepipe.serving.guard import Guard
from voicepipe.serving.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from re import Pattern

    from starlette.requests import Request
    from starlette.types import ASGIApp
    from starlette.websockets import WebSocket

    from voicepipe.fleet.application import Application
    from voicepipe.fleet.client import Answer
    from voicepipe.fleet.engine import Engine, Worker

__all__ = ["Gateway"]

PASS_S: Final = 14.0
"""How long a request may take, whichever workers are asked. Telephone networks wait for 15 s."""

BODY_S: Final = 5.0
"""How long a request's body may take to come."""

METRICS_S: Final = 3.0
CUT_S: Final = 10.0
"""How long workers may take to end their calls at once, before they are killed."""

METHODS: Final = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE")
REPEATABLE: Final = ("GET", "HEAD", "OPTIONS")
"""What may be asked of a second worker, although the first one may have carried it out."""

REFUSES: Final = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
"""How a worker says, with a time to try again, that it has done nothing."""

NOT_STORED: Final = {"Cache-Control": "no-store"}
RETRY: Final = {**NOT_STORED, "Retry-After": "1"}

NO_SOCKETS: Final = (
    "this gateway passes on no websockets: connect to the address that comes with a token, "
    'as "url" in the answer to POST .../token or .../client_secrets'
)


class Gateway:
    """The gateway of a fleet.

    Args:
        engine: Runs the workers.
        application: What they serve.
        workers: How many there are.
        token: Who shows it, as `Authorization: Bearer ...`, may read `/metrics` and look after the fleet; None for
            requests from this machine.

    Raises:
        ConfigurationError: The token is blank, or cannot be shown.
    """

    most_message_bytes: int = 65_536

    def __init__(self, engine: Engine, application: Application, workers: int, *, token: str | None = None) -> None:
        self.engine = engine
        self._application = application
        self._workers = workers
        self._care = Care(engine, application, token)
        self._client = WorkerClient(application.certificate)
        self._choice = Choice()
        self._known: dict[str, Pattern[str]] = {}
        self._is_draining = False
        self.metrics = FleetMetrics(engine)
        self.app: ASGIApp = Starlette(
            routes=[
                Route("/live", self._live),
                Route("/ready", self._ready),
                Route("/metrics", self._metrics),
                *self._care.routes(),
                Route("/{path:path}", self._pass, methods=[*METHODS]),
                WebSocketRoute("/{path:path}", self._refuse_socket),
            ],
            middleware=[Middleware(Guard, within_s=BODY_S)],
        )

    # --- what runs it -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Start the workers, and keep them for as long as the block lasts.

        Raises:
            ConfigurationError: The application cannot be served.
            WorkerError: A worker could not be started.
        """
        with single_error():
            async with self._client.open(), self.engine.open(self._application):
                await self.engine.start(self._workers)
                async with self._care.open():
                    yield

    async def drain(self, within_s: float) -> None:
        """Let no further call in, and return when all workers have ended.

        Args:
            within_s: How long calls may go on.
        """
        self._is_draining = True
        await self.engine.stop(within_s)

    async def cut(self) -> None:
        """End all calls at once."""
        self._is_draining = True
        with anyio.move_on_after(CUT_S):
            await self.engine.stop(0.0)

    # --- requests that are passed on ----------------------------------------------------------------------------------

    async def _pass(self, request: Request) -> Response:
        # Not `request.url`, which is also made of the header `Host`: that one may look like the beginning of a path.
        workers = [worker for worker in self.engine.workers() if self._has(worker, request.scope["path"])]
        if not workers and self.engine.workers():
            self.metrics.request("unknown")
            return PlainTextResponse("not found", HTTPStatus.NOT_FOUND)
        try:
            body = await request.body()
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        with anyio.move_on_after(PASS_S):
            return await self._pass_to_one(request, body, workers)
        self.metrics.request("interrupted")
        return _sorry("the server did not answer in time", HTTPStatus.GATEWAY_TIMEOUT)

    async def _pass_to_one(self, request: Request, body: bytes, workers: list[Worker]) -> Response:
        """Ask one worker after the other until one does not refuse."""
        given = request.query_params.get("worker", "")
        back = int(given) if given.isdecimal() and len(given) < 6 else None
        headers = passed_on(request, self._application.token)
        query: bytes = request.scope["query_string"]
        target: bytes = request.scope["raw_path"] + b"?" * bool(query) + query
        refused: Answer | None = None
        for worker in self._choice.order(workers, loop_time(), back=back):
            if request.method == "POST":
                self._choice.note(worker.id, loop_time())
            try:
                answer = await self._client.ask(
                    request.method, worker.url, target, headers=headers, body=body, within_s=PASS_S
                )
            except WorkerInterrupted as error:
                log.warning("%s", error)
                if request.method in REPEATABLE:
                    continue
                self.metrics.request("interrupted")
                return _sorry("the server failed while it answered", HTTPStatus.BAD_GATEWAY)
            except WorkerError as error:
                log.info("%s", error)
                continue
            if answer.status in REFUSES and answer.header(b"retry-after") is not None:
                refused = answer
                continue
            self.metrics.request("passed")
            return passed_back(answer, is_head=request.method == "HEAD")
        if refused is not None:
            self.metrics.request("refused")
            return passed_back(refused, is_head=request.method == "HEAD")
        self.metrics.request("unreachable")
        return _sorry("no server takes calls at present", HTTPStatus.SERVICE_UNAVAILABLE)

    def _has(self, worker: Worker, path: str) -> bool:
        for pattern in worker.paths:
            if pattern not in self._known:
                self._known[pattern] = compile_path(pattern)[0]
            if self._known[pattern].match(path):
                return True
        return False

    async def _refuse_socket(self, socket: WebSocket) -> None:
        if "websocket.http.response" in socket.scope.get("extensions", {}):
            await socket.send_denial_response(PlainTextResponse(NO_SOCKETS, HTTPStatus.MISDIRECTED_REQUEST))
        else:
            await socket.close()

    # --- for balancers and people -------------------------------------------------------------------------------------

    async def _live(self, request: Request) -> Response:
        del request
        return PlainTextResponse("live")

    async def _ready(self, request: Request) -> Response:
        del request
        if self._is_draining:
            return PlainTextResponse("draining: the server is stopping", HTTPStatus.SERVICE_UNAVAILABLE)
        if any(worker.load.is_ready for worker in self.engine.workers()):
            return PlainTextResponse("ready")
        return PlainTextResponse("full: no worker takes calls", HTTPStatus.SERVICE_UNAVAILABLE)

    async def _metrics(self, request: Request) -> Response:
        if not self._care.may(request):
            return PlainTextResponse("forbidden", HTTPStatus.FORBIDDEN)
        found: dict[int, bytes] = {}

        async def one(worker: Worker) -> None:
            try:
                shown = [bearer(self._application.token)]
                answer = await self._client.ask("GET", worker.url, b"/metrics", headers=shown, within_s=METRICS_S)
            except WorkerError as error:
                log.info("the metrics of %s are missing: %s", worker.id, error)
                return
            if answer.status == HTTPStatus.OK:
                found[worker.index] = answer.body

        async with anyio.create_task_group() as tasks:
            for worker in self.engine.workers():
                tasks.start_soon(one, worker)
        return Response(self.metrics.text(found), media_type=CONTENT_TYPE)


def _sorry(message: str, status: HTTPStatus) -> Response:
    return JSONResponse({"message": message}, status, RETRY)
