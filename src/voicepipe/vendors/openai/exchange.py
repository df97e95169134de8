"""One request to a model and its reply, streamed or whole.

Rule 1: deadlines count data events, not bytes: comments and keep-alives are no progress.
Rule 2: the response is read to its end, so that the connection stays warm, but the turn does not wait for that.
Rule 3: the first bytes of a body say what it is; its head is often wrong.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.core.clock import MovingDeadline, running_clock
from voicepipe.errors import VendorError
from voicepipe.http.refusals import failure
from voicepipe.vendors.openai.answer import unfinished
from voicepipe.vendors.openai.completion import CompletionParser, Part
from voicepipe.vendors.openai.deadlines import Deadlines, Patience, PatienceForAll
from voicepipe.vendors.openai.usage import limit_in
from voicepipe.vendors.openai.verdicts import weighed

if TYPE_CHECKING:
    from voicepipe.core.channel import Outbox
    from voicepipe.http.client import HTTPClient
    from voicepipe.http.response import HTTPResponse
    from voicepipe.vendors.openai.spoken_text import SpokenText

__all__ = ["PATH", "Exchange"]

PATH: Final = "/chat/completions"

WHOLE_BODY_BYTES: Final = 1 << 18
"""The largest answer that is accepted when a server does not stream."""

EVENT_BEGINS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")


class Exchange:
    """A request on its way, and its reply.

    Args:
        http: The service.
        body: The request, as JSON text.
        outbox: Takes the parts of the reply, and is closed after the last one. That may be up to half a second after
            `run` has returned, since a service counts the tokens when the reply is over.
        limits: How long to wait for a stream; None for a whole answer.
        filler: What stands for the arguments of a call that has none. See `CompletionParser`.
        spoken: What of the reply's text is spoken.
    """

    def __init__(
        self,
        http: HTTPClient,
        body: str,
        outbox: Outbox[Part],
        *,
        limits: Deadlines | None,
        filler: str = "",
        spoken: SpokenText | None = None,
    ) -> None:
        self._http = http
        self._body = body
        self._outbox = outbox
        self._parser = CompletionParser(http.vendor, http.hide, filler, spoken, http.base_url)
        now = anyio.current_time()
        self._patience = Patience(limits, now) if limits else PatienceForAll(now)

    async def run(self) -> None:
        """Send the request and pass the reply on, part by part as it comes.

        Cancelling closes the request.

        Raises:
            VendorError: The service failed; `retryable` says whether asking again may help.
        """
        is_read_on = False
        try:
            async with self._http.post(PATH, self._body, limit_s=self._patience.head_s) as response:
                for limit in limit_in(response.header):
                    await self._outbox.send(limit)
                if response.status != 200:
                    raise await response.refusal(until=self._patience.until, weighed=weighed)
                if await self._is_stream(response):
                    await self._read_stream(response)
                    if self._parser.has_ended:
                        is_read_on = True
                        await self._http.read_on(response, lambda: self._read_rest(response))
                else:
                    await self._read_whole(response)
        finally:
            if not is_read_on:
                self._outbox.close()
        if not self._parser.has_ended:
            raise unfinished(self._http.vendor)

    async def _is_stream(self, response: HTTPResponse) -> bool:
        """Return whether a body is events, not one JSON text.

        Raises:
            VendorError: It is neither, or does not come.
        """
        with anyio.CancelScope(deadline=self._patience.until):
            begin = await response.begins(6)
            if begin.startswith((b"{", b"[")):
                return False
            if response.content_type == "text/event-stream" or begin.startswith(EVENT_BEGINS):
                return True
            found = response.content_type or "no content type"  # the body is not quoted: it may hold anybody's data
            raise failure(
                self._http.vendor, f"answered with something that is not a reply ({found}); is base_url right?"
            )
        raise self._silent()

    async def _read_stream(self, response: HTTPResponse) -> None:
        """Read events until the reply is over, or the stream."""
        patience, clock = self._patience, running_clock()
        with MovingDeadline(patience.until) as wait:
            async for data, name in response.events():
                came_s, wait.until = clock(), math.inf  # the deadline counts for the network alone
                for part in self._parser.feed(data, name):
                    patience.saw(part)
                    await self._outbox.send(part)
                if self._parser.has_ended:
                    return
                patience.renew(now := clock(), held_s=now - came_s)
                wait.until = patience.until
        if wait.cancelled_caught:
            raise self._silent()

    async def _read_rest(self, response: HTTPResponse) -> None:
        """Read what follows the reply: the number of tokens."""
        try:
            with suppress(VendorError):  # the reply is whole; only its connection ends badly
                async for data, name in response.events():
                    for part in self._parser.feed(data, name):
                        await self._outbox.send(part)
        finally:
            self._outbox.close()

    async def _read_whole(self, response: HTTPResponse) -> None:
        """Read an answer that is not streamed."""
        body = await response.body(WHOLE_BODY_BYTES, until=self._patience.until)
        if not response.is_whole:
            if len(body) < WHOLE_BODY_BYTES:
                raise self._silent()
            raise failure(
                self._http.vendor, f"answered with more than {WHOLE_BODY_BYTES} bytes; ask for less, or for a stream"
            )
        for part in self._parser.whole(body.decode("utf-8", "replace")):
            await self._outbox.send(part)

    def _silent(self) -> VendorError:
        return failure(self._http.vendor, f"fell silent: {self._patience.waits_for} did not come", retryable=True)
