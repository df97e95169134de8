"""One call, from the transport's first messages to the close.

Rule 1: whatever happens to it, a call ends with a close code, and concerns no other call.
Rule 2: what is certain about the peer wins over what the peer says.
Rule 3: a call with a record whose peer has lost its connection, or whose server stops, is sealed before it ends: from
        that snapshot another process goes on. A call that ends in any other way is over.
"""

from __future__ import annotations

import inspect
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.audio.source import PushSource
from voicepipe.call_events import CallMoved
from voicepipe.core.clock import loop_time
from voicepipe.core.failures import for_log
from voicepipe.core.log import log
from voicepipe.core.waits import wait_any
from voicepipe.errors import VoicepipeError
from voicepipe.serving.metering import MeteredPeer
from voicepipe.serving.refusal import PeerLeft, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from voicepipe.core.context import Fact
    from voicepipe.keeping.record import Record
    from voicepipe.serving.resuming import Keeper, KeptCall
    from voicepipe.serving.transport import Desk, Line, Peer, Transport
    from voicepipe.session.session import Session

    Opens = Callable[[Line, Mapping[str, Fact], KeptCall | None], Awaitable[AbstractAsyncContextManager[Session[Any]]]]

__all__ = ["Call"]

FINISH_S: Final = 2.0
"""How long a transport may take for its first words and for good-bye, and a connection to close."""

LAST_WORDS_S: Final = 30.0
"""How long after a limit of time the agent may still speak."""

RETRY_S: Final = 1.0
"""How long after an attempt to hand a call over there is another one."""

OUR_FAULT: Final = 1011
RESTARTING: Final = 1012
TAKEN_OVER: Final = 4409


