"""One call of a client: the settings that hold, and what is sent when something happens in the session.

Rule 1: `Conversation` says what to send; this module carries out, and knows the session.
Rule 2: events are sent in the order in which they were made, whichever task made them.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.events import ToolStarted, TurnEnded, TurnStarted
from voicepipe.floor_events import Paused, Resumed
from voicepipe.flow import Transcript
from voicepipe.history import AssistantMessage, UserMessage
from voicepipe.serving.realtime import server_events as say
from voicepipe.serving.realtime.client_events import Rejected
from voicepipe.serving.realtime.client_tools import ClientCalls, ClientTool
from voicepipe.serving.realtime.settings import updated
from voicepipe.serving.resumption import NEW_CALL
from voicepipe.serving.transport import Line

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from voicepipe.events import Event
    from voicepipe.history import Message
    from voicepipe.serving.realtime.client_events import FunctionTool, UpdateSession
    from voicepipe.serving.realtime.conversation import Conversation
    from voicepipe.serving.realtime.items import Item
    from voicepipe.serving.realtime.server_events import ServerEvent
    from voicepipe.serving.realtime.settings import Settings
    from voicepipe.serving.transport import Peer
    from voicepipe.session.session import Session

__all__ = ["RealtimeLine", "Wire"]

MOST_PUT_IN: Final = 1_000
"""Messages that a client may put into the history, which forgets none by itself."""


class Wire:
    """Sends events to one client, one after another.

    Args:
        peer: The client.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._waiting: deque[ServerEvent] = deque()
        self._lock = anyio.Lock()
        self._sent = 0

    async def send(self, *events: ServerEvent) -> None:
        """Send events after those that wait."""
        self._waiting.extend(events)
        async with self._lock:
            while self._waiting:
                self._sent += 1
                event = {"event_id": f"event_{self._sent}", **self._waiting.popleft()}
                await self._peer.send(json.dumps(event, separators=(",", ":")))


