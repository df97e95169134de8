"""Whole calls with an agent that another hosts: turns, tools, interruptions and history as in any other row."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

import voicepipe as vp
from tests.helpers.hosted_calls import hold
from voicepipe.errors import VendorError
from voicepipe.hosted.line import AgentConnection
from voicepipe.hosted.messages import (
    AgentSetup,
    CallerTyped,
    SetInterruptible,
    SetTools,
    ShowResults,
    Speak,
    StopReply,
    Suggest,
)
from voicepipe.observed import ModelGave
from voicepipe.serving import Realtime, Serve
from voicepipe.testing import Calls, Says, run_on_virtual_time
from voicepipe.testing.hosted_service import ServiceHabits
from voicepipe.testing.scripted_agent import ScriptedAgent
from voicepipe.watching.recording import Recording

pytestmark = pytest.mark.anyio

LONG = "Your order 42 has shipped. It comes on Monday."


@vp.tool(effect="read")
async def get_order(number: int) -> str:
    """Look up an order."""
    await anyio.sleep(0.5)
    return f"order {number} has shipped"


@vp.tool
async def cancel_order(number: int) -> str:
    """Cancel an order."""
    await anyio.sleep(2.0)
    return f"order {number} is cancelled"


def lost(*, retryable: bool = True) -> VendorError:
    return VendorError("gone", vendor="scripted", retryable=retryable)


async def test_a_call_is_greeted_asks_a_tool_and_is_interrupted_to_the_word() -> None:
    """The row of one stage gives the events of a row of four, at exact times, and its history ends where it was cut."""
    agent = ScriptedAgent(
        ["Where is my order?", "Stop."],
        [Calls("get_order", {"number": 42}), Says(LONG), Says("All right.")],
        greeting="Hello there.",
    )

    call = await hold(agent, vp.ToolRouter([get_order]), speaks=[(2.0, 3.0), (6.0, 6.5)])

    turns = (vp.TurnStarted, vp.ToolStarted, vp.ToolFinished, vp.TurnEnded, vp.SpeechStarted, vp.Transcript)
    assert call.at(*turns) == [
        (0.4, "TurnStarted"),
        (1.12, "TurnCompleted"),
        (2.1, "SpeechStarted"),
        (3.7, "Transcript"),
        (3.7, "TurnStarted"),
        (4.1, "ToolStarted"),
        (4.6, "ToolFinished"),
        (6.1, "SpeechStarted"),
        (6.1, "TurnInterrupted"),
        (7.2, "Transcript"),
        (7.2, "TurnStarted"),
        (8.2, "TurnCompleted"),
    ]
    assert call.said == [
        "agent: Hello there.",
        "caller: Where is my order?",
        "agent:  [get_order done]",
        "agent: Your order 42 has",
        "caller: Stop.",
        "agent: All right.",
    ]
    assert call.of(vp.TurnInterrupted)[0].by == "caller"
    assert call.output.spans()[1] == (5.0, 6.1)  # silent in the step in which the service was
    assert [result.text for result in agent.services[0].results] == ['{"untrusted_result":"order 42 has shipped"}']


async def test_the_application_speaks_and_lets_the_agent_speak() -> None:
    """`say`, `reply` and a typed text become requests, and history holds what the service said of them."""
    agent = ScriptedAgent(replies=lambda asked: Says(f"By {asked.by}."))

    call = await hold(
        agent,
        greeting="Welcome.",
        acts=[
            (1.5, lambda session: session.reply("Ask for the name.")),
            (3.5, lambda session: session.user_says("My name is Ada.")),
            (5.5, lambda session: session.say("This call is recorded.", protected=True)),
        ],
        speaks=[(6.2, 7.0)],
    )

    assert call.said == [
        "agent: Welcome.",
        "agent: By note.",
        "caller: My name is Ada.",
        "agent: By typed.",
        "agent: This call is recorded.",
    ]
    assert [type(request) for _, request in agent.sent] == [
        Speak,
        Suggest,
        CallerTyped,
        SetInterruptible,
        Speak,
        SetInterruptible,
    ]
    assert all(isinstance(end, vp.TurnCompleted) for end in call.of(vp.TurnEnded))  # nobody cut the protected text


async def test_an_interruption_by_the_application_stops_the_service_where_the_caller_heard_it_to() -> None:
    """`interrupt` silences the output in its step, and what the service still sends of the reply is dropped."""
    deaf = ScriptedAgent(["Hello?"], [Says(LONG), Says("Yes?")])
    deaf.ignores_stops = True

    call = await hold(
        deaf,
        speaks=[(0.5, 1.0)],
        acts=[(3.0, lambda session: session.interrupt()), (3.2, lambda session: session.user_says("What?"))],
    )

    assert call.output.spans()[0] == (2.1, 3.0)
    assert call.ends[0] == ("TurnInterrupted", "Hello?", "Your order 42")
    stops = [request for _, request in deaf.sent if isinstance(request, StopReply)]
    assert [(stop.reply_id, round(stop.heard_s, 3), stop.is_over) for stop in stops] == [("r1", 0.9, False)]
    assert call.ends[1:] == [("TurnCompleted", "What?", "Yes?")]


async def test_a_writing_tool_goes_on_and_the_agent_is_shown_its_late_result() -> None:
    """After a barge-in a writing tool ends once, and the agent tells the caller as soon as nobody speaks."""
    agent = ScriptedAgent(
        ["Cancel it.", "Wait.", ""],
        lambda asked: (
            Calls("cancel_order", {"number": 42}, say="One moment, please.")
            if asked.text == "Cancel it."
            else Says("It is cancelled.")
            if asked.by == "note"
            else Says("Yes?")
        ),
    )

    call = await hold(agent, vp.ToolRouter([cancel_order]), speaks=[(0.5, 1.0), (3.5, 4.0)])

    assert call.said == [
        "caller: Cancel it.",
        "agent: One moment, please. [cancel_order done]",
        "caller: Wait.",
        "agent: Yes?",
        "agent: It is cancelled.",
    ]
    shown = [request for _, request in agent.sent if isinstance(request, ShowResults)]
    assert [(one.are_late, one.results[0].text) for one in shown] == [
        (True, '{"untrusted_result":"order 42 is cancelled"}')
    ]


async def test_words_that_come_after_the_reply_to_them_enter_history_all_the_same() -> None:
    """A reply does not wait long for the caller's words; they take their place when they come."""
    habits = ServiceHabits(words_are_late=True, words_s=1.2, think_s=0.3)
    agent = ScriptedAgent(["Where is my order?"], [Says("It has shipped.")], habits=habits)

    call = await hold(agent, speaks=[(0.5, 1.0)], for_s=6.0)

    # The service ends the caller's turn at 1.6 s and begins the reply at 1.9 s, which waits 0.4 s for the words.
    assert call.at(vp.TurnStarted, vp.TurnEnded) == [(2.3, "TurnStarted"), (3.2, "TurnCompleted")]
    assert call.said == ["caller: Where is my order?", "agent: It has shipped."]


