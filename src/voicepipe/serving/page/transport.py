"""The agent in a browser: a page without a build step, and the websocket that it speaks to.

Rule 1: the page asks nothing of any other server, and its policy allows it nothing else.
Rule 2: which page connects is checked before its token is taken, so that a stranger's page cannot use a token up.
"""

from __future__ import annotations

import hashlib
import html
import re
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

import anyio
from starlette.responses import Response
from starlette.routing import Route

from voicepipe.audio.source import PushSource
from voicepipe.core.clock import loop_time
from voicepipe.core.failures import single_error
from voicepipe.errors import AudioDeviceLost, ConfigurationError
from voicepipe.listening_events import MicrophoneLost
from voicepipe.serving.bucket import Bucket
from voicepipe.serving.page import protocol
from voicepipe.serving.page.output import PageOutput
from voicepipe.serving.page.protocol import RATE, SUBPROTOCOL, TOKEN_PREFIX
from voicepipe.serving.token_route import give_token
from voicepipe.serving.transport import Line, Refused, Transport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from anyio.abc import TaskGroup
    from starlette.requests import HTTPConnection, Request
    from starlette.routing import BaseRoute

    from voicepipe.core.context import Fact
    from voicepipe.serving.desk import Desk
    from voicepipe.serving.transport import Peer
    from voicepipe.session.session import Session

__all__ = ["Page"]

INTRO: Final = "You can interrupt it at any time."

INDEX: Final = "index.html"
EMBED: Final = "embed.js"
PLACE: Final = re.compile(r"{{(title|intro|rate)}}")

USUAL_RATE: Final = 24_000
"""Samples per second, where the rate of the agent's voice does not fit."""

FILES: Final = {
    INDEX: "text/html",
    "page.js": "text/javascript",
    "call.js": "text/javascript",
    "sound.js": "text/javascript",
    "webrtc.js": "text/javascript",
    "views.js": "text/javascript",
    "capture.js": "text/javascript",
    "playback.js": "text/javascript",
    EMBED: "text/javascript",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
}
"""The files of the page. No other path leads to a file."""

HEADERS: Final = {
    "Cache-Control": "no-cache",  # a browser asks each time, and is answered with 304
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; worker-src 'self'; "
        "base-uri 'none'; form-action 'none'; connect-src 'self'{sockets}; frame-ancestors 'self'{origins}"
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), display-capture=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
}

MOST_TYPED: Final = 8
"""Texts of one caller that may wait for their replies; more are a flood."""

ACTIONS_PER_S: Final = 1.0
MOST_ACTIONS: Final = 10.0
"""Nobody types texts faster, or loses microphones: each costs a request to the model, or a line in the log."""


@dataclass(kw_only=True)
class PageLine(Line):
    """The line of a page.

    Attributes:
        ear: The source, which takes the page's audio.
        voice: The output, which takes its reports.
        reader: Reads its messages.
        typed: Texts whose replies have not ended.
        actions: How many texts, and losses of the microphone, are still acceptable.
    """

    ear: PushSource
    voice: PageOutput
    reader: protocol.Reader = field(default_factory=protocol.Reader)
    typed: int = 0
    actions: Bucket = field(default_factory=lambda: Bucket(ACTIONS_PER_S, MOST_ACTIONS, loop_time()))

    def __post_init__(self) -> None:
        """Let the output say to the page whether its call goes on."""
        self.voice.line = self


