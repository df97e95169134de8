"""The agent in a browser over WebRTC, a page's second path: one request with an offer, then sound and a data channel.

Rule 1: the door is the page's: origin, then a single-use token, which comes from the application's own login.
Rule 2: aiortc is imported when the server opens, because most servers have no WebRTC.
Rule 3: each call runs in the server's task group, and with its end all of aiortc's tasks for it have ended.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import anyio
from starlette.responses import Response
from starlette.routing import Route

from voicepipe.core.log import log
from voicepipe.errors import ConfigurationError, MissingExtra
from voicepipe.serving.desk import FrontDesk
from voicepipe.serving.page.transport import Page
from voicepipe.serving.token_route import NOT_STORED, give_token, refusal
from voicepipe.serving.transport import Refused, Transport
from voicepipe.serving.webrtc.ice import IceServer
from voicepipe.serving.webrtc.offer import MEDIA_TYPE, MOST_BYTES, checked_offer
from voicepipe.serving.webrtc.output import WebRTCOutput
from voicepipe.serving.websocket import address_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from anyio.abc import TaskGroup, TaskStatus
    from starlette.requests import HTTPConnection, Request
    from starlette.routing import BaseRoute

    from voicepipe.core.context import Fact
    from voicepipe.serving.transport import Desk, Line, Peer
    from voicepipe.session.session import Session

__all__ = ["WebRTC"]

SAMPLE_RATE: Final = 24_000
"""Samples per second of the agent's voice. Opus is sent at 48 kHz, which the encoder makes of it."""

BEARER: Final = "Bearer "