async def test_words_that_the_service_lets_pass_are_a_back_channel() -> None:
    """A hum over a reply that the service goes on with neither interrupts nor begins a turn."""
    agent = ScriptedAgent(["Hello?", "Mhm."], lambda asked: Says(LONG) if asked.text == "Hello?" else None)
    agent.is_interruptible = False

    call = await hold(agent, speaks=[(0.5, 1.0), (2.5, 2.8)], for_s=9.0)

    assert call.said == ["caller: Hello?", f"agent: {LONG}"]
    assert [event.text for event in call.of(vp.Backchannel)] == ["Mhm."]


@pytest.mark.parametrize("is_timed", [True, False])
async def test_audio_that_comes_at_once_is_heard_to_the_word_as_well(*, is_timed: bool) -> None:
    """A service that sends a whole reply early stops it with the caller's voice; history ends at a word."""
    habits = ServiceHabits(lead_s=float("inf"), piece_s=0.1, is_timed=is_timed, stops_early=True, repeats_tags=True)
    agent = ScriptedAgent(["Hello?", "Stop."], [Says(LONG), Says("All right.")], habits=habits)

    call = await hold(agent, speaks=[(0.5, 1.0), (3.0, 3.5)])

    assert call.output.spans()[0] == (2.1, 3.1)
    heard = "Your order 42" if is_timed else "Your order"  # in doubt less
    assert call.ends == [("TurnInterrupted", "Hello?", heard), ("TurnCompleted", "Stop.", "All right.")]
    stops = [request for _, request in agent.sent if isinstance(request, StopReply)]
    assert [(round(stop.heard_s, 3), stop.is_over) for stop in stops] == [(1.0, True)]