class Page(Transport):
    """A page with which anybody who has a browser talks to the agent.

    Args:
        path: Where the page is; its websocket is at the same path. It begins and ends with "/".
        title: What the page is called.
        intro: What callers read before they call.
        sample_rate: Samples per second of the agent's voice in the page; None for the rate that the voice has.

    Raises:
        ConfigurationError: A setting is invalid.
    """

    name = "page"
    subprotocol = SUBPROTOCOL
    caller_rate = RATE

    def __init__(
        self, path: str = "/", *, title: str = "Voice agent", intro: str = INTRO, sample_rate: int | None = None
    ) -> None:
        if not (path.startswith("/") and path.endswith("/")) or any(mark in path for mark in "{}?#"):
            raise ConfigurationError(f'Page: path must begin and end with "/", e.g. "/" or "/talk/", not {path!r}')
        if sample_rate is not None and not _fits(sample_rate):
            raise ConfigurationError(
                f"Page: sample_rate must be 8000 to 48000 and a multiple of 50, e.g. 24000, not {sample_rate}"
            )
        self.path = path
        self.title = title
        self.intro = intro
        self.agent_rate = sample_rate

    def proven_by(self, desk: Desk) -> str:
        """Return what proves who calls. See `Transport.proven_by`."""
        return desk.browser_proof

    def routes(self, desk: Desk) -> Sequence[BaseRoute]:
        """Return the page, its files, and where it gets its token. See `Transport.routes`."""
        folder = files("voicepipe.serving.page") / "files"
        routes: list[BaseRoute] = [Route(f"{self.path}token", partial(give_token, self, desk), methods=["POST"])]
        places = {"title": self.title, "intro": self.intro, "rate": str(self._rate_for(desk))}
        for name, kind in FILES.items():
            content = (folder / name).read_text(encoding="utf-8")
            if name == INDEX:
                content = PLACE.sub(lambda place: html.escape(places[place[1]]), content)
            at = self.path if name == INDEX else self.path + name
            routes.append(Route(at, partial(_file, name, content.encode(), kind, desk)))
        return routes

    async def check(self, request: HTTPConnection, desk: Desk) -> Mapping[str, Fact]:
        """Check the page's origin, then take its token. See `Transport.check`."""
        desk.check_origin(request)
        offered: list[str] = request.scope.get("subprotocols", [])
        if SUBPROTOCOL not in offered:
            raise Refused("protocol", f"offer the websocket subprotocol {SUBPROTOCOL}", status=400)
        tokens = [name.removeprefix(TOKEN_PREFIX) for name in offered if name.startswith(TOKEN_PREFIX)]
        if len(tokens) != 1:
            raise Refused("token", f"offer a subprotocol {TOKEN_PREFIX}..., with a token", status=401, code=4401)
        return await desk.tokens.redeem(self.name, tokens[0])

    async def start(self, peer: Peer, desk: Desk) -> PageLine:
        """Read the page's hello. See `Transport.start`."""
        reader = protocol.Reader()
        hello = reader.feed(await peer.receive())
        assert isinstance(hello, protocol.Hello)  # noqa: S101 - the reader refuses any other first message
        capture = hello.microphone
        has_echo = capture is not None and capture.echo_cancellation is False
        ear, voice = PushSource(RATE), PageOutput(peer, sample_rate=self._rate_for(desk), has_echo=has_echo)
        voice.resume_s = desk.limits.resume_s
        return PageLine(
            source=ear,
            output=voice,
            ear=ear,
            voice=voice,
            facts=_facts(capture),
            reader=reader,
            resume=hello.resume or "",
        )

    def _rate_for(self, desk: Desk) -> int:
        """Return the rate of the voice in the page: browsers play any, so that nothing need be converted."""
        return self.agent_rate or (desk.voice_rate if _fits(desk.voice_rate) else USUAL_RATE)

    async def listen(self, peer: Peer, line: Line, session: Session[Any]) -> None:
        """Take the page's messages. See `Transport.listen`."""
        assert isinstance(line, PageLine)  # noqa: S101 - `start` made it
        with single_error():
            async with anyio.create_task_group() as typing:
                while not isinstance(said := line.reader.feed(await peer.receive()), protocol.End):
                    if isinstance(said, protocol.Ping):
                        await peer.send(protocol.pong(said.id))
                    else:
                        self._take(said, peer, line, session, typing)
                typing.cancel_scope.cancel()

    def _take(
        self, said: protocol.Message, peer: Peer, line: PageLine, session: Session[Any], typing: TaskGroup
    ) -> None:
        if isinstance(said, (protocol.Text, protocol.MicrophoneGone)) and not line.actions.take(1, loop_time()):
            raise Refused("messages", "too many texts or reports in a short time", code=4429)
        match said:
            case protocol.Audio(pcm=pcm):
                peer.takes_audio(len(pcm) / 2 / RATE)
                line.ear.push(pcm)
            case protocol.Played(samples=samples) | protocol.Cleared(samples=samples):
                line.voice.played(samples)
            case protocol.Text(text=text):
                if line.typed >= MOST_TYPED:
                    raise Refused("messages", "too many texts wait for a reply", code=4429)
                line.typed += 1
                typing.start_soon(_answer, line, session, text)
            case protocol.Interrupt():
                session.interrupt()
            case protocol.MicrophoneGone():
                session.emit(MicrophoneLost(error=AudioDeviceLost("the page has lost its microphone")))
            case _:
                pass

    async def finish(self, peer: Peer, line: Line, session: Session[Any]) -> None:
        """Say good-bye. See `Transport.finish`."""
        del line, session
        await peer.send(protocol.bye("ended"))

    async def restarts(self, peer: Peer, line: Line, session: Session[Any]) -> None:
        """Say good-bye, so that the page calls again, or goes on elsewhere. See `Transport.restarts`."""
        del session
        await peer.send(protocol.bye("restarting", resumable=line.is_handed_over))


def _fits(sample_rate: int) -> bool:
    return 8_000 <= sample_rate <= 48_000 and sample_rate % 50 == 0


async def _answer(line: PageLine, session: Session[Any], text: str) -> None:
    try:
        await session.user_says(text)
    except ConfigurationError:  # a text without words, or a session that has just ended: there is nothing to answer
        pass
    finally:
        line.typed -= 1


def _facts(capture: protocol.Capture | None) -> dict[str, Fact]:
    """Return how the browser captures the microphone, as far as it says so."""
    known: dict[str, bool | None] = capture.model_dump() if capture is not None else {}
    return {"microphone": capture is not None, **{name: value for name, value in known.items() if value is not None}}


def _headers(name: str, desk: Desk) -> dict[str, str]:
    """Return the headers of a file: the pages that may call may also show the page in a frame, by the script for it."""
    policy = HEADERS["Content-Security-Policy"].format(
        sockets=_listed(desk.socket_origins), origins=_listed(desk.origins)
    )
    reach = "cross-origin" if name == EMBED else "same-origin"
    return {**HEADERS, "Content-Security-Policy": policy, "Cross-Origin-Resource-Policy": reach}


def _listed(places: Iterable[str]) -> str:
    return "".join(f" {place}" for place in sorted(places))


async def _file(name: str, content: bytes, kind: str, desk: Desk, request: Request) -> Response:
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    headers = {**_headers(name, desk), "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=kind, headers=headers)
