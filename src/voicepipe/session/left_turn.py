"""What becomes of the turn in which a call broke off, decided from its snapshot.

Rule 1: pure: a snapshot goes in, a plan comes out.
Rule 2: a writing tool that had begun is never run again, so its turn is not answered again; the model tells the caller.
Rule 3: what was heard stays in the conversation, and is not said again beyond the sentence that was cut.

| of the turn in flight | what becomes of it |
|---|---|
| a writing call had begun, and has no result | "note": its outcome is unknown, and the model says so |
| the record is stale, and the agent has writing tools | "note": something may have been done |
| nothing was heard, and no writing call had begun | "again": its words are answered again; a text is "rest" |
| the text was whole | "rest": the rest of it is said, from the beginning of the sentence that was cut |
| the text was not whole | "note": the model goes on from what was heard |
| all was heard | "none" |
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from voicepipe.history import AssistantMessage
from voicepipe.session.snapshot import messages_of
from voicepipe.text.rest import rest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from voicepipe.call_events import ResumedTurn
    from voicepipe.history import Message, ToolCall
    from voicepipe.session.snapshot import LeftTurn, Snapshot

__all__ = ["Plan", "plan"]

GO_ON: Final = (
    "The connection to the caller broke while you were answering, and is back now. Your last message holds what they "
    "heard. Go on from there, and do not repeat it."
)

UNKNOWN: Final = (
    "The connection to the caller broke while a tool was running, and is back now. The tool was not run again: nobody "
    "knows whether it has done its work. Tell the caller so in one or two sentences, and ask whether to try again. Do "
    "not call the tool before they have answered."
)

DOUBTED: Final = (
    "The connection to the caller broke while you were answering their last words, and is back now. Nobody knows "
    "whether a tool has already done what they asked for. Tell the caller so in one or two sentences, and ask how to "
    "go on."
)

LOST: Final = json.dumps(
    {"error": "the connection broke while this ran, and it was not run again; it may have happened"}
)
"""The result of a writing call that had begun."""

CUT: Final = json.dumps({"error": "the connection broke before this had a result; it was not run again"})
"""The result of any other call."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a call goes on.

    Attributes:
        history: The messages that it goes on with.
        turn: What becomes of the turn in flight.
        text: The words that are answered again, the rest of a text, or what the model is asked; "" for "none".
        unknown: The messages of writing calls whose outcome is unknown since the call broke off, each with its call.
        is_doubtful: Whether a writing tool may have run of which nobody knows.
    """

    history: tuple[Message, ...]
    turn: ResumedTurn
    text: str = ""
    unknown: tuple[tuple[AssistantMessage, ToolCall], ...] = ()
    is_doubtful: bool = False


def plan(snapshot: Snapshot, *, is_stale: bool, writes: bool, language: str | None = None) -> Plan:
    """Decide how a call goes on.

    Args:
        snapshot: What is kept of it.
        is_stale: Whether more may have happened in the turn in flight than the snapshot says.
        writes: Whether the agent has writing tools.
        language: The language of its replies.

    Raises:
        SnapshotError: The snapshot holds messages that cannot be read.
    """
    begun = set(snapshot.begun)
    settled = messages_of(snapshot.history)
    unknown = [(message, call) for message, call in _calls(settled) if call.call_id in begun and _is_open(call)]
    turn = snapshot.turn
    own = messages_of(turn.messages) if turn is not None else []
    in_flight = [(message, call) for message, call in _calls(own) if call.call_id in begun]
    unknown += [(message, call) for message, call in in_flight if _is_open(call)]
    kept = [message for message in own if not _is_unheard(message)]
    everything = (*settled, *kept)

    if unknown:
        for _, call in unknown:
            call.settle("unknown", LOST)
        _give_results(own)
        return Plan(everything, "note", UNKNOWN, tuple(unknown))
    if turn is None:
        return Plan(everything, "none")
    _give_results(own)
    if is_stale and writes and turn.kind != "say":
        return Plan(everything, "note", DOUBTED, is_doubtful=True)
    is_heard = any(message.heard for message in own if isinstance(message, AssistantMessage))
    if turn.kind != "say" and not is_heard and not in_flight:
        return Plan(tuple(settled), "again", turn.words)
    rest = _rest(turn, own, language)
    if rest is None:
        return Plan(everything, "note", GO_ON)
    return Plan(everything, "rest" if rest else "none", rest)


def _rest(turn: LeftTurn, own: Sequence[Message], language: str | None) -> str | None:
    """Return what is left to say of a turn; None if the model has to go on."""
    if turn.kind == "say" and turn.protected:
        return turn.words
    said = [message for message in own if isinstance(message, AssistantMessage)]
    if turn.kind == "say" and not said:
        return turn.words
    rests = [rest_of(message.generated, message.heard, language) for message in said]
    if not turn.is_written or any(rest is None for rest in rests):
        return turn.words if turn.kind == "say" else None
    return " ".join(rest for rest in rests if rest)


def _calls(messages: Iterable[Message]) -> Iterator[tuple[AssistantMessage, ToolCall]]:
    for message in messages:
        if isinstance(message, AssistantMessage):
            for call in message.calls:
                yield message, call


def _is_open(call: ToolCall) -> bool:
    """Return whether a call that had begun has no result yet."""
    return call.status == "pending"


def _is_unheard(message: Message) -> bool:
    return isinstance(message, AssistantMessage) and not message.heard and not message.calls


def _give_results(messages: Iterable[Message]) -> None:
    """Give the calls that broke off a result: each call has one."""
    for _, call in _calls(messages):
        if call.status == "pending":
            call.settle("failed", CUT)