async def test_a_lost_connection_is_restored_with_the_conversation_so_far() -> None:
    """In a reply its turn fails, the fallback is said on the next connection, and nothing is forgotten."""
    agent = ScriptedAgent(["Hello?"], [Says(LONG)])
    agent.failures = [lost()]

    call = await hold(agent, speaks=[(0.5, 1.0)], acts=[(3.0, lambda _: agent.hang_up())], for_s=8.0)

    assert call.at(vp.AgentLost, vp.AgentRestored, vp.TurnEnded) == [
        (3.0, "AgentLost"),
        (3.5, "AgentRestored"),
        (7.26, "TurnFailed"),
    ]
    (restored,) = call.of(vp.AgentRestored)
    assert (restored.was_resumed, restored.after_s) == (False, 0.5)
    first, second = agent.setups
    assert (first.resumes, second.resumes) == ("", "")
    assert [message.text for message in second.history] == ["Hello?", "Your order 42 has", ""]
    assert call.said[1:] == [
        "agent: Your order 42 has",
        "agent: Sorry, I cannot answer that right now. Please try again.",
    ]


class HangsUp(ScriptedAgent):
    """Accepts each connection, and hangs up."""

    async def connect(self, setup: AgentSetup) -> AgentConnection:
        connection = await super().connect(setup)
        self.hang_up()
        return connection


async def test_a_service_that_accepts_and_hangs_up_is_not_called_for_ever() -> None:
    """A connection that does not last is a failed attempt: the pauses grow, and after four the session ends."""
    agent, begun_s = HangsUp(), anyio.current_time()

    with pytest.raises(VendorError, match="hung up"):
        await hold(agent, for_s=60.0)

    assert (len(agent.setups), round(anyio.current_time() - begun_s, 3)) == (5, 6.0)


def _hang_up(agent: ScriptedAgent, session: vp.Session) -> None:
    del session
    agent.hang_up()


async def test_a_connection_that_cannot_be_restored_ends_the_call_with_its_error() -> None:
    """A refusal ends the session by the agent's name at once, and so does a service that stays away."""
    for failures, took_s in (([lost(retryable=False)], 0.0), ([lost()] * 4, 6.0)):
        agent, begun_s = ScriptedAgent(), anyio.current_time()
        agent.failures = failures
        with pytest.raises(VendorError, match="gone"):
            await hold(agent, acts=[(2.0, partial(_hang_up, agent))], for_s=60.0)
        assert round(anyio.current_time() - begun_s - 2.0, 3) == took_s


async def test_a_reply_that_does_not_come_fails_its_turn() -> None:
    """The caller hears the fallback after 10 s, and the call goes on."""
    agent = ScriptedAgent(["Hello?", "Hello?"], lambda asked: Says("Here I am.") if len(asked.text) > 6 else None)

    call = await hold(agent, speaks=[(0.5, 1.0)], acts=[(25.0, lambda s: s.user_says("Anyone there?"))], for_s=30.0)

    failed, completed = call.of(vp.TurnEnded)
    assert "did not begin a reply within 10 s" in str(failed.error)
    assert failed.heard.startswith("Sorry, I cannot answer")
    assert completed.heard == "Here I am."


async def test_tools_that_a_session_adds_are_offered_before_the_caller_speaks_again() -> None:
    """The service answers by itself, so it learns of new tools within 50 ms and not with the next request."""
    agent = ScriptedAgent(["Cancel it."], [Calls("cancel_order", {"number": 1}), Says("Done.")])

    call = await hold(
        agent,
        vp.ToolRouter([get_order]),
        speaks=[(1.0, 1.5)],
        acts=[(0.51, lambda session: session.tools.add(cancel_order))],
    )

    ((at_s, change),) = [(at_s, request) for at_s, request in agent.sent if isinstance(request, SetTools)]
    assert 0.51 <= at_s <= 0.56
    assert [tool["function"]["name"] for tool in change.tools] == ["get_order", "cancel_order"]
    assert call.said[-1] == "agent: Done."


async def test_an_agent_answers_without_any_audio_of_the_caller() -> None:
    """Typed words alone hold a conversation, as tests and chats do; what the application made stays as it was."""
    agent = ScriptedAgent(replies=[Says("Hi.")])
    pipeline = vp.Pipeline(agent)

    for _ in range(2):
        async with pipeline.session(output=vp.testing.RecordingOutput()) as session:
            turn = await session.user_says("Hello?")
        assert turn.heard == "Hi."
    assert agent.services[0] is not agent.services[1]


def test_a_row_with_an_agent_says_what_has_no_place_in_it() -> None:
    """Parts that the agent replaces are refused by name, with what to do."""
    agent, voice = ScriptedAgent(), vp.testing.ScriptedVoice()
    rows: list[tuple[tuple[Any, ...], str]] = [
        ((vp.STTStage(vp.testing.ScriptedRecogniser()), agent), "so STTStage has no place next to it; leave STTStage"),
        ((agent, vp.testing.ScriptedModel([])), "so ScriptedModel has no place"),
        ((agent, vp.SentenceChunker(), voice), "so SentenceChunker has no place"),
        ((agent, ScriptedAgent()), "so ScriptedAgent has no place"),
        ((vp.ToolRouter([]), agent), "ToolRouter must directly follow ScriptedAgent"),
        ((agent, vp.MicSource()), "a source comes first"),
        ((ScriptedAgent,), "ScriptedAgent is a class; write ScriptedAgent"),
    ]
    for row, message in rows:
        with pytest.raises(vp.ConfigurationError, match=message):
            vp.Pipeline(*row)


