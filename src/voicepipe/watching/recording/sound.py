"""Both sides of a call on one axis of time, as samples.

Rule 1: pure: audio comes with its time, in any order and perhaps late, and what has changed goes to a file.
Rule 2: where nothing was, there is silence. What comes later for the same time takes the place of it.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.core.context import Resampling

__all__ = ["KEPT_S", "Channels", "Track"]

KEPT_S: Final = 12.0
"""How late audio may come: a mobile network gives up to 10 s at once."""

APART_S: Final = 0.002
"""Pieces whose times fit together this closely are one sound: their times are rounded, or sums of lengths."""


class Channels:
    """The newest seconds of a recording, interleaved, and which of them have to be written.

    Args:
        count: How many channels.
        rate: Samples per second.
    """

    def __init__(self, count: int, rate: int) -> None:
        self.count = count
        self.rate = rate
        self._kept = round(KEPT_S * rate)
        self._base = 0  # the frame with which the samples begin
        self._samples = array("h")
        self._dirty_from: int | None = None

    @property
    def end(self) -> int:
        """How many frames there are."""
        return self._base + len(self._samples) // self.count

    def put(self, channel: int, at: int, pcm: bytes) -> None:
        """Put samples on a channel, from frame `at` on. What is older than can be changed is lost."""
        samples = array("h", pcm)
        if at < self._base:
            samples = samples[self._base - at :]
            at = self._base
        if not samples:
            return
        self.reach(at + len(samples))
        first = (at - self._base) * self.count + channel
        self._samples[first : first + len(samples) * self.count : self.count] = samples
        self._changed(at)

    def reach(self, end: int) -> None:
        """Add silence, so that there are at least so many frames."""
        if (missing := end - self.end) > 0:
            self._changed(self.end)
            self._samples.frombytes(bytes(2 * self.count * missing))

    def take(self, before: int | None = None) -> tuple[int, bytes]:
        """Return what has changed since the last time: the frame with which it begins, and the interleaved samples.

        Args:
            before: Take only frames before this one.
        """
        end = self.end if before is None else min(before, self.end)
        if self._dirty_from is None or self._dirty_from >= end:
            return end, b""
        at = self._dirty_from
        changed = self._samples[(at - self._base) * self.count : (end - self._base) * self.count]
        self._dirty_from = end if end < self.end else None
        if (old := end - self._kept - self._base) > self._kept:
            del self._samples[: old * self.count]
            self._base += old
        return at, changed.tobytes()

    def _changed(self, at: int) -> None:
        self._dirty_from = at if self._dirty_from is None else min(at, self._dirty_from)


class Track:
    """One channel: puts audio where it belongs, at the rate of the recording.

    Args:
        channels: Takes the samples.
        channel: Which of them.
        resampler: Makes a resampler from a rate to that of the recording; None if they are equal.
    """

    def __init__(self, channels: Channels, channel: int, resampler: Callable[[int], Resampling | None]) -> None:
        self._channels = channels
        self._channel = channel
        self._make_resampler = resampler
        self._resampler: Resampling | None = None
        self._from_rate = 0
        self._next_s = 0.0  # when the present sound goes on
        self._next = 0  # and the frame at which it does

    def add(self, at_s: float, pcm: bytes, rate: int) -> None:
        """Add a piece of audio that began at `at_s`, in seconds since the recording began."""
        if rate != self._from_rate:
            self.finish()
            self._from_rate, self._resampler = rate, self._make_resampler(rate)
            self._next_s = -1.0
        if abs(at_s - self._next_s) > APART_S:
            self.finish()
            self._next, self._next_s = round(at_s * self._channels.rate), at_s
        self._next_s += len(pcm) / 2 / rate
        self._put(pcm if self._resampler is None else self._resampler.feed(pcm))

    def finish(self) -> None:
        """Put what a resampler holds back; what follows is another sound."""
        if self._resampler is not None:
            self._put(self._resampler.flush())
        self._next_s = -1.0

    def _put(self, pcm: bytes) -> None:
        if pcm:
            self._channels.put(self._channel, self._next, pcm)
            self._next += len(pcm) // 2
