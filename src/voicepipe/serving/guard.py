"""Limits for requests that are no calls: pages, tokens, webhooks.

Rule 1: a body comes whole and in time, or the request is refused; nobody can hold a connection open by sending slowly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from starlette.exceptions import HTTPException

from voicepipe.core.clock import loop_time

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["MOST_BODY_BYTES", "Guard"]

MOST_BODY_BYTES: Final = 65_536
"""No request of a page or of a telephone network's webhook is near this."""


class Guard:
    """Middleware that limits the bodies of requests.

    Args:
        app: The application.
        within_s: How long a body may take to come.
    """

    def __init__(self, app: ASGIApp, within_s: float) -> None:
        self._app = app
        self._within_s = within_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; other connections pass as they are."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        until_s = loop_time() + self._within_s
        size, is_whole = 0, False

        async def limited() -> Message:
            nonlocal size, is_whole
            if is_whole:
                return await receive()  # the end of the connection
            with anyio.move_on_after(until_s - loop_time()) as limit:
                message = await receive()
                size += len(message.get("body", b""))
                is_whole = not message.get("more_body", False)
                if size > MOST_BODY_BYTES:
                    raise HTTPException(413)
                return message
            assert limit.cancelled_caught  # noqa: S101 - there is no other way out of the block
            raise HTTPException(408)

        await self._app(scope, limited, send)
