"""What Flux's early ends of turns are worth: a reply that is drafted on one is spoken, or dropped when it was none."""

from __future__ import annotations

import pytest

import voicepipe as vp
from tests.helpers.deepgram_calls import Caller, Held, hold
from voicepipe.testing import ScriptedVoice
from voicepipe.testing.simulators.deepgram import DeepgramSimulator
from voicepipe.testing.simulators.stt import Spoken

pytestmark = pytest.mark.anyio

QUESTION = Spoken("Where is my parcel today?", 1.0, 2.6)
EAGER_S, SURE_S = 0.15, 0.35
"""After so much silence the simulator is as sure as these thresholds demand."""


async def called(script: list[Spoken], *, eager: float | None, drafts: bool = True) -> tuple[Held, list[str]]:
    simulator = DeepgramSimulator(script)
    parameters = vp.FluxParameters(eager_eot_threshold=eager, eot_threshold=0.9)
    call = await hold(
        simulator,
        Caller(script, script[-1].end_s + 3.0),
        lambda url: vp.DeepgramFluxRecogniser(url=url, parameters=parameters),
        voice=ScriptedVoice(first_audio_s=0.1, character_s=0.01),
        turns=vp.TurnRules(drafts=drafts),
    )
    return call, [event for event in simulator.sessions[0].events if "Turn" in event]


async def test_an_early_end_starts_the_reply_that_is_spoken() -> None:
    """The reply is ready sooner by what is left of the silence; it was asked for once, and history is the same."""
    (early, events), (late, _) = await called([QUESTION], eager=0.3), await called([QUESTION], eager=0.3, drafts=False)
    assert events == ["StartOfTurn", "EagerEndOfTurn", "EndOfTurn"]
    assert early.requests == late.requests == [QUESTION.text]
    assert early.history == late.history == [QUESTION.text, "Yes."]
    waited = [call.of(vp.TurnCompleted)[0].timeline.waited_us / 1e6 for call in (early, late)]
    assert waited[1] - waited[0] >= 0.25


async def test_a_resumed_turn_drops_the_reply() -> None:
    """When the caller goes on, the draft is dropped at once: it is never heard, and the whole turn is answered."""
    script = [Spoken("Where is my parcel today?", 1.0, 2.6), Spoken("The blue one.", 2.8, 3.6)]
    call, events = await called(script, eager=0.3)
    assert events == ["StartOfTurn", "EagerEndOfTurn", "TurnResumed", "EagerEndOfTurn", "EndOfTurn"]
    whole = " ".join(one.text for one in script)
    assert call.requests == [QUESTION.text, whole]
    assert [event.text for event in call.of(vp.SentenceStarted)] == ["Yes."]
    assert call.history == [whole, "Yes."]
