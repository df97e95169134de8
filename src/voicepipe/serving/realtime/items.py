"""The items of a conversation and the responses that make them, as the protocol sees them. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from voicepipe.serving.realtime.client_events import Rejected

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Item", "Items", "Response", "Span"]

MOST_ITEMS: Final = 1_000
"""Items that can be retrieved; the oldest are forgotten first. The agent's own history forgets nothing."""

Status: TypeAlias = Literal["in_progress", "completed", "incomplete"]

ROUNDING_S: Final = 0.02
"""Clients round what they have played up, and some count in whole frames."""


@dataclass(frozen=True, slots=True)
class Span:
    """Audio of an item without a jump: where it begins in the item, and where in its turn."""

    item_s: float
    turn_s: float


@dataclass(slots=True, eq=False, kw_only=True)
class Item:
    """One item of the conversation.

    Attributes:
        id: Its id in the protocol.
        kind: What it is.
        role: Whose message it is.
        text: What was said of it so far, and at last what was heard; the output of a function call.
        is_audio: Whether a message is audio with a transcript; otherwise it is text.
        status: Whether it is whole.
        name: The function that is called.
        call_id: Connects a function call and its output.
        arguments: JSON text.
        turn_id: The turn that it belongs to; 0 if it belongs to none, as what the client has put in.
        audio_s: Seconds of audio that count: what was cut at a pause does not.
        sent_s: Seconds of audio that the client may have played at most.
        spans: Where in the turn its audio is.
    """

    id: str
    kind: Literal["message", "function_call", "function_call_output"] = "message"
    role: Literal["user", "assistant", "system"] = "assistant"
    text: str = ""
    is_audio: bool = False
    status: Status = "completed"
    name: str = ""
    call_id: str = ""
    arguments: str = ""
    turn_id: int = 0
    audio_s: float = 0.0
    sent_s: float = 0.0
    spans: list[Span] = field(default_factory=list[Span])

    @property
    def json(self) -> dict[str, Any]:
        """The item as events have it."""
        found: dict[str, Any] = {"id": self.id, "object": "realtime.item", "type": self.kind, "status": self.status}
        match self.kind:
            case "message":
                return {**found, "role": self.role, "content": self._content}
            case "function_call":
                return {**found, "name": self.name, "call_id": self.call_id, "arguments": self.arguments}
            case _:
                return {**found, "call_id": self.call_id, "output": self.text}

    @property
    def is_spoken(self) -> bool:
        """Whether it is something that the agent said in a turn."""
        return self.kind == "message" and self.role == "assistant" and self.turn_id > 0

    @property
    def _content(self) -> list[dict[str, Any]]:
        side = "output" if self.role == "assistant" else "input"
        if not self.is_audio:
            return [{"type": f"{side}_text", "text": self.text}]
        # Whoever speaks has said nothing yet that could be shown.
        return [{"type": f"{side}_audio", "transcript": self.text or None}] if self.text or side == "input" else []

    def plays(self, seconds: float, turn_s: float) -> None:
        """Note that audio was sent which begins at `turn_s` of its turn."""
        end = self.spans[-1] if self.spans else None
        if end is None or abs(end.turn_s + self.audio_s - end.item_s - turn_s) > 1e-6:
            self.spans.append(Span(self.audio_s, turn_s))
        self.audio_s += seconds
        self.sent_s = max(self.sent_s, self.audio_s)

    def cut(self, turn_s: float) -> None:
        """Note that only so much was heard of its turn, and that the client has dropped the rest."""
        self.audio_s = self.item_s(turn_s)
        self.spans = [span for span in self.spans if span.item_s < self.audio_s or span is self.spans[0]]

    def item_s(self, turn_s: float) -> float:
        """Return where in this item a place of the turn is, at most its end."""
        for span in reversed(self.spans):
            if turn_s >= span.turn_s:
                return min(self.audio_s, span.item_s + turn_s - span.turn_s)
        return 0.0

    def turn_s(self, item_s: float) -> float:
        """Return where in the turn a place of this item is.

        Raises:
            Rejected: The item has no audio there.
        """
        if not self.spans or item_s > self.sent_s + ROUNDING_S:
            said = f"the item has {round(self.sent_s * 1000)} ms of audio, not {round(item_s * 1000)}"
            raise Rejected("invalid_value", said, param="audio_end_ms")
        span = next(one for one in reversed(self.spans) if item_s >= one.item_s)
        return span.turn_s + item_s - span.item_s


