"""Delays of services and lines, drawn from published distributions; all in seconds.

Rule 1: a turn's delays depend on its number alone, so that each row of the table is about the same turns.

Sources: time to the final transcript and its p95 from the Pipecat STT benchmark; the early text from AssemblyAI's own
figures for `u3-rt-pro` (its silence, its inference, the network); models and voices from their vendors' and third
parties' figures, read in September 2026. The tool is an assumption of ours.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final

from voicepipe.audio.pcm import FRAME_S
from voicepipe.hearing.speech_detection import ENDS_AFTER_S

__all__ = ["EARLY_SILENCE_S", "FAST", "SLOW", "Delay", "Services", "TurnDelays", "turn_delays"]

P90, P95 = 1.2816, 1.6449
"""Quantiles of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Delay:
    """A lognormal delay through its median and another quantile.

    Attributes:
        median_s: The median.
        high_s: The other quantile.
        quantile: Which one that is, in standard deviations.
    """

    median_s: float
    high_s: float
    quantile: float = P95

    def at(self, normal: float) -> float:
        """Return the delay for a draw from the normal distribution."""
        return self.median_s * math.exp(math.log(self.high_s / self.median_s) / self.quantile * normal)


@dataclass(frozen=True, slots=True)
class Services:
    """What a row's recogniser and model take.

    Attributes:
        name: For the table.
        final: From the end of speech to the final transcript.
        first_token: From the request to the first token.
    """

    name: str
    final: Delay
    first_token: Delay


FAST: Final = Services("universal-3-5-pro, fast model", Delay(0.282, 0.354), Delay(0.098, 0.217))
SLOW: Final = Services("u3-rt-pro, gpt-4.1", Delay(0.335, 0.534), Delay(0.536, 1.771))

FIRST_CLAUSE: Final = Delay(0.110, 0.220)
"""From the first token to the end of the first clause."""

FIRST_AUDIO: Final = Delay(0.155, 0.313)
EARLY_SILENCE_S: Final = 0.1
EARLY_INFERENCE: Final = Delay(0.121, 0.212, P90)
EARLY_NETWORK_S: Final = 0.025
GUESSED_RIGHT: Final = 0.75
TOOLS: Final = 0.2
TOOL: Final = Delay(0.2, 0.6)

ASKED: Final = 4
"""A turn asks the model and the voice no more often than this: three drafts and a reply."""


@dataclass(frozen=True, slots=True)
class TurnDelays:
    """What one turn draws.

    Attributes:
        final_s: From the end of speech to the final transcript.
        early_s: To the early text, from a recogniser that waits for a silence before.
        streamed_s: The same from a recogniser that sends words while they are spoken.
        detected_s: To the detector's report that speech has ended.
        line_s: The caller's own line, both ways, and its buffers.
        first_token_s: Of each request of the turn.
        clause_s: From there to the end of the first clause.
        first_audio_s: Of each sentence.
        tool_s: The tool's, if the turn has one.
        is_right: Whether the early text is the final one.
        has_tool: Whether the turn calls a tool.
    """

    final_s: float
    early_s: float
    streamed_s: float
    detected_s: float
    line_s: float
    first_token_s: tuple[float, ...]
    clause_s: tuple[float, ...]
    first_audio_s: tuple[float, ...]
    tool_s: float
    is_right: bool
    has_tool: bool


def turn_delays(number: int, services: Services, seed: int) -> TurnDelays:
    """Return the delays of a turn."""
    draw = random.Random(f"{seed} {number}")
    recognised, inferred = draw.gauss(), EARLY_INFERENCE.at(draw.gauss())
    return TurnDelays(
        final_s=services.final.at(recognised),
        early_s=EARLY_SILENCE_S + inferred + EARLY_NETWORK_S,
        streamed_s=inferred + EARLY_NETWORK_S,
        detected_s=ENDS_AFTER_S + draw.uniform(0, FRAME_S),
        line_s=draw.uniform(0.020, 0.045) + draw.uniform(0.020, 0.045) + 0.040,
        is_right=draw.random() < GUESSED_RIGHT,
        has_tool=draw.random() < TOOLS,
        tool_s=TOOL.at(draw.gauss()),
        first_token_s=tuple(services.first_token.at(draw.gauss()) for _ in range(2 * ASKED)),
        clause_s=tuple(FIRST_CLAUSE.at(draw.gauss()) for _ in range(2 * ASKED)),
        first_audio_s=tuple(FIRST_AUDIO.at(draw.gauss()) for _ in range(8 * ASKED)),
    )
