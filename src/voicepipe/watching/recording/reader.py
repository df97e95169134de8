"""Reads recordings.

Rule 1: nothing is read before it is asked for, and large files are read piece by piece.
Rule 2: of a recording that was cut off, everything up to there is read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from voicepipe.errors import ConfigurationError, RecordingError
from voicepipe.history import History
from voicepipe.observed import VoiceGave, WireMessage
from voicepipe.watching.recording import manifest as names
from voicepipe.watching.recording.files import HEADER_BYTES
from voicepipe.watching.recording.flac import flac_frames, read_flac
from voicepipe.watching.recording.manifest import FORMAT, Manifest
from voicepipe.watching.recording.records import from_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from voicepipe.events import Event
    from voicepipe.observed import Exchange
    from voicepipe.watching.recording.records import Json

__all__ = ["Recording", "TimedEvent"]

BLOCK_S: Final = 10
"""How much of what the voice gave is read at once."""


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """An event, and when it was emitted.

    Attributes:
        t_s: In seconds since the recording began.
        event: The event; its own times count from there, too.
    """

    t_s: float
    event: Event


class Recording:
    """A recorded call. All times are seconds since the recording began.

    Attributes:
        path: Its directory.
        manifest: What it says about itself.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._voice_block = (0, b"")

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Open a recording; what is in it is read when it is asked for.

        Raises:
            RecordingError: There is none, it is damaged, or a newer voicepipe wrote it.
        """
        path = Path(path)
        try:
            text = (path / names.MANIFEST).read_bytes()
        except FileNotFoundError:
            what = "has no manifest.json, so it is not a recording" if path.is_dir() else "does not exist"
            raise RecordingError(f"{path}: {what}; name a directory {names.SUFFIX}") from None
        except NotADirectoryError:
            raise RecordingError(f"{path}: is a file, not a recording; name a directory {names.SUFFIX}") from None
        except OSError as error:
            raise RecordingError(f"{path}: cannot be read: {error.strerror}") from error
        return cls(path, _manifest(path, text))

    @property
    def is_cut(self) -> bool:
        """Whether it was cut off: the program or the recording ended before the call did."""
        return self.manifest.ended is None

    @cached_property
    def duration_s(self) -> float:
        """Seconds from its beginning to its end; to the last thing in it, if it was cut off."""
        if self.manifest.ended is not None:
            return self.manifest.ended.t_s
        sound = self._frames(self.manifest.audio) / self.manifest.audio.rate
        last: list[float] = [line["t_s"] for name in (names.EVENTS, names.EXCHANGES) for line in self._last(name)]
        return max([sound, *last])

    @property
    def events(self) -> Iterator[TimedEvent]:
        """The events of the session, in order."""
        for line in self.lines(names.EVENTS):
            yield TimedEvent(line["t_s"], self._object(names.EVENTS, line.get("event"), line))

    @property
    def exchanges(self) -> Iterator[Exchange]:
        """What the parts were given and gave, in order."""
        for line in self.lines(names.EXCHANGES):
            line["at_s"] = line["t_s"]
            if "samples" in line:
                yield self._audio_given(line)
            else:
                yield self._object(names.EXCHANGES, line.get("kind"), line)

    @property
    def wire(self) -> Iterator[WireMessage]:
        """What went over the network. Of audio only the length is known: it is silence here."""
        for line in self.lines(names.WIRE):
            try:
                yield WireMessage(
                    at_s=line["t_s"],
                    peer=line["peer"],
                    connection=line["connection"],
                    direction=line["direction"],
                    head=line["head"],
                    data=line["text"] if "text" in line else bytes(line["bytes"]),
                )
            except (KeyError, TypeError) as error:
                raise self._damaged(names.WIRE, error) from None

    @property
    def history(self) -> History:
        """The conversation, as it was after the last turn.

        Raises:
            RecordingError: It is damaged.
        """
        try:
            return History.from_json(json.loads((self.path / names.HISTORY).read_bytes()))
        except FileNotFoundError:
            return History()
        except OSError as error:
            raise self._unreadable(names.HISTORY, error) from error
        except (ValueError, ConfigurationError) as error:
            raise self._damaged(names.HISTORY, error) from None

    def audio(self, channel: str, from_s: float = 0.0, until_s: float | None = None) -> bytes:
        """Return one side of the call as signed 16-bit mono samples, at `manifest.audio.rate`.

        Args:
            channel: "caller" or "agent".
            from_s: Where to begin.
            until_s: Where to end; None for the end of the call.

        Raises:
            RecordingError: This side was not recorded, or the file is damaged.
        """
        sound = self.manifest.audio
        if channel not in sound.channels:
            raise RecordingError(f"{self.path}: the {channel}'s side was not recorded")
        first = max(0, round(from_s * sound.rate))
        frames = self._samples(sound, first, None if until_s is None else max(0, round(until_s * sound.rate) - first))
        at, count = sound.channels.index(channel), len(sound.channels)
        if count == 1:
            return frames
        return memoryview(frames).cast("h")[at::count].tobytes()

    def voice(self, first: int, samples: int) -> bytes:
        """Return what the voice gave, as signed 16-bit mono samples; `VoiceAsked.sample_rate` says how fast.

        Raises:
            RecordingError: The file is damaged.
        """
        at, block = self._voice_block
        if not at <= first <= first + samples <= at + len(block) // 2:
            # Pieces of 20 ms are asked for one after another; a compressed file is opened for many of them at once.
            block = self._samples(self.manifest.voice, first, max(samples, BLOCK_S * self.manifest.voice.rate))
            at, self._voice_block = first, (first, block)
        return block[2 * (first - at) : 2 * (first - at + samples)]

    def lines(self, name: str) -> Iterator[Json]:
        """Return the lines of a file as they are: `events.jsonl`, `exchanges.jsonl` or `wire.jsonl`.

        Raises:
            RecordingError: A line is damaged. The last one may be cut off.
        """
        try:
            file = (self.path / name).open("rb")
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unreadable(name, error) from error
        with file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return  # the writer was cut off
                try:
                    fields: Any = json.loads(line)
                    float(fields["t_s"])
                except (ValueError, TypeError, KeyError, RecursionError):
                    raise self._damaged(name, f"line {number} is not what voicepipe writes") from None
                yield fields

    def _audio_given(self, line: Json) -> VoiceGave:
        try:
            piece = self.voice(line["from"], line["samples"])
            return VoiceGave(at_s=line["t_s"], sentence_id=line["sentence_id"], piece=piece)
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(names.EXCHANGES, f"at {line['t_s']} s: {error!r}") from None

    def _object(self, name: str, kind: object, line: Json) -> Any:  # noqa: ANN401
        try:
            return from_json(str(kind), line)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise self._damaged(name, f"at {line['t_s']} s: {error}") from None

    def _damaged(self, name: str, why: object) -> RecordingError:
        return RecordingError(f"{self.path / name} is damaged: {why}")

    def _unreadable(self, name: str, error: OSError) -> RecordingError:
        return RecordingError(f"{self.path / name} cannot be read: {error.strerror}")

    def _last(self, name: str) -> Iterator[Json]:
        line: Json | None = None
        for line in self.lines(name):  # noqa: B007 - the last one counts
            pass
        if line is not None:
            yield line

    def _frames(self, sound: names.Sound) -> int:
        path, channels = self.path / sound.file, len(sound.channels)
        try:
            if path.suffix == ".flac":
                return flac_frames(path, channels)
            return max(0, path.stat().st_size - HEADER_BYTES) // (2 * channels)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise self._unreadable(sound.file, error) from error
        except ValueError as error:
            raise self._damaged(sound.file, error) from None

    def _samples(self, sound: names.Sound, first: int, count: int | None) -> bytes:
        path, frame = self.path / sound.file, 2 * len(sound.channels)
        try:
            if path.suffix == ".flac":
                return read_flac(path, len(sound.channels), first, count)
            with path.open("rb") as file:
                file.seek(HEADER_BYTES + first * frame)
                pcm = file.read() if count is None else file.read(count * frame)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise self._unreadable(sound.file, error) from error
        except ValueError as error:
            raise self._damaged(sound.file, error) from None
        return pcm[: len(pcm) // frame * frame]

    def __repr__(self) -> str:
        """Show the path and how long it is."""
        return f"<Recording {self.path.name} {self.duration_s:.1f} s{' cut off' if self.is_cut else ''}>"


def _manifest(path: Path, text: bytes) -> Manifest:
    try:
        fields = json.loads(text)
        form = fields["format"]
        if isinstance(form, int) and form > FORMAT:
            raise RecordingError(
                f"{path}: written by voicepipe {fields.get('voicepipe')} in the form {form}, and this one reads "
                f"{FORMAT}; upgrade voicepipe"
            )
        return Manifest.model_validate(fields)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, wrong["loc"]))
        raise RecordingError(f"{path / names.MANIFEST} is damaged: {place}: {wrong['msg']}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise RecordingError(f"{path / names.MANIFEST} is damaged: {error}") from None
