"""The transport for clients of OpenAI's Realtime protocol.

Rule 1: a client shows a key before its connection is accepted; without any key it must be on this machine.
Rule 2: the client's first message decides about formats, voice and tools, so that the session begins with them.

Source: OpenAI's guide "Realtime API with WebSocket", read 2026-11-30; and the `openai` package 3.57.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

import anyio
from starlette.routing import Route

from voicepipe.audio.source import PushSource
from voicepipe.core.call_settings import CallSettings
from voicepipe.core.clock import loop_time
from voicepipe.errors import ConfigurationError
from voicepipe.serving.realtime import server_events as say
from voicepipe.serving.realtime.client_events import Rejected, UpdateSession, read_event
from voicepipe.serving.realtime.conversation import Conversation
from voicepipe.serving.realtime.keys import Keys
from voicepipe.serving.realtime.line import RealtimeLine, Wire
from voicepipe.serving.realtime.requests import Requests
from voicepipe.serving.realtime.settings import ALLOWABLE, Settings, updated
from voicepipe.serving.realtime.voice import RealtimeText, RealtimeVoice
from voicepipe.serving.transport import Refused, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from starlette.requests import HTTPConnection, Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from voicepipe.core.context import Fact
    from voicepipe.serving.desk import Desk
    from voicepipe.serving.realtime.settings import Allowable
    from voicepipe.serving.transport import Line, Peer
    from voicepipe.session.session import Session

__all__ = ["Realtime"]

SETTINGS_S: Final = 0.5
"""How long the agent waits for the client's first `session.update`; a client that sends something else starts it."""

BETA: Final = (
    "this server speaks the Realtime protocol of 2025-08 and later; leave out the header OpenAI-Beta: realtime=v1, "
    "and use the events that are named response.output_audio.*"
)


