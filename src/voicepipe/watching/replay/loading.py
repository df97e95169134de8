"""A recording on disk, as a replay takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.watching.recording import Recording
from voicepipe.watching.replay.recorded_call import RecordedCall
from voicepipe.watching_events import RecordingPaused

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["load_call"]


def load_call(recording: Recording | str | Path) -> RecordedCall:
    """Read a recording, or what there is of one that was cut off.

    Raises:
        RecordingError: There is none, it is damaged, or a newer voicepipe wrote it.
    """
    found = recording if isinstance(recording, Recording) else Recording.read(recording)
    manifest = found.manifest
    events = tuple((timed.t_s, timed.event) for timed in found.events)
    has_caller = manifest.agent.hears and "caller" in manifest.audio.channels
    return RecordedCall(
        exchanges=tuple(found.exchanges),
        events=events,
        rules=manifest.agent.turn_rules(),
        fallback=manifest.agent.fallback,
        ended_s=found.duration_s,
        reason=None if manifest.ended is None else manifest.ended.reason,
        caller_audio=(lambda: (found.audio("caller"), manifest.audio.rate)) if has_caller else None,
        facts=manifest.facts,
        sides=manifest.sides,
        is_redacted=manifest.redacted or any(isinstance(event, RecordingPaused) for _, event in events),
    )
