"""One request to a model and its answer, streamed or whole.

Rule 1: deadlines count data events, not bytes: comments and keep-alives are no progress.
Rule 2: the response is read to its end, so that the connection stays warm for the next turn.
"""

from __future__ import annotations

import math
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.errors import VendorError
from voicepipe.stages._patience import Deadlines, Patience
from voicepipe.vendors.openai_compatible import CompletionParser, refusal, unfinished

if TYPE_CHECKING:
    from voicepipe._http import HTTPClient, HTTPResponse
    from voicepipe.channel import Outbox
    from voicepipe.stages.model import ReplyPart

__all__ = ["exchange", "silent"]

WHOLE_BODY_BYTES: Final = 1 << 18
"""The largest answer that is taken when a server does not stream."""


async def exchange(http: HTTPClient, body: str, outbox: Outbox[ReplyPart], limits: Deadlines, filler: str) -> None:
    """Send a request and pass its answer on, piece by piece or, where a service does not stream, at once.

    Args:
        http: The service.
        body: JSON text.
        outbox: Takes the pieces.
        limits: How long to wait.
        filler: See `CompletionParser`.

    Raises:
        VendorError: The service failed; `retryable` says whether asking again may help.
    """
    parser = CompletionParser(http.vendor, http.without_key, filler)
    patience = Patience(limits, anyio.current_time())
    async with http.post("/chat/completions", body, limit_s=limits.first_token_s) as response:
        if response.status == 200 and response.content_type == "text/event-stream":
            try:
                waits_for = await _read_events(response, parser, outbox, patience)
            except VendorError:
                if not parser.has_ended:
                    raise
                waits_for = ""  # the reply is whole; it is only the connection that did not end well
            if waits_for:
                raise silent(http, waits_for)
        else:
            for part in parser.whole(await _whole_body(http, response, patience.until, limits.first_token_s)):
                await outbox.send(part)
    if not parser.has_ended:
        raise unfinished(http.vendor)


async def _read_events(
    response: HTTPResponse, parser: CompletionParser, outbox: Outbox[ReplyPart], patience: Patience
) -> str:
    """Read a stream to its end, and return what was waited for in vain, if anything."""
    # One scope whose deadline moves: a scope for each event would cost as much as reading it.
    with anyio.CancelScope(deadline=patience.until) as wait:
        async with aclosing(response.events()) as events:
            async for data in events:
                wait.deadline = math.inf  # only the network is waited for
                for part in parser.feed(data, is_error=response.event_name == "error"):
                    patience.saw(part)
                    await outbox.send(part)
                patience.renew(anyio.current_time(), is_over=parser.is_over)
                wait.deadline = patience.until
    return patience.waits_for if wait.cancelled_caught and not parser.is_over else ""


async def _whole_body(http: HTTPClient, response: HTTPResponse, deadline: float, limit_s: float) -> str:
    """Return the body of an answer that is no stream.

    Raises:
        VendorError: It is a refusal, or does not come.
    """
    body = None
    with anyio.CancelScope(deadline=deadline):
        body = (await response.body(WHOLE_BODY_BYTES)).decode("utf-8", "replace")
    if response.status != 200:
        raise refusal(http.vendor, response.status, http.without_key(body or ""), response.header("retry-after"))
    if body is None:
        raise silent(http, f"the reply ({limit_s:g} s)")
    return body


def silent(http: HTTPClient, waits_for: str) -> VendorError:
    """Return the error for what did not come in time."""
    return VendorError(f"{http.vendor} fell silent: {waits_for} did not come", vendor=http.vendor, retryable=True)
