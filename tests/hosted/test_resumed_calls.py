"""Calls with a hosted agent that go on in another worker: the service there is told the conversation so far."""

from __future__ import annotations

import anyio
import pytest

import voicepipe as vp
from tests.helpers.hosted_calls import hold
from voicepipe.hosted.messages import CallerTyped, ShowResults, Speak, Suggest
from voicepipe.testing import Calls, Says
from voicepipe.testing.scripted_agent import ScriptedAgent

pytestmark = pytest.mark.anyio


@vp.tool
async def cancel_order(number: int) -> str:
    """Cancel an order."""
    await anyio.sleep(2.0)
    return f"order {number} is cancelled"


CANCEL = Calls("cancel_order", {"number": 42})


async def left(at_s: float, *replies: Says | Calls, greeting: str = "") -> bytes:
    """Return the snapshot of a call whose caller asks for something from 1 s to 2 s, and that breaks off at a time."""
    kept: list[bytes] = []
    agent = ScriptedAgent(["Cancel order 42."], [*replies], greeting=greeting)
    acts = [(at_s, lambda session: kept.append(session.snapshot()))]
    await hold(agent, vp.ToolRouter([cancel_order]), speaks=[(1.0, 2.0)], acts=acts, for_s=at_s + 0.1)
    return kept[0]


async def test_the_service_is_told_the_conversation_and_greets_nobody_again() -> None:
    """It begins with the history, and what the caller says next is answered."""
    data = await left(7.0, CANCEL, Says("It is cancelled."), greeting="Hello!")
    agent = ScriptedAgent(["Thanks."], [Says("Bye.")], greeting="Hello!")
    call = await hold(agent, vp.ToolRouter([cancel_order]), speaks=[(1.0, 2.0)], resume=data)
    assert [message.text for message in agent.setups[0].history if message.text] == [
        "Hello!",
        "Cancel order 42.",
        "It is cancelled.",
    ]
    assert call.said[:3] == [
        "agent: Hello!",
        "caller: Cancel order 42.",
        "agent:  [cancel_order done]",
    ]
    assert call.said[-2:] == ["caller: Thanks.", "agent: Bye."]
    assert not [request for _, request in agent.sent if isinstance(request, (Speak, ShowResults))]


async def test_words_that_were_not_answered_yet_are_asked_again() -> None:
    """The service that was answering them is gone, so the next one gets them as text."""
    data = await left(2.9, Says("It is cancelled.", after_s=5.0))
    agent = ScriptedAgent([], [Says("I cancel it.")])
    call = await hold(agent, vp.ToolRouter([cancel_order]), resume=data)
    assert call.of(vp.CallResumed)[0].turn == "again"
    assert [request.text for _, request in agent.sent if isinstance(request, CallerTyped)] == ["Cancel order 42."]
    assert call.said == ["caller: Cancel order 42.", "agent: I cancel it."]


async def test_a_writing_tool_that_had_begun_is_unknown_until_its_outcome_is_reported() -> None:
    """The service is told that nobody knows, and then what the application reports of a call that is not its own."""
    data = await left(4.0, CANCEL)
    agent = ScriptedAgent([], [Says("I am not sure."), Says("It is cancelled after all.")])
    acts = [(4.0, lambda session: session.report_outcome("r1c0", "order 42 is cancelled"))]
    call = await hold(agent, vp.ToolRouter([cancel_order]), acts=acts, resume=data)
    notes = [request.note for _, request in agent.sent if isinstance(request, Suggest)]
    assert "nobody knows whether it has done its work" in notes[0]
    assert "order 42 is cancelled" in notes[1]
    assert call.said == [
        "caller: Cancel order 42.",
        "agent:  [cancel_order done]",
        "agent: I am not sure.",
        "agent: It is cancelled after all.",
    ]
