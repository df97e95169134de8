"""The scripted gateway's record of each request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from pydantic import JsonValue

    from voicepipe.testing.request import ChatRequest

__all__ = ["RecordedRequest"]


@dataclass(slots=True, kw_only=True, eq=False)
class RecordedRequest:
    """A request that the gateway received, and how it ended. Times are on the loop's clock.

    Attributes:
        number: Counts the requests of a gateway, from 1.
        connection: The connection that it came on, counted from 1: equal numbers mean that the connection was reused.
        method: E.g. "POST".
        path: The path, with the query if any.
        headers: Names in lower case; keys are replaced by "***".
        received_s: When the request was complete; every delay of the script counts from here.
        body: The parsed body; None if there is none, or the request was refused before it was parsed.
        chat: The body as a chat request; None if it is not a valid one.
        status: The status of the response; None before there is one.
        first_byte_s: When the first byte of the response was sent.
        ended_s: When the reply had been sent, was cut, or was abandoned because the client had disconnected.
        closed_by_client_s: When the client disconnected before the reply ended; None if it did not.
    """

    number: int
    connection: int
    method: str
    path: str
    headers: dict[str, str]
    received_s: float
    body: JsonValue = None
    chat: ChatRequest | None = None
    status: int | None = None
    first_byte_s: float | None = None
    ended_s: float | None = None
    closed_by_client_s: float | None = None
    _has_key: bool = field(repr=False)
    _ended: anyio.Event = field(default_factory=anyio.Event, repr=False)

    async def wait_ended(self) -> None:
        """Wait until `ended_s` is set."""
        await self._ended.wait()

    def _end(self) -> None:
        self.ended_s = anyio.current_time()
        self._ended.set()
