"""All HTTP of the library, so that the client library can be replaced.

Rule 1: one client per opened part, kept warm; responses are read to their end, or their connection is lost.
Rule 2: whoever opens a response closes it in the same function, shielded.
Rule 3: errors of the client library become `VendorError` here, and nowhere else.
Rule 4: a key goes into the headers of a request and nowhere else; `without_key` blots out what a server echoes of it.
"""

from __future__ import annotations

import ipaddress
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, cast

import anyio
import httpx
from httpx_sse import EventSource, SSEError

from voicepipe.errors import ConfigurationError, VendorError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping

__all__ = ["HTTPClient", "HTTPResponse"]

CONNECT_S: Final = 2.0
"""How long a connection may take to be made, TLS included."""

CLOSE_S: Final = 0.5
"""How long closing a response may take when its turn is dead."""

MAX_EVENT_BYTES: Final = 1 << 20
"""The largest event of a stream. Within it a reply's own limits apply; beyond it the stream is broken."""

BLOT: Final = "***"
"""Stands where a server repeated the key."""

# One connection per session that speaks at this moment; idle ones are kept as long as servers usually keep theirs.
LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=60.0)


JSON: Final = {"content-type": "application/json"}


class HTTPResponse:
    """A response whose head has arrived.

    Attributes:
        status: HTTP status code.
        content_type: Media type in lower case without parameters; "" when there is none.
        event_name: Of the server-sent event that was read last; "message" unless the server names it.
    """

    def __init__(self, response: httpx.Response, vendor: str) -> None:
        self.status = response.status_code
        self.content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        self._response = response
        self.event_name = "message"
        self._vendor = vendor

    def header(self, name: str) -> str | None:
        """Return a header's value, or None."""
        value: str | None = self._response.headers.get(name)
        return value

    async def body(self, limit: int) -> bytes:
        """Return the first `limit` bytes of the body."""
        taken = bytearray()
        with _translated(self._vendor):
            async for piece in self._response.aiter_bytes():
                taken += piece
                if len(taken) >= limit:
                    break
        return bytes(taken[:limit])

    async def events(self) -> AsyncGenerator[str]:
        """Yield the data of each server-sent event that has some; comments and empty events are no events.

        Raises:
            VendorError: The stream broke, is no event stream, or holds an event beyond `MAX_EVENT_BYTES`.
        """
        with _translated(self._vendor):
            body = _EventLimit(cast("httpx.AsyncByteStream", self._response.stream))
            self._response.stream = body
            async with aclosing(EventSource(self._response).aiter_sse()) as events:
                async for event in events:
                    body.since_event = 0
                    if event.data:
                        self.event_name = event.event
                        yield event.data


