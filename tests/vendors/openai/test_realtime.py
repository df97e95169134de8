"""Whole calls with OpenAI's Realtime API, on virtual time, against a server that its client's types check."""

from __future__ import annotations

import json
import logging
import traceback
from functools import partial
from typing import Any

import anyio
import pytest
from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import SecretStr, TypeAdapter

import voicepipe as vp
from tests.helpers.hosted_calls import HostedCall, hold
from voicepipe.errors import AuthenticationError, ConfigurationError, RateLimited, VendorError, VoicepipeError
from voicepipe.hosted.messages import (
    AgentEvent,
    AgentSetup,
    CallerSaid,
    CallerSpeaks,
    CallResult,
    ReplyCalls,
    ReplyDone,
    RequestFailed,
    ServiceComplained,
    SetInterruptible,
    ShowResults,
    Speak,
    StopReply,
)
from voicepipe.serving import Realtime, Serve
from voicepipe.testing import Calls, Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice
from voicepipe.testing.simulators.openai_realtime import RealtimeSimulator
from voicepipe.vendors.openai.realtime_protocol import RealtimeProtocol

pytestmark = pytest.mark.anyio

KEY = "canary-4f80"

LONG = "Your order 42 has shipped. It comes on Monday."


@vp.tool(effect="read")
async def get_order(number: int) -> str:
    """Look up an order."""
    await anyio.sleep(0.5)
    return f"order {number} has shipped"


async def call(
    simulator: RealtimeSimulator, *parts: Any, agent: dict[str, Any] | None = None, **how: Any
) -> HostedCall:
    """Hold a call with the simulated service, and check every event in both directions with the client's types."""
    async with simulator.serve() as url:
        hosted = vp.OpenAIRealtimeAgent("Be brief.", url=f"{url}/v1/realtime", api_key=KEY, **(agent or {}))
        held = await hold(hosted, *parts, **how)
    for event in simulator.sent:
        assert TypeAdapter(RealtimeServerEvent).validate_python(event).type == event["type"]
    for _, message in [one for session in simulator.sessions for one in session.messages]:
        parsed = TypeAdapter[Any](RealtimeClientEvent).validate_python(message)
        assert parsed.to_dict(mode="json", exclude_unset=True) == message
    return held


@pytest.mark.parametrize("rate", [24_000, 8_000])
@pytest.mark.slow
async def test_a_call_asks_a_tool_and_is_interrupted_where_the_caller_heard_it_to(rate: int) -> None:
    """Audio that comes at once is played in real time; a cut reply is truncated at the service where it was heard."""
    simulator = RealtimeSimulator(
        ["Where is my order?", "Stop."],
        [Calls("get_order", {"number": 42}), Says(LONG), Says("All right.")],
        api_key=KEY,
    )

    held = await call(
        simulator,
        vp.ToolRouter([get_order]),
        agent={"voice": "marin", "sample_rate": rate},
        speaks=[(1.0, 2.0), (5.0, 5.5)],
        rate=rate,
        for_s=9.0,
    )

    assert held.said == [
        "caller: Where is my order?",
        "agent:  [get_order done]",
        "agent: Your order 42",
        "caller: Stop.",
        "agent: All right.",
    ]
    # The caller's turn ends at 2.5 s; the words come 0.3 s later, the first response 0.1 s after them.
    assert held.at(vp.TurnStarted, vp.ToolStarted, vp.ToolFinished, vp.TurnEnded) == [
        (2.8, "TurnStarted"),
        (2.9, "ToolStarted"),
        (3.4, "ToolFinished"),
        (5.1, "TurnInterrupted"),
        (6.3, "TurnStarted"),
        (7.0, "TurnCompleted"),
    ]
    (session,) = simulator.sessions
    assert session.path == "/v1/realtime?model=gpt-realtime"
    ((_, heard_ms),) = session.truncated
    assert heard_ms == round(held.of(vp.TurnInterrupted)[0].heard_s * 1000)
    assert [message["type"] for _, message in session.messages[1:]] == [
        "conversation.item.create",
        "response.create",
        "conversation.item.truncate",
    ]


