"""Which proxy the application or the environment names for a URL. Connects to nothing.

Rule 1: a proxy that the application names serves every host; one of the environment never serves this machine.
Rule 2: a value that cannot be used is an error that names its variable or argument, and is never skipped.
Rule 3: the user and the password of a proxy are in no text.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from voicepipe.errors import ConfigurationError
from voicepipe.http.address import is_loopback

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    import httpx

__all__ = ["Proxy", "is_excepted", "port_of", "proxy_of_environment"]

PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
"""The kinds of proxies, each with its usual port. The libraries that connect disagree about the port of SOCKS."""

SYSTEM: Final = "the system's proxy settings"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, shown without user and password.

    Attributes:
        url: With user, password and port; secret.
        scheme: "http", "https", "socks5" or "socks5h".
        host: Where it is.
        named_by: The variable or argument that names it, e.g. "HTTPS_PROXY".
    """

    url: str = field(repr=False)
    scheme: str
    host: str
    named_by: str

    @classmethod
    def of(cls, value: str, named_by: str, *, part: str = "") -> Proxy:
        """Read a proxy's URL; without a scheme it is one of "http".

        Args:
            value: The URL, as it was given.
            named_by: The variable or argument that holds it.
            part: The part whose argument it is, for messages.

        Raises:
            ConfigurationError: It is not the URL of a proxy.
        """
        text = value.strip()
        text = text if "://" in text else f"http://{text}"
        scheme, _, rest = text.partition("://")
        user, at, place = rest.rpartition("@")
        wrong = (
            f"{f'{part}: ' if part else ''}{named_by} must be the URL of a proxy, e.g. http://proxy.example.com:3128"
        )
        try:
            parts = urlsplit(text)
            port, host = parts.port, parts.hostname
        except ValueError:  # not quoted: what stands in the place of a port may be a password
            raise ConfigurationError(
                f"{wrong}; the host or the port of the one given is invalid (a password ends with @, and its special "
                "characters are percent-encoded)"
            ) from None
        if parts.scheme not in PORTS or not host or parts.path not in ("", "/") or parts.query or parts.fragment:
            kinds = ", ".join(f"{kind}://" for kind in PORTS)
            found = f"{scheme}://{'***@' if at else ''}{place}"
            raise ConfigurationError(
                f"{wrong}, not {found!r}; it begins with one of {kinds} and ends with the port"
                + (" (in a password, write special characters percent-encoded)" if at else "")
            )
        place = f"{f'[{host}]' if ':' in host else host}:{port or PORTS[parts.scheme]}"
        # The libraries that connect differ here, too: one needs a password, and one is strict about its characters.
        name, _, password = (quote(unquote(one), safe="") for one in user.partition(":"))
        login = f"{name}:{password}@" if at else ""
        return cls(f"{parts.scheme}://{login}{place}", parts.scheme, host, named_by)

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS and not HTTP."""
        return self.scheme.startswith("socks")

    def __str__(self) -> str:
        """Name it as an error does: where it is, and who says so."""
        return f"{self.scheme}://{self.url.rpartition('@')[2].rpartition('://')[2]} of {self.named_by}"


def proxy_of_environment(url: httpx.URL) -> Proxy | None:
    """Return the proxy that the environment names for a URL; where it names none at all, the one of the system.

    Encrypted URLs (https, wss) take HTTPS_PROXY, others HTTP_PROXY, and both then ALL_PROXY; a name in lower case
    comes before the same one in upper case. NO_PROXY names exceptions.

    Raises:
        ConfigurationError: The value of a variable that matters for this URL cannot be used.
    """
    proxies = getproxies()
    for kind in ("https" if url.scheme in ("https", "wss") else "http", "all"):
        if value := proxies.get(kind):
            break
    else:
        return None
    port = port_of(url)
    if is_loopback(url.host) or is_excepted(proxies.get("no", ""), url.host, port, named_by=_variable("no")):
        return None
    named_by = _variable(kind)
    if named_by == SYSTEM and proxy_bypass(f"{url.host}:{port}"):
        return None
    return Proxy.of(value, named_by)


def is_excepted(no_proxy: str, host: str, port: int, *, named_by: str = "NO_PROXY") -> bool:
    """Return whether a list of exceptions, separated by commas or blanks, holds a host.

    An entry is a host, which stands for its subdomains too, an IP address, a network, each perhaps with a port, or "*".

    Raises:
        ConfigurationError: An entry is none of these.
    """
    entries = filter(None, re.split(r"[,\s]+", no_proxy))
    held = [_holds(entry, host.lower().rstrip("."), port, named_by) for entry in entries]  # all: each may be invalid
    return any(held)


def port_of(url: httpx.URL) -> int:
    """Return the port that a URL leads to."""
    return url.port or (443 if url.scheme in ("https", "wss") else 80)


def _holds(entry: str, host: str, port: int, named_by: str) -> bool:
    place = entry.rpartition("://")[2]
    bracketed = re.fullmatch(r"\[([^\[\]]*)\](/\d+)?(?::(\d+))?", place)
    plain = re.fullmatch(r"([^:]*):(\d+)", place)
    name, wanted = place, None
    if bracketed:
        name, wanted = f"{bracketed[1]}{bracketed[2] or ''}", bracketed[3]
    elif plain:
        name, wanted = plain.groups()
    try:
        network = ip_network(name, strict=False)
    except ValueError:
        if not name or re.search(r"[/:\[\]]", name):
            raise ConfigurationError(
                f"{named_by} holds {entry!r}, which is neither a host nor an IP network; write for example "
                ".example.com, 10.0.0.0/8, fd00::/8 or [::1]:8080"
            ) from None
        pattern = name.lower().removeprefix("*.").strip(".")
        found = fnmatchcase(host, pattern) or host.endswith(f".{pattern}")
    else:
        found = _address_is_in(host, network)
    return found and wanted in (None, str(port))


def _address_is_in(host: str, network: IPv4Network | IPv6Network) -> bool:
    try:
        return ip_address(host) in network
    except ValueError:  # a name; the proxy looks it up, not this machine
        return False


def _variable(kind: str) -> str:
    """Return the name of the variable that `getproxies` read."""
    names = (f"{kind}_proxy", f"{kind}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), SYSTEM)
