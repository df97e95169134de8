"""The desk of a server: lets peers in, holds their calls, and ends them when the server stops.

Rule 1: the order at the door is draining, full, loop lag, rate; then the transport looks at origin or signature, then
        at a token. A refusal costs no session and no vendor's socket.
Rule 2: who calls is known from the application's authenticator or the transport's proof, and from nowhere else.
"""

from __future__ import annotations

import inspect
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import anyio

from voicepipe.audio.remote.shared_tick import current_beat
from voicepipe.core.clock import loop_time
from voicepipe.core.log import log
from voicepipe.errors import ConfigurationError
from voicepipe.model.tool_router import ToolRouter
from voicepipe.serving.call import Call
from voicepipe.serving.door import Door
from voicepipe.serving.limits import Limits
from voicepipe.serving.metrics import Metrics
from voicepipe.serving.origins import (
    checked_origins,
    checked_sockets,
    checked_url,
    is_loopback,
    is_own_page,
    is_passed_on,
)
from voicepipe.serving.refusal import Refused
from voicepipe.serving.resuming import Keeper
from voicepipe.serving.tokens import Tokens
from voicepipe.serving.transport import Desk
from voicepipe.session.label import label_of
from voicepipe.session.snapshot import prepare_reading
from voicepipe.session.wiring import hearing_rate, hearing_stages, voice_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from starlette.requests import HTTPConnection

    from voicepipe.core.context import Fact
    from voicepipe.keeping.store import Store
    from voicepipe.serving.resuming import KeptCall
    from voicepipe.serving.transport import Line, Peer, Transport
    from voicepipe.session.pipeline import Host, Pipeline
    from voicepipe.session.session import Session

__all__ = ["Desk", "FrontDesk", "voice_of"]

CUT_S: Final = 5.0
"""How long calls may take to end when they are cut: 3 s for the session, 2 s for the connection."""

SETTLE_S: Final = 2.0
"""For how long a server that has just begun may be late: its first calls load what they need."""

MOST_UNPROVEN: Final = 100
"""Peers that may be about to prove who they are, or more if there are more places."""

LAST_REPLY_S: Final = 30.0
"""How long the calls that a drain has left may take for their present reply."""


