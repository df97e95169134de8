"""The caller's audio on its way to the recogniser: cut into pieces, kept as long as it may have to be sent again.

Rule 1: pure: no await, no clock. Times come in with the audio.
Rule 2: at most `KEPT_S` of audio is held, sent or not; what is thrown away unsent is counted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from voicepipe.flow import AudioFrame

__all__ = ["AudioClock", "Backlog", "Piece"]

PIECE_S: Final = 0.05
"""What the service recommends, and the least that it takes."""

KEPT_S: Final = 5.0
"""Audio that is held: what waits for the service, and before it what would be sent again on a new connection."""

QUIET_S: Final = 0.6
"""So much of a quiet stretch is sent even to a service that is behind: enough to sound like a pause."""

ONSET_PIECES: Final = 4
"""Audio before speech that is never left out, 0.2 s: words begin softly."""

SOFTEST: Final = 100.0
"""Mean amplitude below which nothing is speech: -50 dB of full scale."""

SPEECH_OVER_NOISE: Final = 3.0
"""How much louder than the noise speech is."""

NOISE_RISE: Final = 1.005
"""How fast the noise may seem to rise, for each piece: tenfold in 23 s, so that words do not count as noise."""

SAME_S: Final = 1e-3
"""Times within this are the same: they are sums of fractions."""

SLIP_S: Final = 0.01
"""Audio is one stretch until its samples and its times differ by this much."""

EVERY_NTH: Final = 8
"""Of the samples one in eight is looked at: enough for a mean, and microseconds."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What is sent in one message.

    Attributes:
        pcm: 16-bit mono samples.
        start_s: Time of the first one, on the loop's clock.
        end_s: Time after the last one.
        is_loud: Whether somebody may be speaking in it.
    """

    pcm: bytes
    start_s: float
    end_s: float
    is_loud: bool


class Backlog:
    """The newest audio of a call: sent and perhaps to be sent again, then what waits.

    Args:
        sample_rate: Of the audio.

    Attributes:
        dropped_s: Seconds of audio that were thrown away without having been sent.
        is_ended: Whether no more audio comes.
        quiet_s: How long it has been quiet, at the end of what was taken.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._piece_bytes = 2 * -(-sample_rate // round(1 / PIECE_S))  # rounded up: less is refused
        self._rest = b""
        self._end_s = 0.0
        self._pieces: deque[Piece] = deque()
        self._sent = 0  # how many of them
        self._forgotten = 0  # how many came before them
        self._noise = SOFTEST / SPEECH_OVER_NOISE
        self.dropped_s = 0.0
        self.is_ended = False
        self.quiet_s = 0.0

    def push(self, frame: AudioFrame) -> None:
        """Take audio as it comes."""
        pcm = self._rest + frame.pcm
        # From the newest frame, not counted up: audio may have been lost before it.
        self._end_s = frame.start_s + frame.duration_s
        start_s = self._end_s - len(pcm) / 2 / self._rate
        whole = len(pcm) - len(pcm) % self._piece_bytes
        for at in range(0, whole, self._piece_bytes):
            self._keep(pcm[at : at + self._piece_bytes], start_s + at / 2 / self._rate)
        self._rest = pcm[whole:]

    def end(self) -> None:
        """Take note that no more comes; what is left of it is filled up with silence."""
        if self._rest:
            start_s = self._end_s - len(self._rest) / 2 / self._rate
            self._keep(self._rest.ljust(self._piece_bytes, b"\0"), start_s)
            self._rest = b""
        self.is_ended = True

    def take(self, *, is_behind: bool) -> Piece | None:
        """Return the next piece to send, or None when there is none yet.

        Args:
            is_behind: The service has not heard yet what it was sent; long stretches of quiet are left out then, so
                that it catches up. One is recognised by what follows it, which has to be waited for.
        """
        while self._sent < len(self._pieces):
            piece = self._pieces[self._sent]
            if is_behind and not piece.is_loud and self.quiet_s >= QUIET_S and not self.is_ended:
                ahead = list(islice(self._pieces, self._sent, self._sent + 1 + ONSET_PIECES))
                if not any(one.is_loud for one in ahead):
                    if len(ahead) <= ONSET_PIECES:
                        return None
                    self._sent += 1
                    continue
            self._sent += 1
            self.quiet_s = 0.0 if piece.is_loud else self.quiet_s + piece.end_s - piece.start_s
            return piece
        return None

    def rewind(self) -> None:
        """Begin again with the oldest audio that is held."""
        self._sent = 0
        self.quiet_s = 0.0

    def forget(self, until_s: float) -> None:
        """Let go of audio up to this time that was sent: it need not be sent again.

        The piece that holds this moment goes with it, or the end of a word would be heard as another one.
        """
        while self._sent and self._pieces[0].start_s < until_s - SAME_S:
            self._drop()

    @property
    def oldest_s(self) -> float:
        """Time of the oldest audio that is held."""
        return self._pieces[0].start_s if self._pieces else self._end_s

    @property
    def waiting_s(self) -> float:
        """Seconds of audio that were not taken yet."""
        return sum(piece.end_s - piece.start_s for piece in islice(self._pieces, self._sent, None))

    @property
    def taken(self) -> int:
        """How many pieces were taken since the beginning; fewer after `rewind`."""
        return self._forgotten + self._sent

    @property
    def pushed(self) -> int:
        """How many pieces came since the beginning."""
        return self._forgotten + len(self._pieces)

    def _keep(self, pcm: bytes, start_s: float) -> None:
        self._pieces.append(Piece(pcm, start_s, start_s + len(pcm) / 2 / self._rate, self._is_loud(pcm)))
        if len(self._pieces) > round(KEPT_S / PIECE_S):
            if not self._sent:
                self.dropped_s += self._pieces[0].end_s - self._pieces[0].start_s
            self._drop()

    def _drop(self) -> None:
        self._pieces.popleft()
        self._forgotten += 1
        self._sent = max(0, self._sent - 1)

    def _is_loud(self, pcm: bytes) -> bool:
        samples = memoryview(pcm).cast("h")[::EVERY_NTH].tolist()
        level = sum(map(abs, samples)) / len(samples)
        is_loud = level > max(SOFTEST, SPEECH_OVER_NOISE * self._noise)
        self._noise = min(max(level, SOFTEST / SPEECH_OVER_NOISE), self._noise * NOISE_RISE)
        return is_loud


class AudioClock:
    """When the audio of one connection was heard: from its position to the loop's clock.

    Args:
        sample_rate: Of the audio.
    """

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._samples = 0
        self._next_s = 0.0
        # Where the audio does not follow on what came before it, which is rare; of an hour the last ones matter.
        self._positions: deque[float] = deque(maxlen=256)
        self._times: deque[float] = deque(maxlen=256)

    def add(self, piece: Piece) -> None:
        """Take note of a piece that was sent."""
        if not self._times or abs(piece.start_s - self._times[-1] - self.sent_s + self._positions[-1]) > SLIP_S:
            self._positions.append(self.sent_s)
            self._times.append(piece.start_s)
        self._samples += len(piece.pcm) // 2
        self._next_s = piece.end_s

    @property
    def sent_s(self) -> float:
        """Seconds of audio that were sent."""
        return self._samples / self._rate

    def at(self, position_s: float) -> float:
        """Return when the sample at a position of the connection's audio was heard; the latest, if it is beyond."""
        if not self._times:
            return 0.0
        index = max(0, bisect_right(self._positions, position_s) - 1)
        return min(self._times[index] + position_s - self._positions[index], self._next_s)
