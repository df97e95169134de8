"""Headers and query parameters that an application adds to each request, e.g. for a service behind a gateway.

Rule 1: they may hold a key: none is shown, and one whose name says so is sent encrypted, or to this machine.
Rule 2: what the library decides itself (length, type and encoding of a body) cannot be set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from voicepipe.errors import ConfigurationError
from voicepipe.http.address import is_private

__all__ = ["Extras"]

OWN_HEADERS: Final = {
    *("host", "connection", "content-type", "content-length", "content-encoding", "transfer-encoding"),
    *("accept-encoding", "te", "upgrade", "expect"),
}

SECRET: Final = re.compile(r"auth|key|token|secret|cookie|sig|password", re.IGNORECASE)
"""Names of headers and parameters whose values nobody else may see."""

BLOT: Final = "***"

SHORTEST_SECRET: Final = 4
"""A shorter value is no secret, and taking it out of a text would leave holes everywhere."""


class Extras:
    """Checked headers and query parameters.

    Args:
        part: The part that has these settings; errors name it.
        url: Where they are sent.
        host: The host of `url`, as the library that connects reads it.
        headers: Header names and values.
        params: Names and values of query parameters.

    Attributes:
        headers: By name in lower case.
        params: By name.

    Raises:
        ConfigurationError: A name or value cannot be sent, or others could read it on its way.
    """

    def __init__(
        self, part: str, url: str, host: str, headers: Mapping[str, str] | None, params: Mapping[str, str] | None
    ) -> None:
        self.headers = {name.lower(): value for name, value in _texts(part, "headers", headers).items()}
        self.params = _texts(part, "params", params)
        for name, value in self.headers.items():
            if not re.fullmatch(r"[a-z0-9!#$%&'*+.^_`|~-]+", name) or not (value.isascii() and value.isprintable()):
                raise ConfigurationError(f"{part}: the header {name!r} holds a character that no header can carry")
            if name in OWN_HEADERS:
                raise ConfigurationError(f"{part}: headers may not set {name}; the library does")
        secret = sorted(name for name in {*self.headers, *self.params} if SECRET.search(name))
        if secret and not is_private(url, host):
            raise ConfigurationError(f"{part}: {secret[0]} would be sent to {host} unencrypted; use https://")

    def carries(self, name: str) -> bool:
        """Return whether the headers hold one of this name."""
        return name.lower() in self.headers

    def hidden(self, text: str) -> str:
        """Return what a service said without the values that may be keys."""
        for name, value in {**self.params, **self.headers}.items():
            for one in (value, value.removeprefix("Bearer ").strip()):
                if SECRET.search(name) and len(one) >= SHORTEST_SECRET:
                    text = text.replace(one, BLOT)
        return text

    def __repr__(self) -> str:
        """Show the names alone."""
        return f"<Extras {', '.join((*self.headers, *self.params))}>"


def _texts(part: str, role: str, given: object) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"{part}: {role} must be a dict of names and values, not {type(given).__name__}")
    found: dict[str, str] = {}
    for name, value in given.items():
        if not isinstance(name, str) or not name or not isinstance(value, str):
            raise ConfigurationError(f"{part}: {role} must hold text, not {name!r}: {type(value).__name__}")
        found[name] = value
    return found
