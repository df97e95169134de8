"""One call in the words of the Realtime protocol: what happens in the session becomes events for the client. Pure.

Rule 1: once `speech_started` has silenced a client, no audio of that response follows, unless the reply is resumed:
        then it goes on as further audio of the same item.
Rule 2: each response and each item begins and ends once, in the order that stock clients know.
Rule 3: an item ends at what was heard of it, and a turn that was taken back is deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from voicepipe.events import (
    SentenceStarted,
    TurnCompleted,
    TurnEmpty,
    TurnEnded,
    TurnFailed,
    TurnInterrupted,
    TurnStarted,
)
from voicepipe.floor_events import Idle, Paused, Resumed
from voicepipe.flow import CUT_REASONS, FILTER, LIMIT, SpeechEnded, SpeechStarted
from voicepipe.model_events import ModelUsage
from voicepipe.serving.realtime import server_events as say
from voicepipe.serving.realtime.caller import Caller
from voicepipe.serving.realtime.items import Item, Items, Response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from voicepipe.events import Event
    from voicepipe.serving.realtime.server_events import ServerEvent

__all__ = ["Conversation"]

REPLY_FAILED: Final = {
    "type": "server_error",
    "code": "reply_failed",
    "message": "the reply could not be given; the server's log says why",
}


class Conversation:
    """One call; every method returns the events to send, in order.

    Args:
        modality: Whether replies are speech or text.
        now: The loop's clock.

    Attributes:
        items: The items of the conversation.
        response: The response that is being given; None between two.
        turns: How many turns have begun.
        waits_for_client: The turn that waits for the client's `response.create`; 0 for none.
        caller: What the caller says.
    """

    def __init__(self, modality: Literal["audio", "text"], now: Callable[[], float]) -> None:
        self.items = Items()
        self.response: Response | None = None
        self.turns = 0
        self.waits_for_client = 0
        self.caller = Caller(self.items, now)
        self._modality: Literal["audio", "text"] = modality
        self._turn_s = 0.0  # how far the audio of this turn has come
        self._turn_items: list[Item] = []
        self._user_item: Item | None = None  # what this turn answers
        self._typed: Item | None = None  # what the next turn answers
        self._is_audible = self._is_cancelled = False
        self._metadata: Mapping[str, str] | None = None
        self._tokens = (0, 0)

    # --- what the client does -----------------------------------------------------------------------------------------

    def add(self, item: Item) -> list[ServerEvent]:
        """Put an item of the client into the conversation.

        Raises:
            Rejected: There is an item with its id.
        """
        previous = self.items.add(item)
        return [say.item_added(item, previous), say.item_done(item, previous)]

    def answers(self, item: Item) -> None:
        """Note that the next turn answers an item that is in the conversation already."""
        self._typed = item

    def asks(self, metadata: Mapping[str, str] | None) -> None:
        """Note that the next response is one that the client has asked for."""
        self._metadata = metadata

    def cancels(self) -> None:
        """Note that the client has cancelled the response."""
        self._is_cancelled = True

    def heard(self, item: Item, heard_s: float, text: str | None) -> None:
        """Take the client's report of how much of an item's turn was heard.

        Args:
            item: The item.
            heard_s: Seconds of the turn.
            text: What was heard of a turn that has ended; None while it goes on.
        """
        items = self.items.of_turn(item.turn_id)
        for one in items:
            one.cut(heard_s)
        if text is not None:
            _reduce(items, text)

    def go_on(self, turn_id: int) -> list[ServerEvent]:
        """Begin the response to what the client's functions brought."""
        self.waits_for_client = 0
        return self._open(turn_id)

    def nothing_more(self, metadata: Mapping[str, str] | None) -> list[ServerEvent]:
        """Give a response without content: what the client asks about has been answered already."""
        response = Response(
            id=self.items.new_id("resp"), turn_id=0, modality=self._modality, status="completed", metadata=metadata
        )
        opened = {**response.json, "status": "in_progress", "usage": None}
        return [{"type": "response.created", "response": opened}, say.response_event("response.done", response)]

    # --- what happens in the session ----------------------------------------------------------------------------------

    def happened(self, event: Event) -> list[ServerEvent]:
        """Take an event of the session, in the order of the audio."""
        match event:
            case SpeechStarted(at_s=at_s):
                return self.caller.speaks(at_s, is_agent_audible=self._is_audible)
            case SpeechEnded(at_s=at_s):
                return self.caller.stops(at_s)
            case TurnStarted(turn_id=turn_id, user_text=text):
                return self._turn_started(turn_id, text)
            case SentenceStarted(turn_id=turn_id, text=text):
                return self._sentence(turn_id, text)
            case Paused(heard_s=heard_s):
                self._cut(heard_s)
                self._is_audible = False
                return self.caller.report()
            case Resumed(from_s=from_s):
                self._turn_s = from_s
            case ModelUsage(input_tokens=given, output_tokens=made):
                self._count(given, made)
            case TurnEnded():
                return self._turn_ended(event)
            case Idle(silent_s=silent_s):
                return self.caller.is_idle(silent_s)
            case _:
                pass
        return []

    def spoke(self, turn_id: int, seconds: float, encoded: str) -> list[ServerEvent]:
        """Take audio of the agent, as the client gets it."""
        response, item, begun = self._message(turn_id)
        self._is_audible = True
        item.plays(seconds, self._turn_s)
        self._turn_s += seconds
        return [*begun, say.audio_delta(response, item, encoded)]

    def called(self, turn_id: int, call_id: str, name: str, arguments: str) -> list[ServerEvent]:
        """Report that the model calls a function of the client."""
        opened = self._open(turn_id) if self.response is None else []
        assert self.response is not None  # noqa: S101 - it has just been opened
        item = Item(
            id=self.items.new_id(),
            kind="function_call",
            name=name,
            call_id=call_id,
            turn_id=turn_id,
            status="in_progress",
        )
        self.response.items.append(item)
        begun = [say.output_item("added", self.response, item), say.item_added(item, self.items.add(item))]
        item.arguments, item.status = arguments, "completed"
        ended = [say.output_item("done", self.response, item), say.item_done(item, self.items.before(item))]
        return [*opened, *begun, *say.arguments_events(self.response, item), *ended]

    def calls_end(self, turn_id: int) -> list[ServerEvent]:
        """End the response with the function calls of a turn, which waits for the client then."""
        if self.response is None or self.response.turn_id != turn_id or not self.response.has_calls:
            return []
        self.waits_for_client = turn_id
        return self._close("completed", None)

    def _turn_started(self, turn_id: int, text: str) -> list[ServerEvent]:
        events: list[ServerEvent] = []
        self.turns += 1
        self._user_item = None
        if text and self._typed is not None:
            self._user_item = self._typed
        elif text:
            events, self._user_item = self.caller.said(text)
        self._typed = None
        if self._user_item is not None:
            self._user_item.turn_id = turn_id
        self._turn_s, self._turn_items = 0.0, []
        self._is_cancelled = False
        self.waits_for_client = 0
        return [*events, *self._open(turn_id)]

    # --- the agent ----------------------------------------------------------------------------------------------------

    def _open(self, turn_id: int) -> list[ServerEvent]:
        self.response = Response(
            id=self.items.new_id("resp"), turn_id=turn_id, modality=self._modality, metadata=self._metadata
        )
        self._metadata = None
        self._count(0, 0)
        return [say.response_event("response.created", self.response)]

    def _count(self, given: int, made: int) -> None:
        """Count tokens for the response that is given; those that come between two count for the next one."""
        given, made = self._tokens[0] + given, self._tokens[1] + made
        if self.response is None:
            self._tokens = given, made
            return
        self.response.input_tokens += given
        self.response.output_tokens += made
        self._tokens = 0, 0

    def _message(self, turn_id: int) -> tuple[Response, Item, list[ServerEvent]]:
        """Return the message that is being spoken, and what is to be reported if it begins."""
        events: list[ServerEvent] = self._open(turn_id) if self.response is None else []
        assert self.response is not None  # noqa: S101 - it has just been opened
        if (item := self.response.message) is not None:
            return self.response, item, events
        item = Item(id=self.items.new_id(), is_audio=self._modality == "audio", turn_id=turn_id, status="in_progress")
        self.response.items.append(item)
        self._turn_items.append(item)
        events += [
            say.output_item("added", self.response, item),
            say.item_added(item, self.items.add(item)),
            say.content_part("added", self.response, item),
        ]
        return self.response, item, events

    def _sentence(self, turn_id: int, text: str) -> list[ServerEvent]:
        response, item, events = self._message(turn_id)
        delta = f" {text}" if item.text else text
        item.text += delta
        return [*events, say.text_delta(response, item, delta)]

    def _cut(self, heard_s: float) -> None:
        self._turn_s = heard_s
        for item in self._turn_items:
            item.cut(heard_s)

    def _close(
        self, status: Literal["completed", "cancelled", "incomplete", "failed"], details: Mapping[str, Any] | None
    ) -> list[ServerEvent]:
        """End the response that is being given, if one is."""
        if (response := self.response) is None:
            return []
        events: list[ServerEvent] = []
        if (item := response.message) is not None:
            item.status = "completed" if status == "completed" else "incomplete"
            events += [*say.text_done(response, item), say.content_part("done", response, item)]
            events += [say.output_item("done", response, item), say.item_done(item, self.items.before(item))]
        response.status, response.details = status, details
        self.response = None
        return [*events, say.response_event("response.done", response)]

    def _turn_ended(self, event: TurnEnded) -> list[ServerEvent]:
        events: list[ServerEvent] = []
        if isinstance(event, TurnInterrupted) and not self._is_cancelled:
            events += self.caller.report()
        self._is_audible = False
        self.waits_for_client = 0
        events += self._close(*_ending(event, is_cancelled=self._is_cancelled))
        if isinstance(event, TurnInterrupted):
            self._cut(event.heard_s)
            events += self._taken_back() if event.joined else self._truncated(event.heard)
        self._is_cancelled = False
        return events

    def _truncated(self, heard: str) -> list[ServerEvent]:
        """Reduce what was said in a turn to what was heard of it."""
        _reduce(self._turn_items, heard)
        cut = (item for item in self._turn_items if item.audio_s < item.sent_s)
        return [say.item_truncated(item, round(item.audio_s * 1000)) for item in cut]

    def _taken_back(self) -> list[ServerEvent]:
        """Remove a turn whose words are the beginning of the next one's."""
        items = [*reversed(self._turn_items), *([] if self._user_item is None else [self._user_item])]
        for item in items:
            self.items.remove(item)
        return [say.item_deleted(item.id) for item in items]


def _reduce(items: Sequence[Item], heard: str) -> None:
    """Leave in the messages of a turn what was heard of it."""
    left = heard.split()
    for item in items:
        words = left[: len(item.text.split())]
        left = left[len(words) :]
        item.text = " ".join(words)


def _ending(
    event: TurnEnded, *, is_cancelled: bool
) -> tuple[Literal["completed", "cancelled", "incomplete", "failed"], Mapping[str, Any] | None]:
    """Return how a response has ended, and why."""
    reason = event.finish_reason if isinstance(event, (TurnFailed, TurnEmpty, TurnCompleted)) else ""
    why = {LIMIT: "max_output_tokens", FILTER: "content_filter"}.get(CUT_REASONS.get(reason, ""), "")
    match event:
        case TurnInterrupted():
            cancelled = "client_cancelled" if is_cancelled else "turn_detected"
            return "cancelled", {"type": "cancelled", "reason": cancelled}
        case TurnFailed() | TurnEmpty() if why:
            return "incomplete", {"type": "incomplete", "reason": why}
        case TurnFailed():
            return "failed", {"type": "failed", "error": REPLY_FAILED}
        case _:
            return "completed", None