@pytest.mark.slow
async def test_the_session_begins_with_what_the_application_wants() -> None:
    """Settings, tools and the conversation so far travel as the API has them; notes and texts ask for responses."""
    simulator = RealtimeSimulator(replies=lambda asked: Says(f"By {asked.by}."))

    held = await call(
        simulator,
        vp.ToolRouter([get_order]),
        agent={"silence_s": 0.7, "transcription_model": "whisper-1"},
        settings=vp.CallSettings(voice="cedar", language="de-AT"),
        history=[vp.UserMessage("Hello."), vp.AssistantMessage.said("Good morning.")],
        greeting="Welcome.",
        acts=[
            (2.0, lambda s: s.reply("Ask for the name.")),
            (4.0, lambda s: s.user_says("Ada.")),
            (5.5, lambda s: s.say("Hear this.", protected=True)),
        ],
        for_s=8.0,
    )

    messages = [message for _, message in simulator.sessions[0].messages]
    session = messages[0]["session"]
    assert session["audio"] == {
        "input": {
            "format": {"type": "audio/pcm", "rate": 24_000},
            "transcription": {"model": "whisper-1", "language": "de"},
            "turn_detection": {
                "type": "server_vad",
                "silence_duration_ms": 700,
                "create_response": True,
                "interrupt_response": True,
            },
        },
        "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "cedar"},
    }
    assert (session["instructions"], session["tools"][0]["name"]) == ("Be brief.", "get_order")
    assert [message["item"]["role"] for message in messages[1:3]] == ["user", "assistant"]
    assert messages[4]["response"]["instructions"].startswith("Be brief.\n\n[A note of the application")
    assert held.said[2:] == [
        "agent: Welcome.",
        "agent: By note.",
        "caller: Ada.",
        "agent: By typed.",
        "agent: Hear this.",
    ]
    interruptible = [one["session"]["audio"]["input"]["turn_detection"] for one in messages if _sets_turns(one)]
    assert [turns["interrupt_response"] for turns in interruptible] == [True, False, True]


def _sets_turns(message: dict[str, Any]) -> bool:
    return message["type"] == "session.update" and "audio" in message["session"]


def _cut(simulator: RealtimeSimulator, session: vp.Session) -> None:
    del session
    simulator.cut()


@pytest.mark.slow
async def test_a_cut_connection_is_replaced_by_one_that_knows_the_conversation() -> None:
    """The new session gets the conversation so far as items, with calls and their results."""
    replies: dict[str, Says | Calls] = {
        "caller": Calls("get_order", {"number": 42}),
        "results": Says(LONG),
        "typed": Says("Yes."),
    }
    simulator = RealtimeSimulator(["Order?"], lambda asked: replies[asked.by], api_key=KEY)

    held = await call(
        simulator,
        vp.ToolRouter([get_order]),
        speaks=[(0.5, 1.0)],
        acts=[(4.0, partial(_cut, simulator)), (9.0, lambda s: s.user_says("And now?"))],
        for_s=12.0,
    )

    assert [type(event) for event in held.of(vp.AgentLost, vp.AgentRestored)] == [vp.AgentLost, vp.AgentRestored]
    items = [message["item"] for message in simulator.sessions[1].of("conversation.item.create")]
    assert [item.get("role", item["type"]) for item in items] == [
        "user",
        "function_call",
        "function_call_output",
        "assistant",
        "user",
    ]
    assert held.ends[0] == ("TurnCompleted", "Order?", LONG)  # all of it had come


