"""A detector at work: the frames of one call in, the starts and ends of speech out.

Rule 1: each frame is looked at once, when it arrives, whatever the recogniser does with it.
Rule 2: silence costs next to nothing. The detector hears its first 0.2 s, which is all that its memory has to know.
Rule 3: `feed` never raises: it runs inside of the application's `push`. `check` raises what the detector did.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from voicepipe.audio.pcm import FRAME_S
from voicepipe.audio.resample import resampler
from voicepipe.core.failures import named
from voicepipe.errors import StageError
from voicepipe.hearing.speech_detection import SpeechDetection

if TYPE_CHECKING:
    from voicepipe.flow import AudioFrame, SpeechEnded, SpeechStarted
    from voicepipe.hearing.detector import Detector

__all__ = ["Detecting", "is_silent"]

HEARD_FRAMES: Final = 10
"""So many frames of silence go to the detector; what follows them does not."""

LOW_BYTES: Final = bytes((*range(32), *range(224, 256)))
HIGH_BYTES: Final = b"\0\xff"
"""The bytes of samples from -32 to 31, which is -60 dBFS."""


class Detecting:
    """Feeds a detector with a call's audio.

    Args:
        detector: Belongs to this call.
        rate: Samples per second of the frames.

    Raises:
        ConfigurationError: The detector takes another rate, and there is no resampler.
    """

    def __init__(self, detector: Detector, rate: int) -> None:
        self._detector = detector
        self._rate = rate
        self._resampler = resampler(rate, detector.sample_rate, "the recogniser's audio", detector.name)
        self._detection = SpeechDetection(detector.start_threshold, detector.end_threshold, detector.hang_over_s)
        self._block_bytes = 2 * int(FRAME_S * detector.sample_rate)
        self._zeros = _silence(self._block_bytes)
        self._rest = b""
        self._fed_samples = self._came_samples = 0  # into the resampler, and out of it
        self._silent_frames = 0
        self._is_resting = False  # nothing is looked at until there is sound
        self._found: list[SpeechStarted | SpeechEnded] = []
        self._failure: Exception | None = None

    @property
    def has_news(self) -> bool:
        """Whether there is something for `take` or `check`."""
        return bool(self._found) or self._failure is not None

    def feed(self, frame: AudioFrame) -> bool:
        """Look at a frame, and return whether that has brought something for `take` or `check`. Never raises."""
        if self._is_resting and frame.pcm == self._zeros:
            return False
        if self._failure is None:
            try:
                if self._resampler is not None or self._rest or len(frame.pcm) != self._block_bytes:
                    self._look_at_blocks(frame)
                elif not (self._is_resting and is_silent(frame.pcm)):
                    self._look(frame.pcm, frame.start_s)
            except Exception as error:  # noqa: BLE001 - `check` raises it where it ends the call
                self._failure, self._is_resting = error, False
        return self.has_news

    def hang_up(self) -> None:
        """Take the end of the audio."""
        if (ended := self._detection.hang_up()) is not None:
            self._found.append(ended)

    def take(self) -> list[SpeechStarted | SpeechEnded]:
        """Return what was found since the last time."""
        found, self._found = self._found, []
        return found

    def check(self) -> None:
        """Raise what the detector raised.

        Raises:
            VoicepipeError: It names the detector.
        """
        if self._failure is not None:
            with named(self._detector.name):
                raise self._failure

    def _look_at_blocks(self, frame: AudioFrame) -> None:
        """Look at audio whose rate or length is not the detector's."""
        self._is_resting = False
        pcm = frame.pcm
        held_s = 0.0
        if self._resampler is not None:
            self._fed_samples += len(pcm) // 2
            pcm = self._resampler.feed(pcm)
            self._came_samples += len(pcm) // 2
            held_s = self._fed_samples / self._rate - self._came_samples / self._detector.sample_rate
        pcm = self._rest + pcm
        # From the newest frame, not counted up: there may be a gap before it.
        start_s = frame.start_s + frame.duration_s - held_s - len(pcm) / 2 / self._detector.sample_rate
        whole = len(pcm) - len(pcm) % self._block_bytes
        self._rest = pcm[whole:]
        for offset in range(0, whole, self._block_bytes):
            block = pcm[offset : offset + self._block_bytes]
            self._look(block, start_s + offset / 2 / self._detector.sample_rate)

    def _look(self, block: bytes, start_s: float) -> None:
        self._silent_frames = self._silent_frames + 1 if block == self._zeros or is_silent(block) else 0
        probability = 0.0 if self._silent_frames > HEARD_FRAMES else self._detector.speech(block)
        if not 0.0 <= probability <= 1.0:  # NaN is not, either
            name = self._detector.name
            raise StageError(f"{name}.speech must return a probability, 0 to 1, not {probability!r}", part=name)
        if (found := self._detection.feed(start_s, probability)) is not None:
            self._found.append(found)
        is_quiet = self._silent_frames > HEARD_FRAMES and not self._detection.is_speech
        self._is_resting = is_quiet and self._resampler is None and not self._rest


@cache
def _silence(size: int) -> bytes:
    """Return a frame of silence, which all calls share."""
    return bytes(size)


def is_silent(pcm: bytes) -> bool:
    """Return whether all 16-bit samples lie within -60 dBFS.

    By bytes, because that takes 0.7 µs for 20 ms without numpy. A mixture that only looks silent (a frame with samples
    beyond 223 and none between 32 and 223) is no sound that exists.
    """
    return not (pcm[1::2].translate(None, HIGH_BYTES) or pcm[::2].translate(None, LOW_BYTES))
