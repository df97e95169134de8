"""Recordings of calls: one directory of plain files a call, and what reads it."""

from voicepipe.errors import RecordingError
from voicepipe.watching.recording.manifest import FORMAT, Manifest
from voicepipe.watching.recording.reader import Recording, TimedEvent
from voicepipe.watching.recording.recorder import Recorder, RecorderControl
from voicepipe.watching.recording.records import RecordedResult, RecordedValue
from voicepipe.watching.recording.redaction import Redact
from voicepipe.watching.recording.screen import TextKind

__all__ = [
    "FORMAT",
    "Manifest",
    "RecordedResult",
    "RecordedValue",
    "Recorder",
    "RecorderControl",
    "Recording",
    "RecordingError",
    "Redact",
    "TextKind",
    "TimedEvent",
]