@pytest.mark.parametrize(
    ("agent", "error", "message"),
    [
        ({"api_key": "wrong-key"}, AuthenticationError, "HTTP 401.*check the key"),
        (
            {"voice": "nobody"},
            ConfigurationError,
            "invalid_value, session.audio.output.voice: Invalid value",
        ),
    ],
)
async def test_what_the_service_refuses_is_one_error_that_says_what_to_do(
    agent: dict[str, Any], error: type[VoicepipeError], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A wrong key is refused in the handshake, a wrong setting after it; neither error nor log shows the key."""
    caplog.set_level(logging.DEBUG)
    async with RealtimeSimulator(api_key=KEY).serve() as url:
        hosted = vp.OpenAIRealtimeAgent(**{"url": f"{url}/v1/realtime", "api_key": KEY} | agent)
        with pytest.raises(error, match=message) as raised:
            await hold(hosted)
    shown = "".join(traceback.format_exception(raised.value)) + caplog.text + repr(hosted)
    assert KEY not in shown


def protocol() -> RealtimeProtocol:
    one = RealtimeProtocol({}, SecretStr(KEY), is_telephone=False, interrupts=True)
    one.opening(AgentSetup(instructions="Be brief."))
    read(one, type="session.updated", session={})
    return one


def read(one: RealtimeProtocol, **message: Any) -> list[AgentEvent]:
    return one.read(json.dumps(message).encode())


def test_events_are_read_as_far_as_they_can_be() -> None:
    """What is not known, or not whole, is skipped, and nothing that comes raises."""
    heard = "conversation.item.input_audio_transcription"
    failed = VendorError("OpenAI's Realtime API reports x: broke", vendor="OpenAI", retryable=True)
    item = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    cut = {"id": "r1", "status": "incomplete", "status_details": {"reason": "max_output_tokens"}}
    delta, done, words = (
        "response.output_audio.delta",
        "response.output_item.done",
        {"is_final": False, "item_id": "i1"},
    )
    cases: list[tuple[str, dict[str, Any], list[AgentEvent]]] = [
        ("input_audio_buffer.speech_started", {"item_id": "i1"}, [CallerSpeaks(stops_agent=True, item_id="i1")]),
        (f"{heard}.delta", {"item_id": "i1", "delta": "Wh"}, [CallerSaid("Wh", **words)]),
        (f"{heard}.delta", {"item_id": "i1", "delta": "ere"}, [CallerSaid("Where", **words)]),
        (f"{heard}.completed", {"item_id": "i1", "transcript": "Where?"}, [CallerSaid("Where?", item_id="i1")]),
        (f"{heard}.failed", {"item_id": "i2"}, [CallerSaid("", item_id="i2")]),
        (done, {"response_id": "r1", "item": item}, [ReplyCalls("c1", "f", "{}", "r1")]),
        (done, {"response_id": "r1", "item": item | {"status": "incomplete"}}, []),
        (delta, {"response_id": "r1", "item_id": "i3", "delta": "!"}, []),
        ("response.done", {"response": {"id": "r1"}}, [ReplyDone("completed", reply_id="r1")]),
        ("response.done", {"response": cut}, [ReplyDone("completed", "max_output_tokens", reply_id="r1")]),
        ("rate_limits.updated", {}, []),
        ("response.weather", {}, []),
        ("", {}, []),
    ]
    one = protocol()
    for kind, fields, events in cases:
        assert read(one, type=kind, **fields) == events, kind
    assert one.unknown.kinds == {"audio that is not base64", "response.weather", "?"}
    broken = {"id": "r1", "status": "failed", "status_details": {"error": {"code": "x", "message": "broke"}}}
    (ended,) = read(one, type="response.done", response=broken)
    assert isinstance(ended, ReplyDone)
    assert (str(ended.error), ended.status) == (str(failed), "failed")


def test_errors_find_whoever_asked() -> None:
    """A refused response fails the reply that was asked for; other errors are reported, or end the session by kind."""
    one = protocol()
    error = {"type": "invalid_request_error", "code": "conversation_already_has_active_response", "message": "Busy"}
    (failed,) = read(one, type="error", error=error | {"event_id": "voicepipe-7"})
    assert isinstance(failed, RequestFailed)
    assert failed.tag == "7"
    assert isinstance(read(one, type="error", error=error)[0], ServiceComplained)
    assert read(one, type="error", error={"code": "response_cancel_not_active"}) == []
    for code, kind in (("invalid_api_key", AuthenticationError), ("insufficient_quota", RateLimited)):
        early = RealtimeProtocol({}, SecretStr(KEY), is_telephone=False, interrupts=True)
        refused = {"code": code, "message": f"Not with {KEY}", "param": f"Bearer {KEY}"}
        assert read(early, type="error", error=refused) == []
        assert type(early.failure) is kind
        assert KEY not in str(early.failure)


def test_what_is_sent_has_the_client_s_types() -> None:
    """Each request is one that the stock client's types accept, with nothing that they do not know."""
    one = protocol()
    read(one, type="response.output_audio.delta", response_id="r1", item_id="i1", content_index=0, delta="AAAA")
    results = (CallResult("c1", "f", "done", is_error=False),)
    requests = [
        Speak("Hello.", "1"),
        ShowResults(results, "2"),
        ShowResults(results, are_late=True),
        StopReply("r1", 0.5, is_over=False),
        StopReply("r9", 0.5, is_over=True),
        SetInterruptible(False),
    ]
    kinds = [[json.loads(message)["type"] for message in one.write(request)] for request in requests]
    assert kinds == [
        ["response.create"],
        ["conversation.item.create", "response.create"],
        ["conversation.item.create"],
        ["response.cancel", "conversation.item.truncate"],
        [],
        ["session.update"],
    ]


def test_what_a_service_sends_without_end_is_not_kept_without_end() -> None:
    """Kinds of messages, the caller's words so far, and what each response speaks are of limited number and size."""
    one = protocol()
    for number in range(300):
        read(one, type=f"odd.{number}" + "x" * 500)
        read(one, type="conversation.item.input_audio_transcription.delta", item_id=f"i{number}", delta="a" * 9_000)
        read(one, type="response.output_audio.delta", response_id=f"r{number}", item_id="i1", delta="AAAA")
    (said,) = read(one, type="conversation.item.input_audio_transcription.delta", item_id="i299", delta="a")

    assert said == CallerSaid("a" * 8_000, is_final=False, item_id="i299")
    assert (len(one._early), len(one._items), len(one.unknown)) == (8, 8, 20)
    assert max(map(len, one.unknown.kinds)) == 60


def test_the_caller_s_voice_stops_nothing_while_the_service_is_not_to_be_interrupted() -> None:
    """A text that the caller has to hear whole is still given to its end after they have spoken."""
    one = protocol()
    for is_interruptible in (True, False, True):
        one.write(SetInterruptible(is_interruptible))
        assert read(one, type="input_audio_buffer.speech_started") == [CallerSpeaks(stops_agent=is_interruptible)]


def test_settings_that_cannot_be_are_refused_when_they_are_written() -> None:
    """Each is one sentence that says what was expected."""
    cases: list[tuple[dict[str, Any], str]] = [
        ({"sample_rate": 16_000}, "sample_rate must be 24000 or 8000, not 16000"),
        ({"model": " "}, "model is empty; leave it out for the default"),
        ({"eagerness": "soon"}, 'eagerness must be "low", "medium", "high" or "auto"'),
        ({"eagerness": "low", "silence_s": 1.0}, "silence_s must be up to 10 seconds, and goes without eagerness"),
        ({"url": "ws://example.com"}, "url would send the key to example.com unencrypted"),
    ]
    for settings, message in cases:
        with pytest.raises(ConfigurationError, match=message):
            vp.OpenAIRealtimeAgent(**settings)
    agent = vp.Pipeline(vp.OpenAIRealtimeAgent(url="ws://127.0.0.1:1"))
    assert "OpenAIRealtimeAgent" in repr(agent)


async def test_a_voicepipe_server_is_such_a_service_too() -> None:
    """An agent of recogniser, model and voice, served over the same protocol, is heard and interrupted by ours."""
    caller = ScriptedRecogniser(sample_rate=24_000)
    caller.says("Where is my order?", at_s=1.5, speech_s=0.8, silence_s=0.2)
    caller.interrupts("Stop.", at_s=4.0)
    model = ScriptedModel([Says(LONG, after_s=0.2), Says("All right.", after_s=0.2)])
    served = vp.Pipeline(vp.STTStage(caller), model, vp.SentenceChunker(), ScriptedVoice(character_s=0.06))
    async with Serve(served, [Realtime(key=KEY)], greeting="Hello.").listening() as port:
        agent = vp.OpenAIRealtimeAgent(url=f"ws://127.0.0.1:{port}/v1/realtime", api_key=KEY)
        held = await hold(agent, speaks=[(0.5, 1.3), (4.0, 5.0)], for_s=8.0)

    assert held.said == [
        "agent: Hello.",
        "caller: Where is my order?",
        "agent: Your order 42 has shipped.",
        "caller: Stop.",
        "agent: All right.",
    ]
    assert [end[0] for end in held.ends] == ["TurnCompleted", "TurnInterrupted", "TurnCompleted"]