@dataclass(kw_only=True)
class RealtimeLine(Line):
    """A call of a client of the Realtime protocol.

    Attributes:
        wire: Sends to the client.
        chosen: The settings that hold.
        allow: What the client may choose.
        calls: The calls that the client answers.
        conversation: The call in the protocol's words.
        session: The session; None before it begins.
        early: A message that came before the session, and is not answered yet.
        tools: The client's tools that the session has.
        messages: What the history holds of each turn that has ended.
        typed: What the client has typed and no response was asked for, by item.
        was_cut: Whether the client has silenced the newest response already.
        goes_on: Whether the client wants the reply to its outputs before the response with the calls has ended.
    """

    wire: Wire
    chosen: Settings
    allow: AbstractSet[str]
    tool_s: float
    conversation: Conversation
    session: Session[Any] | None = None
    early: str | bytes | None = None
    calls: ClientCalls = field(init=False)
    tools: tuple[FunctionTool, ...] = ()
    messages: dict[int, list[Message]] = field(default_factory=dict[int, "list[Message]"])
    typed: dict[str, UserMessage] = field(default_factory=dict[str, UserMessage])
    was_cut: bool = False
    goes_on: bool = False
    _put_in: dict[str, Message] = field(default_factory=dict[str, "Message"])  # by item
    _is_paused: bool = False
    _known: set[int] = field(default_factory=set[int])

    def __post_init__(self) -> None:
        """Make what needs the line itself."""
        self.calls = ClientCalls(self.tool_s, self._calls_end)

    # --- the settings -------------------------------------------------------------------------------------------------

    async def begin(self, session: Session[Any]) -> None:
        """Let the settings that came before the session take effect in it, and say whether the call goes on."""
        self.session = session
        if self.resumed.is_resumed and self.chosen.instructions is None:  # else the client has already sent its own
            self.chosen = replace(self.chosen, instructions=session._row.router.system)
        if self.resumed != NEW_CALL:
            self.chosen = replace(self.chosen, resumed=self.resumed)
            await self.wire.send(say.session_event("session.updated", self.chosen))
        self._known = set(map(id, session.history))
        self.conversation.caller.has_detection = self.chosen.detection is not None
        try:
            self._apply(session)
        except Rejected as rejected:
            self.chosen = replace(self.chosen, tools=())
            self._apply(session)
            await self.wire.send(say.error(rejected), say.session_event("session.updated", self.chosen))

    async def update(self, event: UpdateSession) -> None:
        """Change settings, and report those that hold.

        Raises:
            Rejected: A setting cannot hold; then nothing changes.
        """
        before = self.chosen
        self.chosen = updated(before, event.session, self.allow, is_live=self.session is not None)
        if self.session is not None:
            try:
                self._apply(self.session)
            except Rejected:
                self.chosen = before
                raise
        self.conversation.caller.has_detection = self.chosen.detection is not None
        await self.wire.send(say.session_event("session.updated", self.chosen))

    def _apply(self, session: Session[Any]) -> None:
        before, wanted = self._tool_names, self.chosen.tools
        for one in wanted:
            if one.name in session.tools and one.name not in before:
                raise Rejected("tool_exists", f"the agent has a tool {one.name} of its own", param="session.tools")
        if "instructions" in self.allow:
            session._row.router.system = self.chosen.instructions
        if wanted != self.tools:  # a tool that was replaced by an equal one could not be run any more
            session.tools.remove(*before)
            session.tools.add(*(ClientTool(one, self.calls) for one in wanted))
            self.tools = wanted

    @property
    def _tool_names(self) -> list[str]:
        return [one.name for one in self.tools]

    # --- what happens in the session ----------------------------------------------------------------------------------

    def noted(self, event: Event) -> None:
        """Note what has to be looked at in the very step in which it happens."""
        assert self.session is not None  # noqa: S101 - nothing happens before it begins
        if isinstance(event, TurnEnded):
            new = [message for message in self.session.history if id(message) not in self._known]
            self.messages[event.turn_id], self._is_paused = new, False
            self._known.update(map(id, new))
        elif isinstance(event, Transcript):
            for item_id, message in self.typed.items():  # the caller speaks now; this is what they have typed before
                self.put_in(item_id, message)
            self.typed.clear()
        elif isinstance(event, (Paused, Resumed)):
            self._is_paused = isinstance(event, Paused)

    async def happened(self, event: Event) -> None:
        """Send what an event of the session means, in the order of the audio."""
        events = self.conversation.happened(event)
        if isinstance(event, TurnStarted):
            self.was_cut = False
        elif isinstance(event, ToolStarted) and event.name in self._tool_names:
            arguments = self._arguments(event.call_id)
            events += self.conversation.called(event.turn_id, event.call_id, event.name, arguments)
            self.calls.announced(event.call_id)
        elif isinstance(event, TurnEnded):
            self.goes_on = False
            self.calls.go_on(event.turn_id)
        await self.wire.send(*events)

    async def spoke(self, turn_id: int, pcm: bytes) -> None:
        """Send audio of the agent."""
        chosen = self.chosen.output_format
        seconds = len(pcm) / 2 / chosen.sample_rate
        await self.wire.send(*self.conversation.spoke(turn_id, seconds, chosen.encoded(pcm)))

    # --- what the client does to the conversation ---------------------------------------------------------------------

    def check_room(self) -> None:
        """Check that the client may put another message into the history.

        Raises:
            Rejected: It has put in too many.
        """
        if len(self._put_in) >= MOST_PUT_IN:
            raise Rejected("too_many_items", f"a client puts at most {MOST_PUT_IN} messages into the conversation")

    def put_in(self, item_id: str, message: Message) -> None:
        """Put a message into the history that no turn has made."""
        assert self.session is not None  # noqa: S101 - the client's events are carried out in it
        self.session.history.append(message)
        self._known.add(id(message))
        self._put_in[item_id] = message

    def drop_rest(self, item: Item, heard_s: float) -> None:
        """Note that the client plays no more of an item than up to this second of its turn.

        A reply that goes on is interrupted: the client has done so.
        """
        assert self.session is not None  # noqa: S101 - the client's events are carried out in it
        response = self.conversation.response
        if response is not None and response.turn_id == item.turn_id and not self._is_paused:
            self.conversation.cancels()
            self.session.interrupt()
            self.was_cut = True
        self.session.correct_heard(item.turn_id, heard_s)
        text: str | None = None
        if (messages := self.messages.get(item.turn_id)) is not None:
            text = " ".join(one.heard for one in messages if isinstance(one, AssistantMessage) and one.heard)
        self.conversation.heard(item, heard_s, text)

    def forget(self, item: Item) -> list[ServerEvent]:
        """Take an item out of the conversation, with everything that the agent said in the same turn.

        Raises:
            Rejected: Its turn goes on, or it is a function call.
        """
        assert self.session is not None  # noqa: S101 - the client's events are carried out in it
        history, items = self.session.history, self.conversation.items
        if item.kind != "message":
            raise Rejected("unsupported", "calls and their outputs stay with the reply", param="item_id")
        if item.turn_id and item.turn_id not in self.messages:
            raise Rejected("item_in_use", "the turn of this item goes on", param="item_id")
        if self.typed.pop(item.id, None) is None and (message := self._put_in.pop(item.id, None)) is not None:
            history.discard(message)
            self._known.discard(id(message))
        for message in self.messages.get(item.turn_id, ()):
            if isinstance(message, AssistantMessage) == item.is_spoken:
                history.discard(message)
        gone = items.of_turn(item.turn_id) if item.is_spoken else [item]
        for one in gone:
            items.remove(one)
        return [say.item_deleted(one.id) for one in gone]

    # --- functions of the client --------------------------------------------------------------------------------------

    async def _calls_end(self, turn_id: int) -> None:
        events = self.conversation.calls_end(turn_id)
        if events and self.goes_on:
            events += self.go_on(turn_id)
        await self.wire.send(*events)

    def go_on(self, turn_id: int) -> list[ServerEvent]:
        """Let a turn go on with what the client's functions brought."""
        self.goes_on = False
        self.calls.go_on(turn_id)
        return self.conversation.go_on(turn_id)

    def _arguments(self, call_id: str) -> str:
        assert self.session is not None  # noqa: S101 - a tool has been called in it
        replies = (message for message in self.session.history if isinstance(message, AssistantMessage))
        return next((call.arguments for reply in replies for call in reply.calls if call.call_id == call_id), "{}")
