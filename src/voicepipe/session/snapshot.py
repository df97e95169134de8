"""A call as bytes: what another worker needs to go on with it. `Snapshots` reads a session, and `read` the bytes.

Rule 1: the form is versioned JSON. Another version is refused; nothing is guessed.
Rule 2: messages are held as they were heard. What is in flight stands apart, because what becomes of it is decided by
        the worker that goes on; see `left_turn`.
Rule 3: a message of an error names places and never words.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from voicepipe.core.log import Personal
from voicepipe.errors import ConfigurationError, SnapshotError
from voicepipe.history import AssistantMessage, History, UserMessage
from voicepipe.session.label import label_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import TypeAdapter

    from voicepipe.core.context import Fact
    from voicepipe.history import Message

__all__ = [
    "Asked",
    "LeftTurn",
    "Snapshot",
    "TurnKind",
    "Waiting",
    "check",
    "messages_json",
    "messages_of",
    "prepare_reading",
    "read",
]

VERSION: Final = 1

MOST_BYTES: Final = 16 * 1024 * 1024
"""Larger data is no snapshot: ten hours of conversation take a tenth of this."""

TurnKind: TypeAlias = Literal["reply", "say", "note"]
"""A turn that answers the caller, says a text, or asks the model in place of the caller."""

JSONMessage: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits to be said.

    Attributes:
        text: The text; None lets the model speak.
        instructions: What the model is to say or to do, where there is no text.
        protected: Whether the caller must hear it whole.
    """

    text: str | None
    instructions: str | None = None
    protected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftTurn:
    """The turn that was in flight.

    Attributes:
        kind: What it did.
        words: What the caller said, what was to be said, or what the model was asked in place of the caller.
        messages: Its messages as they were heard so far.
        is_written: Whether the model had written all of it.
        protected: Whether the caller must hear it whole.
    """

    kind: TurnKind
    words: str
    messages: list[JSONMessage] = field(default_factory=list[JSONMessage])
    is_written: bool = False
    protected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A tool call that waits until the caller agrees.

    Attributes:
        call_id: The call.
        ended_well: Whether the reply with the question was the model's own.
    """

    call_id: str
    ended_well: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is kept of a call.

    Attributes:
        version: The version of the form.
        id: The session's id.
        facts: Its facts.
        personal: The names of the facts that are `Personal`, and stay out of the log.
        agent: The fingerprint of the agent's configuration; see `fingerprint`.
        lasted_s: For how long the call has lasted.
        idle_step: How often the silent caller has been spoken to.
        turns: How many turns there have been, the one in flight included.
        history: The messages that are settled.
        turn: The turn in flight; None for none.
        begun: Ids of the writing calls that had begun: those without a result, and all of the turn in flight.
        late: Ids of the calls whose late results the model has not seen.
        asked: What the caller has been asked to confirm.
        waiting: What waits to be said.
        is_closing: Whether the call ends once it is said.
        system: The system prompt of this session, where it has its own.
        added: Names of the tools that were added.
        removed: Names of the pipeline's tools that were removed.
        parts: The state of the parts, by their place.
        lost_state: Names of the parts whose state could not be kept.
    """

    version: int = VERSION
    id: str
    facts: dict[str, str | int | float | bool] = field(default_factory=dict[str, str | int | float | bool])
    personal: list[str] = field(default_factory=list[str])
    agent: dict[str, str] = field(default_factory=dict[str, str])
    lasted_s: float = 0.0
    idle_step: int = 0
    turns: int = 0
    history: list[JSONMessage] = field(default_factory=list[JSONMessage])
    turn: LeftTurn | None = None
    begun: list[str] = field(default_factory=list[str])
    late: list[str] = field(default_factory=list[str])
    asked: list[Asked] = field(default_factory=list[Asked])
    waiting: list[Waiting] = field(default_factory=list[Waiting])
    is_closing: bool = False
    system: str | None = None
    added: list[str] = field(default_factory=list[str])
    removed: list[str] = field(default_factory=list[str])
    parts: dict[str, Any] = field(default_factory=dict[str, Any])
    lost_state: list[str] = field(default_factory=list[str])

    @property
    def known(self) -> dict[str, Fact]:
        """The facts as the session had them."""
        personal = {name: Personal(fact) for name, fact in self.facts.items() if name in self.personal}
        return {**self.facts, **personal}

    def to_bytes(self) -> bytes:
        """Return the snapshot as JSON. Half of a surrogate pair has no form in UTF-8 and becomes a question mark."""
        text = json.dumps(_fields(self), ensure_ascii=False, separators=(",", ":"), default=_fields)
        return text.encode("utf-8", "replace")


