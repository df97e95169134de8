"""Calls in which caller, application and network do anything at any time, with both services that host agents."""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.hosted_calls import HostedCall, hold
from voicepipe.testing import Calls, Says, run_on_virtual_time
from voicepipe.testing.simulators.openai_realtime import RealtimeSimulator
from voicepipe.testing.simulators.voice_agent import VoiceAgentSimulator

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.testing.hosted_service import AgentReply, Asked

pytestmark = pytest.mark.slow

LONG = "Your order 42 has shipped. It comes on Monday."

WORDS = ("One?", "", "Two?", "Three?")


@vp.tool(effect="read")
async def get_order(number: int) -> str:
    """Look up an order."""
    await anyio.sleep(0.5)
    return f"order {number} has shipped"


@vp.tool
async def cancel_order(number: int) -> str:
    """Cancel an order."""
    await anyio.sleep(1.5)
    return f"order {number} is cancelled"


def answers(dice: random.Random, asked: Asked) -> AgentReply:
    """Return what the service does next."""
    look, cancel = Calls("get_order", {"number": 1}), Calls("cancel_order", {"number": 2}, say="One moment.")
    if asked.by == "caller":
        replies: list[AgentReply] = [Says(LONG), look, cancel, [look, cancel]]
        return dice.choice(replies)
    return Says(dice.choice(["Yes.", LONG]))


def speech(dice: random.Random) -> list[tuple[float, float]]:
    """Return when the caller makes a sound."""
    sounds, at_s = list[tuple[float, float]](), 0.5
    while at_s < 9.0:
        sounds.append((at_s, at_s + dice.uniform(0.05, 1.2)))
        at_s = sounds[-1][1] + dice.uniform(0.3, 3.0)
    return sounds


def acts(dice: random.Random, cut: Callable[[], None]) -> list[tuple[float, Callable[[vp.Session], Any]]]:
    """Return what happens besides, and when."""
    known: list[Callable[[vp.Session], Any]] = [
        vp.Session.interrupt,
        partial(vp.Session.say, text="A text."),
        partial(vp.Session.say, text="Hear this.", protected=True),
        vp.Session.reply,
        partial(vp.Session.user_says, text="Typed?"),
        partial(vp.Session.press, keys="1#"),
        lambda _: cut(),
    ]
    return sorted(
        ((dice.uniform(0, 10), dice.choice(known)) for _ in range(dice.randint(0, 4))), key=lambda act: act[0]
    )


async def any_call(dice: random.Random, *, is_openai: bool) -> HostedCall:
    """Hold a call of 14 s."""
    simulator: RealtimeSimulator | VoiceAgentSimulator
    if is_openai:
        simulator = RealtimeSimulator(WORDS, partial(answers, dice))
    else:
        odd = {name: dice.random() < 0.5 for name in ("resumes", "names_replies", "words_come_last", "is_messy")}
        simulator = VoiceAgentSimulator(WORDS, partial(answers, dice), **odd)
    agent: vp.SpeechToSpeech
    async with simulator.serve() as url:
        if is_openai:
            agent = vp.OpenAIRealtimeAgent(url=f"{url}/v1/realtime")
        else:
            agent = vp.HostedVoiceAgent(url=url, greeting=dice.choice(["", "Hi."]))
        return await hold(
            agent,
            vp.ToolRouter([get_order, cancel_order]),
            speaks=speech(dice),
            acts=acts(dice, simulator.cut),
            for_s=14.0,
            greeting=dice.choice(["", "Welcome."]),
        )


@pytest.mark.parametrize("is_openai", [False, True])
def test_whatever_happens_a_call_stays_whole(caplog: pytest.LogCaptureFixture, *, is_openai: bool) -> None:
    """Each turn ends once, each call has a result, and the service finds nothing wrong with what it is sent."""
    for seed in range(12):
        call = run_on_virtual_time(partial(any_call, random.Random(seed), is_openai=is_openai))

        began = [event.turn_id for event in call.of(vp.TurnStarted)]
        assert sorted(event.turn_id for event in call.of(vp.TurnEnded)) == sorted(began), seed
        messages = [message for message in call.history if isinstance(message, vp.AssistantMessage)]
        assert all(message.is_settled for message in messages), seed
        assert all(one.status != "pending" for message in messages for one in message.calls), seed
        for failed in call.of(vp.TurnFailed):
            assert "code 1006" in str(failed.error), seed  # only what the network did
    assert "reports an error" not in caplog.text
    assert "refuses a request" not in caplog.text
