"""The body of a response, as it comes.

Rule 1: what it begins with can be looked at before it is read: not every service says truly what it sends.
Rule 2: nothing in it may grow without bound: an event has a limit, and what is compressed is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import httpx
from httpx_sse import SSEError

from voicepipe.errors import VendorError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["Body"]

BOM: Final = b"\xef\xbb\xbf"
BLANKS: Final = b" \t\r\n"


class Body(httpx.AsyncByteStream):
    """A response's body as it comes; its beginning can be looked at first.

    Its events have a limit: a server that never ends one must not fill the memory.
    """

    def __init__(self, response: httpx.Response, vendor: str) -> None:
        self.limit = float("inf")
        self.since_event = 0
        self._body = cast("httpx.AsyncByteStream", response.stream)
        self._pieces = cast("AsyncGenerator[bytes]", aiter(self._body))
        self._encoding = response.headers.get("content-encoding", "").strip().lower()
        self._vendor = vendor
        self._begin = b""
        self._has_begun = False

    async def begins(self, count: int) -> bytes:
        """Return what the body begins with, at least `count` bytes if it has so many."""
        while len(self._begin) < count or self._begin in (BOM[:1], BOM[:2]):
            try:
                self._begin += await self._piece()
            except StopAsyncIteration:
                break
            if not self._has_begun:
                self._has_begun = len(self._begin) >= len(BOM)
                self._begin = self._begin.removeprefix(BOM)
            self._begin = self._begin.lstrip(BLANKS)
        return self._begin

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        piece, self._begin = self._begin, b""
        piece = piece or await self._piece()
        self.since_event += len(piece)
        if self.since_event > self.limit:
            raise SSEError(f"an event is longer than {self.limit} bytes")
        return piece

    async def _piece(self) -> bytes:
        if self._encoding not in ("", "identity"):
            # Nobody asked for it, and little of it may be very much.
            raise VendorError(
                f"{self._vendor} compressed its answer ({self._encoding}), which was asked for as it is",
                vendor=self._vendor,
                retryable=False,
            )
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """Close the response."""
        await self._pieces.aclose()
        await self._body.aclose()
