"""A response on its way in: its head, and its body as it comes.

Rule 1: the beginning of a body can be looked at before the body is read: not every head is right about what follows.
Rule 2: nothing in a body grows without bound: an event has a limit, and a compressed body is refused.
Rule 3: httpx-sse decodes the events, from a response made for it that holds nothing but the body. So it reads UTF-8
        whatever the head that came says, and that head stays as it is.
"""

from __future__ import annotations

import codecs
import math
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Final, cast

import anyio
import httpx
from httpx_sse import EventSource

from voicepipe.errors import VendorError
from voicepipe.http.refusals import failure, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable

    import httpcore

    from voicepipe.core.observer import Wire
    from voicepipe.http.network import Route

__all__ = ["HTTPResponse", "translated"]

MAX_EVENT_BYTES: Final = 1 << 20
"""The largest event of a stream. Within it a reply's own limits apply; beyond it the stream is broken."""

REFUSAL_BYTES: Final = 2_048
"""How much of a refusal is read."""

REFUSAL_S: Final = 0.5
"""How long the words of a refusal may take: its status has already said what to do."""

CLOSE_S: Final = 0.5
"""How long closing a response may take when its turn was cancelled."""

BOM: Final = b"\xef\xbb\xbf"
BLANKS: Final = b" \t\r\n"


def _by_status(error: VendorError, _words: str) -> VendorError:
    return error


class HTTPResponse:
    """A response whose head has arrived. Iterating yields its body piece by piece, as it comes.

    Reading raises `VendorError` when the connection breaks before the end, and when the body is compressed.

    Attributes:
        status: HTTP status code.
        content_type: Media type in lower case without parameters; "" when there is none.
        has_ended: Whether the body was read to its end, so that its connection can be used again.
        is_whole: Whether `body` returned all that there was.
        is_read_on: Whether it outlives the block that it was opened in. See `HTTPClient.read_on`.
        when_closed: Called once it is closed.
    """

    when_closed: Callable[[], Awaitable[None]]

    def __init__(
        self,
        response: httpcore.Response,
        failures: tuple[type[Exception], ...],
        vendor: str,
        path: str,
        hide: Callable[[str], str],
        wire: Wire | None = None,
    ) -> None:
        self._response = response
        self._failures = failures
        self.status = response.status
        self.content_type = (self.header("content-type") or "").partition(";")[0].strip().lower()
        self.has_ended = self.is_whole = self.is_read_on = False
        self._vendor = vendor
        self._wire = wire
        if wire is not None:
            wire.received(f"{self.status} {self.content_type}")
        self._path = path
        self._hide = hide
        self._source = cast("AsyncGenerator[bytes]", aiter(cast("AsyncIterable[bytes]", response.stream)))
        self._encoding = (self.header("content-encoding") or "").strip().lower()
        self._begin = b""
        self._has_begun = False
        self._events: AsyncGenerator[tuple[str, str]] | None = None

    def header(self, name: str) -> str | None:
        """Return the value of a header, or None."""
        wanted = name.lower().encode("ascii")
        values = [value.decode("latin-1") for key, value in self._response.headers if key.lower() == wanted]
        return ", ".join(values) if values else None

    async def begins(self, count: int) -> bytes:
        """Return the first `count` bytes of the body, without byte order mark and blanks. They stay in the body."""
        while len(self._begin) < count or self._begin in (BOM[:1], BOM[:2]):
            try:
                self._begin += await self._piece()
            except StopAsyncIteration:
                break
            if not self._has_begun:
                self._has_begun = len(self._begin) >= len(BOM)
                self._begin = self._begin.removeprefix(BOM)
            self._begin = self._begin.lstrip(BLANKS)
        return self._begin[:count]

    def __aiter__(self) -> HTTPResponse:
        return self

    async def __anext__(self) -> bytes:
        piece, self._begin = self._begin, b""
        return piece or await self._piece()

    async def _piece(self) -> bytes:
        if self._encoding not in ("", "identity"):
            # The request asked for none, and a little of it may become very much.
            raise failure(self._vendor, f"compressed its answer ({self._encoding}), which was asked for as it is")
        try:
            piece = await anext(self._source)
        except StopAsyncIteration:
            self.has_ended = True
            if self._wire is not None:
                self._wire.received("end")
            raise
        except self._failures as error:
            raise translated(error, self._vendor) from error
        if self._wire is not None:
            self._show(self._wire, piece)
        return piece

    def _show(self, wire: Wire, piece: bytes) -> None:
        if self.content_type.startswith("audio/") or self.content_type == "application/octet-stream":
            wire.received(data=piece)
        else:
            wire.received_text(piece)

    async def body(self, limit: int, *, until: float = math.inf) -> bytes:
        """Return the first `limit` bytes of the body, as far as they have come at the time `until`.

        Of a refusal it returns what came, also when the connection broke.
        """
        taken = bytearray()
        try:
            with anyio.CancelScope(deadline=until):
                async for piece in self:
                    taken += piece
                    if len(taken) > limit:
                        break
                else:
                    self.is_whole = True
        except VendorError:
            if self.status == 200:
                raise
        return bytes(taken[:limit])

    async def words(self, limit: int, *, until: float = math.inf) -> str:
        """Return the first `limit` bytes of the body as text that can be shown: without the key. See `body`."""
        return self._hide((await self.body(limit, until=until)).decode("utf-8", "replace"))

    async def refusal(
        self, *, until: float = math.inf, weighed: Callable[[VendorError, str], VendorError] = _by_status
    ) -> VendorError:
        """Return the error for a status other than 200, with as much of the body as comes within `REFUSAL_S`.

        Args:
            until: When to stop waiting for the body.
            weighed: Takes the error for the status and the body, and returns the error to raise.
        """
        words = await self.words(REFUSAL_BYTES, until=min(until, anyio.current_time() + REFUSAL_S))
        error = refusal(
            self._vendor, self.status, words, self.header("retry-after"), self.header("date"), path=self._path
        )
        return weighed(error, words)

    def events(self) -> AsyncGenerator[tuple[str, str]]:
        """Return the server-sent events that have data, each with its name, which is "message" by default.

        A second loop continues where the first one stopped.
        """
        if self._events is None:
            self._events = self._read_events()
        return self._events

    async def _read_events(self) -> AsyncGenerator[tuple[str, str]]:
        await self.begins(1)  # takes off the byte order mark, which httpx-sse does not know
        body = _EventBody(self, self._vendor)
        async with aclosing(EventSource(body).aiter_sse()) as events:
            async for event in events:
                body.since_event = 0
                if event.data:
                    yield event.data, event.event

    async def aclose(self) -> None:
        """Close the response; a body that was read to its end leaves its connection to the next request.

        Takes at most `CLOSE_S`, also when it is cancelled.
        """
        with anyio.move_on_after(CLOSE_S, shield=True):
            try:
                if self._events is not None:
                    await self._events.aclose()
                await self._source.aclose()
            finally:
                await self._response.aclose()
        await self.when_closed()


