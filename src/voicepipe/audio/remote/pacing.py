"""What is sent when, and what of it was played: the rules of a paced output.

Rule 1: at most one frame in each interval between two ticks; what late ticks owe is made up for, what was not there is
        not. So the peer never falls behind, and never has much more in store than one frame.
Rule 2: each frame is 20 ms. Less than that waits one tick for what may follow, then silence fills it up.
Rule 3: a flush forgets everything that was not sent, and has the peer clear the rest before it gets anything else.
Rule 4: what was played is never told too high, and never falls.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from voicepipe.audio.pcm import FRAME_S

__all__ = ["Pacing", "Playhead"]

HELD_FRAMES: Final = 2
"""Frames that wait to be sent: enough to hide the loop's jitter, little enough to throw away."""

SHORT_TICKS: Final = 2
"""A rest of less than a frame is sent with the second tick that finds it: one tick for what may follow it."""

CATCH_UP_TICKS: Final = 25
"""Half a second: what a loop that stood still for longer owes is too much to send at once."""

MARK_S: Final = 0.2
"""A mark follows each 0.2 s of audio: so exact is history at an interruption, at the cost of five messages a second."""

KNOWN_MARKS: Final = 50
"""Marks that the peer may still report: 10 s. A later one says more than an older one."""


class Playhead:
    """How much of what was sent has been played, by the clock; in samples."""

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._played = 0
        self._frames: deque[tuple[float, int]] = deque()  # when it begins to be played, and its samples
        self._until_s = -math.inf

    def add(self, samples: int, now: float) -> None:
        """A frame with so many samples (the rest of its 20 ms is silence) has reached the peer."""
        begins_s = max(self._until_s, now)
        self._frames.append((begins_s, samples))
        self._until_s = begins_s + FRAME_S
        self.played(now)  # forgets what has been played, or an hour of frames would be kept

    def played(self, now: float) -> int:
        """Return the samples that have been played by now."""
        while self._frames:
            begins_s, samples = self._frames[0]
            so_far = max(0, math.floor((now - begins_s) * self._sample_rate + 1e-3))
            if so_far < samples:
                return self._played + so_far
            self._played += samples
            self._frames.popleft()
        return self._played

    def cut(self, played: int) -> None:
        """What was sent and not played is gone."""
        self._played = played
        self._frames.clear()
        self._until_s = -math.inf


class Pacing:
    """Who holds the audio between `write` and `send`. Pure: time and tick are arguments.

    Args:
        sample_rate: Samples per second, a multiple of 50.
        has_marks: Whether the peer reports what it has played.
        tick: The number of the newest tick.

    Attributes:
        flushes: How often it was flushed.
        frames: Frames that were sent.
    """

    def __init__(self, sample_rate: int, *, has_marks: bool, tick: int) -> None:
        self.flushes = self.frames = 0
        self._sample_rate = sample_rate
        self._frame_bytes = sample_rate // 50 * 2
        self._held = bytearray()
        self._due = tick  # the number of the tick with which the next frame is due
        self._short_ticks = 0
        self._in_flight = 0  # samples of the frame that is being sent
        self._must_clear = self._has_sent = False
        self._playhead = Playhead(sample_rate)
        self._has_marks = has_marks
        self._marks: dict[str, int] = {}  # what will have been played when it is reported, in samples
        self._marks_made = 0
        self._sent = self._marked = self._reported = 0  # in samples
        self._speech_ended = False

    # --- who writes ---------------------------------------------------------------------------------------------------

    def has_room(self, size: int) -> bool:
        """Return whether so many bytes may be put in."""
        return not self._held or len(self._held) + size <= HELD_FRAMES * self._frame_bytes

    def put(self, pcm: bytes, tick: int) -> bool:
        """Take audio in, and return whether a frame can be sent at once."""
        self._held += pcm
        self._short_ticks = 0
        self._speech_ended = False
        return self._due <= tick and len(self._held) >= self._frame_bytes

    def flush(self, now: float, tick: int) -> None:
        """Forget all audio that was not played."""
        self.flushes += 1
        self._held.clear()
        self._marks.clear()
        self._must_clear |= self._has_sent
        self._sent = self._marked = self._reported = played = self._played(now)
        self._playhead.cut(played)
        self._in_flight = self._short_ticks = 0
        self._due = tick
        self._speech_ended = False

    # --- who sends ----------------------------------------------------------------------------------------------------

    def tick(self, tick: int) -> bool:
        """Return whether there is something to send now."""
        if self._due > tick:
            return False
        if len(self._held) >= self._frame_bytes:
            return True
        self._due = tick  # the peer runs dry: nothing is owed
        if self._held:
            self._short_ticks += 1
            return self._short_ticks >= SHORT_TICKS
        self._speech_ended = True
        return self._needs_mark

    def take_clear(self) -> bool:
        """Return whether the peer has to clear what it was sent, before anything else."""
        must_clear, self._must_clear = self._must_clear, False
        if must_clear:
            self._has_sent = False
        return must_clear

    def take_mark(self) -> str | None:
        """Return the name of a mark that is to be sent, if one is."""
        if not self._needs_mark:
            return None
        self._marks_made += 1
        name = str(self._marks_made)
        self._marks[name] = self._marked = self._sent
        if len(self._marks) > KNOWN_MARKS:
            del self._marks[next(iter(self._marks))]
        return name

    @property
    def _needs_mark(self) -> bool:
        unmarked = self._sent - self._marked
        return self._has_marks and (unmarked >= MARK_S * self._sample_rate or (self._speech_ended and unmarked > 0))

    def take_frame(self, tick: int) -> bytes | None:
        """Return 20 ms that are to be sent now, if there are any; `sent` must follow."""
        size = self._frame_bytes
        if self._due > tick or not (len(self._held) >= size or self._short_ticks >= SHORT_TICKS):
            return None
        frame = bytes(self._held[:size])
        del self._held[:size]
        self._due = max(self._due, tick - CATCH_UP_TICKS) + 1
        self._short_ticks = 0
        self._in_flight = len(frame) // 2
        self._has_sent = True
        return frame if len(frame) == size else frame.ljust(size, b"\0")

    def sent(self, now: float) -> None:
        """The frame that was taken has been sent; if it was flushed meanwhile, it does not count."""
        self.frames += 1
        if self._in_flight:
            self._sent += self._in_flight
            self._playhead.add(self._in_flight, now)
            self._in_flight = 0

    # --- what was played ----------------------------------------------------------------------------------------------

    def marked(self, name: str) -> None:
        """The peer has played everything up to a mark. One that is not known, or not any more, says nothing."""
        if name in self._marks:
            self._reported = self._marks[name]
            while next(iter(self._marks)) != name:
                del self._marks[next(iter(self._marks))]
            del self._marks[name]

    def played_s(self, now: float) -> float:
        """Return the seconds of audio that have been played by now."""
        return self._played(now) / self._sample_rate

    def _played(self, now: float) -> int:
        by_clock = self._playhead.played(now)
        # A peer cannot have played what it has not had the time to play, whatever it reports.
        return min(self._reported, by_clock) if self._has_marks else by_clock
