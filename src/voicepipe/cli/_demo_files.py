"""The record of a conversation, and the two files that `voicepipe demo` writes: its sound, and all else as JSON.

Rule 1: the two files are written completely, or not at all.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import voicepipe as vp
from voicepipe.audio.resample import Resampler
from voicepipe.cli._demo_stack import LISTEN_RATE, SPEAK_RATE

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

__all__ = ["Call", "as_text", "drafts_in", "resampled", "save", "stereo"]

ON_THE_CLOCK: Final = {"at_s", "speech_ended_s", "endpoint_s", "start_s", "end_s"}
"""Fields of events and words that are times; in the file they are relative to the beginning of the session."""


@dataclass
class Call:
    """The record of the call.

    Attributes:
        notes: What a reader of the record has to know.
        plays: Whether the call is also played through a loudspeaker.
        device: Which loudspeaker.
        observers: Watch the call.
        began_s: When the recording began, on the loop's clock.
        caller: The caller's audio, as the recogniser got it.
        played: The agent's audio from `began_s` on, without gaps.
        events: What the session emitted, with the time.
        history: The conversation at its end.
        requests: The messages of each request to the model.
        problems: How the call differs from the script.
    """

    notes: Sequence[str] = ()
    plays: bool = False
    device: int | str | None = None
    observers: Sequence[vp.Observer] = ()
    began_s: float = 0.0
    caller: list[vp.AudioFrame] = field(default_factory=list)
    played: bytearray = field(default_factory=bytearray)
    events: list[tuple[float, vp.Event]] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def turns(self) -> list[vp.TurnEnded]:
        """The turns, as they ended."""
        return [event for _, event in self.events if isinstance(event, vp.TurnEnded)]

    @property
    def played_in(self) -> dict[int, bytes]:
        """The agent's audio of each turn, by the turn's number."""
        return {
            turn.turn_id: bytes(self.played[self._at(turn.timeline.first_frame) : self._at(turn.timeline.ended)])
            for turn in self.turns
            if "first_frame" in turn.timeline
        }

    def _at(self, time_s: float) -> int:
        return 2 * max(0, round((time_s - self.began_s) * SPEAK_RATE))


@contextmanager
def drafts_in(out: Path) -> Generator[Path]:
    """Provide a temporary directory on the same disk as `out`; it is always removed afterwards."""
    is_new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        drafts = Path(tempfile.mkdtemp(prefix=".conversation-", dir=out))
    except OSError as error:
        raise vp.ConfigurationError(
            f"--out {out}: cannot be written: {error.strerror}; name a writable directory"
        ) from error
    try:
        yield drafts
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
        if is_new:
            with suppress(OSError):  # it is not empty if all went well
                out.rmdir()


def save(call: Call, drafts: Path, out: Path) -> list[Path]:
    """Write both files, then move both to their place."""
    names = ["conversation.wav", "conversation.json"]
    vp.write_wav(drafts / names[0], stereo(call), SPEAK_RATE, channels=2)
    try:
        (drafts / names[1]).write_text(as_text(call) + "\n", encoding="utf-8")
        return [(drafts / name).replace(out / name) for name in names]
    except OSError as error:
        raise vp.AudioError(f"{out}: the conversation cannot be written: {error.strerror}") from error


def stereo(call: Call) -> bytes:
    """Return both tracks on one clock: the caller left, the agent right."""
    left = bytearray()
    for frame in call.caller:
        at = 2 * max(0, round((frame.start_s - call.began_s) * frame.sample_rate))
        left[len(left) :] = bytes(max(0, at - len(left)))
        left[at : at + len(frame.pcm)] = frame.pcm
    tracks = (resampled(bytes(left), LISTEN_RATE, SPEAK_RATE), bytes(call.played))
    size = max(map(len, tracks))
    both = bytearray(2 * size)
    for channel, track in enumerate(tracks):
        for byte in (0, 1):
            both[2 * channel + byte :: 4] = track.ljust(size, b"\0")[byte::2]
    return bytes(both)


def resampled(pcm: bytes, from_rate: int, to_rate: int) -> bytes:
    """Return audio at another rate."""
    resampler = Resampler(from_rate, to_rate)
    return resampler.feed(pcm) + resampler.flush()


def as_text(call: Call) -> str:
    """Return the record of a call as JSON."""
    waits = [turn.timeline.waited_us for turn in call.turns if turn.timeline.waited_us is not None]
    document = {
        "notes": call.notes,
        "went_as_scripted": not call.problems,
        "problems": call.problems,
        "median_wait_us": median(waits) if waits else None,
        "recording": {"file": "conversation.wav", "sample_rate": SPEAK_RATE, "left": "caller", "right": "agent"},
        "turns": [_fields(turn, call.began_s) for turn in call.turns],
        "events": [{"emitted_s": round(at_s, 6), **_fields(event, call.began_s)} for at_s, event in call.events],
        "history": call.history,
        "requests": call.requests,
    }
    return json.dumps(document, indent=2)


def _fields(event: vp.Event | vp.Word, began_s: float) -> dict[str, Any]:
    """Return an event as plain data, with times relative to the beginning of the session."""
    plain: dict[str, Any] = {} if isinstance(event, vp.Word) else {"event": type(event).__name__}
    for entry in dataclasses.fields(event):
        value = getattr(event, entry.name)
        if entry.name == "session_id":  # the same for all of them
            continue
        if isinstance(value, vp.Timeline):
            marks = {name: round(at_s - began_s, 6) for name, at_s in value.marks.items()}
            plain |= {"waited_us": value.waited_us, "contributions_us": value.contributions_us, "marks_s": marks}
        elif isinstance(value, vp.VoicepipeError):
            plain[entry.name] = f"{type(value).__name__}: {value}"
        elif entry.name == "words":
            plain[entry.name] = [_fields(word, began_s) for word in value]
        else:
            plain[entry.name] = round(value - began_s, 6) if entry.name in ON_THE_CLOCK else value
    return plain
