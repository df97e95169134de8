"""Who may connect: clients that show a key, and browsers with a key that was issued for one connection.

Rule 1: keys are compared in constant time, and no message repeats one.
"""

from __future__ import annotations

import inspect
import secrets
import time
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from starlette.responses import JSONResponse, Response

from voicepipe.errors import ConfigurationError
from voicepipe.serving.realtime.settings import Settings
from voicepipe.serving.transport import Refused
from voicepipe.serving.websocket import address_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from starlette.requests import HTTPConnection, Request

    from voicepipe.core.context import Fact
    from voicepipe.serving.transport import Desk, Transport

__all__ = ["Keys"]

ONCE: Final = "ek_"
"""How keys begin that are issued for one connection."""

BROWSERS_KEY: Final = "openai-insecure-api-key."
"""Browsers cannot set headers, so the key comes as a subprotocol of this form."""


class Keys:
    """The keys that let clients in.

    Args:
        keys: Keys that are known.
        authenticate: The application's function of another key.

    Attributes:
        are_asked_for: Whether a client has to show one.

    Raises:
        ConfigurationError: A key is empty.
    """

    def __init__(self, keys: Iterable[str], authenticate: Callable[[str], Any] | None) -> None:
        self._keys = tuple(one.encode() for one in keys)
        self._authenticate = authenticate
        self.are_asked_for = bool(self._keys) or authenticate is not None
        if not all(self._keys):
            raise ConfigurationError("Realtime: a key is empty; leave it out to take calls from this machine only")

    async def check(self, request: HTTPConnection, desk: Desk, kind: str) -> Mapping[str, Fact]:
        """Return what is known about a client that connects to the transport of this name.

        Raises:
            Refused: It shows no valid key.
        """
        key = _shown(request)
        if key.startswith(ONCE):
            return await desk.tokens.redeem(kind, key.removeprefix(ONCE))
        return await self._owner(key)

    async def issue(self, request: Request, desk: Desk, transport: Transport) -> Response:
        """Answer a program that has a key, and wants one that lets somebody else in once, by the same transport."""
        try:
            with anyio.fail_after(desk.limits.start_s):
                facts = await self._owner(_shown(request))
            secret = ONCE + await desk.tokens.issue(transport.name, facts)
        except Refused as error:
            refused = error
        except TimeoutError:
            refused = Refused("start", "nobody could say in time whose key it is", status=503)
        else:
            until = int(time.time() + desk.limits.token_s)  # noqa: TID251 - the protocol wants the time of day
            session = Settings(session_id="sess_to_come").json
            where = {} if desk.place is None else {"url": desk.media_url(request) + transport.path}
            return JSONResponse({"value": secret, "expires_at": until, "session": session, **where})
        desk.note_refusal(transport, refused, address_of(request.scope))
        error_of = {"type": "invalid_request_error", "code": refused.reason, "message": refused.message}
        return JSONResponse({"error": error_of}, refused.status)

    async def _owner(self, key: str) -> Mapping[str, Fact]:
        """Return what is known about the owner of a key.

        Raises:
            Refused: Nobody knows it.
        """
        if not key:
            raise Refused("key", "send the key as Authorization: Bearer ...", status=401, code=4401)
        if sum(secrets.compare_digest(key.encode(), one) for one in self._keys):  # all are compared
            return {}
        answer = self._authenticate(key) if self._authenticate is not None else None
        facts: Mapping[str, Fact] | None = await answer if inspect.isawaitable(answer) else answer
        if facts is None:
            raise Refused("key", "the key is not valid", status=401, code=4401)
        return facts


def _shown(request: HTTPConnection) -> str:
    """Return the key that a client shows, in a header or as a browser does; "" if it shows none."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    offered = cast("list[str]", request.scope.get("subprotocols", []))
    return next((one.removeprefix(BROWSERS_KEY) for one in offered if one.startswith(BROWSERS_KEY)), "")
