"""Which pages may connect: the origins that the application names, compared letter by letter.

Rule 1: pure. A browser says truthfully which page connects; other programs say what they like, so an origin proves
        nothing about who calls.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["checked_origins", "checked_sockets", "checked_url", "is_loopback", "is_own_page", "is_passed_on"]

ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

SOCKETS = re.compile(r"wss?://(?:(?:\*\.)?[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::(?:[0-9]{1,5}|\*))?")

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

PROXY_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
"""What proxies add to a request. A browser and a program on this machine send none of them."""


def checked_origins(origins: Iterable[str]) -> frozenset[str]:
    """Return the origins as browsers write them.

    Raises:
        ConfigurationError: One is no origin.
    """
    if isinstance(origins, str):
        raise ConfigurationError(f"Serve: origins must be a list of origins, not one text; write origins=[{origins!r}]")
    given: list[object] = list(origins)
    for origin in given:
        if not isinstance(origin, str) or not ORIGIN.fullmatch(origin):
            raise ConfigurationError(
                f"Serve: origins must be schemes and hosts, such as 'https://shop.example', without a path or a star, "
                f"not {origin!r}"
            )
    return frozenset(str(origin).lower() for origin in given)


def checked_sockets(places: Iterable[str]) -> frozenset[str]:
    """Return where websockets may be, as a page's policy writes it.

    Raises:
        ConfigurationError: One is no such place.
    """
    given: list[object] = [places] if isinstance(places, str) else list(places)
    for place in given:
        if not isinstance(place, str) or isinstance(places, str) or not SOCKETS.fullmatch(place):
            raise ConfigurationError(
                "Serve: socket_origins must be a list of schemes and hosts, such as 'wss://w1.shop.example' or "
                f"'wss://*.shop.example', without a path, not {place!r}"
            )
    return frozenset(str(place).lower() for place in given)


def checked_url(url: str | None) -> str | None:
    """Return the address at which others reach the server, without a slash at its end.

    Raises:
        ConfigurationError: It is no such address.
    """
    if url is None:
        return None
    parts = urlsplit(url)
    if not ORIGIN.fullmatch(f"{parts.scheme}://{parts.netloc}") or parts.query or parts.fragment:
        raise ConfigurationError(
            f"Serve: public_url must be an address such as 'https://shop.example' or 'https://shop.example/voice', "
            f"not {url!r}"
        )
    return url.rstrip("/")


def is_own_page(origin: str, port: int | None) -> bool:
    """Return whether an origin is that of a page of this server, on this machine."""
    try:
        parts = urlsplit(origin)
        its_port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.hostname in LOOPBACK_NAMES and its_port == port


def is_loopback(host: str) -> bool:
    """Return whether a host, a name or an address, is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_passed_on(headers: Mapping[str, str]) -> bool:
    """Return whether a proxy passes a request on: then the machine that connects is not the one that asks.

    Args:
        headers: Those of the request, by names in lower case.
    """
    return any(name in headers for name in PROXY_HEADERS)
