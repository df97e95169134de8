"""Brings what an output plays together with what a source records, block by block, for an echo canceller.

Rule 1: samples are counted on both sides, so that two streams of one sound card stay together whatever its clock does.
Rule 2: the loop's clock corrects the count: slowly where two clocks drift, at once after a gap.
Rule 3: `cleaned` never raises: it runs inside of the application's `push`. `check` raises what the canceller did.
Rule 4: silence, pauses and flushed audio take their time on the far side too: nothing moves closer together.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Final

from voicepipe.audio.echo_canceller import BLOCKS_A_SECOND
from voicepipe.core.failures import named
from voicepipe.errors import AudioError, ConfigurationError

if TYPE_CHECKING:
    from voicepipe.audio.echo_canceller import EchoCanceller
    from voicepipe.audio.output import Output

__all__ = ["EchoPath", "FarEnd", "StreamClock"]

WINDOW_S: Final = 2.0
"""Long enough for one block that came without delay, and short enough to follow a clock: 0.4 ms at 200 ppm."""

GAP_S: Final = 0.03
"""Audio that is played this much later than the audio before it ended does not follow it: there was a pause. Blocks of
a device differ by less, because its callbacks come unevenly."""

KEPT_S: Final = 12.0
"""Far audio to keep: late audio of a source is taken if it is up to 10 s old."""

LEAD_S: Final = 0.02
"""How much of the future a device's far side includes, in case that it plays earlier than its driver says: an echo that
came before its cause could not be cancelled. The device has the audio 40 ms ahead."""

SLACK_S: Final = 0.002
"""Less is no drift but jitter, and left alone."""

JUMP_S: Final = 0.04
"""A larger slip is no drift either: the far side is taken from its new place at once."""

LEARNING_S: Final = 2.0
"""How much of the agent's voice a canceller needs to learn a room. In generated rooms the last echo that a detector
took for speech came after 1.3 s."""


class StreamClock:
    """The time of each sample of a stream that is counted, from the uneven times at which its pieces come; pure.

    A piece may come late but never early, so the least delay within a window is no delay.
    """

    def __init__(self) -> None:
        self._zero_s: float | None = None
        self._least_s = self._window_ends_s = 0.0

    def anchor(self, at_s: float, counted_s: float) -> None:
        """Set the time of a place in the stream, which is in seconds from its beginning."""
        self._zero_s = self._least_s = at_s - counted_s
        self._window_ends_s = at_s + WINDOW_S

    def feed(self, at_s: float, counted_s: float) -> None:
        """Take the time at which a place in the stream came."""
        zero_s = at_s - counted_s
        if self._zero_s is None:
            self.anchor(at_s, counted_s)
            return
        self._least_s = min(self._least_s, zero_s)
        self._zero_s = min(self._zero_s, zero_s)
        if at_s >= self._window_ends_s:
            self._zero_s, self._least_s, self._window_ends_s = self._least_s, zero_s, at_s + WINDOW_S

    @property
    def zero_s(self) -> float:
        """The time at which the stream would have begun, had it always run as it does now."""
        assert self._zero_s is not None  # noqa: S101 - `feed` or `anchor` comes first
        return self._zero_s


class FarEnd:
    """What an output has played and will play, with its times; pure.

    Args:
        sample_rate: Samples per second.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._pcm = bytearray()
        self._first = 0  # number of the first sample that is kept
        self._clock: StreamClock | None = None

    def add(self, pcm: bytes, at_s: float) -> None:
        """Take audio whose first sample is audible at `at_s`."""
        if self._clock is None:
            self._clock = StreamClock()
            self._clock.anchor(at_s, self._end / self._rate)
        slip = round((at_s - self._clock.zero_s) * self._rate) - self._end
        if slip > GAP_S * self._rate:
            self._pass(slip)
        elif slip < -GAP_S * self._rate:
            self._drop(-slip)
        self._clock.feed(at_s, self._end / self._rate)
        self._pcm += pcm
        self._forget()

    def cut(self, at_s: float) -> None:
        """Drop what would have been audible after `at_s`."""
        if self._clock is not None:
            self._drop(self._end - self.place_of(at_s))

    def place_of(self, at_s: float) -> int:
        """Return the number of the sample that is audible at a time."""
        return round((at_s - self._clock.zero_s) * self._rate) if self._clock is not None else 0

    def samples(self, place: int, count: int) -> bytes:
        """Return samples from a place on: silence where nothing is played, or what is no longer kept."""
        begin, end = max(place, self._first), min(place + count, self._end)
        if begin >= end:
            return bytes(2 * count)
        kept = self._pcm[2 * (begin - self._first) : 2 * (end - self._first)]
        return bytes(2 * (begin - place)) + bytes(kept) + bytes(2 * (place + count - end))

    @property
    def _end(self) -> int:
        return self._first + len(self._pcm) // 2

    def _pass(self, count: int) -> None:
        """Let so many samples of silence pass."""
        if count > KEPT_S * self._rate:
            self._first = self._end + count
            self._pcm.clear()
        else:
            self._pcm += bytes(2 * count)

    def _drop(self, count: int) -> None:
        """Drop the last samples."""
        if count > 0:
            left = max(0, len(self._pcm) // 2 - count)
            del self._pcm[2 * left :]

    def _forget(self) -> None:
        excess = len(self._pcm) // 2 - round(KEPT_S * self._rate)
        if excess > self._rate:  # not for each block: the rest has to be moved
            del self._pcm[: 2 * excess]
            self._first += excess


class EchoPath:
    """One session's echo canceller, between its output and its source.

    Args:
        canceller: This session's own.
        output: What plays the agent. Outputs that know what they play, and when, say it by themselves; for others
            `plays` and `silenced` are called.

    Attributes:
        has_learned: Whether the canceller has had enough of the agent's voice to know the room.
    """

    def __init__(self, canceller: EchoCanceller, output: Output) -> None:
        self._canceller = canceller
        self._output = output
        # Also filled by the sound system's thread. A source that gives nothing leaves it full: older blocks are lost.
        self._played: deque[tuple[bytes | None, float]] = deque(maxlen=round(KEPT_S * BLOCKS_A_SECOND))
        self._has_begun = False
        self._failure: Exception | None = None
        self.has_learned = False

    def begin(self, near_rate: int) -> None:
        """Begin to listen, once the output is open and knows its rate.

        Raises:
            ConfigurationError: The canceller cannot work at these rates.
        """
        far_rate = self._output.sample_rate
        for who, rate in (("the recogniser", near_rate), (self._output.name, far_rate)):
            if rate % BLOCKS_A_SECOND:
                raise ConfigurationError(
                    f"{self._canceller.name} works on blocks of 10 ms, but {who} runs at {rate} Hz, which is no whole "
                    f"number of samples in 10 ms; set its sample_rate to a multiple of {BLOCKS_A_SECOND}"
                )
        with named(self._canceller.name):
            self._canceller.prepare(near_rate, far_rate)
        self._near_rate, self._far_rate = near_rate, far_rate
        self._near_bytes, self._far_samples = 2 * near_rate // BLOCKS_A_SECOND, far_rate // BLOCKS_A_SECOND
        self._far, self._near = FarEnd(far_rate), StreamClock()
        self._counted = 0  # samples of the near side
        self._next_s = -math.inf
        self._place: int | None = None  # of the next far block
        self._blocks_to_learn = round(LEARNING_S * BLOCKS_A_SECOND)
        self._lead_s = LEAD_S if self._output._reports_played else 0.0
        self._has_begun = True
        if self._output._reports_played:
            self._output._on_played = self._take

    def plays(self, pcm: bytes, at_s: float) -> None:
        """Take audio that the output will play from `at_s` on."""
        if not self._output._reports_played:
            self._take(pcm, at_s)

    def silenced(self, at_s: float) -> None:
        """Take note that the output was flushed: it plays nothing of what it was to play from `at_s` on."""
        if not self._output._reports_played:
            self._take(None, at_s)

    def cleaned(self, frames: list[bytes], start_s: float, now: float) -> list[bytes]:
        """Return frames of the source without the agent's echo.

        Args:
            frames: What has come by `now`, in whole samples.
            start_s: When its first sample was recorded, by the samples before it.
            now: The loop's time.
        """
        if self._failure is not None:
            return frames
        try:
            return self._all_cleaned(frames, start_s, now)
        except Exception as error:  # noqa: BLE001 - `check` raises it where it ends the call
            self._failure = error
            return frames

    @property
    def has_failed(self) -> bool:
        """Whether there is something for `check`."""
        return self._failure is not None

    def check(self) -> None:
        """Raise what the canceller raised.

        Raises:
            VoicepipeError: It names the canceller.
        """
        if self._failure is not None:
            with named(self._canceller.name):
                raise self._failure

    def _all_cleaned(self, frames: list[bytes], start_s: float, now: float) -> list[bytes]:
        self._catch_up()
        if abs(start_s - self._next_s) > 1e-3:  # audio is missing, or the source's clock was corrected
            self._near.anchor(start_s, self._counted / self._near_rate)
        coming = sum(map(len, frames)) // 2
        self._near.feed(now, (self._counted + coming) / self._near_rate)
        self._next_s = start_s + coming / self._near_rate
        return [self._clean(frame) for frame in frames]

    def _take(self, pcm: bytes | None, at_s: float) -> None:
        if self._has_begun:
            self._played.append((pcm, at_s))

    def _catch_up(self) -> None:
        while self._played:
            pcm, at_s = self._played.popleft()
            if pcm is None:
                self._far.cut(at_s)
            else:
                self._far.add(pcm, at_s)

    def _clean(self, frame: bytes) -> bytes:
        size, cleaned = self._near_bytes, b""
        for at in range(0, len(frame), size):
            near = frame[at : at + size]
            cleaned += self._block(near.ljust(size, b"\0"))[: len(near)]
        return cleaned

    def _block(self, near: bytes) -> bytes:
        at_s = self._near.zero_s + self._counted / self._near_rate
        self._counted += len(near) // 2
        far = self._far.samples(self._move_to(self._far.place_of(at_s + self._lead_s)), self._far_samples)
        if not self.has_learned and any(far):
            self._blocks_to_learn -= 1
            self.has_learned = self._blocks_to_learn <= 0
        cleaned = self._canceller.process(near, far)
        if len(cleaned) != len(near):
            raise AudioError(
                f"{self._canceller.name}.process must return as many bytes as it was given, {len(near)}, "
                f"not {len(cleaned)}"
            )
        return cleaned

    def _move_to(self, wanted: int) -> int:
        """Return where the next far block begins: after the one before it, and a sample closer to where it should."""
        slip = 0 if self._place is None else wanted - self._place
        if self._place is None or abs(slip) > JUMP_S * self._far_rate:
            place = wanted
        elif abs(slip) > SLACK_S * self._far_rate:
            place = self._place + (1 if slip > 0 else -1)
        else:
            place = self._place
        self._place = place + self._far_samples
        return place
