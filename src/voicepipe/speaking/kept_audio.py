"""The newest audio of a reply, kept so that a paused reply can go on at a word.

Rule 1: pure: frames go in with their place in the reply, and come out from a place on.
Rule 2: what was played more than 2 s ago is forgotten; nobody goes back further than to the beginning of a word.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import Final

from voicepipe.audio.pcm import FRAME_S, samples_of

__all__ = ["KeptAudio"]

KEPT_S: Final = 2.0
BACK_S: Final = 0.25
BACK_MOST_S: Final = 0.45
"""Without word marks a reply goes on so much earlier than it was heard, in the quietest frame between the two: a word
that was heard only in part is said again."""

FADE_S: Final = 0.01
PRUNE_FRAMES: Final = 25
"""Old frames are forgotten each half second, not at each frame."""


class KeptAudio:
    """Frames of one reply, with their places in seconds from its beginning.

    Args:
        sample_rate: Samples per second.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._frames: deque[tuple[float, bytes]] = deque()
        self._prune_in = PRUNE_FRAMES

    def add(self, start_s: float, pcm: bytes) -> bool:
        """Keep a frame, and return whether it is time to forget old ones."""
        self._frames.append((start_s, pcm))
        self._prune_in -= 1
        if self._prune_in > 0:
            return False
        self._prune_in = PRUNE_FRAMES
        return True

    def forget_before(self, played_s: float) -> None:
        """Forget what nobody goes back to once so much has been played."""
        while self._frames and self._frames[0][0] + FRAME_S < played_s - KEPT_S:
            self._frames.popleft()

    def quiet_s(self, played_s: float) -> float:
        """Return a place a little before `played_s` where the voice is quietest."""
        latest_s = max(0.0, played_s - BACK_S)
        around = [(at_s, pcm) for at_s, pcm in self._frames if played_s - BACK_MOST_S <= at_s <= latest_s]
        return min(around, key=lambda frame: _energy(frame[1]), default=(latest_s, b""))[0]

    def since(self, start_s: float, *, fades: bool) -> list[bytes]:
        """Return the audio from a place on; `fades` fades it in over 10 ms, against a click."""
        frames: list[bytes] = []
        for at_s, pcm in self._frames:
            skipped = max(0, round((start_s - at_s) * self._rate)) * 2
            if skipped < len(pcm):
                frames.append(pcm[skipped:])
        if frames and fades:
            frames[0] = _faded_in(frames[0], self._rate)
        return frames


def _energy(pcm: bytes) -> float:
    samples = samples_of(pcm)
    return sum(sample * sample for sample in samples) / max(1, len(samples))


def _faded_in(pcm: bytes, rate: int) -> bytes:
    samples, length = samples_of(pcm), max(1, round(FADE_S * rate))
    for at in range(min(length, len(samples))):
        samples[at] = samples[at] * at // length
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()
