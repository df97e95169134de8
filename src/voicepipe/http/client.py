"""Connections to one service, kept warm.

Rule 1: each opened part has one pool. A response is read to its end, or its connection is lost.
Rule 2: the function that opens a response closes it, shielded.
Rule 3: errors of the client library become `VendorError` here and in `response`, and nowhere else.
Rule 4: a request's headers are never shown, and no redirect is followed: they may hold a key.
Rule 5: each connection is a transport of its own. One pool of httpcore's for all looks at every connection twice a
        request, which takes milliseconds at 200 calls; httpx's client adds redirects, cookies, logins and logs.
"""

from __future__ import annotations

import ssl
from collections import deque
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
import httpx

from voicepipe.core.observer import Wire
from voicepipe.errors import ConfigurationError, VendorError
from voicepipe.http.address import host_of
from voicepipe.http.network import Network, Route
from voicepipe.http.refusals import failure
from voicepipe.http.response import CLOSE_S, HTTPResponse, translated

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from anyio.abc import TaskGroup

    from voicepipe.http.transport import Transport

__all__ = ["HTTPClient"]

CONNECT_S: Final = 2.0
"""How long connecting may take, TLS included."""

REST_S: Final = 0.5
"""How long a server may take to end a response after the part that is needed."""

LINGER_S: Final = 0.05
"""How long the caller of `read_on` waits for that: the next request needs the connection, and a new one costs more."""

WARM_BYTES: Final = 1 << 18
"""How much of an answer is read to keep its connection."""

KEEP_IDLE_S: Final = 60.0
"""How long a connection that is not used is kept, about as long as servers keep theirs."""

MAX_IDLE: Final = 100
"""How many connections that are not used are kept; one for each session that speaks at the moment is used."""

