"""Servers that help two ends of WebRTC to find a way to each other.

Rule 1: there are none by default. STUN shows a third party who calls, and TURN sends the sound through it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["IceServer"]

SCHEMES = ("stun:", "stuns:", "turn:", "turns:")


@dataclass(frozen=True, slots=True, kw_only=True)
class IceServer:
    """A STUN or TURN server, for the server and for the page.

    Attributes:
        url: Its address, e.g. "stun:stun.example:3478" or "turn:turn.example:3478?transport=udp".
        username: The name for a TURN server.
        password: The password for it. Each page that may call gets it, so it should expire soon.

    Raises:
        ConfigurationError: It is no such server.
    """

    url: str
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse what is no such server."""
        if not str(self.url).startswith(SCHEMES) or not str(self.url).partition(":")[2]:
            raise ConfigurationError(f"IceServer: url must be such as 'stun:stun.example:3478', not {self.url!r}")
        if self.url.startswith("turn") and not (self.username and self.password):
            raise ConfigurationError(f"IceServer: {self.url} needs a username and a password")

    def for_page(self) -> Mapping[str, str]:
        """Return it as a browser's `RTCIceServer`."""
        named = {"urls": self.url, "username": self.username, "credential": self.password}
        return {name: value for name, value in named.items() if value is not None}
