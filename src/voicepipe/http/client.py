"""A pool of connections to one service.

Rule 1: each opened part has one client, kept warm. A response is read to its end, or its connection is lost.
Rule 2: the function that opens a response closes it, shielded.
Rule 3: errors of the client library become `VendorError` here and in `response`, and nowhere else.
Rule 4: a request's headers are never shown, and no redirect is followed: they may hold a key.
"""

from __future__ import annotations

import ssl
from collections import Counter
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Final

import anyio
import httpx

from voicepipe.errors import ConfigurationError, VendorError
from voicepipe.http.address import host_of
from voicepipe.http.network import Network, Route
from voicepipe.http.refusals import failure
from voicepipe.http.response import HTTPResponse, translated

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from anyio.abc import TaskGroup

__all__ = ["HTTPClient"]

CONNECT_S: Final = 2.0
"""How long connecting may take, TLS included."""

CLOSE_S: Final = 0.5
"""How long closing a response may take when its turn was cancelled."""

REST_S: Final = 0.5
"""How long a server may take to end a response after the part that is needed."""

LINGER_S: Final = 0.05
"""How long the caller of `read_on` waits for that: the next request needs the connection, and a new one costs more."""

WARM_BYTES: Final = 1 << 18
"""How much of an answer is read to keep its connection."""

# One connection for each session that speaks at the moment; idle ones are kept about as long as servers keep theirs.
LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=60.0)
TRUSTS_NOBODY: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For connections without TLS: should there be a handshake after all, it fails."""

JSON: Final = {"content-type": "application/json"}


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
        self._client: httpx.AsyncClient | None = None
        self._users = Counter[httpx.AsyncClient]()
        self._new_client: Callable[[], httpx.AsyncClient]
        self._route: Route
        self._tasks: TaskGroup

    @asynccontextmanager
    async def open(self, *, warms: bool = False) -> AsyncGenerator[None]:
        """Keep the pool as long as this lasts.

        Args:
            warms: Whether to make a connection at once, ahead of the first request.

        Raises:
            ConfigurationError: The settings of proxy or certificates cannot be used.
        """
        self._route = route = await self._network.route()
        self._new_client = partial(
            httpx.AsyncClient,
            # Compression would hold tokens back until a block is full.
            headers={**self._headers, "accept-encoding": "identity"},
            params=self._params,
            limits=LIMITS,
            timeout=httpx.Timeout(None, connect=CONNECT_S),  # every other wait has its own deadline, on data
            trust_env=False,  # the route has what the environment says
            proxy=httpx.Proxy(route.proxy.url, ssl_context=route.proxy_tls) if route.proxy else None,
            verify=route.tls or TRUSTS_NOBODY,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # callers must not be connected with each other
        )
        self._client = self._new_client()
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
            clients, self._client = {self._client, *self._users}, None
            for client in clients:
                await client.aclose()
        if raised is not None:
            raise raised

    async def warm(self) -> None:
        """Make a connection ahead of the first request. A failure is not an error: the request will report it."""
        with anyio.move_on_after(CONNECT_S):
            try:
                async with self._request("GET", "/models", limit_s=CONNECT_S) as response:
                    await response.body(WARM_BYTES)
            except (VendorError, httpx.InvalidURL):
                return

    def post(self, path: str, body: str, *, limit_s: float) -> AbstractAsyncContextManager[HTTPResponse]:
        """Send a request and wait for the response's head. The response is closed with the block, also when cancelled.

        Args:
            path: Below the base URL, with its slash.
            body: JSON text. Half a surrogate pair, which UTF-8 does not have, becomes a question mark.
            limit_s: How long the head may take.

        Raises:
            VendorError: The service cannot be reached, breaks the connection, or is silent.
        """
        return self._request("POST", path, limit_s=limit_s, content=body.encode("utf-8", "replace"))

    @asynccontextmanager
    async def _request(
        self, method: str, path: str, *, limit_s: float, content: bytes | None = None
    ) -> AsyncGenerator[HTTPResponse]:
        client = self._opened
        self._users[client] += 1
        try:
            response = await self._head(client, method, f"{self.base_url}{path}", content, limit_s)
        except BaseException as error:
            if isinstance(error, VendorError) and client is self._client:
                # Connections seldom die alone, and the next request must not try one dead one after the other.
                self._client = self._new_client()
            await self._release(client)
            raise
        try:
            yield response
        finally:
            if not response.is_read_on:
                await self._close(response)

    async def _head(
        self, client: httpx.AsyncClient, method: str, url: str, content: bytes | None, limit_s: float
    ) -> HTTPResponse:
        with anyio.move_on_after(limit_s):
            request = client.build_request(method, url, content=content, headers=JSON if content else None)
            try:
                response = await client.send(request, stream=True)
            except httpx.HTTPError as error:
                raise translated(error, self.vendor, url, self._route) from error
            return HTTPResponse(response, client, self.vendor, self.hide)
        raise failure(self.vendor, f"did not answer within {limit_s:g} s", retryable=True)

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
                await self._close(response)
                has_ended.set()

        self._tasks.start_soon(read)
        with anyio.move_on_after(LINGER_S):
            await has_ended.wait()

    async def _close(self, response: HTTPResponse) -> None:
        with anyio.move_on_after(CLOSE_S, shield=True):
            await response.aclose()
        await self._release(response.client)

    async def _release(self, client: httpx.AsyncClient) -> None:
        """Count a request of a client as ended; a client that was replaced is closed with its last request."""
        self._users[client] -= 1
        if self._users[client] <= 0:
            del self._users[client]
            if client is not self._client:
                with anyio.move_on_after(CLOSE_S, shield=True):
                    await client.aclose()

    @property
    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            raise ConfigurationError(f"the connection to {self.vendor} is used outside of its pipeline's open()")
        return self._client

    def __repr__(self) -> str:
        """Show the host alone."""
        return f"<HTTPClient {self.vendor}>"