class Items:
    """The items of one conversation, oldest first."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._made = Counter[str]()
        self._promised: set[str] = set()  # ids that the client may know, of items that are still to come

    def new_id(self, kind: str = "item") -> str:
        """Return an id that nothing has yet."""
        while True:
            self._made[kind] += 1
            if (found := f"{kind}_{self._made[kind]}") not in self._items:
                if kind == "item":
                    self._promised.add(found)
                return found

    def id_for(self, wanted: str | None) -> str:
        """Return the id of an item that the client puts in: the one that it wants, or a new one.

        Raises:
            Rejected: An item has it, or will have it.
        """
        if wanted is None:
            return self.new_id()
        if wanted in self._items or wanted in self._promised:
            raise Rejected("item_exists", f"there is an item {wanted!r} already", param="item.id")
        return wanted

    @property
    def last_id(self) -> str | None:
        """The id of the newest item."""
        return next(reversed(self._items), None)

    def add(self, item: Item) -> str | None:
        """Put an item at the end, and return the id of the one before.

        Raises:
            Rejected: There is an item with its id.
        """
        if item.id in self._items:
            raise Rejected("item_exists", f"there is an item {item.id!r} already", param="item.id")
        previous = self.last_id
        self._promised.discard(item.id)
        self._items[item.id] = item
        if len(self._items) > MOST_ITEMS:
            del self._items[next(iter(self._items))]
        return previous

    def before(self, item: Item) -> str | None:
        """Return the id of the item before this one."""
        ids = list(self._items)
        at = ids.index(item.id) if item.id in self._items else 0
        return ids[at - 1] if at else None

    def get(self, item_id: str) -> Item:
        """Return an item.

        Raises:
            Rejected: There is none with this id.
        """
        if (found := self._items.get(item_id)) is None:
            raise Rejected("item_not_found", f"there is no item {item_id!r}", param="item_id")
        return found

    def of_turn(self, turn_id: int) -> list[Item]:
        """Return what the agent said in a turn."""
        return [item for item in self._items.values() if item.turn_id == turn_id and item.is_spoken]

    def remove(self, item: Item) -> None:
        """Forget an item."""
        self._items.pop(item.id, None)


@dataclass(slots=True, kw_only=True)
class Response:
    """One response: the agent's turn, or the part of it between two calls of the client's functions.

    Attributes:
        id: Its id in the protocol.
        turn_id: The agent's turn.
        modality: Whether it is speech or text.
        items: What it consists of.
        status: How it ended.
        details: Why it ended so, as `status_details` has it.
        input_tokens: What the model reported; 0 if it did not.
        output_tokens: As `input_tokens`.
        metadata: The client's, as it came.
    """

    id: str
    turn_id: int
    modality: Literal["audio", "text"] = "audio"
    items: list[Item] = field(default_factory=list[Item])
    status: Literal["in_progress", "completed", "cancelled", "incomplete", "failed"] = "in_progress"
    details: Mapping[str, Any] | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    metadata: Mapping[str, str] | None = None

    @property
    def message(self) -> Item | None:
        """The message that is being spoken."""
        return next((item for item in self.items if item.kind == "message"), None)

    @property
    def has_calls(self) -> bool:
        """Whether functions of the client were called in it."""
        return any(item.kind == "function_call" for item in self.items)

    @property
    def json(self) -> dict[str, Any]:
        """The response as events have it."""
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": self.status,
            "status_details": self.details,
            "output": [item.json for item in self.items],
            "output_modalities": [self.modality],
            "max_output_tokens": "inf",
            "metadata": self.metadata,
            "usage": None if self.status == "in_progress" else self._usage,
        }

    @property
    def _usage(self) -> dict[str, Any]:
        total = self.input_tokens + self.output_tokens
        return {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens, "total_tokens": total}
