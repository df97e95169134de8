"""What the event loop hands over to the thread that writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voicepipe.watching.recording.records import Json

__all__ = ["Batch", "Line", "Pause", "Piece", "VoicePiece"]


@dataclass(slots=True)
class Line:
    """A line of one of the files.

    Attributes:
        file: The name of the file.
        kind: The class of what is written.
        fields: Its JSON, with its time.
        is_paused: Whether its words are left out.
    """

    file: str
    kind: str
    fields: Json
    is_paused: bool = False


@dataclass(slots=True)  # not frozen: 50 a second are made for each side
class Piece:
    """A piece of the caller's or the agent's audio.

    Attributes:
        channel: Whose.
        t_s: When it began, in seconds since the recording began.
        pcm: Its samples.
        rate: Samples per second.
    """

    channel: str
    t_s: float
    pcm: bytes
    rate: int


@dataclass(slots=True)
class VoicePiece:
    """A piece of audio that the voice gave.

    Attributes:
        t_s: When, in seconds since the recording began.
        sentence_id: For which sentence.
        pcm: Whole samples.
        is_paused: Whether silence is written in its place.
    """

    t_s: float
    sentence_id: int
    pcm: bytes
    is_paused: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """The beginning or the end of a pause, for one channel.

    Attributes:
        channel: "caller" or "agent".
        at_s: When.
        begins: Whether it begins.
    """

    channel: str
    at_s: float
    begins: bool


@dataclass(slots=True)
class Batch:
    """What has happened since the last batch.

    Attributes:
        until_s: When it ends, in seconds since the recording began.
        audio: What was heard and played.
        voice: What the voice gave.
        lines: Events, exchanges and wire messages, in order.
        turns: Rows for the table of turns, as lines.
        history: The conversation, if it has changed.
        pauses: Pauses that have begun or ended since.
        secrets: Texts that must not be written from here on.
        size: About how many bytes all this takes.
    """

    until_s: float = 0.0
    audio: list[Piece] = field(default_factory=list[Piece])
    voice: list[VoicePiece] = field(default_factory=list[VoicePiece])
    lines: list[Line] = field(default_factory=list[Line])
    turns: list[Line] = field(default_factory=list[Line])
    history: list[Json] | None = None
    pauses: list[Pause] = field(default_factory=list["Pause"])
    secrets: list[str] = field(default_factory=list[str])
    size: int = 0
