"""How loud caller and agent are at the moment.

Rule 1: an observer is called in the middle of a call. It keeps what it gets, and measures when somebody looks.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from typing import TYPE_CHECKING, Final

import voicepipe as vp

if TYPE_CHECKING:
    from voicepipe.flow import AudioFrame
    from voicepipe.observed import PlayedAudio

__all__ = ["Levels"]

KEPT: Final = 25
"""Pieces of 20 ms that are kept of each side: half a second, if nobody looks any more."""

QUIETEST_DB: Final = -60.0

FULL_SCALE: Final = 32_768.0


class Levels(vp.Observer):
    """Watches the audio of one session."""

    def __init__(self) -> None:
        self._heard: deque[bytes] = deque(maxlen=KEPT)
        self._played: deque[bytes] = deque(maxlen=KEPT)

    def on_heard(self, frame: AudioFrame) -> None:
        """Keep the caller's audio."""
        self._heard.append(frame.pcm)

    def on_played(self, audio: PlayedAudio) -> None:
        """Keep the agent's audio."""
        self._played.append(audio.pcm)

    def take(self) -> tuple[float, float]:
        """Return the loudest that caller and agent have been since the last look: 0 is silence, 1 is full scale."""
        levels = _level(b"".join(self._heard)), _level(b"".join(self._played))
        self._heard.clear()
        self._played.clear()
        return levels


def _level(pcm: bytes) -> float:
    samples = array("h", pcm)
    peak = max(max(samples, default=0), -min(samples, default=0))
    return 1 - max(QUIETEST_DB, 20 * math.log10(peak / FULL_SCALE)) / QUIETEST_DB if peak else 0.0
