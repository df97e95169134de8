"""One connection to a service: httpcore, the HTTP of httpx, with a stream of our own.

Rule 1: httpx takes no stream of others, and its client, requests and responses cost a third of sending a request. A
        pool with one connection gives way to other tasks before it sends, so the connection is used without it.
Rule 2: this module is imported when a part opens: httpcore imports much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httpcore

from voicepipe.http.stream import Backend

if TYPE_CHECKING:
    import ssl

    import httpx

__all__ = ["Transport"]

FAILURES: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
)


class Transport:
    """A connection to one service, made with the first request.

    Args:
        tls: What the connection trusts.
        proxy: What it goes through; None for nothing.
        connect_s: How long connecting may take, TLS included. All other waits have deadlines of their own, on data.
        keep_idle_s: How long it is kept while it is not used.

    Attributes:
        failures: What `send` and reading a response raise when a connection or a service fails.
    """

    failures = FAILURES

    def __init__(self, tls: ssl.SSLContext, proxy: httpx.Proxy | None, connect_s: float, keep_idle_s: float) -> None:
        options: dict[str, Any] = {
            "ssl_context": tls,
            "keepalive_expiry": keep_idle_s,
            "network_backend": Backend(),
        }
        self._extensions = {"timeout": {"connect": connect_s}}
        self._connection: httpcore.AsyncConnectionInterface | None = None
        self._pool: httpcore.AsyncConnectionPool  # which makes connections, and holds none
        if proxy is None:
            self._pool = httpcore.AsyncConnectionPool(**options)
        elif proxy.url.scheme.startswith("socks5"):
            self._pool = httpcore.AsyncSOCKSProxy(_core_url(proxy.url), proxy_auth=proxy.raw_auth, **options)
        else:
            self._pool = httpcore.AsyncHTTPProxy(
                _core_url(proxy.url),
                proxy_auth=proxy.raw_auth,
                proxy_headers=proxy.headers.raw,
                proxy_ssl_context=proxy.ssl_context,
                **options,
            )

    @property
    def is_free(self) -> bool:
        """Whether no request uses the connection."""
        return self._connection is None or self._connection.is_idle() or self._connection.is_closed()

    async def send(
        self, method: str, url: httpx.URL, headers: list[tuple[bytes, bytes]], content: bytes | None
    ) -> httpcore.Response:
        """Send a request, and return its response when the head has come."""
        request = httpcore.Request(
            method, _core_url(url), headers=headers, content=content, extensions=self._extensions
        )
        if self._connection is None or self._connection.is_closed() or self._connection.has_expired():
            await self.aclose()
            self._connection = self._pool.create_connection(request.url.origin)
        return await self._connection.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.aclose()


def _core_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
