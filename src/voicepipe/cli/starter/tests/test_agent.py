"""Calls with the agent on virtual time: ten seconds of it take milliseconds, and times are exact.

The agent and its tool are the real ones. Caller, model and voice are scripted, so no key, network
or sound card is needed.
"""

from dataclasses import dataclass

import pytest
import voicepipe as vp
from voicepipe.testing import (
    VIRTUAL_TIME,
    Calls,
    RecordingOutput,
    Says,
    ScriptedModel,
    ScriptedUser,
    ScriptedVoice,
)

from my_agent.agent import GREETING, agent

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Call:
    """A call that has ended.

    Attributes:
        turns: How each turn ended, the greeting first.
        texts: The conversation: what the caller said, and what they heard of the agent.
    """

    turns: list[vp.TurnEnded]
    texts: list[str]


@pytest.fixture
def anyio_backend() -> object:
    """Run the tests of this file on virtual time."""
    return VIRTUAL_TIME


async def hold_call(caller: ScriptedUser, model: ScriptedModel) -> Call:
    """Hold a call from the greeting until the caller hangs up."""
    in_test = agent.replace(
        {
            vp.STTStage: caller,
            vp.LLMStreamStage: model,
            vp.AssemblyAITTS: ScriptedVoice(first_audio_s=0.1, character_s=0.05),
            vp.Output: RecordingOutput(),
        }
    )
    async with in_test.session(greeting=GREETING) as session:
        turns = [event async for event in session if isinstance(event, vp.TurnEnded)]
    return Call(turns, [message.text for message in session.history if message.text])


async def test_an_order_is_looked_up() -> None:
    """The caller hears the status of their order, 0.9 seconds after their last word."""
    caller = ScriptedUser()
    caller.says("Where is order 12345?", at_s=5.0, speech_s=1.5, silence_s=0.3).hangs_up(at_s=10.0)
    look_up = Calls("get_order_status", {"order_id": "ORD-12345"}, after_s=0.3)
    model = ScriptedModel([look_up, Says("It was shipped on Monday.", after_s=0.2)])

    call = await hold_call(caller, model)

    (result,) = model.requests[-1].tool_results.values()
    assert result == "The order ORD-12345 is shipped on Monday."
    assert call.texts == [GREETING, "Where is order 12345?", "It was shipped on Monday."]
    assert call.turns[-1].timeline.waited_us == 900_000


async def test_an_unknown_order_is_asked_for_again() -> None:
    """The model gets to know that there is no such order, and what to do; the call goes on."""
    caller = ScriptedUser().says("Where is order 11111?", at_s=5.0).hangs_up(at_s=10.0)
    look_up = Calls("get_order_status", {"order_id": "ORD-11111"})
    model = ScriptedModel([look_up, Says("Please read the number again.")])

    call = await hold_call(caller, model)

    (result,) = model.requests[-1].tool_results.values()
    assert "There is no order ORD-11111" in result
    assert call.texts[-1] == "Please read the number again."


async def test_the_caller_can_interrupt() -> None:
    """The agent stops when the caller speaks, and the conversation keeps only what was heard."""
    caller = ScriptedUser().interrupts("Stop, please.", at_s=1.5).hangs_up(at_s=8.0)
    model = ScriptedModel([Says("All right.")])

    call = await hold_call(caller, model)

    assert isinstance(call.turns[0], vp.TurnInterrupted)
    assert call.texts == ["Hello, this is the shop. How can I", "Stop, please.", "All right."]
