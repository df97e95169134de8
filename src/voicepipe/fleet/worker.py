"""A worker: a server of its own for the application, which also answers its engine.

Rule 1: only the engine and the gateway, who know the token, learn a worker's load, or say from where a request came.
Rule 2: a worker serves by itself. Without its engine it goes on with its calls, and takes no further one.
"""

from __future__ import annotations

import hmac
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from voicepipe.errors import ConfigurationError
from voicepipe.fleet.application import Listening
from voicepipe.fleet.handle import Load
from voicepipe.serving.metrics import CONTENT_TYPE
from voicepipe.serving.place import Place
from voicepipe.serving.uvicorn_server import Server, bound, configured, running

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

    from voicepipe.fleet.application import Application
    from voicepipe.serving.serve import Serve

__all__ = ["CLIENT", "GATEWAY", "SCHEME", "Work", "load_of", "working"]

GATEWAY: Final = b"x-voicepipe-gateway"
"""The header with the token by which a worker knows that its gateway passes a request on."""

CLIENT: Final = b"x-forwarded-for"
SCHEME: Final = b"x-forwarded-proto"

OWN_PATHS: Final = ("/live", "/ready", "/metrics")
"""Paths of every server, which the gateway answers itself."""

LOAD_PATH: Final = "/load"

ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened on
"""Where a worker is reached on its own machine that listens on all addresses."""


class Work:
    """A worker that listens.

    Attributes:
        listening: Where it can be reached.
    """

    def __init__(self, served: Serve[Any], server: Server, listening: Listening) -> None:
        self.listening = listening
        self._served = served
        self._server = server

    def load(self) -> Load:
        """Return how busy it is."""
        return load_of(self._served)

    def drain(self, within_s: float | None = None, *, hands_over: bool = True) -> None:
        """Take no further call, and end with the last one; when called again, end the calls at once.

        May be called by a signal's handler.

        Args:
            within_s: How long calls may go on; None for what the application says.
            hands_over: Whether other workers are there to go on with calls that have a record.
        """
        self._served.desk.hands_over = hands_over
        self._server.stop(within_s)

    async def wait_ended(self) -> None:
        """Wait until it has ended."""
        await self._server.has_ended.wait()


@asynccontextmanager
async def working(application: Application, index: int) -> AsyncGenerator[Work]:
    """Serve an application as a worker, in this event loop, for as long as the block lasts. Then its calls are cut.

    Args:
        application: What it serves.
        index: Its place among the workers.

    Raises:
        ConfigurationError: The application cannot be served, or the address cannot be used.
        VoicepipeError: A part could not be opened.
    """
    async with _program(application)(application.path, application.arguments, application.store) as served:
        served.check_reach(application.host)
        desk = served.desk
        config = configured(
            Entrance(served, application.token),
            most_message_bytes=desk.most_message_bytes,
            certificate=application.certificate or None,
            key=application.key or None,
            trusted_proxies=application.trusted_proxies,
        )
        with bound(application.host, application.port(index)) as listener:
            listening = _listening(application, index, served, *listener.getsockname()[:2])
            desk.place = Place(index, listening.media_url, application.gateway_url)
            desk.socket_origins = frozenset(application.media_sources())
            server = Server(config, desk, application.drain_s)
            async with desk.open(), running(server, listener):
                yield Work(served, server, listening)


def _listening(application: Application, index: int, served: Serve[Any], host: str, port: int) -> Listening:
    scheme = "https" if application.certificate else "http"
    host = ANYWHERE.get(host, host)
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    return Listening(url, application.media_url(index, port), tuple(_paths(served)))


def _paths(served: Serve[Any]) -> Sequence[str]:
    """Return the paths of a server that a gateway passes on."""
    found: dict[str, None] = {}
    for route in served.routes:
        if isinstance(route, Route):
            found[route.path] = None
        elif isinstance(route, Mount):
            found[f"{route.path}/{{path:path}}"] = None
    return [path for path in found if path not in OWN_PATHS]


def _program(
    application: Application,
) -> Callable[[str, Sequence[str], str], AbstractAsyncContextManager[Serve[Any]]]:
    """Return the function that makes the application's server."""
    module, _, name = application.program.partition(":")
    try:
        return getattr(import_module(module), name)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"the program {application.program!r} cannot be imported: {error}") from error


# --- what the engine asks ---------------------------------------------------------------------------------------------


def load_of(served: Serve[Any]) -> Load:
    """Return how busy a server is."""
    desk = served.desk
    refused = desk.why_not_ready()
    refuses = "" if refused is None else refused.reason
    return Load(desk.calls, desk.limits.sessions, desk.is_draining, desk.lag_s, refuses)


class Entrance:
    """The ASGI application of a worker: that of its server, and what its engine asks.

    Args:
        served: The server.
        token: The engine's.
    """

    def __init__(self, served: Serve[Any], token: str) -> None:
        self._served = served
        self._app: ASGIApp = served.app
        self._token = token.encode()
        self._bearer = b"Bearer " + self._token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the engine, or pass a request on to the server."""
        if scope["type"] == "http":
            headers: list[tuple[bytes, bytes]] = scope["headers"]
            if scope["path"] == LOAD_PATH:
                await self._answer_load(headers)(scope, receive, send)
                return
            if scope["path"] == "/metrics" and self._is_engine(headers):
                await Response(self._served.desk.metrics.text(), media_type=CONTENT_TYPE)(scope, receive, send)
                return
            if self._is_gateway(headers):
                scope = _seen_by_gateway(scope)
        await self._app(scope, receive, send)

    def _answer_load(self, headers: Sequence[tuple[bytes, bytes]]) -> Response:
        if not self._is_engine(headers):
            return Response("forbidden", 403)
        return JSONResponse(asdict(load_of(self._served)), headers={"Cache-Control": "no-store"})

    def _is_engine(self, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        return hmac.compare_digest(_first(headers, b"authorization"), self._bearer)

    def _is_gateway(self, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        return hmac.compare_digest(_first(headers, GATEWAY), self._token)


def _seen_by_gateway(scope: Scope) -> Scope:
    """Return a request as its gateway has got it: from the caller's address, and by the caller's scheme."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    address = _first(headers, CLIENT).decode("latin-1")
    client = (address, 0) if address else None
    scheme = _first(headers, SCHEME).decode("latin-1") or scope["scheme"]
    kept = [(name, value) for name, value in headers if name not in (GATEWAY, CLIENT, SCHEME)]
    return {**scope, "headers": kept, "client": client, "scheme": scheme}


def _first(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes:
    return next((value for key, value in headers if key == name), b"")
