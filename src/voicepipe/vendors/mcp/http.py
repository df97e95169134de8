"""A server behind a URL, by the protocol's streamable HTTP.

Rule 1: what may hold a key (headers, the query of the URL) is added below the HTTP client, whose log names each URL.
Rule 2: a body is of limited size; the SDK limits the events of a stream and reads any other body whole.
Rule 3: the proxy and the certificates are those of every other part (`http/network.py`).
"""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx2
from mcp.client.streamable_http import streamable_http_client

from voicepipe.errors import AuthenticationError, RateLimited, VendorError
from voicepipe.http.refusals import excerpt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from mcp.client._transport import TransportStreams

    from voicepipe.errors import VoicepipeError
    from voicepipe.http.network import Network, Route
    from voicepipe.vendors.extras import Extras

__all__ = ["Endpoint"]

CONNECT_S: Final = 10.0
"""How long a connection may take, and to send a request."""

SILENT_S: Final = 300.0
"""How long a response may say nothing, not even a comment, before it counts as broken. Calls have their own limits."""

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
"""The longest body that is no stream of events."""

SESSION: Final = "mcp-session-id"
"""The header that names a session, in protocols before 2026."""

MAX_REFUSAL_BYTES: Final = 64 * 1024
"""How much of the body of a refusal is read."""


class Endpoint:
    """Where a server is reached. See `Place`.

    Args:
        name: What errors call it.
        url: Where messages go, without its query.
        extras: The application's headers, and the query.
        network: Through which proxy, and with whose certificates.
        auth: The application's own authentication: an `httpx2.Auth`, such as the SDK's `OAuthClientProvider`.
    """

    def __init__(self, name: str, url: str, extras: Extras, network: Network, auth: Any) -> None:  # noqa: ANN401
        self._name = name
        self._url = url
        self._extras = extras
        self._network = network
        self._auth = auth
        self._route: Route
        self._refusal: VoicepipeError | None = None
        self._lost: Callable[[], None]

    async def prepare(self) -> None:
        """Decide the way, and read the certificates.

        Raises:
            ConfigurationError: The settings of proxy or certificates cannot be used.
        """
        self._route = await self._network.route()

    def connection(self, lost: Callable[[], None]) -> AbstractAsyncContextManager[TransportStreams]:
        """Return a transport with a client of its own."""
        self._lost = lost
        return self._connection()

    def failure(self, error: BaseException) -> VoicepipeError | None:
        """Return what an error of a connection means."""
        if isinstance(error, httpx2.TimeoutException):
            return VendorError(f"{self._name} does not answer at {self._url}", vendor=self._name, retryable=True)
        if isinstance(error, httpx2.TransportError):
            why = self._extras.hidden(str(error) or type(error).__name__)
            return self._route.failure(self._name, self._url, why, "is the server running, and the URL right?")
        return self._refusal

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[TransportStreams]:
        self._refusal = None
        route, limit = self._route, httpx2.Timeout(CONNECT_S, read=SILENT_S)
        # Without a handshake there is nothing to trust, and to read the certificates takes as long as one.
        tls = route.tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        proxy = httpx2.Proxy(route.proxy.url, ssl_context=route.proxy_tls) if route.proxy else None
        way = _Way(httpx2.AsyncHTTPTransport(verify=tls, proxy=proxy), self)
        async with (
            httpx2.AsyncClient(transport=way, auth=self._auth, timeout=limit, trust_env=False) as client,
            streamable_http_client(self._url, http_client=client) as streams,
        ):
            yield streams

    def completed(self, request: httpx2.Request) -> httpx2.Request:
        """Return a request with the application's headers and query (Rule 1), if it is one to the server itself.

        What the application's own authentication asks, e.g. for a token, may be elsewhere.
        """
        if request.url != httpx2.URL(self._url):
            return request
        return httpx2.Request(
            request.method,
            request.url.copy_merge_params(self._extras.params),
            headers={**request.headers, **self._extras.headers},
            stream=request.stream,
            extensions=request.extensions,
        )

    def refused(self, request: httpx2.Request, status: int, body: str) -> None:
        """Note the last refusal: the SDK does not pass its status on."""
        if status == 404 and SESSION in request.headers:  # what the protocol says to those whose session is over
            again = f"{self._name} has forgotten the session, as after a restart"
            self._refusal = VendorError(again, vendor=self._name, retryable=True)
            self._lost()
            return
        said = excerpt(self._extras.hidden(body)) or "(empty)"
        answered = f"{self._name} answered HTTP {status} at {self._url}: {said}"
        if status in (401, 403):
            self._refusal = AuthenticationError(f"{answered}; check headers= or auth=", vendor=self._name)
        elif status == 429:
            self._refusal = RateLimited(answered, vendor=self._name, retry_after_s=None)
        elif status in (404, 405):
            hint = "is the URL right? It often ends with /mcp"
            self._refusal = VendorError(f"{answered}; {hint}", vendor=self._name, retryable=False)
        else:
            self._refusal = VendorError(answered, vendor=self._name, retryable=status >= 500)


class _Way(httpx2.AsyncBaseTransport):
    """The way of each request to the server and back."""

    def __init__(self, inner: httpx2.AsyncHTTPTransport, endpoint: Endpoint) -> None:
        self._inner = inner
        self._endpoint = endpoint

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and return its response with a limited body."""
        response = await self._inner.handle_async_request(self._endpoint.completed(request))
        if response.status_code >= 400:
            body = await _beginning(response.stream)
            self._endpoint.refused(request, response.status_code, body.decode(errors="replace"))
            response.stream = httpx2.ByteStream(body)
        elif not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            response.stream = _Limited(response.stream)
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


class _Limited(httpx2.AsyncByteStream):
    """A body that may not be too long."""

    def __init__(self, body: Any) -> None:  # noqa: ANN401 - the library's own
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._body:
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise httpx2.StreamError(f"the answer has more than {MAX_BODY_BYTES} bytes")
            yield chunk

    async def aclose(self) -> None:
        """Close the body, read or not."""
        await self._body.aclose()


async def _beginning(body: Any) -> bytes:  # noqa: ANN401 - the library's own
    """Read the body of a refusal, up to a limit, and close it."""
    kept = bytearray()
    try:
        async for chunk in body:
            kept += chunk
            if len(kept) > MAX_REFUSAL_BYTES:
                break
    finally:
        await body.aclose()
    return bytes(kept)
