"""uvicorn's protocols, with the limits of time that it does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    import asyncio

__all__ = ["CLOSE_S", "HEADERS_S", "BoundedWebSocket", "TimedHTTP"]

CLOSE_S: Final = 6.0
"""How long connections may take to close at the end, before they are cut."""

HEADERS_S: Final = 5.0
"""How long the headers of a request may take."""


class TimedHTTP(H11Protocol):
    """uvicorn's protocol of HTTP, which closes a connection whose request or response does not pass in time.

    uvicorn would wait for the headers of a request for ever, and as long until a peer has read the response, so that a
    few thousand connections that do nothing would take all of the process's descriptors.
    """

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._due = self.loop.call_later(HEADERS_S, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request."""
        before: Any = self.cycle  # None before the first request
        if self._due is None and (before is None or before.response_complete):
            self._due = self.loop.call_later(HEADERS_S, self._give_up)
        super().data_received(data)
        if (
            self.cycle is not before or self.transport.get_protocol() is not self
        ):  # a request, or a websocket from now on
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for a while until the peer has taken the response."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self.loop.call_later(CLOSE_S, self._let_go)

    def _let_go(self) -> None:
        if self.transport.get_write_buffer_size() and self.transport.get_protocol() is self:
            self.transport.abort()

    def _give_up(self) -> None:
        self._due = None
        self.transport.close()

    def _stop_waiting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """uvicorn's protocol of websockets, which lets go of a peer that does not take the end of its call.

    uvicorn would wait until such a peer has read what was sent to it, which may be never, and keep the descriptor.
    """

    _due: asyncio.TimerHandle | None = None

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """The call has ended."""
        super().on_task_complete(task)
        if not self.disconnected:
            self._due = self.loop.call_later(CLOSE_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        if self._due is not None:
            self._due.cancel()
        super().connection_lost(exc)
