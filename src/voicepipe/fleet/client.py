"""Requests to workers, by connections that are kept warm.

Rule 1: nothing is followed, stored or decoded: what a worker answers reaches the caller as it is. A client with cookies
        would give those of one caller to the next.
Rule 2: a request that did not reach a worker may go to another one; of one that did, nobody knows what came of it.
"""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import anyio
import httpx
from pydantic import TypeAdapter, ValidationError

from voicepipe.errors import WorkerError
from voicepipe.fleet.handle import ANSWER_S, Load

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

__all__ = ["Answer", "WorkerClient", "WorkerInterrupted", "asked_load", "bearer"]

CONNECT_S: Final = 1.0
"""How long connecting may take: workers are on this machine, or near."""

IDLE_S: Final = 3.0
"""How long a connection is kept that is not used; uvicorn keeps its for 5 s."""

MOST_CONNECTIONS: Final = 200
MOST_IDLE: Final = 20

CLOSE_S: Final = 1.0

LOADS: Final = TypeAdapter(Load)

TRUSTS_NOBODY: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For connections without TLS, which need no authorities."""


class WorkerInterrupted(WorkerError):  # noqa: N818 - names what happened
    """A worker has taken a request, and did not answer it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A worker's answer.

    Attributes:
        status: Its status of HTTP.
        headers: Its headers, names in lower case, in their order.
        body: Its body as it was sent.
    """

    status: int
    headers: Sequence[tuple[bytes, bytes]] = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)

    def header(self, name: bytes) -> bytes | None:
        """Return the first header of a name in lower case; None if there is none."""
        return next((value for key, value in self.headers if key == name), None)


class WorkerClient:
    """Connections to workers.

    Args:
        certificate: The file with the certificate of the workers, and with no other one; "" if they have none.
    """

    def __init__(self, certificate: str = "") -> None:
        self._certificate = certificate
        self._transport: httpx.AsyncHTTPTransport | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Keep connections for as long as the block lasts."""
        limits = httpx.Limits(
            max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_IDLE, keepalive_expiry=IDLE_S
        )
        verify = _pinned(self._certificate) if self._certificate else TRUSTS_NOBODY
        async with httpx.AsyncHTTPTransport(verify=verify, trust_env=False, limits=limits) as transport:
            self._transport = transport
            try:
                yield
            finally:
                self._transport = None

    async def ask(
        self,
        method: str,
        url: str,
        target: bytes,
        *,
        headers: Sequence[tuple[bytes, bytes]] = (),
        body: bytes = b"",
        within_s: float,
    ) -> Answer:
        """Send a request, and return its answer whole.

        Args:
            method: Its method.
            url: The worker's, e.g. "http://127.0.0.1:4711".
            target: The path with its query, as it was asked for.
            headers: Its headers; `Host` comes from the URL if it is not among them.
            body: Its body.
            within_s: How long all of it may take.

        Raises:
            WorkerInterrupted: The worker took the request, and did not answer it whole and in time.
            WorkerError: It was not reached.
        """
        assert self._transport is not None  # noqa: S101 - it is open
        deadlines = {"connect": CONNECT_S, "pool": CONNECT_S, "read": within_s, "write": within_s}
        request = httpx.Request(
            method,
            httpx.URL(url).copy_with(raw_path=target),
            headers=list(headers),
            content=body,
            extensions={"timeout": deadlines},
        )
        try:
            with anyio.fail_after(within_s):
                response = await self._transport.handle_async_request(request)
                try:
                    stream = response.stream
                    assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101 - a transport for asyncio made it
                    whole = b"".join([piece async for piece in stream])
                finally:
                    with anyio.CancelScope(shield=True), anyio.move_on_after(CLOSE_S):
                        await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise WorkerError(f"{url} cannot be reached: {type(error).__name__}") from error
        except (httpx.TransportError, TimeoutError) as error:
            raise WorkerInterrupted(f"{url} did not answer: {type(error).__name__}") from error
        given = [(name.lower(), value) for name, value in response.headers.raw]
        return Answer(response.status_code, given, whole)


async def asked_load(client: WorkerClient, url: str, token: str) -> Load:
    """Return how busy a worker is that answers at this URL.

    Args:
        client: Asks it.
        url: Where it listens.
        token: The engine's.

    Raises:
        WorkerError: It does not answer, or not with a load.
    """
    answer = await client.ask("GET", url, b"/load", headers=[bearer(token)], within_s=ANSWER_S)
    if answer.status != HTTPStatus.OK:
        raise WorkerError(f"{url} answers {answer.status} where its load is expected")
    try:
        return LOADS.validate_json(answer.body)
    except ValidationError as error:
        raise WorkerError(f"{url} answers something else than its load: {error.error_count()} faults") from error


def bearer(token: str) -> tuple[bytes, bytes]:
    """Return the header that shows a token."""
    return b"authorization", f"Bearer {token}".encode()


def _pinned(certificate: str) -> ssl.SSLContext:
    """Return a context that trusts this very certificate, by whatever name the worker is reached."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(certificate)
    return context
