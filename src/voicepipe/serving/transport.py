"""What a transport is: how callers reach the agent over one kind of connection.

Rule 1: a transport refuses a peer before its connection is accepted. A refusal costs no session and no vendor's socket.
Rule 2: a transport knows its protocol, and nothing else: limits, drain and the session are the desk's.
Rule 3: what the agent says and what happens to it reach the peer through the line's output, in the order of the audio.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from voicepipe.serving.refusal import PeerLeft, Refused
from voicepipe.serving.resumption import NEW_CALL, Resumption

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

    from starlette.requests import HTTPConnection
    from starlette.routing import BaseRoute

    from voicepipe.audio.output import Output
    from voicepipe.audio.source import Source
    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.context import Fact
    from voicepipe.keeping.store import Store
    from voicepipe.serving.limits import Limits
    from voicepipe.serving.metrics import Metrics
    from voicepipe.serving.place import Place
    from voicepipe.serving.tokens import Tokens
    from voicepipe.session.session import Session

__all__ = ["Desk", "Line", "Peer", "PeerLeft", "Refused", "Resumption", "Transport"]


class Peer(ABC):
    """The other end of one call's connection: whole messages, within the limits of its transport.

    Attributes:
        facts: What is known for certain about the peer: what `Transport.check` and the authenticator returned.
        address: Where it connects from, for logs: "192.0.2.7:4711".
        resume: The key of a call, if the request for a websocket names one, as `?resume=...` or in the header
            `Voicepipe-Resume`; "" for none. It is what the peer says; a transport that uses it puts it on its line.
    """

    facts: Mapping[str, Fact]
    address: str
    resume: str = ""

    @abstractmethod
    async def receive(self) -> str | bytes:
        """Return the peer's next message: text as `str`, audio and other binary data as `bytes`.

        Raises:
            PeerLeft: The peer has left.
            Refused: The message exceeds a limit; the desk then closes the connection with the refusal's code.
        """

    @abstractmethod
    async def send(self, message: str | bytes) -> None:
        """Send a message, waiting while the peer does not read. Does nothing once the peer has left."""

    def discard(self) -> None:  # noqa: B027 - most connections have nothing to do
        """Drop audio that was sent and has not left this machine. A connection that keeps none does nothing."""

    @abstractmethod
    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection. Does nothing once it is closed."""

    @abstractmethod
    def takes_audio(self, seconds: float) -> None:
        """Count audio that the peer has sent.

        Raises:
            Refused: The peer has sent more audio than time has passed, by more than the limit.
        """

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Iterate over the peer's messages until it leaves.

        Raises:
            Refused: A message exceeds a limit.
        """
        try:
            while True:
                yield await self.receive()
        except PeerLeft:
            return


@dataclass(kw_only=True)
class Line:
    """A call that can begin: where its audio comes from and goes to, and what is known about it.

    Attributes:
        source: The caller's audio.
        output: Where the agent's audio goes.
        facts: What the peer says about the call: its number, parameters. `Session.facts` has these, and the facts of
            `Peer.facts`, which win.
        id: What the log calls the call, e.g. the telephone network's id; made if None.
        settings: Voice, language and key terms of this call.
        greets: Whether the agent greets the caller; not one whose conversation goes on.
        resume: The key of the call that the peer wants to go on with, as `resumed.key` has named it. "" for a new call
            whose peer can come back; None for a peer that cannot. See `Serve(store=...)`.
        resume_call: The id of the call that goes on, where the transport is certain that this is its caller, e.g. by
            the signature of a telephone network. It needs no key.
        returns: Whether the peer comes back by itself. The call of one that may not is handed over at the end of a
            drain only.
        resumed: What came of that. The desk sets it before it opens the session, so that the output's `attach` can say
            it to the peer before anything else.
        is_handed_over: Whether the call ends here because another process goes on with it. The desk sets it before
            `Transport.restarts`.
    """

    source: Source
    output: Output
    facts: Mapping[str, Fact] = field(default_factory=dict[str, Any])
    id: str | None = None
    settings: CallSettings | None = None
    greets: bool = True
    resume: str | None = None
    resume_call: str | None = None
    returns: bool = True
    resumed: Resumption = NEW_CALL
    is_handed_over: bool = False


class Desk(ABC):
    """What a transport may use of its server.

    Attributes:
        limits: What the server takes on.
        origins: The pages that may connect, as browsers write them; without any, those of this server on this machine.
        socket_origins: Where the websockets of a page may be, apart from its own server.
        tokens: Single-use tokens: `await tokens.issue("page", facts)` and `await tokens.redeem("page", token)`.
        metrics: What is counted; `metrics.registry` is prometheus_client's.
        store: What the workers of a service share; None for a server that is by itself.
        hearing_rate: Samples per second that the agent's recogniser takes; other rates are converted.
        voice_rate: Samples per second of the agent's voice; as above.
        place: Where the server is, if it is one of several behind a gateway; None if it is by itself.
    """

    limits: Limits
    origins: frozenset[str]
    socket_origins: frozenset[str]
    tokens: Tokens
    metrics: Metrics
    store: Store | None
    hearing_rate: int
    voice_rate: int
    place: Place | None = None

    @abstractmethod
    def why_closed(self) -> Refused | None:
        """Return why no call can begin right now, e.g. for a webhook that answers "busy"; None if one can."""

    @abstractmethod
    def check_origin(self, request: HTTPConnection) -> None:
        """Check which page connects. Without configured origins, that is a page of this server on this machine.

        Programs that are no browsers send no origin: they need the application's authenticator.

        Raises:
            Refused: Another page.
        """

    @abstractmethod
    async def identify(self, request: HTTPConnection) -> Mapping[str, Fact]:
        """Return what the application's authenticator knows about a peer; nothing if there is no authenticator.

        Raises:
            Refused: The application does not know the peer.
        """

    @property
    @abstractmethod
    def browser_proof(self) -> str:
        """What proves who calls from a page: origins and an authenticator. "" unless the application has given both."""

    @abstractmethod
    def public_url(self, request: HTTPConnection) -> str:
        """Return the address at which others reach the server, with the path at which it is mounted, without a slash.

        It comes from `Serve(public_url=...)` and never from what the request says. On this machine it needs no setting.

        Raises:
            ConfigurationError: There is no setting.
        """

    def media_url(self, request: HTTPConnection) -> str:
        """Return the address at which others reach the websockets of this server, e.g. "wss://w0.shop.example".

        Behind a gateway each of several servers has its own, and `public_url` is the gateway's. A server that is by
        itself has one address for both.

        Raises:
            ConfigurationError: There is no setting, as for `public_url`.
        """
        return self.place.media_url if self.place is not None else self.public_url(request).replace("http", "ws", 1)

    @abstractmethod
    async def hold(self, transport: Transport, peer: Peer) -> None:
        """Hold one call of an accepted peer, from `Transport.start` to its end, and close the connection.

        For transports with listeners of their own. A peer that may not call now is closed at once.
        """

    @abstractmethod
    def note_refusal(self, transport: Transport, refused: Refused, address: str) -> None:
        """Count a peer that was not let in, or was sent away, and log it. Websockets and `hold` do it by themselves."""


class Transport(ABC):
    """How callers reach the agent over one kind of connection; subclasses implement `start` and `listen`.

    An object of it is a description, as a part of a pipeline is: one serves any number of calls at a time, so what
    belongs to one call is kept in a `Line` of the subclass's own kind.

    Attributes:
        name: The transport in metrics, logs and `session.facts["transport"]`, e.g. "page".
        path: Where its websocket is; "" if it has none.
        subprotocol: The websocket subprotocol that is accepted; None for none.
        most_message_bytes: The size of the largest message; a larger one ends the call with the code 1009.
        most_messages_per_s: How many messages a second a peer may send over 10 s; more end the call with the code 4429.
            A message of more than 8 KiB counts as several.
        caller_rate: Samples per second of what callers send; None if that is decided call by call. A server that cannot
            convert it to the recogniser's rate is not built.
        agent_rate: Samples per second of what callers get; as above.
        proof: What proves who calls, in words, e.g. "a signature of Twilio"; "" if anybody may call. Without any proof
            a server binds to this machine only.
        start_proves: Whether it is `start` that proves who calls, and not `check`, because the network brings its token
            with its first messages. Until then a peer takes no place and no part of `Limits.opening_per_s`; 100 of
            them, or as many as there are places, may be in `start` at a time.
    """

    name: str
    path: str = ""
    subprotocol: str | None = None
    most_message_bytes: int = 16_384
    most_messages_per_s: float = 100.0
    caller_rate: int | None = None
    agent_rate: int | None = None
    proof: str = ""
    start_proves: bool = False

    def proven_by(self, desk: Desk) -> str:
        """Return what proves who calls, in words; "" if anybody may call. It is `proof`, unless the server decides.

        A page returns `desk.browser_proof`: its callers are proven if the application gives origins and an
        authenticator.
        """
        del desk
        return self.proof

    def routes(self, desk: Desk) -> Sequence[BaseRoute]:
        """Return further routes: a page and its files, a telephone network's webhook. Paths begin with "/"."""
        del desk
        return ()

    @asynccontextmanager
    async def open(self, desk: Desk) -> AsyncGenerator[None]:
        """Set up what lives as long as the server, e.g. a listener for connections that are no websockets."""
        del desk
        yield

    async def check(self, request: HTTPConnection, desk: Desk) -> Mapping[str, Fact]:
        """Check who wants to connect, before the connection is accepted, and return what is known about them.

        Raises:
            Refused: They are not let in.
        """
        del request, desk
        return {}

    @abstractmethod
    async def start(self, peer: Peer, desk: Desk) -> Line:
        """Exchange the first messages, and return the line. Cancelled after `Limits.start_s`.

        Raises:
            PeerLeft: The peer has left.
            Refused: The first messages are not what they must be.
        """

    async def begun(self, peer: Peer, line: Line, session: Session) -> None:
        """Say to the peer what the protocol says once the session is open; `line.resumed` is whether a call goes on.

        Has 2 s, before `listen`. The agent may speak already: what has to come first is for the output's `attach`.

        Raises:
            PeerLeft: The peer has left.
        """
        del peer, line, session

    @abstractmethod
    async def listen(self, peer: Peer, line: Line, session: Session) -> None:
        """Take the peer's messages until it hangs up or leaves: audio, keys, typed text, reports of what it played.

        When this returns the desk calls `PushSource.end`, so that the last words are still answered. Cancelled when the
        session ends.

        Raises:
            Refused: A message is malformed or exceeds a limit; the connection is closed with the refusal's code.
        """

    async def finish(self, peer: Peer, line: Line, session: Session) -> None:
        """Say good-bye by protocol, after the session has ended and before the connection is closed.

        Has 2 s. `session.result` is what `Session.end` was given, e.g. a `Transfer`.
        """
        del peer, line, session

    async def restarts(self, peer: Peer, line: Line, session: Session) -> None:
        """Say good-bye because the server restarts, in place of `finish`: the peer may connect again, elsewhere."""
        await self.finish(peer, line, session)
