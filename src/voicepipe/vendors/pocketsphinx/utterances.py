"""When the caller speaks, and when the caller's turn is over: the verdicts of a detector made into events.

Rule 1: pure. The detector's verdict on each block of audio goes in with its time; what happened comes out.
Rule 2: `SpeechStarted` and `SpeechEnded` alternate, one pair for each stretch of speech; an `Endpoint` follows the last
        stretch of a turn, and nothing follows a stretch of clicks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from voicepipe.errors import ConfigurationError
from voicepipe.flow import SpeechEnded, SpeechStarted

__all__ = ["BLOCK_S", "HANG_OVER_S", "SHORTEST_SILENCE_S", "START_BLOCKS", "Endpoint", "UtteranceDetector"]

BLOCK_S: Final = 0.03
"""Length of the blocks that the detector judges."""

HANG_OVER_S: Final = 0.09
"""How long the WebRTC detector goes on to say "speech" after speech: 94 ms in the median of 70 synthetic sentences of 7
voices with white noise of 30 units, 53 to 117 in nine of ten."""

SHORTEST_SILENCE_S: Final = 0.12
"""No turn can be ended sooner than the detector notices silence: its hang-over and one block."""

# The hang-over makes three blocks of a click of 2 ms, and of the first noise a detector hears at all; a fourth is
# needed to tell speech from both.
START_BLOCKS: Final = 4
"""Blocks of speech in a row that begin a turn."""

# In loud noise the detector may never hear silence; a turn ends nevertheless.
_LONGEST_BLOCKS: Final = round(30.0 / BLOCK_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The caller's turn is over.

    Attributes:
        speech_ended_s: Time of the last speech sample, as `SpeechEnded` reported it.
    """

    speech_ended_s: float


class UtteranceDetector:
    """Turns verdicts on blocks of audio into stretches of speech and ends of turns.

    Args:
        silence_s: From the last speech sample to the end of the turn; the detector's hang-over is part of it. Rounded
            to whole blocks, so the end comes up to half a block earlier or later.

    Raises:
        ConfigurationError: `silence_s` is shorter than the detector needs to notice silence.
    """

    def __init__(self, silence_s: float) -> None:
        if not silence_s >= SHORTEST_SILENCE_S:
            raise ConfigurationError(
                f"silence_s must be at least {SHORTEST_SILENCE_S:g}, which the detector needs to notice silence, not "
                f"{silence_s:g}; 0.28 is usual, and people pause 0.2 to 0.5 s within a sentence"
            )
        self._silent_blocks_needed = max(1, round((silence_s - HANG_OVER_S) / BLOCK_S))
        self._run = 0  # speech blocks in a row before an utterance begins
        self._run_started_s = 0.0
        self._is_speaking = False
        self._spoke_until_s = 0.0
        self._utterance_blocks = 0
        self._silent_blocks = 0

    @property
    def in_utterance(self) -> bool:
        """Whether the caller's turn has begun and not ended."""
        return self._utterance_blocks > 0

    def feed(self, start_s: float, *, is_speech: bool) -> list[SpeechStarted | SpeechEnded | Endpoint]:
        """Take the verdict on the block that begins at `start_s`, and return what it means, in order."""
        if not self.in_utterance:
            return self._wait_for_speech(start_s, is_speech=is_speech)
        self._utterance_blocks += 1
        happened: list[SpeechStarted | SpeechEnded | Endpoint] = []
        if is_speech:
            self._silent_blocks = 0
            if not self._is_speaking:
                happened.append(self._start(start_s))
        else:
            self._silent_blocks += 1
            if self._is_speaking:
                happened.append(self._stop(start_s - HANG_OVER_S))
        if self._silent_blocks >= self._silent_blocks_needed:
            happened += self._end()
        elif self._utterance_blocks >= _LONGEST_BLOCKS:
            happened += self.hang_up(start_s + BLOCK_S)
        return happened

    def hang_up(self, at_s: float) -> list[SpeechStarted | SpeechEnded | Endpoint]:
        """Take the end of the audio, and end what is pending."""
        if not self.in_utterance:
            return []
        stopped = [self._stop(at_s)] if self._is_speaking else []
        return [*stopped, *self._end()]

    def _wait_for_speech(self, start_s: float, *, is_speech: bool) -> list[SpeechStarted | SpeechEnded | Endpoint]:
        if not is_speech:
            self._run = 0
            return []
        if self._run == 0:
            self._run_started_s = start_s
        self._run += 1
        if self._run < START_BLOCKS:
            return []
        self._utterance_blocks = self._run
        self._silent_blocks = 0
        return [self._start(self._run_started_s)]

    def _start(self, at_s: float) -> SpeechStarted:
        self._is_speaking = True
        self._spoke_until_s = at_s
        return SpeechStarted(at_s=at_s)

    def _stop(self, at_s: float) -> SpeechEnded:
        self._is_speaking = False
        self._spoke_until_s = max(at_s, self._spoke_until_s)  # a stretch may be shorter than the hang-over
        return SpeechEnded(at_s=self._spoke_until_s)

    def _end(self) -> list[SpeechStarted | SpeechEnded | Endpoint]:
        self._utterance_blocks = self._run = 0
        return [Endpoint(speech_ended_s=self._spoke_until_s)]
