"""All HTTP of the library, so that the client library can be replaced.

Rule 1: one client per opened part, kept warm; responses are read to their end, or their connection is lost.
Rule 2: whoever opens a response closes it in the same function, shielded.
Rule 3: errors of the client library become `VendorError` here, and nowhere else.
Rule 4: a key goes into the headers of a request and nowhere else; `without_key` blots out what a server echoes of it.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, contextmanager
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Final, cast

import anyio
import httpx
from httpx_sse import EventSource, SSEError

from voicepipe.errors import ConfigurationError, VendorError
from voicepipe.http.body import Body

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping

    from anyio.abc import TaskGroup

__all__ = ["HTTPClient", "HTTPResponse"]

CONNECT_S: Final = 2.0
"""How long a connection may take to be made, TLS included."""

CLOSE_S: Final = 0.5
"""How long closing a response may take when its turn is dead."""

REST_S: Final = 0.5
"""How long a server may take to end a response of which nothing more is needed."""

LINGER_S: Final = 0.05
"""How long that is waited for: a little, because the next request wants the connection, and another one costs more."""

MAX_EVENT_BYTES: Final = 1 << 20
"""The largest event of a stream. Within it a reply's own limits apply; beyond it the stream is broken."""

WARM_BYTES: Final = 1 << 18
"""The longest answer that is read to keep the connection on which it came."""

BLOT: Final = "***"
"""Stands where a server repeated the key."""

# A connection for each session that speaks at this moment; idle ones are kept as long as servers keep theirs.
LIMITS: Final = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=60.0)
JSON: Final = {"content-type": "application/json"}


class HTTPResponse:
    """A response whose head has arrived.

    Attributes:
        status: HTTP status code.
        content_type: Media type in lower case without parameters; "" when there is none.
        event_name: Of the server-sent event that was read last; "message" unless the server names it.
        is_whole: Whether `body` returned all that there was.
    """

    def __init__(self, response: httpx.Response, client: httpx.AsyncClient, vendor: str) -> None:
        self.status = response.status_code
        self.content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        self.event_name = "message"
        self.is_whole = False
        self._is_handed_over = False
        self._response = response
        self._client = client
        self._vendor = vendor
        response.stream = self._body = Body(response, vendor)

    def header(self, name: str) -> str | None:
        """Return a header's value, or None."""
        return cast("str | None", self._response.headers.get(name))

    async def begins(self, count: int) -> bytes:
        """Return the first `count` bytes of the body, without byte order mark and blanks; they are not taken."""
        with _translated(self._vendor):
            return (await self._body.begins(count))[:count]

    async def body(self, limit: int, *, until: float = float("inf")) -> bytes:
        """Return the first `limit` bytes of the body, as far as they have come at the time `until`.

        Raises:
            VendorError: The connection broke, or the body is compressed. Of a refusal the part that came is returned.
        """
        taken = bytearray()
        try:
            with _translated(self._vendor), anyio.CancelScope(deadline=until):
                async for piece in self._body:
                    taken += piece
                    if len(taken) > limit:
                        break
                else:
                    self.is_whole = True
        except VendorError:
            if self.status == 200:
                raise
        return bytes(taken[:limit])

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Yield the body as it comes.

        Raises:
            VendorError: The connection broke before the end, or the body is compressed.
        """
        with _translated(self._vendor):
            async for piece in self._body:
                yield piece

    async def events(self) -> AsyncGenerator[str]:
        """Yield the data of each server-sent event that has some; comments and empty events are no events.

        Raises:
            VendorError: The stream broke, or holds an event beyond `MAX_EVENT_BYTES`.
        """
        with _translated(self._vendor):
            await self._body.begins(1)
            self._body.limit = MAX_EVENT_BYTES
            # Such a stream is UTF-8, whatever its head says.
            self._response.headers["content-type"] = "text/event-stream"
            async with aclosing(EventSource(self._response).aiter_sse()) as events:
                async for event in events:
                    self._body.since_event = 0
                    if event.data:
                        self.event_name = event.event
                        yield event.data


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
        self._users = Counter[httpx.AsyncClient]()
        self._new_client: Callable[[], httpx.AsyncClient]
        self._tasks: TaskGroup

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Keep the pool as long as this lasts."""
        # A proxy of the environment is for other hosts: it must not see a key that goes to this machine.
        trusts = not is_loopback(self.vendor)
        self._new_client = partial(
            httpx.AsyncClient,
            # Compression would hold tokens back until a block is full.
            headers={**self._headers, "accept-encoding": "identity"},
            limits=LIMITS,
            timeout=httpx.Timeout(None, connect=CONNECT_S),  # every other wait has its own deadline, on data
            trust_env=trusts,
            verify=httpx.create_ssl_context(trust_env=trusts),  # once: it takes as long as a handshake
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),  # one call must not be known by another's
        )
        self._client = self._new_client()
        raised: Exception | None = None
        try:
            async with anyio.create_task_group() as self._tasks:
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
        """Make a connection ahead of the first request; failing to is not an error, the request will tell."""
        with anyio.move_on_after(CONNECT_S):
            try:
                async with self._request("GET", "/models", limit_s=CONNECT_S) as response:
                    await response.body(WARM_BYTES)
            except (VendorError, httpx.InvalidURL):
                return

    def post(self, path: str, body: str, *, limit_s: float) -> AbstractAsyncContextManager[HTTPResponse]:
        """Send a request, wait for the response's head, and close the response at the end, also when cancelled.

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
                # A connection that died unseen is seldom alone: the next request must not try one after the other.
                self._client = self._new_client()
            await self._release(client)
            raise
        try:
            yield response
        finally:
            if not response._is_handed_over:
                await self._close(response)

    async def _head(
        self, client: httpx.AsyncClient, method: str, url: str, content: bytes | None, limit_s: float
    ) -> HTTPResponse:
        with _translated(self.vendor, url), anyio.move_on_after(limit_s):
            request = client.build_request(method, url, content=content, headers=JSON if content else None)
            return HTTPResponse(await client.send(request, stream=True), client, self.vendor)
        raise VendorError(f"{self.vendor} did not answer within {limit_s:g} s", vendor=self.vendor, retryable=True)

    async def read_on(self, response: HTTPResponse, rest: Callable[[], Awaitable[None]]) -> None:
        """Let the rest of a response be read beside its turn, so that its connection can be used again.

        Args:
            response: What `post` gave; it is closed with the end of `rest`, or after `REST_S`.
            rest: Reads the rest. Raises nothing.
        """
        response._is_handed_over = True
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
            await response._response.aclose()
        await self._release(response._client)

    async def _release(self, client: httpx.AsyncClient) -> None:
        """A request of a client has ended; one that is used no more is closed with its last request."""
        self._users[client] -= 1
        if self._users[client] <= 0:
            del self._users[client]
            if client is not self._client:
                with anyio.move_on_after(CLOSE_S, shield=True):
                    await client.aclose()

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
    if has_key and url.scheme == "http" and not is_loopback(url.host):
        raise ConfigurationError(f"base_url would send the key to {url.host} unencrypted; use https://")
    return url.host


def is_loopback(host: str) -> bool:
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
