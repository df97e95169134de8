"""Where a service is, and whether anybody could listen on the way there."""

from __future__ import annotations

import ipaddress

import httpx

from voicepipe.errors import ConfigurationError

__all__ = ["host_of", "is_loopback", "is_private"]


def host_of(base_url: str, path: str = "") -> str:
    """Return the host of a base URL, as the library that connects reads it.

    Args:
        base_url: The URL without `path`.
        path: Where requests go, e.g. "/chat/completions".

    Raises:
        ConfigurationError: It is not an http(s) URL, ends with `path`, or holds a password or a query.
    """
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError):
        raise ConfigurationError("base_url must be a URL such as https://api.example.com/v1") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError(
            "base_url must start with https:// (or http:// on this machine) and name a host; "  # a key may be in it
            "write for example https://api.example.com/v1"
        )
    if path and url.path.rstrip("/").endswith(path):
        raise ConfigurationError(f"base_url ends before {path}, e.g. https://api.example.com/v1")
    if url.userinfo:
        raise ConfigurationError("base_url must not hold a user or password; pass the key as api_key")
    if url.query or url.fragment or str(base_url).endswith(("?", "#")):
        # Not quoted: some services take their key there.
        raise ConfigurationError(
            "base_url must end before the query: what follows ? is sent with each request if it is given as "
            "params={'api-version': '...'}, where a part takes it"
        )
    return url.host


def is_private(url: str, host: str) -> bool:
    """Return whether only the host of a URL can read what is sent there: it is encrypted, or stays on this machine."""
    return url.lower().startswith(("https:", "wss:")) or is_loopback(host)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
