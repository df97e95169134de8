"""Where a server is that is one of several workers behind a gateway."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

__all__ = ["Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place in its fleet.

    Attributes:
        index: Its number among the workers, which the gateway knows.
        media_url: Where callers reach its websockets, without a slash at the end, e.g. "wss://w0.example.com".
        gateway_url: Where callers reach the gateway, which passes on all that is no websocket.
    """

    index: int
    media_url: str
    gateway_url: str

    @property
    def gateway_port(self) -> int | None:
        """The port of the gateway's pages."""
        return urlsplit(self.gateway_url).port

    @property
    def back(self) -> str:
        """The query of an address of the gateway that leads back to this worker, for as long as it is there."""
        return f"?worker={self.index}"