class Call:
    """A call that a transport brings.

    Args:
        desk: Where the call is held.
        transport: What it came by.
        peer: The connection.
        opens: Returns the session of a line with these facts, which goes on with the call of a record if it has one.
        keeper: Keeps the records of calls.
        admits: Takes a place for the call, if its transport proves in `start` who calls; raises `Refused` if it cannot.
        on_call: The application's function that accompanies the call; None for nothing.

    Attributes:
        is_unproven: Whether nobody has proven yet who calls.
    """

    def __init__(
        self,
        desk: Desk,
        transport: Transport,
        peer: Peer,
        opens: Opens,
        keeper: Keeper,
        admits: Callable[[Mapping[str, Fact]], AbstractContextManager[None]],
        on_call: Callable[[Session[Any]], object] | None = None,
    ) -> None:
        self._desk = desk
        self._transport = transport
        self._opens = opens
        self._keeper = keeper
        self._admits = admits
        self._on_call = on_call
        self._peer = MeteredPeer(peer, transport, desk.limits)
        self._scope = anyio.CancelScope()
        self._session: Session[Any] | None = None
        self._record: Record | None = None
        self._is_sealed = False
        self._drains, self._must_part = anyio.Event(), anyio.Event()
        self.is_unproven = transport.start_proves
        self._ended_by = ""
        self._code, self._reason = 1000, ""

    async def run(self) -> None:
        """Hold the call to its end."""
        with self._desk.metrics.call(self._transport.name, lambda: self._ended_by):
            try:
                with self._scope:
                    await self._hold()
            finally:
                self._ends("server", RESTARTING, "the server is stopping")  # unless it has ended by itself
                with anyio.CancelScope(shield=True), anyio.move_on_after(FINISH_S):
                    await self._peer.close(self._code, self._reason)

    def cut(self) -> None:
        """End the call at once. Another process may go on with it, if it has a record."""
        self._seal()
        self._scope.cancel()

    def hand_over(self) -> None:
        """Let another process go on with the call between two turns, if it has a record: the server restarts."""
        if self._keeper.hands_over:
            self._drains.set()

    def part(self) -> None:
        """End the call, because the server restarts: in mid-turn if another process can go on, else after the reply."""
        if self._session is None:
            self.cut()
        elif self._record is not None and self._keeper.hands_over:
            self._drains.set()
            self._must_part.set()
        else:
            self._end_after_reply(self._session)

    async def let_go(self) -> None:
        """End the call because its caller has come back on another connection; return once its record is kept."""
        self._ends("moved", TAKEN_OVER, "taken over")
        if self._session is None or self._record is None:
            self.cut()
            return
        self._seal()
        self._session.end()
        await self._record.wait_kept()

    def _seal(self) -> None:
        """Let the caller go on elsewhere from what is true now, if the call has a record."""
        if self._session is not None and self._record is not None:
            self._is_sealed = self._record.seal()

    def _end_after_reply(self, session: Session[Any]) -> None:
        self._ends("server", RESTARTING, "the server is restarting")
        session.end(after_reply=True)

    async def _hold(self) -> None:
        try:
            with anyio.fail_after(self._desk.limits.start_s):
                line = await self._transport.start(self._peer, self._desk)
        except PeerLeft:
            self._ends("caller")
        except Refused as refused:
            self._refuse(refused)
        except TimeoutError:
            self._refuse(Refused("start", "the first messages took too long", code=4408))
        except Exception as error:  # noqa: BLE001 - a transport may raise anything, and only its call ends
            self._fails(error)
        else:
            await self._begin(line)

    async def _begin(self, line: Line) -> None:
        try:
            with self._admits({**line.facts, **self._peer.facts}) if self.is_unproven else nullcontext():
                self.is_unproven = False
                await self._converse(line)
        except Refused as refused:
            self._refuse(refused)

    async def _converse(self, line: Line) -> None:
        facts = {**line.facts, **self._peer.facts, "transport": self._transport.name}
        session: Session[Any] | None = None
        try:
            async with (
                self._keeper.keeping(line, facts, self._transport.name, self.let_go) as kept,
                await self._opens(line, facts, kept) as session,
            ):
                self._session, self._record = session, kept.record if kept else None
                await self._talk(line, session)
        except Exception as error:  # noqa: BLE001 - parts of the application may raise anything; only this call ends
            self._fails(error)
        self._ends("agent")
        self._desk.metrics.dropped("source", line.source.dropped_s)
        if session is not None and self._has_peer:
            with anyio.move_on_after(FINISH_S):
                say_bye = self._transport.restarts if self._code == RESTARTING else self._transport.finish
                await self._safely(say_bye(self._peer, line, session))

    @property
    def _has_peer(self) -> bool:
        """Whether there is a peer to say good-bye to: it may have come back elsewhere, or be about to."""
        return self._ended_by != "moved" and not self._is_sealed

    async def _talk(self, line: Line, session: Session[Any]) -> None:
        """Listen, speak and keep the limits until the session has ended."""
        note = self._desk.metrics.observer()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, line, session)
            tasks.start_soon(self._keep_time, session)
            if self._record is not None:
                tasks.start_soon(self._hand_over, line, session, self._record)
            if self._on_call is not None:
                tasks.start_soon(self._accompany, self._on_call, session)
            async for event in session:
                note(event)
                if isinstance(event, CallMoved):
                    self._ends("moved", TAKEN_OVER, "taken over")
            tasks.cancel_scope.cancel()

    async def _hand_over(self, line: Line, session: Session[Any], record: Record) -> None:
        """Once the server drains, end the call here as soon as its record is kept and it is between two turns."""
        await (self._drains if line.returns else self._must_part).wait()
        while not await self._is_handed_over(line, record):
            if self._must_part.is_set():  # and no other process can go on
                self._end_after_reply(session)
                return
            with anyio.move_on_after(RETRY_S):
                await self._must_part.wait()
        line.is_handed_over = True
        self._ends("server", RESTARTING, "the server is restarting")
        session.end()

    async def _is_handed_over(self, line: Line, record: Record) -> bool:
        hurries = self._must_part if line.returns else anyio.Event()  # a peer that may be lost hears the reply first
        while not hurries.is_set():
            await wait_any(record.wait_quiet, hurries.wait)
            await wait_any(self._keeper.wait_slot, hurries.wait)
            if record.is_quiet:
                break
        return await record.hand_over(in_mid_turn=hurries.is_set())

    async def _listen(self, line: Line, session: Session[Any]) -> None:
        try:
            with suppress(PeerLeft):
                with anyio.move_on_after(FINISH_S):
                    await self._transport.begun(self._peer, line, session)
                await self._transport.listen(self._peer, line, session)
        except Refused as refused:
            self._refuse(refused)
            session.end()
        except Exception as error:  # noqa: BLE001 - a fault of the transport ends its call alone
            self._fails(error)
            session.end()
        else:
            self._ends("caller")
            if self._peer.has_broken and self._record is not None:
                self._seal()
                session.end()
            elif isinstance(line.source, PushSource):
                line.source.end()  # what was said before is still answered
            else:
                session.end()

    async def _keep_time(self, session: Session[Any]) -> None:
        """Close the call of a peer that has sent nothing for long, and end one that has lasted for long."""
        limits, began_s = self._desk.limits, loop_time()
        while (now := loop_time()) < began_s + limits.call_s:
            if now >= self._peer.last_s + limits.idle_s:
                self._seal()  # a network that is gone sends nothing
                self._refuse(Refused("idle", f"nothing came for {limits.idle_s:g} s", code=4408))
                session.end()
                return
            await anyio.sleep_until(min(self._peer.last_s + limits.idle_s, began_s + limits.call_s))
        self._ends("limit")
        session.say(limits.call_text)
        session.end(after_reply=True)
        await anyio.sleep(LAST_WORDS_S)
        session.end()

    async def _accompany(self, on_call: Callable[[Session[Any]], object], session: Session[Any]) -> None:
        try:
            running = on_call(session)
            if inspect.isawaitable(running):
                await running
        except Exception as error:  # noqa: BLE001 - the application may raise anything
            self._fails(error)
            session.end()

    async def _safely(self, saying: Any) -> None:  # noqa: ANN401 - a coroutine of a transport
        try:
            await saying
        except PeerLeft:
            pass
        except Exception as error:  # noqa: BLE001 - what a transport says last cannot fail the call
            log.warning("%s could not say good-bye: %s", self._transport.name, type(error).__name__)

    # --- how it ended: what is noted first counts ---------------------------------------------------------------------

    def _ends(self, by: str, code: int = 1000, reason: str = "") -> None:
        if not self._ended_by:
            self._ended_by, self._code, self._reason = by, code, reason

    def _refuse(self, refused: Refused) -> None:
        self._desk.note_refusal(self._transport, refused, self._peer.address)
        self._ends("refused", refused.code, refused.message)

    def _fails(self, error: Exception) -> None:
        if isinstance(error, VoicepipeError):
            log.error("a call by %s failed: %s", self._transport.name, for_log(error))
        else:
            log.error("a call by %s failed", self._transport.name, exc_info=error)
        self._ends("error", OUR_FAULT, "the server failed")
