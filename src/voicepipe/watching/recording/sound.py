"""Both sides of a call on one axis of time, as samples.

Rule 1: pure: audio comes with its time, in any order and perhaps late, and what has changed goes to a file.
Rule 2: where nothing was, there is silence. What comes later for the same time takes the place of it.
Rule 3: a span that is covered stays covered, whatever comes for it later.
"""

from __future__ import annotations

import functools
import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.core.context import Resampling

__all__ = ["KEPT_S", "Channels", "Cover", "Covered", "Track", "cover_of"]

Cover: TypeAlias = Literal["silence", "beep"]
"""What is heard instead of words that are left out."""

KEPT_S: Final = 12.0
"""How late audio may come: a mobile network gives up to 10 s at once."""

APART_S: Final = 0.002
"""Pieces whose times fit together this closely are one sound: their times are rounded, or sums of lengths."""


BEEP_HZ: Final = 1000
BEEP_LEVEL: Final = 3000
"""Of 32767: as loud as quiet speech."""


@functools.cache
def _beep(rate: int) -> bytes:
    """Return a second of a tone; whole periods, so that seconds of it join without a click."""
    return array("h", (round(BEEP_LEVEL * math.sin(2 * math.pi * BEEP_HZ * n / rate)) for n in range(rate))).tobytes()


def cover_of(cover: Cover, at: int, samples: int, rate: int) -> bytes:
    """Return what covers so many samples, from sample `at` of the recording on."""
    if cover == "silence":
        return bytes(2 * samples)
    first = 2 * (at % rate)
    tone = _beep(rate) * (samples // rate + 2)
    return tone[first : first + 2 * samples]


@dataclass(slots=True)
class Covered:
    """A span of one channel in which nothing may be heard.

    Attributes:
        channel: Which channel.
        first: The frame with which it begins.
        end: The frame before which it ends; None while it goes on.
        cover: What is heard instead.
    """

    channel: int
    first: int
    end: int | None
    cover: Cover


class Channels:
    """The newest seconds of a recording, interleaved, and which of them have to be written.

    Args:
        count: How many channels.
        rate: Samples per second.
        keeps_s: Keep so many seconds more.
    """

    def __init__(self, count: int, rate: int, keeps_s: float = 0.0) -> None:
        self.count = count
        self.rate = rate
        self._kept = round((KEPT_S + keeps_s) * rate)
        self._base = 0  # the frame with which the samples begin
        self._samples = array("h")
        self._dirty_from: int | None = None
        self._covered: list[Covered] = []

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

    def cover(self, span: Covered) -> None:
        """Let nothing be heard in a span, now and later; its end may be set while it goes on."""
        self._covered.append(span)
        self._changed(max(span.first, self._base))

    def take(self, before: int | None = None) -> tuple[int, bytes]:
        """Return what has changed since the last time: the frame with which it begins, and the interleaved samples.

        Args:
            before: Take only frames before this one.
        """
        end = self.end if before is None else min(before, self.end)
        if self._dirty_from is None or self._dirty_from >= end:
            return end, b""
        at = self._dirty_from
        self._apply_covers(at, end)
        changed = self._samples[(at - self._base) * self.count : (end - self._base) * self.count]
        self._dirty_from = end if end < self.end else None
        if (old := end - self._kept - self._base) > self.rate:
            del self._samples[: old * self.count]
            self._base += old
            self._covered = [span for span in self._covered if span.end is None or span.end > self._base]
        return at, changed.tobytes()

    def _apply_covers(self, at: int, end: int) -> None:
        for span in self._covered:
            first, last = max(span.first, at), end if span.end is None else min(span.end, end)
            if first < last:
                instead = array("h", cover_of(span.cover, first, last - first, self.rate))
                begin = (first - self._base) * self.count + span.channel
                self._samples[begin : begin + len(instead) * self.count : self.count] = instead

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
        self._waiting: list[bytes] = []
        self._next_s = -math.inf  # when the present sound goes on
        self._next = 0  # and the frame at which it does

    def add(self, at_s: float, pcm: bytes, rate: int) -> None:
        """Add a piece of audio that began at `at_s`, in seconds since the recording began; `settle` puts it."""
        if rate != self._from_rate or abs(at_s - self._next_s) > APART_S:
            self.finish()
            if rate != self._from_rate:
                self._from_rate, self._resampler = rate, self._make_resampler(rate)
            self._next, self._next_s = round(at_s * self._channels.rate), at_s
        self._next_s += len(pcm) / 2 / rate
        self._waiting.append(pcm)

    def settle(self) -> None:
        """Put what was added: in one piece, because resampling 20 ms costs as much as half a second."""
        if self._waiting:
            pcm = b"".join(self._waiting)
            self._waiting.clear()
            self._put(pcm if self._resampler is None else self._resampler.feed(pcm))

    def finish(self) -> None:
        """Put what was added, and what a resampler holds back; what follows is another sound."""
        self.settle()
        if self._resampler is not None:
            self._put(self._resampler.flush())
        self._next_s = -math.inf

    def _put(self, pcm: bytes) -> None:
        if pcm:
            self._channels.put(self._channel, self._next, pcm)
            self._next += len(pcm) // 2
