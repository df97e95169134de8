"""What a page asks for before it calls: a single-use token, once the application has said who asks.

Rule 1: which page asks is checked first, so that a page of another site learns nothing of its visitor's login.
Rule 2: behind a gateway, a server that could not take the call now gives no token: the gateway asks another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from starlette.responses import JSONResponse

from voicepipe.serving.refusal import Refused
from voicepipe.serving.websocket import address_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from voicepipe.serving.transport import Desk, Transport

__all__ = ["NOT_STORED", "give_token", "refusal"]

NOT_STORED: Final = {"Cache-Control": "no-store"}


async def give_token(transport: Transport, desk: Desk, request: Request, **more: object) -> Response:
    """Answer a page with its token, and with what else it needs; or with why it gets none."""
    try:
        desk.check_origin(request)
        if desk.place is not None:
            if refused_now := desk.why_closed():
                raise refused_now
            if transport.path:
                more["url"] = desk.media_url(request) + transport.path
            elif desk.store is None:  # what comes next is a request, too, and this worker alone knows its token
                more["query"] = desk.place.back
        with anyio.fail_after(desk.limits.start_s):
            facts = await desk.identify(request)
        token = await desk.tokens.issue(transport.name, facts)
        return JSONResponse({"token": token, **more}, headers=NOT_STORED)
    except Refused as error:
        refused = error
    except TimeoutError:
        refused = Refused("start", "nobody could say in time who calls", status=503)
    desk.note_refusal(transport, refused, address_of(request.scope))
    return refusal(refused)


def refusal(refused: Refused) -> Response:
    """Return the answer to a request that is refused."""
    again = {} if refused.retry_s is None else {"Retry-After": str(max(1, round(refused.retry_s + 0.49)))}
    return JSONResponse({"message": refused.message}, refused.status, {**NOT_STORED, **again})