class FrontDesk(Desk):
    """The desk of one server; its arguments are those of `Serve`.

    Attributes:
        agent: The pipeline; another one takes effect when the desk is opened.
        hands_over: Whether another process goes on with calls that have a record when this one drains. Otherwise they
            go on here, as long as the drain lasts.
    """

    def __init__(
        self,
        agent: Pipeline[Any],
        transports: Sequence[Transport],
        *,
        greeting: str = "",
        origins: Iterable[str] = (),
        socket_origins: Iterable[str] = (),
        authenticate: Callable[[HTTPConnection], Any] | None = None,
        limits: Limits | None = None,
        public_url: str | None = None,
        deps: Callable[[Mapping[str, Fact]], Any] | None = None,
        on_call: Callable[[Session[Any]], Any] | None = None,
        store: Store | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.tokens = Tokens(valid_s=self.limits.token_s, most=self.limits.tokens, store=store)
        self.hearing_rate = hearing_rate(hearing_stages(agent.parts))
        self.voice_rate = voice_of(agent.parts).sample_rate
        self._greeting = greeting
        self._on_call = on_call
        self.agent = agent
        self.hands_over = True
        self._transports = transports
        self.origins = checked_origins(origins)
        self.socket_origins = checked_sockets(socket_origins)
        self.store = store
        self._authenticate = authenticate
        self._public_url = checked_url(public_url)
        self._deps = deps
        self._door = Door(self.limits)
        self._host: Host[Any] | None = None
        self._calls: set[Call] = set()
        self._change = anyio.Event()  # set when a call ends
        self._complaints: set[str] = set()
        tools = [name for part in agent.parts if isinstance(part, ToolRouter) for name in part.tools]
        self.metrics = Metrics(self._door, [transport.name for transport in transports], tools)
        self._keeper = Keeper(store, self.limits, self.metrics)

    @property
    def is_open(self) -> bool:
        """Whether calls can be held: the server's lifespan runs."""
        return self._host is not None

    @property
    def is_draining(self) -> bool:
        """Whether no further call is let in, because the server will stop."""
        return self._door.is_draining

    @property
    def calls(self) -> int:
        """How many calls there are at present."""
        return self._door.calls

    @property
    def lag_s(self) -> float:
        """How late the event loop is: 99 of 100 ticks of the last 10 s were less late, in seconds."""
        return self._door.lag.p99_s(loop_time())

    def keep_in(self, store: Store) -> None:
        """Keep calls and tokens in this store from the next opening on, in place of that of `Serve(store=...)`."""
        self.store = store
        self.tokens = Tokens(valid_s=self.limits.token_s, most=self.limits.tokens, store=store)
        self._keeper = Keeper(store, self.limits, self.metrics)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Open the pipeline and the transports; calls that are left at the end are cut.

        Raises:
            ConfigurationError: The desk is open already.
            VoicepipeError: A part could not be opened.
        """
        if self.is_open:
            raise ConfigurationError("this server runs already; its lifespan can be entered once at a time")
        beat, lag = current_beat(), self._door.lag
        async with AsyncExitStack() as stack:
            if self.store is not None:
                prepare_reading()
                await stack.enter_async_context(self.store.open())
            host = await stack.enter_async_context(self.agent.open())
            settled_s = loop_time() + SETTLE_S

            def on_tick(_: int) -> None:
                if (now := loop_time()) >= settled_s:
                    lag.note(now, beat.late_s)

            stack.enter_context(beat.joined(on_tick))
            self._host = host
            self._door.is_draining = False
            try:
                for transport in self._transports:
                    await stack.enter_async_context(transport.open(self))
                yield
            finally:
                self._door.is_draining = True
                with anyio.CancelScope(shield=True):
                    await self.cut()
                self._host = None

    # --- at the door --------------------------------------------------------------------------------------------------

    def why_closed(self) -> Refused | None:
        """See `Desk.why_closed`."""
        self._require_open()
        return self._door.why_closed(loop_time())

    def why_not_ready(self) -> Refused | None:
        """Return why no call could begin for a while, for a balancer; None if one could."""
        if not self.is_open:
            return Refused("closed", "the server is not open", status=503)
        return self._door.why_not_ready(loop_time())

    async def let_in(self, transport: Transport, request: HTTPConnection) -> Mapping[str, Fact]:
        """Return what is known about a peer that may call.

        Raises:
            Refused: It may not.
            ConfigurationError: The lifespan of the server does not run.
        """
        if refused := self.why_closed():
            raise refused
        self._check_reach(transport, request)
        try:
            with anyio.fail_after(self.limits.start_s):
                facts = await transport.check(request, self)
        except TimeoutError:
            raise Refused("start", "nobody could say in time who calls", status=503, code=4408) from None
        label_of(None, facts)
        return facts

    def admitted(self, facts: Mapping[str, Fact]) -> AbstractContextManager[None]:
        """Count a call for as long as the block lasts; raise `Refused` at its beginning if it is one too many."""
        return self._door.admitted(str(facts.get("subject", "")), loop_time())

    def place_for(self, transport: Transport, facts: Mapping[str, Fact]) -> AbstractContextManager[None]:
        """Count a call as `admitted` does; one that `Transport.start` has to prove gets its place only after that.

        Raises:
            Refused: Too many peers have not proven yet who they are.
        """
        if not transport.start_proves:
            return self.admitted(facts)
        if sum(call.is_unproven for call in self._calls) >= max(MOST_UNPROVEN, self.limits.sessions):
            raise Refused(
                "full", "too many connections have not shown their token yet", status=503, code=1013, retry_s=1.0
            )
        return nullcontext()

    def check_origin(self, request: HTTPConnection) -> None:
        """See `Desk.check_origin`."""
        origin = request.headers.get("origin")
        if origin is None and self._authenticate is not None:
            return
        if origin is not None:
            ports = [(request.scope.get("server") or ("", None))[1], self.place.gateway_port if self.place else None]
            if origin in self.origins or (not self.origins and any(is_own_page(origin, port) for port in ports)):
                return
        raise Refused("origin", "this page may not connect here", code=4403)

    async def identify(self, request: HTTPConnection) -> Mapping[str, Fact]:
        """See `Desk.identify`."""
        if self._authenticate is None:
            return {}
        answer = self._authenticate(request)
        found: Mapping[str, Fact] | None = await answer if inspect.isawaitable(answer) else answer
        if found is None:
            raise Refused("identity", "sign in first", status=401, code=4401)
        return found

    @property
    def browser_proof(self) -> str:
        """See `Desk.browser_proof`."""
        return "origins and an authenticator" if self.origins and self._authenticate is not None else ""

    def public_url(self, request: HTTPConnection) -> str:
        """See `Desk.public_url`."""
        root = str(request.scope.get("root_path", "")).rstrip("/")
        if self._public_url is not None:
            return self._public_url if root and self._public_url.endswith(root) else self._public_url + root
        host, port = request.scope.get("server") or ("", None)
        if self.place is not None:
            if is_loopback(urlsplit(self.place.gateway_url).hostname or ""):
                return self.place.gateway_url
            host = ""
        if not is_loopback(host):
            raise ConfigurationError(
                "this server does not know its public address; write Serve(public_url='https://...')"
            )
        scheme = "https" if request.scope.get("scheme") in ("https", "wss") else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{root}"

    @property
    def most_message_bytes(self) -> int:
        """The size of the largest message that any transport takes."""
        return max(transport.most_message_bytes for transport in self._transports)

    def unproven(self) -> Sequence[Transport]:
        """Return the transports over which anybody may call."""
        return [transport for transport in self._transports if not transport.proven_by(self)]

    def note_refusal(self, transport: Transport, refused: Refused, address: str) -> None:
        """See `Desk.note_refusal`."""
        self.metrics.refused(refused.reason)
        log.info("%s refused %s: %s (%s)", transport.name, address or "a peer", refused.reason, refused.message)

    def _check_reach(self, transport: Transport, request: HTTPConnection) -> None:
        """Refuse peers on other machines, and behind a proxy on this one, where nothing proves who they are."""
        if transport.proven_by(self):
            return
        ends = [(request.scope.get(end) or ("",))[0] for end in ("client", "server")]
        if is_passed_on(request.headers) or any(host and not _is_here(host) for host in ends):
            self._complain(
                f"{transport.name} lets anybody call, so it takes calls from this machine only, and none by a proxy; "
                "give Serve origins=[...] and authenticate=..., or use a transport with a proof of its own"
            )
            raise Refused("proof", "calls from other machines are not taken here")

    def _complain(self, sentence: str) -> None:
        if sentence not in self._complaints:
            self._complaints.add(sentence)
            log.error(sentence)

    def _require_open(self) -> None:
        if not self.is_open:
            raise ConfigurationError(
                "the lifespan of this server does not run, because that of a mounted application never runs by itself; "
                "write FastAPI(lifespan=serve.lifespan), or enter `async with serve.lifespan():` in your own lifespan"
            )

    # --- the calls ----------------------------------------------------------------------------------------------------

    async def hold(self, transport: Transport, peer: Peer) -> None:
        """See `Desk.hold`."""
        try:
            if refused := self.why_closed():
                raise refused
            with self.place_for(transport, peer.facts):
                await self.converse(transport, peer)
        except Refused as refused:
            self.note_refusal(transport, refused, peer.address)
            await peer.close(refused.code, refused.message)

    async def converse(self, transport: Transport, peer: Peer) -> None:
        """Hold the call of an admitted peer to its end."""
        call = Call(self, transport, peer, self._session, self._keeper, self.admitted, self._on_call)
        self._calls.add(call)
        if self.is_draining and self.hands_over:  # it was let in before
            call.hand_over()
        try:
            await call.run()
        finally:
            self._calls.discard(call)
            self._change.set()
            self._change = anyio.Event()  # a new one for all who wait from now on

    async def _session(
        self, line: Line, facts: Mapping[str, Fact], kept: KeptCall | None
    ) -> AbstractAsyncContextManager[Session[Any]]:
        """Return the session of a line; its application's deps are made from the facts."""
        self._require_open()
        assert self._host is not None  # noqa: S101 - checked above
        facts = {**kept.facts, **facts} if kept is not None else facts
        deps = self._deps(facts) if self._deps is not None else None
        if inspect.isawaitable(deps):
            with anyio.move_on_after(self.limits.start_s) as patience:
                deps = await deps
            if patience.cancelled_caught:
                raise ConfigurationError(f"deps of Serve did not return within {self.limits.start_s:g} s")
        return self._host.session(
            source=line.source,
            output=line.output,
            deps=deps,
            facts=facts,
            id=line.id if kept is None else kept.id,
            settings=line.settings,
            greeting=self._greeting if line.greets and not line.resumed.is_resumed else "",
            **(kept.for_session if kept is not None else {}),
        )

    async def wait_empty(self) -> None:
        """Wait until there is no call."""
        while self._calls:
            await self._change.wait()

    async def drain(self, within_s: float) -> None:
        """Let no further call in, and return when all have ended.

        Args:
            within_s: How long calls may go on. Those that are left then end after their present reply, within 30 s.

        Calls that have a record do not go on: each is handed over to another process as soon as it is between two
        turns, one after another, and in mid-turn if it is left then.
        """
        self._door.is_draining = True
        for call in list(self._calls) if self.hands_over else ():
            call.hand_over()
        with anyio.move_on_after(within_s):
            await self.wait_empty()
        for call in list(self._calls):
            call.part()
        with anyio.move_on_after(LAST_REPLY_S):
            await self.wait_empty()

    async def cut(self) -> None:
        """End all calls at once."""
        for call in list(self._calls):
            call.cut()
        with anyio.move_on_after(CUT_S):
            await self.wait_empty()


def _is_here(host: str) -> bool:
    return is_loopback(host) or not any(mark in host for mark in ".:")  # a name such as "testclient" is no address
