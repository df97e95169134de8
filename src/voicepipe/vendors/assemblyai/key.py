"""AssemblyAI's key, and where it may be sent.

Rule 1: the key travels in one header of a handshake, raw, and is shown nowhere: not in a URL, a repr or an error.
Rule 2: it is sent over TLS, or to this machine.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from voicepipe.errors import AuthenticationError, ConfigurationError
from voicepipe.http.client import BLOT, is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

__all__ = ["KEY_ENV", "VENDOR", "given_key", "resolved_key", "socket_url", "without_key"]

VENDOR: Final = "AssemblyAI"

KEY_ENV: Final = "ASSEMBLYAI_API_KEY"


def given_key(part: str, api_key: str | SecretStr | None) -> SecretStr | None:
    """Return a key that an application passed, hidden.

    Raises:
        ConfigurationError: It is empty.
    """
    from pydantic import SecretStr  # noqa: PLC0415 - imported with the first part that has a key

    key = SecretStr(api_key) if isinstance(api_key, str) else api_key
    if key is not None and not key.get_secret_value().strip():
        raise ConfigurationError(f"{part}: api_key is empty; leave it out to read the key from the environment")
    return key


def resolved_key(part: str, api_key: str | SecretStr | None, api_key_env: str, url: str) -> SecretStr:
    """Return the key to send: the one that was passed, else the environment's.

    An empty one, which is not sent, stands for none where none was named and the service is on this machine, without
    TLS: that is a simulator.

    Raises:
        AuthenticationError: There is none.
        ConfigurationError: It is empty, or holds a character that no header can carry.
    """
    from pydantic import SecretStr  # noqa: PLC0415 - imported with the first part that has a key

    given = given_key(part, api_key)
    key = (given.get_secret_value() if given is not None else os.environ.get(api_key_env, "")).strip()
    if not key and not (url.startswith("ws:") and api_key_env == KEY_ENV):
        raise AuthenticationError(
            f"{part}: the environment variable {api_key_env} is not set; put the key of {VENDOR} into it, or pass "
            "api_key",
            vendor=VENDOR,
        )
    if not (key.isascii() and key.isprintable()):  # told here: the client library would quote the value
        raise ConfigurationError(
            f"{part}: the key holds a character that no header can carry, such as a line end or a typographic quote; "
            "copy the key again"
        )
    return SecretStr(key)


def without_key(text: str, key: SecretStr) -> str:
    """Return what a service said, fit to be shown: it may quote the key."""
    secret = key.get_secret_value()
    return text.replace(secret, BLOT) if secret else text


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
    except ValueError as error:
        raise ConfigurationError(f"{part}: {url!r} is no URL: {error}; write wss://host") from None
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ConfigurationError(f"{part}: url must start with wss:// (or ws:// on this machine), not {url!r}")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError(f"{part}: url must end with its path; the key goes into api_key, options elsewhere")
    if parts.scheme == "ws" and not is_loopback(parts.hostname):
        raise ConfigurationError(f"{part}: url would send the key to {parts.hostname} unencrypted; use wss://")
    base = url.rstrip("/")
    return base if parts.path.rstrip("/").endswith(path) else base + path
