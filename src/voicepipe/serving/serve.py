"""A server for an agent: one ASGI application, to be run by itself or inside of another one.

Rule 1: what is wrong with the settings is said when the server is built, before it listens.
Rule 2: it listens on this machine only, unless each transport has a proof of who calls.
"""

from __future__ import annotations

import hmac
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Generic

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute

from voicepipe.audio.devices.microphone import MicSource
from voicepipe.audio.resample import resampler
from voicepipe.core.context import Deps
from voicepipe.core.process import is_in_loop
from voicepipe.errors import ConfigurationError
from voicepipe.keeping.store import Store
from voicepipe.serving.desk import FrontDesk
from voicepipe.serving.guard import Guard
from voicepipe.serving.limits import Limits
from voicepipe.serving.metrics import CONTENT_TYPE
from voicepipe.serving.origins import is_loopback, is_passed_on
from voicepipe.serving.transport import Transport
from voicepipe.serving.websocket import WebSocketEntry
from voicepipe.session.pipeline import Pipeline
from voicepipe.session.wiring import expect, hearing_rate, hearing_stages, voice_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence

    from starlette.requests import HTTPConnection, Request
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

    from voicepipe.core.context import Fact
    from voicepipe.session.session import Session

__all__ = ["Serve"]


class Serve(Generic[Deps]):
    """A server for an agent.

    `Serve(...).run()` is a program; `app` is an ASGI application for any server, alone or mounted:
    `FastAPI(lifespan=serve.lifespan)` and `app.mount("/voice", serve.app)`. It answers `/live`, `/ready` and
    `/metrics`, and has the paths of its transports.

    Args:
        agent: The pipeline. It hears by a recogniser, and has no source of its own.
        transports: How callers reach it.
        greeting: What callers hear first, unless it is blank.
        origins: The pages that may connect, e.g. "https://shop.example". Without any, pages of this machine may.
        socket_origins: Where the websockets of a page may be, apart from its own server, e.g. "wss://w1.shop.example"
            or `wss://*.shop.example`, if what answers its request for a token sends it to another one.
        authenticate: Says who calls: it gets the request, with the application's cookies and headers, and returns what
            is known about them (`Session.facts`), or None for a stranger. May be async. The fact "subject" names them
            for `Limits.per_subject`.
        limits: What the server takes on.
        public_url: The address at which others reach the server, for telephone networks, e.g. "https://shop.example".
        deps: Makes the deps of a call from its facts. May be async.
        on_call: Accompanies each call with its session, e.g. to read its events. May be async; cancelled when the call
            ends. If it raises, the call ends.
        store: Where the records of calls are kept, so that a caller whose connection broke goes on with the same call,
            also in another process, and where the tokens of the door are; None for calls that end with their
            connection, and for tokens of this process. It is opened with the server.
        metrics_token: Requests with `Authorization: Bearer ...` and this token may read `/metrics`; without a token,
            requests from this machine.

    Raises:
        ConfigurationError: Something does not fit; the message says what.
    """

    def __init__(
        self,
        agent: Pipeline[Deps],
        transports: Sequence[Transport],
        *,
        greeting: str = "",
        origins: Iterable[str] = (),
        socket_origins: Iterable[str] = (),
        authenticate: Callable[[HTTPConnection], Mapping[str, Fact] | None]
        | Callable[[HTTPConnection], Awaitable[Mapping[str, Fact] | None]]
        | None = None,
        limits: Limits | None = None,
        public_url: str | None = None,
        deps: Callable[[Mapping[str, Fact]], Deps] | Callable[[Mapping[str, Fact]], Awaitable[Deps]] | None = None,
        on_call: Callable[[Session[Deps]], object] | None = None,
        store: Store | None = None,
        metrics_token: str | None = None,
    ) -> None:
        expect("limits", limits, Limits)
        expect("store", store, Store)
        _check_functions(authenticate=authenticate, deps=deps, on_call=on_call)
        _check_texts(greeting=greeting, metrics_token=metrics_token)
        _check_agent(agent)
        _check_transports(transports)
        _check_rates(agent, transports)
        self.desk = FrontDesk(
            agent,
            transports,
            greeting=greeting,
            origins=origins,
            socket_origins=socket_origins,
            authenticate=authenticate,
            limits=limits,
            public_url=public_url,
            deps=deps,
            on_call=on_call,
            store=store,
        )
        self._transports = transports
        self._metrics_token = metrics_token
        guard = Middleware(Guard, within_s=self.desk.limits.start_s)
        self._app = Starlette(routes=self._routes(), lifespan=self.lifespan, middleware=[guard])

    @property
    def app(self) -> ASGIApp:
        """The ASGI application."""
        return self._app

    @property
    def routes(self) -> Sequence[BaseRoute]:
        """The routes of the application, in the order in which they are tried."""
        return self._app.routes

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None]:
        """Open the pipeline for as long as the server runs; calls that are left at the end are cut.

        `app` runs it by itself when a server runs it, and does not when it is mounted in another application: then give
        this to that one, as `FastAPI(lifespan=serve.lifespan)`, or enter it in its lifespan.

        Args:
            app: The application that runs; it is not used.

        Raises:
            VoicepipeError: A part could not be opened.
        """
        del app
        async with self.desk.open():
            yield

    def run(
        self,
        host: str = "127.0.0.1",
        port: int = 8000,
        *,
        drain_s: float = 600.0,
        certificate: str | None = None,
        key: str | None = None,
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        """Run the server as a program, until a signal ends it.

        The first signal drains it: no further call is let in, and it stops when all calls have ended. A second one ends
        it at once.

        Args:
            host: The address to listen on.
            port: The port; 0 takes a free one.
            drain_s: How long calls may go on after the first signal. Those that are left then end after their reply.
            certificate: A file with the certificate for https, and those it depends on.
            key: A file with its key; None if the certificate's file has it.
            trusted_proxies: The addresses of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` count.

        Raises:
            ConfigurationError: Others could call without a proof of who they are, the port is in use, the certificate
                does not fit, or an event loop runs here already.
            MissingExtra: uvicorn is not installed.
            VoicepipeError: A part could not be opened.
        """
        if is_in_loop():
            raise ConfigurationError("an event loop runs here already; give serve.app to a server that runs in it")

        async def main() -> None:
            await self._run(
                host, port, drain_s=drain_s, certificate=certificate, key=key, trusted_proxies=trusted_proxies
            )

        anyio.run(main, backend_options={"use_uvloop": find_spec("uvloop") is not None})

    async def _run(
        self,
        host: str,
        port: int,
        *,
        drain_s: float,
        certificate: str | None = None,
        key: str | None = None,
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        from voicepipe.serving.uvicorn_server import run_to_end  # noqa: PLC0415 - an application may have another server

        if not drain_s >= 0:
            raise ConfigurationError(f"Serve.run: drain_s must be a time of at least 0 seconds, not {drain_s!r}")
        self.check_reach(host)
        await run_to_end(
            self.app,
            self.desk,
            host,
            port,
            drain_s=drain_s,
            certificate=certificate,
            key=key,
            trusted_proxies=trusted_proxies,
        )

    @asynccontextmanager
    async def listening(self, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[int]:
        """Run the server in this event loop for as long as the block lasts, as tests do: `async with ... as port`.

        At the end of the block calls are cut. The lifespan is entered here.

        Args:
            host: The address to listen on.
            port: The port; 0 takes a free one.

        Raises:
            ConfigurationError: As `run` says.
            MissingExtra: uvicorn is not installed.
        """
        from voicepipe.serving.uvicorn_server import listening  # noqa: PLC0415 - an application may have another server

        self.check_reach(host)
        async with listening(self.app, self.desk, host, port) as taken:
            yield taken

    async def drain(self, within_s: float) -> None:
        """Let no further call in, and return when all have ended, for applications whose own server runs `app`.

        `run` does this at the first signal. Cancelling stops the waiting; no call is let in all the same.

        Args:
            within_s: How long calls may go on. Those that are left then end after their present reply, within 30 s.

        With a store, calls whose peers come back are handed over to another process as soon as they are between turns.
        """
        await self.desk.drain(within_s)

    def check_reach(self, host: str) -> None:
        """Refuse to listen for other machines while anybody may call.

        Raises:
            ConfigurationError: A transport has no proof of who calls.
        """
        if not is_loopback(host) and (open_ones := self.desk.unproven()):
            names = ", ".join(transport.name for transport in open_ones)
            raise ConfigurationError(
                f"on {host} other machines could call by {names} without a proof of who they are; give Serve "
                "origins=[...] and authenticate=..., or listen on 127.0.0.1"
            )

    def _routes(self) -> list[BaseRoute]:
        routes: list[BaseRoute] = [
            Route("/live", self._live),
            Route("/ready", self._ready),
            Route("/metrics", self._metrics),
        ]
        for transport in self._transports:
            if transport.path:
                routes.append(WebSocketRoute(transport.path, WebSocketEntry(transport, self.desk), name=transport.name))
            routes.extend(transport.routes(self.desk))
        return routes

    async def _live(self, request: Request) -> Response:
        del request
        return PlainTextResponse("live")

    async def _ready(self, request: Request) -> Response:
        del request
        refused = self.desk.why_not_ready()
        if refused is None:
            return PlainTextResponse("ready")
        return PlainTextResponse(f"{refused.reason}: {refused.message}", 503)

    async def _metrics(self, request: Request) -> Response:
        if not self._may_read_metrics(request):
            return PlainTextResponse("forbidden", 403)
        return Response(self.desk.metrics.text(), media_type=CONTENT_TYPE)

    def _may_read_metrics(self, request: Request) -> bool:
        if self._metrics_token is not None:
            shown = request.headers.get("authorization", "").encode()
            return hmac.compare_digest(shown, f"Bearer {self._metrics_token}".encode())
        return request.client is not None and is_loopback(request.client.host) and not is_passed_on(request.headers)

    def __repr__(self) -> str:
        """Show the transports."""
        return f"<Serve {', '.join(transport.name for transport in self._transports)}>"


def _check_agent(agent: Pipeline[Any]) -> None:
    expect("agent", agent, Pipeline)
    if isinstance(agent.parts[0], MicSource):
        raise ConfigurationError(
            "this pipeline begins with MicSource, but callers of a server bring their own audio; "
            "begin it with STTStage(...)"
        )
    if not hearing_stages(agent.parts):
        raise ConfigurationError(
            "this pipeline has no recogniser for what callers say; add STTStage(...) before the model"
        )


def _check_transports(transports: Sequence[Transport]) -> None:
    if not isinstance(transports, (list, tuple)):
        raise ConfigurationError(f"Serve: transports must be a list of transports, not {transports!r}")
    given: list[object] = list(transports)
    if not given:
        raise ConfigurationError("Serve needs at least one transport")
    names: set[str] = set()
    paths: set[str] = set()
    for transport in given:
        if not isinstance(transport, Transport):
            raise ConfigurationError(f"Serve: transports must be a list of transports, not {transport!r}")
        if transport.name in names:
            raise ConfigurationError(f"Serve: two transports are named {transport.name!r}; give one another name")
        if transport.path in paths:
            raise ConfigurationError(f"Serve: two transports have the path {transport.path}; give one another path")
        names.add(transport.name)
        paths |= {transport.path} - {""}


def _check_functions(**functions: object) -> None:
    for name, function in functions.items():
        if function is not None and not callable(function):
            raise ConfigurationError(f"Serve: {name} must be a function, not {function!r}")


def _check_texts(*, greeting: object, metrics_token: object) -> None:
    if not isinstance(greeting, str):
        raise ConfigurationError(f"Serve: greeting must be a text, not {greeting!r}")
    if metrics_token is not None and (not isinstance(metrics_token, str) or not metrics_token.strip()):
        raise ConfigurationError("Serve: metrics_token must be a text that is not blank, or None for this machine")


def _check_rates(agent: Pipeline[Any], transports: Sequence[Transport]) -> None:
    """Refuse a transport whose audio nothing here can convert."""
    stages, voice = hearing_stages(agent.parts), voice_of(agent.parts)
    for transport in transports:
        if transport.caller_rate is not None:
            resampler(transport.caller_rate, hearing_rate(stages), transport.name, stages[0].name)
        if transport.agent_rate is not None:
            resampler(voice.sample_rate, transport.agent_rate, voice.name, transport.name)
