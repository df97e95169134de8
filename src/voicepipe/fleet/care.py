"""For those who look after a fleet: its workers are listed, one is taken away, or all are restarted.

Rule 1: that takes a token. If the gateway has none, programs on this machine may: no page, nobody behind a proxy.
Rule 2: what takes long goes on by itself, and `/fleet` says what came of it.
"""

from __future__ import annotations

import hmac
import json
import math
from contextlib import asynccontextmanager
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import anyio
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from voicepipe.core.failures import single_error
from voicepipe.core.log import log
from voicepipe.errors import ConfigurationError, WorkerError
from voicepipe.fleet.application import check_token
from voicepipe.serving.origins import is_loopback, is_passed_on

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from anyio.abc import TaskGroup
    from starlette.requests import Request

    from voicepipe.fleet.application import Application
    from voicepipe.fleet.engine import Engine

__all__ = ["Care"]

NOT_STORED: Final = {"Cache-Control": "no-store"}

HERE: Final = ("localhost", "127.0.0.1", "[::1]")
"""How a program on this machine names it. Another name that leads here may be that of a page's own site."""

MOST_DRAIN_S: Final = 3600.0


class Care:
    """The routes of a gateway for those who look after its fleet.

    Args:
        engine: Runs the workers.
        application: What they serve.
        token: Who shows it, as `Authorization: Bearer ...`, may look after it; None for programs on this machine.

    Raises:
        ConfigurationError: The token is blank, or cannot be shown.
    """

    def __init__(self, engine: Engine, application: Application, token: str | None) -> None:
        if token is not None:
            check_token(token)
        self._engine = engine
        self._application = application
        self._token = token
        self._tasks: TaskGroup | None = None
        self._failed = ""

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Let what takes long go on for as long as the block lasts."""
        with single_error():
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                try:
                    yield
                finally:
                    self._tasks = None
                    tasks.cancel_scope.cancel()

    def routes(self) -> Sequence[Route]:
        """Return the routes."""
        return [
            Route("/fleet", self._status),
            Route("/fleet/drain", self._drain, methods=["POST"]),
            Route("/fleet/restart", self._restart, methods=["POST"]),
        ]

    def may(self, request: Request) -> bool:
        """Return whether somebody may look after the fleet."""
        if self._token is not None:
            shown = request.headers.get("authorization", "").encode()
            return hmac.compare_digest(shown, f"Bearer {self._token}".encode())
        host = request.headers.get("host", "")
        return (
            request.client is not None
            and is_loopback(request.client.host)
            and not is_passed_on(request.headers)
            and "origin" not in request.headers
            and (host.rpartition(":")[0] or host) in HERE
        )

    async def _status(self, request: Request) -> Response:
        if not self.may(request):
            return PlainTextResponse("forbidden", HTTPStatus.FORBIDDEN)
        engine = self._engine
        return JSONResponse(
            {
                "workers": [
                    {"id": worker.id, "index": worker.index, "media_url": worker.media_url, **asdict(worker.load)}
                    for worker in engine.workers()
                ],
                "is_restarting": engine.is_restarting,
                "failed": self._failed,
                "lost": engine.lost,
                "replaced": engine.replaced,
            },
            headers=NOT_STORED,
        )

    async def _drain(self, request: Request) -> Response:
        async def begin(asked: dict[str, Any], within_s: float) -> Callable[[], Awaitable[None]]:
            worker_id = asked.get("worker")
            if not isinstance(worker_id, str):
                raise ConfigurationError('name the worker, as {"worker": "w1"}')
            self._engine.check_drain(worker_id)
            return lambda: self._engine.drain(worker_id, within_s)

        return await self._begin(request, begin)

    async def _restart(self, request: Request) -> Response:
        async def begin(asked: dict[str, Any], within_s: float) -> Callable[[], Awaitable[None]]:
            del asked
            self._engine.check_restart()
            return lambda: self._engine.restart(within_s)

        return await self._begin(request, begin)

    async def _begin(
        self,
        request: Request,
        begin: Callable[[dict[str, Any], float], Awaitable[Callable[[], Awaitable[None]]]],
    ) -> Response:
        """Begin what somebody asks for, who may; or say why not."""
        if not self.may(request):
            return PlainTextResponse("forbidden", HTTPStatus.FORBIDDEN)
        try:
            asked = _object_in(await request.body())
            within_s = _within_s(asked.get("within_s", self._application.drain_s))
            doing = await begin(asked, within_s)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        except ConfigurationError as error:
            return JSONResponse({"message": str(error)}, HTTPStatus.CONFLICT, NOT_STORED)
        if self._tasks is None:
            return JSONResponse({"message": "the gateway is stopping"}, HTTPStatus.CONFLICT, NOT_STORED)
        self._failed = ""
        self._tasks.start_soon(self._finish, doing)
        return JSONResponse({"message": "it has begun; GET /fleet says how far it is"}, HTTPStatus.ACCEPTED, NOT_STORED)

    async def _finish(self, doing: Callable[[], Awaitable[None]]) -> None:
        try:
            await doing()
        except (ConfigurationError, WorkerError) as error:
            self._failed = str(error)
            log.error("the workers could not be replaced: %s", error)


def _object_in(body: bytes) -> dict[str, Any]:
    """Return the object in a request's body; an empty one if there is no body.

    Raises:
        ConfigurationError: It is something else.
    """
    try:
        given: object = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise ConfigurationError("the body must be an object of JSON")
    return given


def _within_s(given: object) -> float:
    if isinstance(given, (int, float)) and not isinstance(given, bool) and 0 <= given <= MOST_DRAIN_S:
        return float(given)
    found = "a number that is not finite" if isinstance(given, float) and not math.isfinite(given) else repr(given)[:40]
    raise ConfigurationError(f"within_s must be from 0 to {MOST_DRAIN_S:g} seconds, not {found}")
