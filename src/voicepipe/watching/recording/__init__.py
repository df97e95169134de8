"""Recordings of calls: one directory of plain files a call, and what reads it."""

from voicepipe.errors import RecordingError
from voicepipe.watching.recording.manifest import FORMAT, Manifest
from voicepipe.watching.recording.reader import Recording, TimedEvent
from voicepipe.watching.recording.recorder import Recorder
from voicepipe.watching.recording.records import RecordedResult, RecordedValue

__all__ = [
    "FORMAT",
    "Manifest",
    "RecordedResult",
    "RecordedValue",
    "Recorder",
    "Recording",
    "RecordingError",
    "TimedEvent",
]
