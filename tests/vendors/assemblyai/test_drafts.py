"""What drafts are worth with AssemblyAI's recogniser and a detector alongside it, and what a wrong one costs."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

import anyio
import pytest

import voicepipe as vp
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedVoice
from voicepipe.testing.simulators.stt import Spoken, STTSimulator, Timing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

RATE = 16_000
FRAME_S = 0.02
PATIENCE_S = 0.4
LLM_S, TTS_S = 0.275, 0.3
TEXT, GUESS = "Where is my parcel?", "Where is my partner?"
EVERY_S = 5.0
TAILS = tuple(round(0.1 * tail, 1) for tail in range(10))
"""The service sends early words once a second, so what counts is how far a sentence ends after the last ones."""


class Microphone(vp.Source):
    """Loud while the caller speaks."""

    def __init__(self, script: list[Spoken], until_s: float) -> None:
        self.script = script
        self.until_s = until_s

    async def frames(self) -> AsyncIterator[bytes]:
        began_s = anyio.current_time()
        for number in range(round(self.until_s / FRAME_S)):
            at_s = number * FRAME_S
            is_loud = any(spoken.start_s <= at_s < spoken.end_s for spoken in self.script)
            yield (b"\x00\x20" if is_loud else b"\x00\x00") * round(FRAME_S * RATE)
            await anyio.sleep_until(began_s + at_s + FRAME_S)


class Level(vp.Detector):
    """Takes what is loud for speech."""

    def speech(self, frame: bytes) -> float:
        return float(any(frame))


@dataclass
class Held:
    """A call that was held."""

    turns: list[vp.TurnEnded]
    requests: list[str]
    started: list[str]
    history: list[str]


async def hold(script: list[Spoken], **rules: bool) -> Held:
    """Let the caller say the script to an agent that answers each sentence with its words."""
    model = ScriptedModel(lambda request: Says(f"You said {request.last_user_text}", after_s=LLM_S))
    simulator = STTSimulator(script, timing=Timing(begin_s=0.0))
    async with simulator.serve() as url:
        agent = vp.Pipeline(
            Microphone(script, script[-1].end_s + EVERY_S),
            vp.STTStage(
                vp.AssemblyAIRecogniser(url=url, parameters=vp.StreamingParameters(min_turn_silence_s=PATIENCE_S))
            ),
            model,
            vp.SentenceChunker(),
            ScriptedVoice(first_audio_s=TTS_S, character_s=0.02),
            output=RecordingOutput(),
            detector=Level(),
            turns=vp.TurnRules(**rules),
        )
        async with agent.session() as session:
            events = [event async for event in session]
    return Held(
        [event for event in events if isinstance(event, vp.TurnEnded)],
        [request.last_user_text for request in model.requests],
        [event.text for event in events if isinstance(event, vp.SentenceStarted)],
        [message.text for message in session.history],
    )


def sentences(guess: str = "") -> list[Spoken]:
    """Return the same sentence, once for each tail."""
    starts = [0.5 + EVERY_S * number for number in range(len(TAILS))]
    return [Spoken(TEXT, at_s, at_s + 1.2 + tail, guess=guess) for at_s, tail in zip(starts, TAILS, strict=True)]


def waits_s(held: Held) -> list[float]:
    return [(event.timeline.waited_us or 0) / 1e6 for event in held.turns]


@pytest.mark.slow
async def test_drafts_answer_finished_sentences_sooner() -> None:
    """Where the service waits 0.4 s for the caller to go on, drafts save 0.15 s or more, and nothing else changes."""
    with_drafts, without = await hold(sentences()), await hold(sentences(), drafts=False)
    assert fmean(waits_s(without)) - fmean(waits_s(with_drafts)) >= 0.15
    assert without.requests == [TEXT] * len(TAILS)
    assert with_drafts.requests.count(TEXT) == len(TAILS)
    assert len(with_drafts.requests) <= 1.5 * len(TAILS)
    assert with_drafts.history == without.history


@pytest.mark.slow
async def test_a_wrong_draft_is_never_heard() -> None:
    """Early words that the final transcript changes cost a request at most, and leave no trace."""
    held = await hold(sentences(GUESS))
    assert all(isinstance(event, vp.TurnCompleted) for event in held.turns)
    assert {event.user_text for event in held.turns} == {TEXT}
    assert held.started == [f"You said {TEXT}"] * len(TAILS)
    assert GUESS in held.requests, "something was drafted"
    assert len(held.requests) <= 2 * len(TAILS)
    assert GUESS not in " ".join(held.history)
