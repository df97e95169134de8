"""What happens on the disk: the files of one recording, written in a thread.

Rule 1: nothing here knows the event loop. The recorder hands over what has happened, in batches, in order.
Rule 2: what may not be written is left out here, before any of it reaches a file.
Rule 3: audio is written before the lines that refer to it.
"""

from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any, Final

from voicepipe.audio.resample import Resampler
from voicepipe.watching.recording import manifest as names
from voicepipe.watching.recording.files import Lines, WavFile, replace
from voicepipe.watching.recording.flac import FlacFile
from voicepipe.watching.recording.redaction import HOLD_S, Redaction, Screen
from voicepipe.watching.recording.sound import Channels, Cover, Covered, Track, cover_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from voicepipe.watching.recording.batch import Batch, Line, Pause, VoicePiece
    from voicepipe.watching.recording.manifest import Ended, Manifest
    from voicepipe.watching.recording.records import Json
    from voicepipe.watching.recording.redaction import Redact

__all__ = ["Writer"]

COLUMNS: Final = (
    "turn_id", "t_s", "outcome", "user_text", "heard", "heard_s", "waited_s", "contributions", "tools", "error"
)  # fmt: skip

SILENCE_S: Final = 30.0
"""So much silence is written at a time."""


class Writer:
    """Writes one recording.

    Args:
        path: Its directory, which is there.
        manifest: What it says about itself.
        personal: Facts that must not be written.
        redact: The application's hook; None without one.
        cover: What is heard instead of words that the hook leaves out.

    Attributes:
        path: Its directory.
        size: How many bytes it has.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        personal: Iterable[str] = (),
        redact: Redact | None = None,
        cover: Cover = "silence",
    ) -> None:
        self.path = path
        self.size = 0
        self._manifest = manifest
        self._screen = Screen(manifest.sides)
        for text in personal:
            self._screen.hidden.add(text, "***", is_secret=True)
        self._redaction = None if redact is None else Redaction(redact)
        self._hold_s = 0.0 if redact is None else HOLD_S
        self._cover: Cover = cover
        self._files = {name: Lines(path / name) for name in (names.EVENTS, names.EXCHANGES, names.WIRE, names.TURNS)}
        self._has_turns = False
        audio = manifest.audio
        self._audio = _sound_file(path, audio)
        self._channels = Channels(len(audio.channels), audio.rate, keeps_s=self._hold_s)
        self._tracks = {
            name: Track(self._channels, number, self._resampler) for number, name in enumerate(audio.channels)
        }
        self._has_audio = False
        self._open: dict[str, Covered] = {}  # spans of the present pause
        self._turns: list[tuple[int, Covered]] = []  # spans of turns that have not ended
        self._voice = _sound_file(path, manifest.voice)
        self._voice_frames = 0
        self._voice_held: list[VoicePiece] = []

    def begin(self) -> None:
        """Write the manifest.

        Raises:
            OSError: It cannot be written.
        """
        self._write_manifest()

    def write(self, batch: Batch) -> int:
        """Write what has happened, and return how many bytes the recording has.

        Raises:
            OSError: It cannot be written, or only in part.
        """
        self._take_in(batch)
        self._write(batch, batch.until_s - self._hold_s)
        return self.size

    def end(self, batch: Batch, *, ended: Ended | None = None, stopped: Ended | None = None) -> None:
        """Write the rest, and how the call or the recording ended.

        Raises:
            OSError: It cannot be written, or only in part.
        """
        try:
            self._take_in(batch)
            for track in self._tracks.values():
                track.finish()
            self._write(batch, math.inf)
            if ended is not None:  # an error may quote
                ended = ended.model_copy(update={"reason": self._screen.hidden(ended.reason, "error")})
            self._manifest = self._manifest.model_copy(update={"ended": ended, "stopped": stopped})
            self._write_manifest()
        finally:
            self.close()

    def close(self) -> None:
        """Close the files."""
        for lines in self._files.values():
            lines.close()
        self._audio.close()
        self._voice.close()

    # --- what has come ------------------------------------------------------------------------------------------------

    def _take_in(self, batch: Batch) -> None:
        for piece in batch.audio:
            if (track := self._tracks.get(piece.channel)) is not None:
                self._pass_silence(piece.t_s)
                track.add(piece.t_s, piece.pcm, piece.rate)
                self._has_audio = True
        for track in self._tracks.values():
            track.settle()
        for text in batch.secrets:
            self._screen.hidden.add(text)
        batch.lines = [passed for line in batch.lines for passed in self._screen.passed(line)]
        batch.turns = [passed for line in batch.turns for passed in self._screen.passed(line)]
        if batch.pauses and not self._manifest.redacted:
            self._manifest = self._manifest.model_copy(update={"redacted": True})
            self._write_manifest()
        for pause in batch.pauses:
            self._pause(pause)
        if self._redaction is not None:
            self._redact(self._redaction, batch)

    def _pause(self, pause: Pause) -> None:
        """Begin a pause, or end it."""
        if pause.channel not in self._manifest.audio.channels:
            return
        if pause.begins:
            channel = self._manifest.audio.channels.index(pause.channel)
            span = self._open[pause.channel] = Covered(channel, self._frame(pause.at_s), None, "silence")
            self._channels.cover(span)
        elif pause.channel in self._open:
            self._open.pop(pause.channel).end = self._frame(pause.at_s)

    def _redact(self, redaction: Redaction, batch: Batch) -> None:
        for line in batch.lines:
            redaction.take(line)
        for turn in batch.turns:
            turn.fields = redaction.text(turn.kind, turn.fields)
        for span in redaction.silenced:
            if span.channel in self._manifest.audio.channels:
                channel = self._manifest.audio.channels.index(span.channel)
                end = None if span.until_s is None else self._frame(span.until_s)
                covered = Covered(channel, self._frame(span.from_s), end, self._cover)
                self._channels.cover(covered)
                if span.turn_id is not None:
                    self._turns.append((span.turn_id, covered))
        redaction.silenced.clear()
        for turn_id, t_s in redaction.ended_turns:
            for _, covered in (one for one in self._turns if one[0] == turn_id):
                covered.end = self._frame(t_s)
            self._turns = [one for one in self._turns if one[0] != turn_id]
        redaction.ended_turns.clear()

    def _pass_silence(self, until_s: float) -> None:
        """Write most of a long silence, piece by piece: an hour of it takes no memory."""
        step, held = round(SILENCE_S * self._channels.rate), round(self._hold_s * self._channels.rate)
        while self._frame(until_s) - self._channels.end > 2 * step:
            self._channels.reach(self._channels.end + step)
            self.size += self._audio.put(*self._channels.take(self._channels.end - held))

    def _frame(self, t_s: float) -> int:
        return max(0, round(t_s * self._channels.rate))

    def _resampler(self, rate: int) -> Resampler | None:
        return None if rate == self._channels.rate else Resampler(rate, self._channels.rate)

    # --- what is written ----------------------------------------------------------------------------------------------

    def _write(self, batch: Batch, until_s: float) -> None:
        """Write what is known up to a time."""
        if self._has_audio:
            self._pass_silence(batch.until_s)
            self._channels.reach(math.floor(batch.until_s * self._channels.rate))
            before = None if until_s in (batch.until_s, math.inf) else self._frame(until_s)
            self.size += self._audio.put(*self._channels.take(before))
        self._write_voice(batch.voice, until_s)
        lines = batch.lines if self._redaction is None else self._redaction.release(until_s)
        texts = {name: list[bytes]() for name in self._files}
        for line in lines:
            texts[line.file].append(_json(line.fields, separators=(",", ":")) + b"\n")
        for name, text in texts.items():
            self.size += self._files[name].append(b"".join(text))
        self._write_turns(batch.turns)
        if batch.history is not None:
            self._write_history(batch.history)

    def _write_voice(self, pieces: list[VoicePiece], until_s: float) -> None:
        if self._redaction is not None:
            self._voice_held += pieces
            pieces = [piece for piece in self._voice_held if piece.t_s <= until_s]
            self._voice_held = self._voice_held[len(pieces) :]
        at, pcm = self._voice_frames, list[bytes]()
        for piece in pieces:
            samples = len(piece.pcm) // 2
            if piece.is_paused or "agent" not in self._manifest.audio.channels:
                pcm.append(bytes(len(piece.pcm)))
            elif self._redaction is not None and self._redaction.is_silent(piece.sentence_id):
                pcm.append(cover_of(self._cover, self._voice_frames, samples, self._manifest.voice.rate))
            else:
                pcm.append(piece.pcm)
            self._voice_frames += samples
        self.size += self._voice.put(at, b"".join(pcm))

    def _write_turns(self, turns: list[Line]) -> None:
        if not turns:
            return
        text = io.StringIO()
        table = csv.writer(text)
        if not self._has_turns:
            self._has_turns = True
            table.writerow(COLUMNS)
        table.writerows([_cell(turn.fields[name]) for name in COLUMNS] for turn in turns)
        self.size += self._files[names.TURNS].append(text.getvalue().encode("utf-8", "backslashreplace"))

    def _write_history(self, messages: list[Json]) -> None:
        messages = self._screen.history(messages)
        if self._redaction is not None:
            kinds = {"user": "UserMessage", "assistant": "AssistantMessage"}
            messages = [self._redaction.text(kinds[message["role"]], message) for message in messages]
        text = json.dumps(messages, ensure_ascii=False, indent=1)
        # `History.from_json` takes no half of a surrogate pair, not even as an escape.
        replace(self.path / names.HISTORY, text.encode("utf-8", "replace"))

    def _write_manifest(self) -> None:
        replace(self.path / names.MANIFEST, _json(self._manifest.model_dump(mode="json"), indent=1))


def _sound_file(path: Path, sound: names.Sound) -> WavFile | FlacFile:
    kind = FlacFile if sound.file.endswith(".flac") else WavFile
    return kind(path / sound.file, sound.rate, len(sound.channels))


def _json(value: object, **form: Any) -> bytes:  # noqa: ANN401 - how `json.dumps` writes it
    """Return JSON; half of a surrogate pair, which has no UTF-8, becomes an escape, which is read back as it was."""
    return json.dumps(value, ensure_ascii=False, **form).encode("utf-8", "backslashreplace")


def _cell(value: object) -> object:
    """Return what a spreadsheet shows as it is, and does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