@pytest.mark.slow
async def test_a_call_that_is_interrupted_at_any_time_stays_whole() -> None:
    """Each turn ends once, nothing sounds after the cut until the next reply, and each call of a tool has a result."""
    replies: dict[str, Says | Calls] = {
        "caller": Calls("get_order", {"number": 42}, say="One moment."),
        "results": Says(LONG),
        "typed": Says("Yes."),
    }
    for tenths in range(5, 90, 7):
        cut_s = tenths / 10
        agent = ScriptedAgent(["Where is my order?"], lambda asked: replies.get(asked.by), greeting="Hello there.")

        call = await hold(
            agent,
            vp.ToolRouter([get_order]),
            speaks=[(1.5, 2.0)],
            acts=[(cut_s, lambda s: s.interrupt()), (cut_s + 0.2, lambda s: s.user_says("Still there?"))],
            for_s=cut_s + 6.0,
        )

        started = [event.turn_id for event in call.of(vp.TurnStarted)]
        assert sorted(event.turn_id for event in call.of(vp.TurnEnded)) == started
        assert all(start_s >= cut_s + 0.2 for start_s, _ in call.output.spans() if start_s > cut_s)
        calls = [one for message in call.history if isinstance(message, vp.AssistantMessage) for one in message.calls]
        assert all(one.status != "pending" for one in calls)
        assert "caller: Still there?" in call.said


def test_a_recorded_and_traced_call_is_like_any_other(tmp_path: Path) -> None:
    """Observers see a hosted call as they see a row of four: none of them fails, and both sides are recorded."""
    tracing = vp.OpenTelemetry(tracer_provider=TracerProvider(resource=Resource({}), shutdown_on_exit=False))
    observing = {"observers": [tracing, vp.Recorder(tmp_path)]}
    agent = ScriptedAgent(["Order?"], [Calls("get_order", {"number": 42}), Says(LONG)], greeting="Hi.")
    router = vp.ToolRouter([get_order])

    call = run_on_virtual_time(lambda: hold(agent, router, speaks=[(1.0, 1.5)], pipeline=observing))

    assert not call.of(vp.ObserverFailed)
    (path,) = tmp_path.iterdir()
    recording = Recording.read(path)
    assert recording.manifest.sides == "both"
    said = [piece.part.text for piece in recording.exchanges if isinstance(piece, ModelGave) and _is_text(piece)]
    assert "".join(said) == f"Hi.{LONG}"
    assert [type(timed.event) for timed in recording.events if isinstance(timed.event, vp.TurnEnded)] == [
        vp.TurnCompleted,
        vp.TurnCompleted,
    ]


def _is_text(gave: ModelGave) -> bool:
    return isinstance(gave.part, vp.TextDelta)


async def test_a_hosted_agent_is_served_as_any_other() -> None:
    """A server of calls needs nothing of a row but what it hears and speaks at."""
    agent = ScriptedAgent(["Hello?"], [Says("Yes?")], greeting="Hi.", habits=ServiceHabits(min_silence_s=0.3))
    async with Serve(vp.Pipeline(agent), [Realtime(key="k")]).listening() as port:
        client = vp.OpenAIRealtimeAgent(url=f"ws://127.0.0.1:{port}/v1/realtime", api_key="k")
        call = await hold(client, speaks=[(1.5, 2.0)], for_s=6.0)

    assert call.said == ["agent: Hi.", "caller: Hello?", "agent: Yes?"]


async def test_a_call_of_an_interrupted_reply_is_refused_where_the_service_waits_for_it() -> None:
    """A service that does not know of the interruption gets an error in place of a result; the tool does not run."""
    agent = ScriptedAgent(["Order?"], lambda asked: Calls("get_order", {"number": 1}, say=LONG) if asked.text else None)
    agent.ignores_stops = True

    call = await hold(
        agent, vp.ToolRouter([get_order]), speaks=[(0.5, 1.0)], acts=[(3.0, lambda s: s.interrupt())], for_s=8.0
    )

    assert call.said == ["caller: Order?", "agent: Your order 42"]
    (result,) = agent.services[0].results
    assert (result.is_error, result.text) == (True, '{"error": "the caller interrupted, so the tool was not called"}')
    assert not call.of(vp.ToolStarted)
