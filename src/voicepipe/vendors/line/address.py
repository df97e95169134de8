"""Where a service's websocket is. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from voicepipe.errors import ConfigurationError
from voicepipe.http.address import is_private

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["socket_url"]


def socket_url(
    part: str, path: str, regions: Mapping[str | None, str], *, region: str | None, host: str | None, url: str | None
) -> str:
    """Return the URL of a websocket, without its query.

    Args:
        part: Who connects, for messages.
        path: The service's path, e.g. "/v3/ws"; added to a `url` that does not end with it.
        regions: The hosts that `region` chooses from.
        region: A key of `regions`.
        host: Another host, perhaps with a port, over TLS.
        url: Another URL; ws:// only to this machine.

    Raises:
        ConfigurationError: More than one is given, or the URL cannot be used.
    """
    given = [f"{name}=" for name, value in (("region", region), ("host", host), ("url", url)) if value is not None]
    if len(given) > 1:
        raise ConfigurationError(f"{part}: give one of region, host and url, not {' and '.join(given)}")
    if region not in regions:
        names = " or ".join(repr(name) for name in regions if name)
        raise ConfigurationError(f"{part}: region must be {names}, or left out, not {region!r}")
    url = url if url is not None else f"wss://{host if host is not None else regions[region]}"
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises when it is no number
    except ValueError:
        what = f"{'url' if host is None else 'host'} is no URL: the host or the port is invalid"
        raise ConfigurationError(f"{part}: {what}; write wss://host") from None  # not quoted: a key may be in it
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ConfigurationError(f"{part}: url must start with wss:// (or ws:// on this machine) and a host")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError(f"{part}: url must end with its path; the key goes into api_key, options elsewhere")
    if not is_private(url, parts.hostname):
        raise ConfigurationError(f"{part}: url would send the key to {parts.hostname} unencrypted; use wss://")
    base = url.rstrip("/")
    return base if parts.path.rstrip("/").endswith(path) else base + path
