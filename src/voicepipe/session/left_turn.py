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

A writing call of an earlier turn that was still running is unknown, too; the model says so after that.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from voicepipe.history import AssistantMessage
from voicepipe.session.snapshot import messages_of
from voicepipe.text.rest import rest_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from voicepipe.call_events import ResumedTurn
    from voicepipe.history import CallStatus, Message, ToolCall
    from voicepipe.session.snapshot import LeftTurn, Snapshot

__all__ = ["Plan", "plan"]

Made: TypeAlias = "tuple[AssistantMessage, ToolCall]"
"""A call of a tool, and the message that made it."""

GO_ON: Final = (
    "The connection to the caller broke while you were answering, and is back now. The conversation holds what they "
    "have heard of your answer, perhaps nothing. Go on from there, and do not repeat it."
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
        then: What the model is asked after that; "" for nothing.
        unknown: The messages of writing calls whose outcome is unknown since the call broke off, each with its call.
        is_doubtful: Whether a writing tool may have run of which nobody knows.
    """

    history: tuple[Message, ...]
    turn: ResumedTurn
    text: str = ""
    then: str = ""
    unknown: tuple[Made, ...] = ()
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
    begun, turn = set(snapshot.begun), snapshot.turn
    settled, own = messages_of(snapshot.history), messages_of(turn.messages) if turn is not None else []
    had_begun = any(call.call_id in begun for _, call in _calls(own))
    earlier, unknown = _lost(settled, begun), _lost(own, begun)
    _cut(own)
    before, everything = tuple(settled), (*settled, *(message for message in own if not _is_unheard(message)))
    if turn is None:
        done = Plan(before, "none")
    elif unknown:
        done = Plan(everything, "note", UNKNOWN)
    elif is_stale and writes and turn.kind != "say":
        done = Plan(everything, "note", DOUBTED, is_doubtful=True)
    elif turn.kind != "say" and not had_begun and not any(message.heard for message in _replies(own)):
        done = Plan(before, "again", turn.words)
    elif (rest := _rest(turn, own, language)) is None:
        done = Plan(everything, "note", GO_ON)
    else:
        done = Plan(everything, "rest" if rest else "none", rest)
    if earlier and done.turn == "none":
        done = replace(done, turn="note", text=UNKNOWN)
    elif earlier and done.text != UNKNOWN:
        done = replace(done, then=UNKNOWN)
    return replace(done, unknown=(*earlier, *unknown))


def _rest(turn: LeftTurn, own: Sequence[Message], language: str | None) -> str | None:
    """Return what is left to say of a turn; None if the model has to go on."""
    if turn.kind == "say" and turn.protected:
        return turn.words
    said = _replies(own)
    if turn.kind == "say" and not said:
        return turn.words
    rests = [rest_of(message.generated, message.heard, language) for message in said]
    if not turn.is_written or any(rest is None for rest in rests):
        return turn.words if turn.kind == "say" else None
    return " ".join(rest for rest in rests if rest)


def _replies(messages: Iterable[Message]) -> list[AssistantMessage]:
    return [message for message in messages if isinstance(message, AssistantMessage)]


def _calls(messages: Iterable[Message]) -> list[Made]:
    return [(message, call) for message in _replies(messages) for call in message.calls]


def _is_unheard(message: Message) -> bool:
    return isinstance(message, AssistantMessage) and not message.heard and not message.calls


def _lost(messages: Iterable[Message], begun: Container[str]) -> list[Made]:
    """Note of the calls that had begun and have no result that nobody knows what became of them, and return them."""
    return [made for made in _calls(messages) if made[1].call_id in begun and _settled(made[1], "unknown", LOST)]


def _cut(messages: Iterable[Message]) -> None:
    """Give a result to the calls that broke off and had not begun, or only read: each call has one."""
    for _, call in _calls(messages):
        _settled(call, "failed", CUT)


def _settled(call: ToolCall, status: CallStatus, result: str) -> bool:
    return call.status == "pending" and call.settle(status, result)
