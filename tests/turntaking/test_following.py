"""Turn-taking where a hosted agent decides, as a table of events and decisions."""

from __future__ import annotations

from typing import Any, Literal, cast

import pytest

import voicepipe as vp
from voicepipe.turntaking.agent_yielded import AgentYielded
from voicepipe.turntaking.core import Quiet, Tick
from voicepipe.turntaking.decisions import Interrupt, Start
from voicepipe.turntaking.following import FollowingCore


class Agent:
    """The agent, in one phase."""

    def __init__(self, phase: Literal["quiet", "thinking", "speaking"], *, is_protected: bool = False) -> None:
        self.phase = phase
        self.is_protected = is_protected
        self.reply_id = 1
        self.is_working = False

    def progress(self, _text: str) -> str:
        """Nothing is expected."""
        return "open"


def core(agent: Agent, **rules: Any) -> FollowingCore:
    """Return turn-taking that follows this agent."""
    return FollowingCore(vp.TurnRules(**rules), cast("Any", agent))


WORDS = vp.Transcript("Hello?", 1.0, 1.2)


@pytest.mark.parametrize(
    ("agent", "event", "is_typed", "decisions"),
    [
        (Agent("quiet"), vp.SpeechStarted(at_s=0.0), False, []),
        (Agent("speaking"), vp.SpeechStarted(at_s=0.0), False, []),
        (Agent("speaking"), vp.EarlyTranscript("Hello"), False, []),
        (Agent("quiet"), WORDS, False, [Start(WORDS, 2.0)]),
        (Agent("thinking"), WORDS, False, [Interrupt(), Start(WORDS, 2.0)]),
        (Agent("speaking"), WORDS, False, []),
        (Agent("thinking", is_protected=True), WORDS, False, []),
        (Agent("thinking", is_protected=True), WORDS, True, [Interrupt(), Start(WORDS, 2.0)]),
        (Agent("speaking"), WORDS, True, [Interrupt(), Start(WORDS, 2.0)]),
        (Agent("quiet"), AgentYielded(), False, []),
        (Agent("thinking"), AgentYielded(), False, [Interrupt()]),
        (Agent("speaking"), AgentYielded(), False, [Interrupt()]),
        (Agent("speaking", is_protected=True), AgentYielded(), False, []),
        (Agent("speaking"), vp.Digit("1"), False, [Interrupt()]),
    ],
)
def test_the_agent_is_followed(agent: Agent, event: Any, is_typed: bool, decisions: list[object]) -> None:
    """The service's word decides; speech alone decides nothing."""
    assert core(agent).handle(event, 2.0, is_typed=is_typed) == decisions


def test_words_over_a_reply_wait_for_its_end() -> None:
    """The service answers them after the reply that it did not stop."""
    agent = Agent("speaking")
    following = core(agent)
    assert following.handle(WORDS, 2.0) == []
    agent.phase = "quiet"
    assert following.handle(Quiet(), 3.0) == [Start(WORDS, 2.0)]


def test_keys_and_a_silent_caller_are_treated_as_in_any_call() -> None:
    """Keys are complete with their end key or after a pause, and a caller who says nothing is spoken to."""
    agent = Agent("quiet")
    following = core(agent, idle=(10.0,), idle_texts=("Still there?",), dtmf_s=2.0)
    following.handle(Quiet(), 0.0)
    assert following.wake_at == 10.0

    assert following.handle(vp.Digit("4"), 1.0) == []
    assert following.handle(vp.Digit("2"), 1.5) == []
    assert following.wake_at == 3.5
    (start,) = following.handle(Tick(), 3.5)
    assert isinstance(start, Start)
    assert start.transcript.text == "42"

    protected = core(Agent("speaking", is_protected=True))
    assert protected.handle(vp.Digit("1"), 4.0) == protected.handle(vp.Digit("#"), 4.1) == []

    agent.reply_id = 2
    following.handle(Quiet(), 5.0)
    following.handle(vp.SpeechStarted(at_s=14.0), 14.0)  # a noise: the wait goes on after it
    assert following.handle(Tick(), 15.0) == []
    (idle,) = following.handle(Tick(), 19.0)
    assert isinstance(idle, vp.Idle)
    assert (idle.text, idle.is_last) == ("Still there?", True)
