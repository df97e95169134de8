"""The rules of a paced output: what is sent when, and how much of it counts as played.

Rule 1: at most one frame is sent between two ticks. Frames that a late tick owes are sent at once; silence owes
        nothing. So the peer never falls behind, and never buffers much more than one frame.
Rule 2: each frame is 20 ms. A shorter rest waits one tick for more audio, and is then padded with silence.
Rule 3: a flush drops everything not yet sent, and makes the peer clear the rest before it gets anything else.
Rule 4: the count of what was played is never too high and never decreases.
Rule 5: a note has its place in the audio: it is due after what was put before it, and before what is put after it.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from voicepipe.audio.pcm import FRAME_S

if TYPE_CHECKING:
    from voicepipe.events import Event

__all__ = ["HeardBy", "Pacing", "Playhead"]

HeardBy: TypeAlias = Literal["marks", "position", "clock"]
"""How it is known what a peer has played: it reports marks or its position, or nothing, and the clock says it."""

HELD_FRAMES: Final = 2
"""Frames that may wait to be sent: enough to hide the event loop's jitter, little enough to throw away."""

SHORT_TICKS: Final = 2
"""A rest shorter than a frame is sent with the second tick that finds it, so that more audio may join it."""

CATCH_UP_TICKS: Final = 25
"""Half a second: after a longer standstill of the event loop, what is owed is too much to send at once."""

MARK_S: Final = 0.2
"""A mark follows each 0.2 s of audio: the precision of the history at an interruption, for five messages a second."""

KNOWN_MARKS: Final = 50
"""Marks that the peer may still report: 10 s of audio. A later mark covers all older ones."""

KNOWN_FRAMES: Final = 500
"""Frames of which the peer may still report that it has played them: also 10 s."""


class Playhead:
    """How much of what was sent has been played, by the clock, in samples.

    Args:
        sample_rate: Samples per second.
        buffer_s: How long a frame is kept by the peer and on the way there before it is played.
    """

    def __init__(self, sample_rate: int, buffer_s: float = 0.0) -> None:
        self._sample_rate = sample_rate
        self._buffer_s = buffer_s
        self._played = 0
        self._frames: deque[tuple[float, int]] = deque()  # when each begins to play, and its samples
        self._until_s = -math.inf

    def add(self, samples: int, now: float) -> None:
        """Add a frame that has reached the peer: this many samples, then silence up to 20 ms."""
        begins_s = max(self._until_s, now + self._buffer_s)
        self._frames.append((begins_s, samples))
        self._until_s = begins_s + FRAME_S
        self.played(now)  # drops frames that have been played, or an hour of them would be kept

    def played(self, now: float) -> int:
        """Return how many samples have been played by now."""
        while self._frames:
            begins_s, samples = self._frames[0]
            so_far = max(0, math.floor((now - begins_s) * self._sample_rate + 1e-3))
            if so_far < samples:
                return self._played + so_far
            self._played += samples
            self._frames.popleft()
        return self._played

    def cut(self, played: int) -> None:
        """Forget what was sent and not played."""
        self._played = played
        self._frames.clear()
        self._until_s = -math.inf