class _EventLimit(httpx.AsyncByteStream):
    """A body whose events have a limit: a server that never ends one must not fill the memory."""

    def __init__(self, body: httpx.AsyncByteStream) -> None:
        self.since_event = 0
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            self.since_event += len(piece)
            if self.since_event > MAX_EVENT_BYTES:
                raise SSEError(f"an event is longer than {MAX_EVENT_BYTES} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()


class HTTPClient:
    """A pool of connections to one service.

    Args:
        base_url: Where the service is, e.g. "https://api.example.com/v1".
        headers: Sent with every request; may hold a key, so they are never shown.

    Raises:
        ConfigurationError: The URL cannot be used, or a header cannot be sent.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str]) -> None:
        self.vendor = checked_host(base_url, has_key="authorization" in map(str.lower, headers))
        self.base_url = base_url.rstrip("/")
        self._headers = {name.lower(): value for name, value in headers.items()}
        self._key = self._headers.get("authorization", "").removeprefix("Bearer ")
        for name, value in self._headers.items():
            if not (value.isascii() and value.isprintable()):  # told here: the client library would quote the value
                raise ConfigurationError(
                    f"{name} for {self.vendor} holds a character that no header can carry, such as a line end or a "
                    "typographic quote; copy the key again"
                )
        self._client: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Keep the pool as long as this lasts."""
        timeout = httpx.Timeout(None, connect=CONNECT_S)  # every other wait has its own deadline, on data
        # Compression would hold tokens back until a block is full.
        headers = {**self._headers, "accept-encoding": "identity"}
        # A proxy of the environment is for other hosts: it must not see a key that goes to this machine.
        trusts = not _is_loopback(self.vendor)
        async with httpx.AsyncClient(headers=headers, limits=LIMITS, timeout=timeout, trust_env=trusts) as self._client:
            yield
        self._client = None

    async def warm(self) -> None:
        """Make a connection ahead of the first request; failing to is not an error, the request will tell."""
        with anyio.move_on_after(CONNECT_S):
            try:
                await self._opened.get(f"{self.base_url}/models")
            except (httpx.HTTPError, httpx.InvalidURL):
                return

    @asynccontextmanager
    async def post(self, path: str, body: str, *, limit_s: float) -> AsyncGenerator[HTTPResponse]:
        """Send a request, wait for the response's head, and close the response at the end, also when cancelled.

        Args:
            path: Below the base URL, with its slash.
            body: JSON text. Half a surrogate pair, which UTF-8 does not have, becomes a question mark.
            limit_s: How long the head may take.

        Raises:
            VendorError: The service cannot be reached, breaks the connection, or is silent.
        """
        url = f"{self.base_url}{path}"
        content = body.encode("utf-8", "replace")
        response = None
        with _translated(self.vendor, url), anyio.move_on_after(limit_s):
            request = self._opened.build_request("POST", url, content=content, headers=JSON)
            response = await self._opened.send(request, stream=True)
        if response is None:
            raise VendorError(f"{self.vendor} did not answer within {limit_s:g} s", vendor=self.vendor, retryable=True)
        try:
            yield HTTPResponse(response, self.vendor)
        finally:
            with anyio.move_on_after(CLOSE_S, shield=True):
                await response.aclose()

    def without_key(self, text: str) -> str:
        """Return what a server sent, fit to be shown: services quote the key in their errors."""
        return text.replace(self._key, BLOT) if self._key else text

    @property
    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            raise ConfigurationError(f"the connection to {self.vendor} is used outside of its pipeline's open()")
        return self._client

    def __repr__(self) -> str:
        """Show the host alone."""
        return f"<HTTPClient {self.vendor}>"


def checked_host(base_url: str, *, has_key: bool) -> str:
    """Return the host of a base URL.

    Raises:
        ConfigurationError: It is no http(s) URL, holds a password, or would send a key in the clear.
    """
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError) as error:
        raise ConfigurationError(f"base_url must be a URL such as https://api.example.com/v1: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError(
            f"base_url must start with https:// (or http:// on this machine) and name a host, not {base_url!r}; "
            "write for example https://api.example.com/v1"
        )
    if url.path.rstrip("/").endswith("/chat/completions"):
        raise ConfigurationError("base_url ends before /chat/completions, e.g. https://api.example.com/v1")
    if url.userinfo:
        raise ConfigurationError("base_url must not hold a user or password; pass the key as api_key")
    if has_key and url.scheme == "http" and not _is_loopback(url.host):
        raise ConfigurationError(f"base_url would send the key to {url.host} unencrypted; use https://")
    return url.host


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _translated(vendor: str, url: str = "") -> Generator[None]:
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise VendorError(
            f"cannot connect to {url or vendor} ({str(error) or 'no answer'}); is base_url right, is the service up?",
            vendor=vendor,
            retryable=True,
        ) from error
    except SSEError as error:
        raise VendorError(f"{vendor} sent a broken event stream: {error}", vendor=vendor, retryable=False) from error
    except httpx.HTTPError as error:
        raise VendorError(
            f"the connection to {vendor} broke: {type(error).__name__}: {error}", vendor=vendor, retryable=True
        ) from error
