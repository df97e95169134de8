"""The agent's audio on its way from what was written to what was played; pure.

Rule 1: a piece counts as played when its last sample was audible. What was flushed before that is cut at the sample.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.observed import PlayedAudio

__all__ = ["Played"]

EXACT_S: Final = 1e-6
"""Times within this are the same: they are sums of frame lengths."""


class Played:
    """What was written and is still to be played, at most what an output holds.

    Args:
        take: Takes each piece once it has been played, in order.
    """

    def __init__(self, take: Callable[[PlayedAudio], None]) -> None:
        self._take = take
        self._waiting: deque[PlayedAudio] = deque()

    def plays(self, audio: PlayedAudio, now: float) -> None:
        """Note that a piece will be audible at `audio.at_s`, after those before it."""
        self.look(now)
        self._waiting.append(audio)

    def look(self, now: float) -> None:
        """Pass on what has been played."""
        while self._waiting and _ends_s(self._waiting[0]) <= now + EXACT_S:
            self._take(self._waiting.popleft())

    def silenced(self, now: float) -> None:
        """Drop what has not been played."""
        self.look(now)
        waiting = list(self._waiting)
        self._waiting.clear()
        if waiting and (samples := round((now - waiting[0].at_s) * waiting[0].sample_rate)) > 0:
            self._take(replace(waiting[0], pcm=waiting[0].pcm[: 2 * samples]))


def _ends_s(audio: PlayedAudio) -> float:
    return audio.at_s + len(audio.pcm) / 2 / audio.sample_rate
