"""How a part reaches its service: through which proxy, and whose certificates it trusts.

Rule 1: this is decided here, for HTTP and for websockets. The libraries that connect get the answer, and read neither
        the environment nor a store of their own.
Rule 2: it is decided when the part is opened, so that a wrong setting is an error before the first call.
Rule 3: an error names the setting that decided: the variable or the argument, without a password.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import httpx

from voicepipe.errors import ConfigurationError, MissingExtra, VendorError
from voicepipe.http.address import is_loopback
from voicepipe.http.proxies import Proxy, proxy_of_environment
from voicepipe.http.tls import Trust, tls_context

if TYPE_CHECKING:
    import ssl

    from pydantic import SecretStr

__all__ = ["DIRECT", "Network", "Route"]

DIRECT: Final = "direct"
"""The value of `proxy` that means none, whatever the environment says."""

ARGUMENT: Final = "proxy="

ENCRYPTED: Final = ("https", "wss")


@dataclass(frozen=True, slots=True)
class Route:
    """How to reach one service.

    Attributes:
        proxy: The proxy; None to connect directly.
        tls: For handshakes with the service or the proxy; None where there is none.
        trust: Whose certificates `tls` trusts.
    """

    proxy: Proxy | None
    tls: ssl.SSLContext | None
    trust: Trust

    @property
    def proxy_tls(self) -> ssl.SSLContext | None:
        """For the handshake with the proxy; None where there is none."""
        return self.tls if self.proxy and self.proxy.scheme == "https" else None

    def failure(self, vendor: str, place: str, why: str, remedy: str, *, refused: int | None = None) -> VendorError:
        """Return the error for a connection that cannot be made.

        Args:
            vendor: Named by the error.
            place: Where it was to lead.
            why: What the library that connects said.
            remedy: What to do about it, unless proxy or certificate are the cause.
            refused: The HTTP status with which the proxy refused.
        """
        is_untrusted = "CERTIFICATE_VERIFY_FAILED" in why
        if is_untrusted and ("self-signed" in why or "self signed" in why or "issuer" in why):
            remedy = (
                f"trusted are the authorities of {self.trust}; put the certificate of the one that signed for this "
                "host into a file, and name the file in SSL_CERT_FILE"
            )
        elif refused == 407 and self.proxy:
            remedy = f"check user and password in {self.proxy.named_by}, e.g. http://user:password@proxy.example.com"
        elif self.proxy and not is_untrusted:
            remedy = f"is {self.proxy.named_by} right, does the proxy let this host through?"
        through = f" through the proxy {self.proxy}" if self.proxy else ""
        retryable = not is_untrusted and (refused is None or refused >= 500)
        return VendorError(f"cannot connect to {place}{through} ({why}); {remedy}", vendor=vendor, retryable=retryable)


class Network:
    """How one part reaches its service.

    Args:
        part: The part, for messages.
        url: The service's URL: http, https, ws or wss.
        proxy: The URL of a proxy; "direct" for none; None leaves it to the environment.

    Raises:
        ConfigurationError: `url` or `proxy` cannot be used.
    """

    def __init__(self, part: str, url: str, proxy: str | SecretStr | None = None) -> None:
        self._part = part
        try:
            self._url = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ConfigurationError(f"{part}: {url!r} is no URL: {error}") from None
        self._proxy: Proxy | None = None
        self._asks_environment = proxy is None
        text = _text(part, proxy)
        if text not in ("", DIRECT):
            self._proxy = Proxy.of(text, ARGUMENT, part=part)
            self._check_loopback(self._proxy)

    def to(self, url: str) -> Network:
        """Return the same choice for another URL, e.g. for a service that has websockets and plain HTTP.

        Raises:
            ConfigurationError: The URL cannot be used, or not through the proxy.
        """
        twin = Network(self._part, url)
        twin._proxy, twin._asks_environment = self._proxy, self._asks_environment
        if twin._proxy is not None:
            twin._check_loopback(twin._proxy)
        return twin

    def _check_loopback(self, proxy: Proxy) -> None:
        """Refuse to carry unencrypted, to another machine, what was to stay on this one: it may hold a key."""
        if self._url.scheme not in ENCRYPTED and is_loopback(self._url.host) and not is_loopback(proxy.host):
            raise ConfigurationError(
                f"{self._part}: {ARGUMENT} would carry what is for this machine ({self._url.host}) unencrypted to "
                f"{proxy.host}; leave it out, or use {'wss' if self._url.scheme == 'ws' else 'https'}://"
            )

    async def route(self) -> Route:
        """Decide, and read the certificates if there will be a handshake.

        Raises:
            ConfigurationError: A variable of the environment cannot be used, or names what does not exist;
                `MissingExtra` when the package for SOCKS is not installed.
        """
        proxy = proxy_of_environment(self._url) if self._asks_environment else self._proxy
        if proxy is not None and proxy.is_socks:
            package = "python_socks" if self._url.scheme in ("ws", "wss") else "socksio"
            if find_spec(package) is None:
                raise MissingExtra(self._part, package, "socks", detail=f"for the proxy {proxy}")
        trust = Trust.of_environment()
        has_handshake = self._url.scheme in ENCRYPTED or (proxy is not None and proxy.scheme == "https")
        return Route(proxy, await tls_context(trust) if has_handshake else None, trust)

    def __repr__(self) -> str:
        """Show the host, and what the application said about a proxy."""
        return (
            f"<Network to {self._url.host} by {'the environment' if self._asks_environment else self._proxy or DIRECT}>"
        )


def _text(part: str, proxy: object) -> str:
    if proxy is None:
        return ""
    read = getattr(proxy, "get_secret_value", None)
    text = read() if callable(read) else proxy
    if not isinstance(text, str) or not text.strip():
        raise ConfigurationError(
            f"{part}: {ARGUMENT} must be the URL of a proxy, e.g. http://proxy.example.com:3128, or {DIRECT!r} for "
            f"none, not {text if text == '' else type(text).__name__!r}"
        )
    return text.strip()