class Pacing:
    """Holds the audio between `write` and `send`. Pure: time and tick are arguments.

    Args:
        sample_rate: Samples per second, a multiple of 50.
        heard_by: How it is known what the peer has played.
        tick: The number of the newest tick.
        buffer_s: How long the peer keeps audio before it plays it, if it does not report what it has played.
        lead_s: How much audio may be sent before it is due.

    Attributes:
        flushes: Flushes so far.
        frames: Frames sent so far.
    """

    def __init__(
        self, sample_rate: int, *, heard_by: HeardBy, tick: int, buffer_s: float = 0.0, lead_s: float = 0.0
    ) -> None:
        self.flushes = self.frames = 0
        self._sample_rate = sample_rate
        self._frame_bytes = sample_rate // 50 * 2
        self._held = bytearray()
        self._lead = round(lead_s / FRAME_S)  # in frames
        self._due = tick  # the number of the tick at which the next frame is due, without the lead
        self._short_ticks = 0
        self._in_flight = 0  # samples of the frame that is being sent
        self._must_clear = self._has_sent = False
        self._playhead = Playhead(sample_rate, buffer_s if heard_by == "clock" else 0.0)
        self._heard_by: HeardBy = heard_by
        self._marks: dict[str, int] = {}  # samples that will have been played when the mark is reported
        self._marks_made = 0
        self._sent = self._marked = self._reported = 0  # in samples
        self._given = 0  # samples given to the peer, silence included; never goes back
        self._frames: deque[tuple[int, int, int]] = deque()  # not reported yet: where each ends, for peer and for us
        self._notes: deque[tuple[int, Event]] = deque()  # each with the place in what was put, in bytes
        self._put = self._taken = 0  # in bytes
        self._speech_ended = False

    # --- writing ------------------------------------------------------------------------------------------------------

    def has_room(self, size: int) -> bool:
        """Return whether there is room for this many bytes."""
        return not self._held or len(self._held) + size <= HELD_FRAMES * self._frame_bytes

    def put(self, pcm: bytes, tick: int) -> bool:
        """Take audio in, and return whether a frame can be sent now."""
        self._held += pcm
        self._put += len(pcm)
        self._short_ticks = 0
        self._speech_ended = False
        return self._due <= tick + self._lead and len(self._held) >= self._frame_bytes

    def note(self, event: Event) -> None:
        """Give an event its place: behind all audio that was put so far."""
        self._notes.append((self._put, event))

    def flush(self, now: float, tick: int) -> None:
        """Forget all audio that has not been played."""
        self.flushes += 1
        self._held.clear()
        self._taken = self._put
        self._marks.clear()
        self._frames.clear()
        self._must_clear |= self._has_sent
        self._sent = self._marked = self._reported = played = self._played(now)
        self._playhead.cut(played)
        self._in_flight = self._short_ticks = 0
        self._due = tick
        self._speech_ended = False

    # --- sending ------------------------------------------------------------------------------------------------------

    def tick(self, tick: int) -> bool:
        """Return whether there is something to send now."""
        if self._due > tick + self._lead:
            return False
        if len(self._held) >= self._frame_bytes:
            return True
        self._due = max(self._due, tick)  # there is nothing to play, so nothing is owed
        if self._held:
            self._short_ticks += 1
            return self._short_ticks >= SHORT_TICKS
        self._speech_ended = True
        return self._needs_mark

    def take_clear(self) -> bool:
        """Return whether the peer must clear its buffer before anything else is sent."""
        must_clear, self._must_clear = self._must_clear, False
        if must_clear:
            self._has_sent = False
        return must_clear

    @property
    def notes(self) -> int:
        """How many events wait."""
        return len(self._notes)

    def take_note(self) -> Event | None:
        """Return the event whose place in the audio has come, or None."""
        if not self._notes:
            return None
        place, event = self._notes[0]
        # Within a frame: audio that follows the event begins in this frame, so the event comes before it.
        is_next = place < self._taken + self._frame_bytes and self._put > place
        if self._taken < place and not is_next:
            return None
        self._notes.popleft()
        return event

    def take_mark(self) -> str | None:
        """Return the name of the mark to send now, or None."""
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
        is_due = unmarked >= MARK_S * self._sample_rate or (self._speech_ended and unmarked > 0)
        return self._heard_by == "marks" and is_due

    def take_frame(self, tick: int) -> bytes | None:
        """Return the 20 ms to send now, or None; `sent` must follow."""
        size = self._frame_bytes
        is_due = self._due <= tick + self._lead
        if not is_due or not (len(self._held) >= size or (self._held and self._short_ticks >= SHORT_TICKS)):
            return None
        frame = bytes(self._held[:size])
        del self._held[:size]
        self._taken += len(frame)
        self._due = max(self._due, tick - CATCH_UP_TICKS) + 1
        self._short_ticks = 0
        self._in_flight = len(frame) // 2
        self._has_sent = True
        return frame if len(frame) == size else frame.ljust(size, b"\0")

    def sent(self, now: float) -> None:
        """Count the frame that was taken as sent, unless it has been flushed meanwhile."""
        self.frames += 1
        self._given += self._frame_bytes // 2
        if self._in_flight:
            self._sent += self._in_flight
            self._playhead.add(self._in_flight, now)
            if self._heard_by == "position":
                self._frames.append((self._given, self._sent, self._in_flight))
                if len(self._frames) > KNOWN_FRAMES:
                    self._frames.popleft()
            self._in_flight = 0

    # --- what was played ----------------------------------------------------------------------------------------------

    def marked(self, name: str) -> None:
        """Note that the peer has played everything up to a mark; ignore a mark that is not (or no longer) known."""
        if name in self._marks:
            self._reported = self._marks[name]
            while next(iter(self._marks)) != name:
                del self._marks[next(iter(self._marks))]
            del self._marks[name]

    def played(self, position: int) -> None:
        """Note that the peer has played everything up to a sample; ignore one of audio that was flushed.

        Args:
            position: Counts all samples that the peer was given, also those that it has cleared and the silence that
                filled a last frame.
        """
        while self._frames:
            given, sent, samples = self._frames[0]
            into_frame = min(samples, position - (given - self._frame_bytes // 2))
            if into_frame <= 0:
                return
            self._reported = max(self._reported, sent - samples + into_frame)
            if position < given:
                return
            self._frames.popleft()

    def played_s(self, now: float) -> float:
        """Return how many seconds of audio have been played by now."""
        return self._played(now) / self._sample_rate

    def _played(self, now: float) -> int:
        by_clock = self._playhead.played(now)
        # Whatever the peer reports, it cannot have played more than there was time for.
        return by_clock if self._heard_by == "clock" else min(self._reported, by_clock)