def _fields(value: Any) -> dict[str, Any]:  # noqa: ANN401 - one of the dataclasses above
    return {one.name: getattr(value, one.name) for one in fields(value)}


def messages_json(messages: Iterable[Message]) -> list[JSONMessage]:
    """Return messages as JSON values."""
    return History(messages).to_json()


def messages_of(entries: list[JSONMessage]) -> list[Message]:
    """Return the messages of JSON values.

    Raises:
        SnapshotError: They are no messages.
    """
    try:
        return list(History.from_json(entries))
    except ConfigurationError as error:
        raise SnapshotError(f"this snapshot cannot be read: {error}") from None


def read(data: object) -> Snapshot:
    """Return the snapshot that these bytes hold.

    Raises:
        SnapshotError: They are no snapshot, or one of another version.
    """
    if not isinstance(data, (bytes, bytearray)):
        raise SnapshotError(f"resume takes the bytes of session.snapshot(), not {type(data).__name__}")
    if len(data) > MOST_BYTES:
        raise SnapshotError(f"a snapshot has at most {MOST_BYTES} bytes, and this has {len(data)}")
    try:
        found: object = json.loads(data)
    except (ValueError, RecursionError):
        raise SnapshotError(f"this is no snapshot: {len(data)} bytes that are not JSON, or not all of it") from None
    version = cast("dict[str, Any]", found).get("version") if isinstance(found, dict) else None
    if version is None:
        raise SnapshotError("this is no snapshot: it is JSON without a version; give the bytes of session.snapshot()")
    if version != VERSION:
        raise SnapshotError(
            f"this snapshot has the version {str(version)[:20]}, and this voicepipe reads {VERSION}; resume the call "
            "with the voicepipe that wrote it, or begin it fresh"
        )
    from pydantic import ValidationError  # noqa: PLC0415 - half of the import time, and rarely needed

    try:
        snapshot = _adapter().validate_json(bytes(data), strict=True, extra="forbid")
        label_of(snapshot.id, snapshot.facts)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, wrong["loc"])) or "the whole"
        raise SnapshotError(f"this snapshot cannot be read: {place}: {wrong['msg']}") from None
    except ConfigurationError as error:
        raise SnapshotError(f"this snapshot cannot be read: {error}") from None
    if not (0 <= snapshot.lasted_s < math.inf and snapshot.idle_step >= 0 and snapshot.turns >= 0):
        raise SnapshotError("this snapshot cannot be read: lasted_s, idle_step and turns must be 0 or more")
    return snapshot


def check(data: bytes) -> None:
    """Refuse what no session can go on from.

    Raises:
        SnapshotError: The data is no snapshot, or of another version, or holds messages that cannot be read.
    """
    snapshot = read(data)
    messages_of(snapshot.history)
    messages_of(snapshot.turn.messages if snapshot.turn is not None else [])


def prepare_reading() -> None:
    """Build what reads snapshots: 0.1 s once in a process, in which no call may wait for it."""
    _adapter()
    History.from_json(History([UserMessage(""), AssistantMessage()]).to_json())


@cache
def _adapter() -> TypeAdapter[Snapshot]:
    from pydantic import TypeAdapter  # noqa: PLC0415

    return TypeAdapter(Snapshot)
