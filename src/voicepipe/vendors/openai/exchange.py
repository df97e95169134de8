"""One request to a model and its answer, streamed or whole.

Rule 1: deadlines count data events, not bytes: comments and keep-alives are no progress.
Rule 2: the response is read to its end, so that the connection stays warm, but nobody waits for that.
Rule 3: what an answer is, its first bytes say; what its head says of it is often wrong.
"""

from __future__ import annotations

import math
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Final, Literal

import anyio

from voicepipe.errors import VendorError
from voicepipe.vendors.openai.completion import CompletionParser, refusal, unfinished
from voicepipe.vendors.openai.deadlines import Deadlines, Patience

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from voicepipe.core.channel import Outbox
    from voicepipe.http.client import HTTPClient, HTTPResponse
    from voicepipe.model.model import ReplyPart
    from voicepipe.vendors.openai.usage import ServiceFacts

__all__ = ["exchange", "silent"]

WHOLE_BODY_BYTES: Final = 1 << 18
"""The largest answer that is taken when a server does not stream."""

REFUSAL_S: Final = 0.5
"""How long the words of a refusal may take: its status has said what to do."""

EVENT_BEGINS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")


async def exchange(
    http: HTTPClient,
    body: str,
    parser: CompletionParser,
    outbox: Outbox[ReplyPart],
    limits: Deadlines,
    facts: ServiceFacts,
    told: Callable[[], None],
) -> None:
    """Send a request and pass its answer on, piece by piece or, where a service does not stream, at once.

    Args:
        http: The service.
        body: JSON text.
        parser: Reads the answer.
        outbox: Takes the pieces.
        limits: How long to wait.
        facts: Takes what the service tells beside the answer.
        told: Called once, when it has told all; soon after this has returned if the service is late with it.

    Raises:
        VendorError: The service failed; `retryable` says whether asking again may help.
    """
    patience = Patience(limits, anyio.current_time())
    is_read_on = False
    try:
        async with http.post("/chat/completions", body, limit_s=limits.first_token_s) as response:
            facts.read_headers(response.header)
            kind = await _kind(http, response, patience)
            if kind == "stream":
                events = response.events()
                try:
                    await _read_events(http, response, events, parser, outbox, patience, facts)
                    is_read_on = parser.is_over
                finally:
                    if not is_read_on:
                        await events.aclose()
                if is_read_on:
                    await http.read_on(response, lambda: _read_facts(events, facts, told))
            else:
                answer = await _whole_body(http, response, kind, patience.until, limits.first_token_s)
                facts.read(answer)
                for part in parser.whole(answer):
                    await outbox.send(part)
    finally:
        if not is_read_on:
            told()
    if not parser.has_ended:
        raise unfinished(http.vendor)


async def _kind(http: HTTPClient, response: HTTPResponse, patience: Patience) -> Literal["stream", "whole", "page"]:
    """Return what an answer is: events, JSON, or anything else.

    Raises:
        VendorError: It is a refusal.
    """
    if response.status != 200:
        raise await _refused(http, response, patience.until)
    with anyio.CancelScope(deadline=patience.until):
        first = await response.begins(1)
        if first in (b"{", b"["):
            return "whole"
        if response.content_type == "text/event-stream":
            return "stream"
        return "stream" if (await response.begins(6)).startswith(EVENT_BEGINS) else "page"
    raise silent(http, patience.waits_for)


async def _read_events(
    http: HTTPClient,
    response: HTTPResponse,
    events: AsyncGenerator[str],
    parser: CompletionParser,
    outbox: Outbox[ReplyPart],
    patience: Patience,
    facts: ServiceFacts,
) -> None:
    """Read a stream until the reply is over, or the stream.

    Raises:
        VendorError: The service fell silent, broke the connection, or tells of an error.
    """
    # One scope whose deadline moves: a scope for each event would cost as much as reading it.
    with anyio.CancelScope(deadline=patience.until) as wait:
        async for data in events:
            came_s, wait.deadline = anyio.current_time(), math.inf  # only the network is waited for
            facts.read(data)
            for part in parser.feed(data, response.event_name):
                patience.saw(part)
                await outbox.send(part)
            if parser.is_over:
                return
            patience.renew(now := anyio.current_time(), held_s=now - came_s)
            wait.deadline = patience.until
    if wait.cancelled_caught:
        raise silent(http, patience.waits_for)


async def _read_facts(events: AsyncGenerator[str], facts: ServiceFacts, told: Callable[[], None]) -> None:
    """Read a stream on whose reply is over: the tokens that it took are told after it."""
    try:
        # The reply is whole; it is only the connection that does not end well.
        with suppress(VendorError):
            async with aclosing(events):
                async for data in events:
                    facts.read(data)
    finally:
        told()


async def _refused(http: HTTPClient, response: HTTPResponse, until: float) -> VendorError:
    """Return the error for a status other than 200, with as much of its words as comes soon."""
    until = min(until, anyio.current_time() + REFUSAL_S)
    body = http.without_key((await response.body(WHOLE_BODY_BYTES, until=until)).decode("utf-8", "replace"))
    return refusal(http.vendor, response.status, body, response.header("retry-after"), response.header("date"))


async def _whole_body(http: HTTPClient, response: HTTPResponse, kind: str, until: float, limit_s: float) -> str:
    """Return the body of an answer that is no stream.

    Raises:
        VendorError: It is no JSON, too long, or does not come.
    """
    if kind == "page":  # not quoted: it may be anybody's words
        found = response.content_type or "no content type"
        raise VendorError(
            f"{http.vendor} answered with something that is no reply ({found}); is base_url right?",
            vendor=http.vendor,
            retryable=False,
        )
    body = await response.body(WHOLE_BODY_BYTES, until=until)
    if response.is_whole:
        return body.decode("utf-8", "replace")
    if len(body) < WHOLE_BODY_BYTES:
        raise silent(http, f"the reply ({limit_s:g} s)")
    raise VendorError(
        f"{http.vendor} answered with more than {WHOLE_BODY_BYTES} bytes; ask for less, or for a stream",
        vendor=http.vendor,
        retryable=False,
    )


def silent(http: HTTPClient, waits_for: str) -> VendorError:
    """Return the error for what did not come in time."""
    return VendorError(f"{http.vendor} fell silent: {waits_for} did not come", vendor=http.vendor, retryable=True)