class Realtime(Transport):
    """Clients of OpenAI's Realtime protocol, such as the `openai` package and `openai-agents`, talk to the agent.

    Realtime(key="sk-of-your-own")
    client = openai.AsyncOpenAI(api_key="sk-of-your-own", base_url="https://agent.example/v1")

    docs/realtime.md says which events are supported. What the client sets of prompt, tools, voice and model is left out
    unless `allow` names it: a public server whose prompt can be replaced is a free model for everybody.

    Args:
        key: The key that clients show, in place of OpenAI's.
        keys: Several keys.
        authenticate: A function of the key that returns what is known about its owner (the facts of the session), or
            None if the key is unknown; async or not.
        path: Where the websocket is.
        allow: What the client may set: "instructions" replaces the agent's system prompt, "tools" adds functions that
            the client runs, "voice" names another voice.
        tool_s: How long the client may take to run one of its functions.

    Without a key the server takes calls from this machine only, unless `Serve` has an authenticator and origins.

    Raises:
        ConfigurationError: An argument is invalid.
    """

    name = "realtime"
    subprotocol = "realtime"
    most_message_bytes = 1024 * 1024  # audio of more than 256 KiB is answered with an error; the rest is for a schema
    most_messages_per_s = 200.0

    def __init__(
        self,
        *,
        key: str | None = None,
        keys: Iterable[str] = (),
        authenticate: Callable[[str], Any] | None = None,
        path: str = "/v1/realtime",
        allow: AbstractSet[Allowable] = frozenset(),
        tool_s: float = 30.0,
    ) -> None:
        if isinstance(keys, str):
            raise ConfigurationError("Realtime: keys is a list of keys; write key=... for one")
        self._keys = Keys([*keys, *([] if key is None else [key])], authenticate)
        if unknown := set(allow) - ALLOWABLE:
            raise ConfigurationError(
                f"Realtime: allow names {', '.join(sorted(unknown))}; it may name {', '.join(sorted(ALLOWABLE))}"
            )
        if not path.startswith("/"):
            raise ConfigurationError(f'Realtime: path begins with "/", unlike {path!r}')
        if not 0 < tool_s <= 300:
            raise ConfigurationError(f"Realtime: tool_s must be seconds, at most 300, not {tool_s!r}")
        self.path = path
        self.allow = frozenset(allow)
        self.tool_s = tool_s
        self.proof = "a key" if self._keys.are_asked_for else ""

    def proven_by(self, desk: Desk) -> str:
        """Return what proves who calls: a key, or what proves the callers of a page."""
        return self.proof or desk.browser_proof

    # --- at the door --------------------------------------------------------------------------------------------------

    async def check(self, request: HTTPConnection, desk: Desk) -> Mapping[str, Fact]:
        """Check the key. See `Transport.check`."""
        if "realtime=v1" in request.headers.get("openai-beta", ""):
            raise Refused("beta", BETA, status=400, code=4400)
        if not self.proof:
            if "origin" in request.headers:
                desk.check_origin(request)
            return await desk.identify(request)
        return await self._keys.check(request, desk, self.name)

    def routes(self, desk: Desk) -> Sequence[BaseRoute]:
        """Return the route that issues a key for one connection, to who has a key. See `Transport.routes`."""

        async def issue(request: Request) -> Response:
            return await self._keys.issue(request, desk, self)

        return [Route(f"{self.path}/client_secrets", issue, methods=["POST"])] if self.proof else []

    # --- the call -----------------------------------------------------------------------------------------------------

    async def start(self, peer: Peer, desk: Desk) -> Line:
        """Send `session.created`, and take the settings that the client begins with. See `Transport.start`."""
        del desk
        wire, chosen = Wire(peer), Settings(session_id=f"sess_{secrets.token_hex(12)}")
        await wire.send(say.session_event("session.created", chosen))
        early: str | bytes | None = None
        with anyio.move_on_after(SETTINGS_S):
            early = await peer.receive()
        event = None if early is None else _settings_in(early)
        if event is not None:
            early = None
            try:
                chosen = updated(chosen, event.session, self.allow, is_live=False)
                await wire.send(say.session_event("session.updated", chosen))
            except Rejected as rejected:
                rejected.event_id = event.event_id
                await wire.send(say.error(rejected))
        return self._line(peer, chosen, wire, early)

    def _line(self, peer: Peer, chosen: Settings, wire: Wire, early: str | bytes | None) -> RealtimeLine:
        is_spoken = chosen.modality == "audio"
        output = RealtimeVoice(chosen.output_format.sample_rate) if is_spoken else RealtimeText()
        line = output.line = RealtimeLine(
            source=PushSource(chosen.input_format.sample_rate),
            output=output,
            settings=None if chosen.voice is None else CallSettings(voice=chosen.voice),
            wire=wire,
            chosen=chosen,
            allow=self.allow,
            tool_s=self.tool_s,
            conversation=Conversation(chosen.modality, loop_time),
            early=early,
            resume=peer.resume,
            returns=bool(peer.resume),  # a client that does has done so
        )
        return line

    async def listen(self, peer: Peer, line: Line, session: Session[Any]) -> None:
        """Carry out the client's events until it leaves. See `Transport.listen`."""
        assert isinstance(line, RealtimeLine)  # noqa: S101 - `start` has made it
        assert isinstance(line.source, PushSource)  # noqa: S101
        refused: Refused | None = None
        async with anyio.create_task_group() as tasks:
            requests = Requests(peer, line, line.source, session, tasks)
            try:
                if line.early is not None:
                    await requests.handle(line.early)
                async for message in peer:
                    await requests.handle(message)
            except Refused as error:
                refused = error  # raised outside of the group, which would wrap it
            finally:
                line.calls.hang_up()
            tasks.cancel_scope.cancel()
        if refused is not None:
            raise refused


def _settings_in(message: str | bytes) -> UpdateSession | None:
    """Return the settings in a client's first message; None if it is something else."""
    try:
        event = read_event(message)
    except Rejected:
        return None
    return event if isinstance(event, UpdateSession) else None
