"""The caller's audio on its way to the recogniser: cut into pieces, and kept while it may have to be sent again.

Rule 1: pure: no await, no clock. Times come in with the audio.
Rule 2: at most `KEPT_S` of audio is held, sent or not; audio that is dropped unsent is counted.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from voicepipe.flow import AudioFrame

__all__ = ["KEPT_S", "Backlog", "Piece"]

KEPT_S: Final = 5.0
"""How much audio is held: what would be sent again on a new connection, then what still waits to be sent."""

QUIET_S: Final = 0.6
"""How much of a quiet stretch is sent even to a service that is behind: enough to sound like a pause."""

ONSET_S: Final = 0.2
"""Audio before speech that is never left out: words begin softly."""

SOFTEST: Final = 100.0
"""Mean amplitude below which audio is never speech: -50 dB of full scale."""

SPEECH_OVER_NOISE: Final = 3.0
"""How much louder than the noise speech is."""

NOISE_RISE: Final = 1.005
"""How fast the noise estimate may rise with each piece: tenfold in 23 s, so that words do not count as noise."""

SAME_S: Final = 1e-3
"""Times closer than this are equal: they are sums of fractions."""

EVERY_NTH: Final = 8
"""One sample in eight is enough for a mean, and costs microseconds."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The audio of one message.

    Attributes:
        pcm: 16-bit mono samples.
        start_s: Time of the first one, on the loop's clock.
        end_s: Time after the last one.
        is_loud: Whether it may contain speech.
    """

    pcm: bytes
    start_s: float
    end_s: float
    is_loud: bool


class Backlog:
    """The newest audio of a call: first what was sent and may be sent again, then what waits.

    Args:
        sample_rate: Of the audio.
        piece_s: Length of a piece; never shorter, since a service may refuse what is.

    Attributes:
        dropped_s: Seconds of audio that were dropped unsent.
        is_ended: Whether no more audio comes.
        quiet_s: How long it has been quiet at the end of the audio that was taken.
    """

    def __init__(self, sample_rate: int, piece_s: float) -> None:
        self._rate = sample_rate
        self._piece_bytes = 2 * math.ceil(round(sample_rate * piece_s, 6))
        self._most_pieces = round(KEPT_S / piece_s)
        self._onset_pieces = math.ceil(round(ONSET_S / piece_s, 6))
        self._rest = b""
        self._end_s = 0.0
        self._pieces: deque[Piece] = deque()
        self._sent = 0  # how many of them
        self._forgotten = 0  # how many came before them
        self._noise = SOFTEST / SPEECH_OVER_NOISE
        self.dropped_s = 0.0
        self.is_ended = False
        self.quiet_s = 0.0

    def push(self, frame: AudioFrame) -> bool:
        """Add the next frame, and return whether it completes a piece."""
        pcm = self._rest + frame.pcm
        # From the newest frame, not a running sum: audio may have been lost before it.
        self._end_s = frame.start_s + frame.duration_s
        start_s = self._end_s - len(pcm) / 2 / self._rate
        whole = len(pcm) - len(pcm) % self._piece_bytes
        for at in range(0, whole, self._piece_bytes):
            self._keep(pcm[at : at + self._piece_bytes], start_s + at / 2 / self._rate)
        self._rest = pcm[whole:]
        return whole > 0

    def complete(self) -> None:
        """Make a piece of the audio that is left; silence fills it up."""
        if self._rest:
            start_s = self._end_s - len(self._rest) / 2 / self._rate
            self._keep(self._rest.ljust(self._piece_bytes, b"\0"), start_s)
            self._rest = b""

    def end(self) -> None:
        """Record that no more audio comes."""
        self.complete()
        self.is_ended = True

    def take(self, *, is_behind: bool) -> Piece | None:
        """Return the next piece to send, or None when it has not come yet.

        Args:
            is_behind: The service still has to hear much of what it was sent; long quiet stretches are then left out,
                so that it catches up. The pieces after one decide whether it is part of such a stretch, so they have to
                come first.
        """
        while self._sent < len(self._pieces):
            piece = self._pieces[self._sent]
            if is_behind and not piece.is_loud and self.quiet_s >= QUIET_S and not self.is_ended:
                ahead = list(islice(self._pieces, self._sent, self._sent + 1 + self._onset_pieces))
                if not any(one.is_loud for one in ahead):
                    if len(ahead) <= self._onset_pieces:
                        return None
                    self._sent += 1
                    continue
            self._sent += 1
            self.quiet_s = 0.0 if piece.is_loud else self.quiet_s + piece.end_s - piece.start_s
            return piece
        return None

    def rewind(self) -> None:
        """Start again with the oldest audio that is held."""
        self._sent = 0
        self.quiet_s = 0.0

    def forget(self, until_s: float) -> None:
        """Drop audio up to this time that was sent, since it need not be sent again.

        The piece that holds this moment is dropped too, or the end of a word would be recognised as another word.
        """
        while self._sent and self._pieces[0].start_s < until_s - SAME_S:
            self._drop()

    def skip(self, until_s: float) -> None:
        """Drop audio up to this time, sent or not, since it need not be heard. See `forget`."""
        while self._pieces and self._pieces[0].start_s < until_s - SAME_S:
            self._drop()

    @property
    def oldest_s(self) -> float:
        """Time of the oldest audio held."""
        return self._pieces[0].start_s if self._pieces else self._end_s

    @property
    def waiting_s(self) -> float:
        """Seconds of audio not taken yet."""
        return sum(piece.end_s - piece.start_s for piece in islice(self._pieces, self._sent, None))

    @property
    def taken(self) -> int:
        """How many pieces were taken since the start of the call; `rewind` reduces it."""
        return self._forgotten + self._sent

    @property
    def pushed(self) -> int:
        """How many pieces came since the start of the call."""
        return self._forgotten + len(self._pieces)

    def _keep(self, pcm: bytes, start_s: float) -> None:
        self._pieces.append(Piece(pcm, start_s, start_s + len(pcm) / 2 / self._rate, self._is_loud(pcm)))
        if len(self._pieces) > self._most_pieces:
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