class WebRTC(Transport):
    """Calls from browsers by WebRTC: Opus in packets, so that a lost one does not hold up the others.

    `POST {path}/token` gives a token, and `POST {path}` takes an offer with it and returns the answer (as WHIP does).
    Events and control messages are those of `voicepipe.v1`, on a data channel of that protocol that the page opens.
    The page of `Page()` takes this path at the address `/?path=webrtc`.

    The sound needs UDP: it goes to a port that the system chooses, on any address of this machine.

    Args:
        path: Where offers are posted; it begins with "/", and does not end with it.
        ice_servers: STUN and TURN servers, for both ends. Not needed where pages can reach this machine by UDP.

    Raises:
        ConfigurationError: A setting is invalid.
    """

    name = "webrtc"

    def __init__(self, path: str = "/webrtc", *, ice_servers: Sequence[IceServer] = ()) -> None:
        if not path.startswith("/") or path.endswith("/") or any(mark in path for mark in "{}?#"):
            raise ConfigurationError(
                f'WebRTC: path must begin with "/" and not end with it, e.g. "/webrtc", not {path!r}'
            )
        given: list[object] = list(ice_servers)
        if wrong := [server for server in given if not isinstance(server, IceServer)]:
            raise ConfigurationError(f"WebRTC: ice_servers must be a list of IceServer(url=...), not {wrong[0]!r}")
        self.offer_path = path
        self.ice_servers = tuple(ice_servers)
        self._page = Page()  # speaks the protocol
        self._calls: dict[Desk, TaskGroup] = {}

    def proven_by(self, desk: Desk) -> str:
        """Return what proves who calls. See `Transport.proven_by`."""
        return desk.browser_proof

    def routes(self, desk: Desk) -> Sequence[BaseRoute]:
        """Return where offers are posted, and where a page gets its token. See `Transport.routes`."""
        assert isinstance(desk, FrontDesk)  # noqa: S101 - a server's desk; offers come in as websockets do
        return [
            Route(f"{self.offer_path}/token", partial(self._token, desk), methods=["POST"]),
            Route(self.offer_path, partial(self._offer, desk), methods=["POST"]),
        ]

    @asynccontextmanager
    async def open(self, desk: Desk) -> AsyncGenerator[None]:
        """Hold the calls of a server. See `Transport.open`.

        Raises:
            MissingExtra: aiortc is not installed.
        """
        try:
            import_module("voicepipe.serving.webrtc.peer")  # see rule 2
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in ("aiortc", "av"):
                raise
            raise MissingExtra("WebRTC", package, "webrtc") from error
        async with anyio.create_task_group() as tasks:
            self._calls[desk] = tasks
            try:
                yield
            finally:
                del self._calls[desk]
                tasks.cancel_scope.cancel()

    async def check(self, request: HTTPConnection, desk: Desk) -> Mapping[str, Fact]:
        """Check the page's origin, then take its token. See `Transport.check`."""
        desk.check_origin(request)
        shown = request.headers.get("authorization", "")
        if not shown.startswith(BEARER):
            raise Refused("token", "send a token, as Authorization: Bearer ...", status=401, code=4401)
        return await desk.tokens.redeem(self.name, shown.removeprefix(BEARER))

    async def start(self, peer: Peer, desk: Desk) -> Line:
        """Read the page's hello from the data channel. See `Transport.start`."""
        line = await self._page.start(peer, desk)
        voice = WebRTCOutput(peer, sample_rate=SAMPLE_RATE, has_echo=line.output.has_echo)
        voice.resume_s = line.voice.resume_s
        return replace(line, output=voice, voice=voice)

    async def listen(self, peer: Peer, line: Line, session: Session[Any]) -> None:
        """Take the page's sound and messages. See `Transport.listen`."""
        await self._page.listen(peer, line, session)

    async def finish(self, peer: Peer, line: Line, session: Session[Any]) -> None:
        """Say good-bye. See `Transport.finish`."""
        await self._page.finish(peer, line, session)

    async def restarts(self, peer: Peer, line: Line, session: Session[Any]) -> None:
        """Say good-bye, so that the page calls again. See `Transport.restarts`."""
        await self._page.restarts(peer, line, session)

    # --- the request --------------------------------------------------------------------------------------------------

    async def _token(self, desk: Desk, request: Request) -> Response:
        """Give a page its token, and the servers that it needs."""
        return await give_token(self, desk, request, ice_servers=[server.for_page() for server in self.ice_servers])

    async def _offer(self, desk: FrontDesk, request: Request) -> Response:
        """Answer an offer, and hold its call after the answer."""
        address = address_of(request.scope)
        try:
            facts = await desk.let_in(self, request)
            with anyio.fail_after(desk.limits.start_s):
                offer = checked_offer(await _body(request))
                answer: str = await self._calls[desk].start(self._hold, desk, facts, address, offer)
        except TimeoutError:
            refused = Refused("start", "the offer took too long", status=408)
        except Refused as error:
            refused = error
        else:
            return Response(answer, 201, NOT_STORED, MEDIA_TYPE)
        desk.note_refusal(self, refused, address)
        return refusal(refused)

    async def _hold(
        self, desk: FrontDesk, facts: Mapping[str, Fact], address: str, offer: str, *, task_status: TaskStatus[str]
    ) -> None:
        """Hold a call to its end. What is refused before the answer is raised where the offer came in."""
        from voicepipe.serving.webrtc.peer import connected  # noqa: PLC0415 - see rule 2

        is_answered = False
        try:
            with desk.admitted(facts):
                async with connected(
                    offer,
                    facts=facts,
                    address=address,
                    ice_servers=self.ice_servers,
                    sample_rate=SAMPLE_RATE,
                    most_text_bytes=self.most_message_bytes,
                ) as (peer, answer):
                    is_answered = True
                    task_status.started(answer)
                    await desk.converse(self, peer)
        except Exception:
            if not is_answered:
                raise
            log.exception("a call by %s failed", self.name)  # and only that one


async def _body(request: Request) -> bytes:
    """Return the body of a request, which is an offer.

    Raises:
        Refused: It has another type.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise Refused("malformed", f"post an offer as {MEDIA_TYPE}", status=415)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            break
    return bytes(body)
