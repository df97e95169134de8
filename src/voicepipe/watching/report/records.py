"""What a report is made of: the records of one call, as the files of a recording hold them.

Rule 1: lines are taken as they are, and not as objects: a report says what it can of a newer voicepipe's events, too.
Rule 2: audio is read when it is asked for.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from voicepipe.errors import RecordingError
from voicepipe.watching.recording import Recording
from voicepipe.watching.report.sound import PIECE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Record", "Records", "error_text", "read_records", "reading"]

Record: TypeAlias = "Mapping[str, Any]"
"""A line of `events.jsonl` or `exchanges.jsonl`; `t_s` says when, in seconds since the session began."""


DAMAGE: Final = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What Python raises about a record that is not as it should be."""


def _silence(_side: str) -> Iterable[bytes]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """The records of one call.

    Attributes:
        name: The recording's file name, without its ending.
        manifest: What `manifest.json` holds.
        events: The events, in the order of time.
        exchanges: What parts were given and gave, in the order of time.
        is_cut: Whether the recording breaks off before the end of the call.
        rate: Samples per second of the audio; 0 without audio.
        sides: The sides that were recorded: "caller", "agent".
        audio: Yields the audio of a side from the beginning on, in pieces of `PIECE_S`: little-endian signed 16-bit
            mono samples, as bytes.
    """

    name: str
    manifest: Record
    events: Sequence[Record]
    exchanges: Sequence[Record] = ()
    is_cut: bool = False
    rate: int = 0
    sides: Sequence[str] = ()
    audio: Callable[[str], Iterable[bytes]] = field(default=_silence, repr=False)


def read_records(path: Path) -> Records:
    """Return the records of a recording.

    Raises:
        RecordingError: There is none, it is damaged, or a newer voicepipe wrote it.
    """
    recording = Recording.read(path)
    manifest = recording.manifest
    with reading(path):
        has_audio = (path / manifest.audio.file).exists()
        return Records(
            name=path.name.removesuffix(path.suffix),
            manifest=manifest.model_dump(mode="json"),
            events=list(recording.lines("events.jsonl")),
            exchanges=list(recording.lines("exchanges.jsonl")),
            is_cut=recording.is_cut,
            rate=manifest.audio.rate,
            sides=manifest.audio.channels if has_audio else (),
            audio=partial(_pieces, recording),
        )


def _pieces(recording: Recording, side: str) -> Iterator[bytes]:
    for from_s in count(0, PIECE_S):
        piece = recording.audio(side, from_s, from_s + PIECE_S)
        if not piece:
            return
        yield piece


@contextmanager
def reading(name: object) -> Generator[None]:
    """Raise an error about the recording for a file that cannot be read, or a record that is not as it should be.

    Raises:
        RecordingError: In place of the error of Python.
    """
    try:
        yield
    except OSError as error:
        raise RecordingError(f"{name}: cannot be read: {error.strerror}") from error
    except DAMAGE as error:
        # What Python says may quote the words of a call; the name of a field that is missing does not.
        why = f"it has no {error}" if isinstance(error, KeyError) else type(error).__name__
        raise RecordingError(f"{name} is damaged: a record is not what voicepipe writes: {why}") from error


def error_text(value: object) -> str:
    """Return what an error says, with its class in front, however it was written."""
    if isinstance(value, dict):
        kind, message = (str(value.get(name) or "") for name in ("type", "message"))
        return ": ".join(part for part in (kind, message) if part)
    return "" if value is None else str(value)
