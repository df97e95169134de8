"""Telephone networks whose webhook the application answers itself, and whose streams it lets in one by one.

Rule 1: a stream needs a token that is valid once, for 30 s. The application gets it after it has checked the
        network's webhook, and has the network pass it on.
Rule 2: what the application said about the call is kept with the token, and does not travel.
Rule 3: a call whose stream breaks goes on over a further one, if the application asks for its token.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

from voicepipe.audio.source import PushSource
from voicepipe.core.log import Personal
from voicepipe.errors import ConfigurationError
from voicepipe.serving.between import RETURNS, Between
from voicepipe.serving.telephony import MarkedOutput, TelephoneLine, TelephoneTransport, begin
from voicepipe.serving.transport import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from voicepipe.core.context import Fact
    from voicepipe.serving.desk import Desk
    from voicepipe.serving.telephony import LineProtocol
    from voicepipe.serving.transport import Line, Peer
    from voicepipe.session.session import Session

__all__ = ["StreamTransport"]


class StreamTransport(TelephoneTransport):
    """Base class of transports over networks whose webhook the application answers; subclasses name the protocol.

    The call's facts are those of `admit`, what else the network passes on, and `call_id` and `stream_id` where it has
    them. Keys reach the session.

    Args:
        path: Where the websocket is; "/" and the network's name by default.
        after: Gets the session when the agent has ended it, before the connection is closed, to hang up or to transfer
            the call by the network's REST interface: `session.facts["call_id"]` and `session.result` say which and
            where. Has 2 s. May be async. It is not called for a call that goes on over a further stream.

    Raises:
        ConfigurationError: The path is invalid.
    """

    proof = "a token that the application gives the network"
    start_proves = True
    most_message_bytes = 65_536
    protocol_class: ClassVar[type[LineProtocol]]

    def __init__(self, *, path: str | None = None, after: Callable[[Session[Any]], object] | None = None) -> None:
        self.path = f"/{self.name}" if path is None else path
        if not self.path.startswith("/") or self.path.endswith("/") or "?" in self.path:
            raise ConfigurationError(f'{type(self).__name__}: path must be like "/{self.name}", not {path!r}')
        self._after = after
        self._between = Between(self.name)

    async def admit(self, desk: Desk, facts: Mapping[str, Fact]) -> str:
        """Return the token with which one stream may connect in the next 30 s: letters and digits.

        Args:
            desk: `Serve.desk`.
            facts: What the application knows about the call from the network's webhook, which it has checked.

        Raises:
            Refused: The server takes no call now; answer the webhook so that the caller hears that the line is busy.
        """
        if refused := desk.why_closed():
            raise refused
        return await self._token(desk, facts)

    async def admit_again(self, desk: Desk, call_id: str, facts: Mapping[str, Fact] | None = None) -> str | None:
        """Return the token for a further stream of a call whose stream has ended; None if nothing comes after it.

        For the webhook that the network asks, or informs, when a stream has ended. The call goes on with what was
        heard, at whichever worker gets the further stream, if the server has a store. None says that the agent has
        ended the call, that its record is gone, or that four streams broke off within 10 s of one another.

        Args:
            desk: `Serve.desk`.
            call_id: The fact `call_id` of the call.
            facts: What the application knows about the call; the facts of `admit` go on as well.

        Raises:
            Refused: The server takes no call now. Let the caller wait for a second, and ask again.
        """
        has_ended, _ = await self._between.take(call_id, desk.store)
        if desk.store is None or has_ended or not await self._between.goes_on(call_id, desk.store):
            return None
        if refused := desk.why_closed():
            raise refused
        if not await self._between.may_return(call_id, desk.store):
            return None
        return await self._token(desk, {**(facts or {}), RETURNS: call_id})

    async def _token(self, desk: Desk, facts: Mapping[str, Fact]) -> str:
        token = await desk.tokens.issue(self.name, facts)
        return token.encode().hex()  # some networks pass on nothing else

    async def start(self, peer: Peer, desk: Desk) -> Line:
        """Wait for the network's first message, and take its token. See `Transport.start`."""
        protocol = self.protocol_class()
        started = await begin(peer, protocol)
        parameters: dict[str, Fact] = {name: Personal(value) for name, value in started.parameters.items()}
        facts = dict(await desk.tokens.redeem(self.name, _token_of(str(parameters.pop("token", "")))))
        returns = facts.pop(RETURNS, "")
        if returns and returns != started.call_id:
            raise Refused("token", "the token is that of another call", status=401, code=4401)
        ids = {"call_id": started.call_id, "stream_id": started.stream_id}
        return TelephoneLine(
            source=PushSource(protocol.sample_rate),
            output=MarkedOutput(peer, protocol),
            facts={**parameters, **facts, **{name: value for name, value in ids.items() if value}},
            id=started.call_id or None,
            protocol=protocol,
            resume_call=str(returns) if started.call_id else None,
            store=desk.store,
        )

    async def restarts(self, peer: Peer, line: Line, session: Session) -> None:
        """End the stream of a call, which goes on over another one if its record is kept. See `Transport.restarts`."""
        if not line.is_handed_over:
            await self.finish(peer, line, session)

    async def finish(self, peer: Peer, line: Line, session: Session) -> None:
        """Let the application hang up or transfer. See `Transport.finish`."""
        del peer
        if isinstance(line, TelephoneLine) and not line.has_ended:
            await self._between.note(session.id, None, line.store)
        if self._after is not None:
            running = self._after(session)
            if inspect.isawaitable(running):
                await running


def _token_of(shown: str) -> str:
    try:
        return bytes.fromhex(shown).decode()
    except ValueError:
        return ""
