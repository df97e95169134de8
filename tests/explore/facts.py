"""What can be seen of a call from outside: what its parts were given and did, what it reported, what was audible.

Rule 1: a fact is plain data, so that the promises can be checked again, and on facts that were tampered with.
Rule 2: `turn` numbers the turns and drafts of a call in the order in which they were first seen. `Turn.turn_id` would
        not do: a draft that was dropped gives its number to the next turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    import voicepipe as vp

Told: TypeAlias = Literal["whole", "cut", "broke", "refused"]
"""How a model's reply ended: as it should, at a limit of tokens, in the middle, or before it began."""


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call as the model is shown it."""

    call_id: str
    name: str
    arguments: str
    status: str
    result: str


@dataclass(frozen=True, slots=True)
class Line:
    """A message of the conversation as the model is shown it.

    Attributes:
        role: "user", "note" or "agent".
        text: What the model sees.
        is_cut: Whether it is marked as not whole.
        is_settled: Whether its turn has ended.
    """

    role: Literal["user", "note", "agent"]
    text: str
    calls: tuple[Call, ...] = ()
    is_cut: bool = False
    is_settled: bool = True


@dataclass(frozen=True, slots=True)
class Began:
    """A worker is about to open its session.

    Attributes:
        leg: Counts the workers that have the call, from 0.
        is_resumed: Whether it goes on with the call; otherwise this is a new one.
    """

    fallback: str = ""
    turn_s: float = 60.0
    leg: int = 0
    is_resumed: bool = False


@dataclass(frozen=True, slots=True)
class Broke:
    """The worker has lost the call.

    Attributes:
        how: "exact", "killed", "parted" or "handed over"; see `plan.KEEPING`.
        lag_s: By how much what is kept may be older than this moment.
        heard: The words of the call that were audible whole.
        cut: The words of the sentences that were not, or only within that time.
    """

    how: str
    lag_s: float = 0.0
    heard: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Emitted:
    """The session reported an event.

    Attributes:
        event: The event.
        turn: The turn that it belongs to; 0 for no turn.
        history: The whole conversation, where the event is the end of a turn.
        heard: The words of that turn that were audible whole until now, in the order in which they were.
    """

    event: vp.Event
    turn: int = 0
    history: tuple[Line, ...] = ()
    heard: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DraftDropped:
    """A draft was dropped."""

    turn: int


@dataclass(frozen=True, slots=True)
class Spoke:
    """The caller said, typed or keyed something.

    Attributes:
        words: What they want an answer to; empty for a sound, a back-channel, and what was said a second time.
    """

    how: str
    text: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """The model was given a request."""

    request: int
    turn: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Gave:
    """The model gave a piece of text, or a call, and the session took it."""

    request: int
    turn: int
    text: str = ""
    calls: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """The model's reply ended."""

    request: int
    turn: int
    how: Told


@dataclass(frozen=True, slots=True)
class ToolBegan:
    """A tool's function was called."""

    call_id: str
    name: str
    number: object
    writes: bool
    confirm: bool = False
    turn: int = 0
    leg: int = 0


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """A tool's function has ended."""

    call_id: str
    name: str
    how: Literal["returned", "raised", "cancelled"]
    writes: bool
    leg: int = 0


@dataclass(frozen=True, slots=True)
class Given:
    """The voice was given a sentence."""

    sentence: int
    turn: int
    text: str
    has_marks: bool = True


@dataclass(frozen=True, slots=True)
class Wrote:
    """The output was given a frame, with sound of these sentences."""

    sentences: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Audible:
    """Sound of a sentence was audible although its turn had been cut."""

    sentence: int


@dataclass(frozen=True, slots=True)
class Flushed:
    """The output was told to be silent."""


@dataclass(frozen=True, slots=True)
class Acted:
    """The application, or a tool, began to do something with the session."""

    act: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Returned:
    """What it did has returned."""

    act: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A part was made to fail.

    Attributes:
        turn: The turn that it worked for; 0 for a part of the session.
        is_fatal: Whether the session cannot go on.
    """

    part: str
    turn: int = 0
    is_fatal: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """What became of what the agent was asked to say, by what who waited for it got."""

    text: str
    heard: str
    is_whole: bool
    turn: int


@dataclass(frozen=True, slots=True)
class Left:
    """The session's block was left.

    Attributes:
        took_s: Seconds since the end was asked for, or reported.
        error: The class of what was raised out of the block; "" for nothing.
        tasks: Tasks that are left.
        files: How many more files are open than before.
        replayed: Words that were audible whole more than once, with how often.
    """

    took_s: float
    error: str = ""
    tasks: tuple[str, ...] = ()
    files: int = 0
    history: tuple[Line, ...] = ()
    replayed: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class Unhandled:
    """An exception that nobody was told of."""

    what: str


Fact: TypeAlias = (
    Began
    | Broke
    | Emitted
    | DraftDropped
    | Spoke
    | Asked
    | Gave
    | Answered
    | ToolBegan
    | ToolEnded
    | Given
    | Wrote
    | Audible
    | Flushed
    | Acted
    | Returned
    | Fault
    | Said
    | Left
    | Unhandled
)


@dataclass(frozen=True, slots=True)
class Noted:
    """A fact with its time."""

    at_s: float
    fact: Fact