TRUSTS_NOBODY: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For connections without TLS: should there be a handshake after all, it fails."""

# Compression would hold tokens back until a block is full.
HEADERS: Final = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "voicepipe"}

JSON: Final = "application/json"


class HTTPClient:
    """A pool of connections to one service.

    Args:
        base_url: Where the service is, e.g. "https://api.example.com/v1".
        headers: Sent with every request; may hold a key, so they are never shown.
        params: Query parameters of every request; may hold a key, too.
        hide: Takes out of a text what must not be shown, such as the key that a service quotes in its errors.
        network: Which proxy and which certificates the application chose; by default the environment decides.

    Attributes:
        vendor: The host, as errors name it.

    Raises:
        ConfigurationError: The URL cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        hide: Callable[[str], str] = str,
        *,
        params: Mapping[str, str] | None = None,
        network: Network | None = None,
    ) -> None:
        self.vendor = host_of(base_url)
        self._network = network or Network(self.vendor, base_url)
        self.hide = hide
        self.base_url = base_url.rstrip("/")
        self._headers = dict(headers)
        self._params = dict(params or {})
        self._addresses: dict[str, tuple[httpx.URL, list[tuple[bytes, bytes]]]] = {}  # by path, with the headers
        self._is_open = False
        self._idle: deque[tuple[float, Transport]] = deque()  # since when, the newest one last
        self._new_transport: Callable[[], Transport]
        self._route: Route
        self._tasks: TaskGroup

    @asynccontextmanager
    async def open(self, *, warms: bool = False) -> AsyncGenerator[None]:
        """Keep connections as long as this lasts.

        Args:
            warms: Whether to make a connection at once, ahead of the first request.

        Raises:
            ConfigurationError: The settings of proxy or certificates cannot be used.
        """
        self._route = route = await self._network.route()
        from voicepipe.http.transport import Transport  # noqa: PLC0415 - see there

        proxy = httpx.Proxy(route.proxy.url, ssl_context=route.proxy_tls) if route.proxy else None
        tls = route.tls or TRUSTS_NOBODY
        self._new_transport = partial(Transport, tls=tls, proxy=proxy, connect_s=CONNECT_S, keep_idle_s=KEEP_IDLE_S)
        self._is_open = True
        raised: Exception | None = None
        try:
            async with anyio.create_task_group() as self._tasks:
                if warms:
                    self._tasks.start_soon(self.warm)
                try:
                    yield
                except Exception as error:  # noqa: BLE001 - raised below: the group would wrap it
                    raised = error
                self._tasks.cancel_scope.cancel()
        finally:
            self._is_open = False
            await self._close_idle()
        if raised is not None:
            raise raised

    async def warm(self) -> None:
        """Make a connection ahead of the first request. A failure is not an error: the request will report it."""
        with anyio.move_on_after(CONNECT_S):
            try:
                async with self.get("/models", limit_s=CONNECT_S) as response:
                    await response.body(WARM_BYTES)
            except (VendorError, httpx.InvalidURL):
                return

    def post(
        self, path: str, body: str | bytes, *, limit_s: float, content_type: str = JSON
    ) -> AbstractAsyncContextManager[HTTPResponse]:
        """Send a request and wait for the response's head. The response is closed with the block, also when cancelled.

        Args:
            path: Below the base URL, with its slash.
            body: JSON text, in which half a surrogate pair, which UTF-8 does not have, becomes a question mark; or the
                bytes of anything else.
            limit_s: How long the head may take.
            content_type: What the body is.

        Raises:
            VendorError: The service cannot be reached, breaks the connection, or is silent.
        """
        content = body if isinstance(body, bytes) else body.encode("utf-8", "replace")
        return self._request("POST", path, limit_s=limit_s, content=content, content_type=content_type)

    def get(self, path: str, *, limit_s: float) -> AbstractAsyncContextManager[HTTPResponse]:
        """Send a request without a body, as `post` does one with it. The path may have a query of its own."""
        return self._request("GET", path, limit_s=limit_s)

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, *, limit_s: float, content: bytes | None = None, content_type: str = JSON
    ) -> AsyncGenerator[HTTPResponse]:
        transport, pool = self._taken(), self._idle
        try:
            response = await self._head(transport, method, path, content, content_type, limit_s)
        except BaseException as error:
            await _close(transport)
            if isinstance(error, VendorError) and pool is self._idle:
                # Connections seldom die alone, and the next request must not try one dead one after the other.
                await self._close_idle()
            raise
        response.when_closed = partial(self._give_back, response, transport, pool)
        try:
            yield response
        finally:
            if not response.is_read_on:
                await response.aclose()

    async def _head(
        self, transport: Transport, method: str, path: str, content: bytes | None, content_type: str, limit_s: float
    ) -> HTTPResponse:
        with anyio.move_on_after(limit_s):
            url, headers = self._address(path)
            wire = Wire.begun(url.host, self.hide)
            if wire is not None:
                data = content or b""
                wire.sent(f"{method} {url.path}", data.decode("utf-8", "replace") if content_type == JSON else data)
            if content is not None:
                kind = (b"content-type", content_type.encode("ascii"))
                headers = [*headers, kind, (b"content-length", b"%d" % len(content))]
            try:
                response = await transport.send(method, url, headers, content)
            except transport.failures as error:
                raise translated(error, self.vendor, f"{self.base_url}{path}", self._route) from error
            return HTTPResponse(response, transport.failures, self.vendor, url.path, self.hide, wire)
        raise failure(self.vendor, f"did not answer within {limit_s:g} s", retryable=True)

    def _address(self, path: str) -> tuple[httpx.URL, list[tuple[bytes, bytes]]]:
        """Return the URL of a path, and the headers of each request to it."""
        if (known := self._addresses.get(path)) is None:
            url = httpx.URL(f"{self.base_url}{path}").copy_merge_params(self._params)
            headers = httpx.Headers({"host": url.netloc.decode("ascii"), **HEADERS, **self._headers}).raw
            known = self._addresses[path] = url, headers
        return known

    async def read_on(self, response: HTTPResponse, rest: Callable[[], Awaitable[None]]) -> None:
        """Read the rest of a response while its turn goes on, so that its connection can be used again.

        Returns when the rest was read, and after `LINGER_S` at the latest.

        Args:
            response: What `post` gave; it is closed at the end of `rest`, or after `REST_S`.
            rest: Reads the rest. Raises nothing.
        """
        response.is_read_on = True
        has_ended = anyio.Event()

        async def read() -> None:
            try:
                with anyio.move_on_after(REST_S):
                    await rest()
            finally:
                await response.aclose()
                has_ended.set()

        self._tasks.start_soon(read)
        with anyio.move_on_after(LINGER_S):
            await has_ended.wait()

    def _taken(self) -> Transport:
        """Return the transport that was used last, whose connection is the most likely to live, or a new one."""
        if not self._is_open:
            raise ConfigurationError(f"the connection to {self.vendor} is used outside of its pipeline's open()")
        newest = self._idle.pop()[1] if self._idle else self._new_transport()
        expired_s = anyio.current_time() - KEEP_IDLE_S
        while self._idle and (len(self._idle) > MAX_IDLE or self._idle[0][0] < expired_s):
            self._tasks.start_soon(_close, self._idle.popleft()[1])
        return newest

    async def _give_back(self, response: HTTPResponse, transport: Transport, pool: object) -> None:
        """Keep the connection of a response for the next request, unless it is lost or was made before others died."""
        if response.has_ended and pool is self._idle:
            self._idle.append((anyio.current_time(), transport))
        else:
            await _close(transport)

    async def _close_idle(self) -> None:
        idle, self._idle = self._idle, deque()
        for _since, transport in idle:
            await _close(transport)

    def __repr__(self) -> str:
        """Show the host alone."""
        return f"<HTTPClient {self.vendor}>"


async def _close(transport: Transport) -> None:
    with anyio.move_on_after(CLOSE_S, shield=True):
        await transport.aclose()