class _EventBody(httpx.Response):
    """A body that is events, whatever the head that came says.

    Its text comes straight from the body: httpx's own way passes each piece through three more generators.

    Attributes:
        since_event: Bytes since the last event.
    """

    def __init__(self, pieces: HTTPResponse, vendor: str) -> None:
        super().__init__(200, headers={"content-type": "text/event-stream"})
        self.since_event = 0
        self._pieces = pieces
        self._vendor = vendor

    async def aiter_text(self, chunk_size: int | None = None) -> AsyncIterator[str]:
        """Yield the text as it comes."""
        del chunk_size
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        async for piece in self._pieces:
            self.since_event += len(piece)
            if self.since_event > MAX_EVENT_BYTES:
                said = f"sent a broken event stream: an event is longer than {MAX_EVENT_BYTES} bytes"
                raise failure(self._vendor, said)
            if text := decoder.decode(piece):
                yield text


def translated(error: Exception, vendor: str, url: str = "", route: Route | None = None) -> VendorError:
    """Return the error of this library for one of the client library; `url` and `route` are of a new connection."""
    kind = type(error).__name__  # the library is imported only when a part opens
    if route is not None and kind in ("ConnectError", "ConnectTimeout", "ProxyError"):
        why = str(error) or "no answer"
        status = re.match(r"\d{3}\b", why) if kind == "ProxyError" else None
        remedy = "is base_url right, is the service up?"
        return route.failure(vendor, url, why, remedy, refused=int(status[0]) if status else None)
    return VendorError(f"the connection to {vendor} broke: {kind}: {error}", vendor=vendor, retryable=True)
