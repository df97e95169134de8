"""What happens on the disk: the files of one recording, written in a thread.

Rule 1: nothing here knows the event loop. The recorder hands over what has happened, in batches, in order.
Rule 2: a batch is written in the order in which a reader needs it: audio before the lines that refer to it.
"""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from voicepipe.audio.resample import Resampler
from voicepipe.watching.recording import manifest as names
from voicepipe.watching.recording.files import Lines, WavFile, replace
from voicepipe.watching.recording.sound import Channels, Track

if TYPE_CHECKING:
    from pathlib import Path

    from voicepipe.watching.recording.manifest import Manifest
    from voicepipe.watching.recording.records import Json

__all__ = ["Batch", "Heard", "Writer"]

COLUMNS: Final = (
    "turn_id", "t_s", "outcome", "user_text", "heard", "heard_s", "waited_s", "contributions", "tools", "error"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Heard:
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
class Batch:
    """What has happened since the last batch.

    Attributes:
        until_s: When it ends, in seconds since the recording began.
        audio: What was heard and played.
        voice: What the voice gave.
        lines: Events, exchanges and wire messages, by file; each with its time.
        history: The conversation, if it has changed.
        turns: Rows for the table of turns.
    """

    until_s: float = 0.0
    audio: list[Heard] = field(default_factory=list)
    voice: list[bytes] = field(default_factory=list)
    lines: dict[str, list[Json]] = field(default_factory=dict)
    history: list[Json] | None = None
    turns: list[Json] = field(default_factory=list)
    size: int = 0


class Writer:
    """Writes one recording.

    Args:
        path: Its directory, which is there.
        manifest: What it says about itself.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.size = 0
        self._files = {name: Lines(path / name) for name in (names.EVENTS, names.EXCHANGES, names.WIRE, names.TURNS)}
        audio = manifest.audio
        self._channels = Channels(len(audio.channels), audio.rate)
        self._tracks = {
            name: Track(self._channels, number, self._resampler) for number, name in enumerate(audio.channels)
        }
        self._audio = WavFile(path / audio.file, audio.rate, len(audio.channels))
        self._voice = WavFile(path / manifest.voice.file, manifest.voice.rate, 1)
        self._voice_frames = 0
        self._has_audio = False
        self._has_turns = False

    def begin(self) -> None:
        """Write the manifest.

        Raises:
            OSError: It cannot be written.
        """
        self._write_manifest()

    def write(self, batch: Batch) -> None:
        """Write what has happened.

        Raises:
            OSError: It cannot be written, or only in part.
        """
        self._take_in(batch)
        self._write(batch)

    def _write(self, batch: Batch) -> None:
        self._write_audio(batch.until_s)
        self._write_voice(b"".join(batch.voice))
        for name, lines in batch.lines.items():
            self.size += self._files[name].append(b"".join(map(_line, lines)))
        self._write_turns(batch.turns)
        if batch.history is not None:
            replace(self.path / names.HISTORY, json.dumps(batch.history, ensure_ascii=False, indent=1).encode())

    def end(self, batch: Batch, ended: names.Ended | None) -> None:
        """Write the rest, and how the call ended.

        Raises:
            OSError: It cannot be written, or only in part.
        """
        try:
            self._take_in(batch)
            for track in self._tracks.values():
                track.finish()
            self._write(batch)
            self.manifest = self.manifest.model_copy(update={"ended": ended})
            self._write_manifest()
        finally:
            self.close()

    def close(self) -> None:
        """Close the files."""
        for lines in self._files.values():
            lines.close()
        self._audio.close()
        self._voice.close()

    def _write_manifest(self) -> None:
        replace(self.path / names.MANIFEST, self.manifest.model_dump_json(indent=1).encode())

    def _take_in(self, batch: Batch) -> None:
        for piece in batch.audio:
            if (track := self._tracks.get(piece.channel)) is not None:
                track.add(piece.t_s, piece.pcm, piece.rate)
                self._has_audio = True

    def _write_audio(self, until_s: float) -> None:
        if self._has_audio:
            self._channels.reach(math.floor(until_s * self._channels.rate))
            self.size += self._audio.put(*self._channels.take())

    def _write_voice(self, pcm: bytes) -> None:
        self.size += self._voice.put(self._voice_frames, pcm)
        self._voice_frames += len(pcm) // 2

    def _write_turns(self, rows: list[Json]) -> None:
        if not rows:
            return
        text = io.StringIO()
        table = csv.writer(text)
        if not self._has_turns:
            self._has_turns = True
            table.writerow(COLUMNS)
        table.writerows([_cell(row[name]) for name in COLUMNS] for row in rows)
        self._files[names.TURNS].append(text.getvalue().encode())

    def _resampler(self, rate: int) -> Resampler | None:
        return None if rate == self._channels.rate else Resampler(rate, self._channels.rate)


def _line(fields: Any) -> bytes:  # noqa: ANN401 - JSON
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _cell(value: object) -> object:
    """Return what a spreadsheet shows as it is, and does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
