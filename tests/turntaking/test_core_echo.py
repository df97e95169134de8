"""Turn-taking where the microphone picks up the agent's own voice."""

from __future__ import annotations

import pytest

from tests.helpers.spoken_call import Agent, SpokenCall
from voicepipe.flow import EarlyTranscript, Hearing, SpeechStarted, Transcript
from voicepipe.turntaking.decisions import Decision, Ignore, Interrupt, RollBack, Start
from voicepipe.turntaking.echo import EchoGuard

SAID = "we are open from nine to five"
OWN = EarlyTranscript("we are open", stable=True)
OTHER = EarlyTranscript("we are open stop please", stable=True)
OWN_FINAL = Transcript("We are open.", 4.9, 5.0)
ANOTHERS = Transcript("We are open. Stop, please!", 4.9, 5.0)


def call(phase: str, *, until_s: float = 6.0) -> SpokenCall:
    """Return a call at 5.0 s whose agent has been saying SAID since 4.0 s, as far as the microphone is concerned."""
    guard = EchoGuard(lambda: until_s)
    guard.says(SAID, 4.0)
    script: list[tuple[float, Hearing]] = []
    if phase == "speaking":
        script = [(1.0, Transcript("Are you open?", 1.0, 1.0))]
    elif phase == "draft":
        script = [(3.0, EarlyTranscript("hello", stable=True))]
    return SpokenCall(agent=Agent(), echo=guard).plays(script, until_s=5.0)


@pytest.mark.parametrize(
    ("phase", "event", "decisions"),
    [
        pytest.param("speaking", SpeechStarted(at_s=4.1), [], id="speech does not pause"),
        pytest.param("speaking", OWN, [Ignore()], id="its own words do not interrupt"),
        pytest.param("quiet", OWN, [Ignore()], id="its own words start no draft"),
        pytest.param("draft", OWN, [Ignore()], id="its own words leave a draft"),
        pytest.param("speaking", OWN_FINAL, [Ignore()], id="its own final words do not interrupt"),
        pytest.param("quiet", OWN_FINAL, [Ignore()], id="its own final words start nothing"),
        pytest.param("draft", OWN_FINAL, [RollBack(), Ignore()], id="its own final words drop a draft"),
        pytest.param("speaking", OTHER, [Interrupt()], id="others interrupt"),
        pytest.param("speaking", ANOTHERS, [Interrupt(), Start(ANOTHERS, 5.0)], id="others are answered"),
        pytest.param("quiet", ANOTHERS, [Start(ANOTHERS, 5.0)], id="others start a turn"),
    ],
)
def test_the_agents_own_voice_is_not_the_callers(phase: str, event: Hearing, decisions: list[Decision]) -> None:
    """Each row: an event at 5.0 s, while the agent has been audible since 4.0 s, leads to these decisions."""
    made = call(phase).core.handle(event, 5.0)
    assert [Interrupt() if isinstance(decision, Interrupt) else decision for decision in made] == decisions


def test_what_was_typed_is_no_echo() -> None:
    """Typed words are the caller's, whatever the agent is saying."""
    typed = Transcript(SAID, 5.0, 5.0)
    assert call("speaking").core.handle(typed, 5.0, is_typed=True) == [Interrupt(), Start(typed, 5.0)]


def test_speech_pauses_an_agent_that_is_not_audible_yet() -> None:
    """Once the sound and its echo are over, speech alone pauses the agent as it does elsewhere."""
    held = call("speaking", until_s=5.0).plays([(6.0, SpeechStarted(at_s=6.0))], until_s=7.0)
    assert [type(decision).__name__ for at_s, decision in held.decisions if at_s == 6.3] == ["Pause"]
