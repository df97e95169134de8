"""One connection of the HTTP library, as httpx's requests and responses see it.

Rule 1: the connection reads as `stream` does, which httpx's own transport cannot be given.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from voicepipe.http.stream import Backend

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Generator

__all__ = ["Transport"]


class Transport(httpx.AsyncBaseTransport):
    """A connection to one service, made with the first request.

    Args:
        tls: What the connection trusts.
        proxy: What it goes through; None for nothing.
        keep_idle_s: How long it is kept while it is not used.
    """

    def __init__(self, tls: ssl.SSLContext, proxy: httpx.Proxy | None, keep_idle_s: float) -> None:
        options: dict[str, Any] = {
            "ssl_context": tls,
            "max_connections": 1,
            "max_keepalive_connections": 1,
            "keepalive_expiry": keep_idle_s,
            "network_backend": Backend(),
        }
        self._pool: httpcore.AsyncConnectionPool
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

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. See httpx."""
        with _translated():
            response = await self._pool.handle_async_request(
                httpcore.Request(
                    request.method,
                    _core_url(request.url),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            response.status, headers=response.headers, stream=_Body(response), extensions=response.extensions
        )

    async def aclose(self) -> None:
        """Close the connection."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for piece in self._response.aiter_stream():
                yield piece

    async def aclose(self) -> None:
        await self._response.aclose()


def _core_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error
    except httpcore.UnsupportedProtocol as error:
        raise httpx.UnsupportedProtocol(str(error)) from error
