"""Whole calls with AssemblyAI's hosted agent, on virtual time against a server of its protocol."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import traceback
from functools import partial
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.hosted_calls import HostedCall, hold
from tests.helpers.telephone_calls import AUTH_TOKEN, VOICE, twilio_calls
from voicepipe.errors import AuthenticationError, ConfigurationError, VendorError, VoicepipeError
from voicepipe.serving import Twilio
from voicepipe.testing import Calls, Says
from voicepipe.testing.hosted_service import ServiceHabits, tone
from voicepipe.testing.simulators.voice_agent import VoiceAgentSimulator

pytestmark = pytest.mark.anyio

KEY = "canary-91c2"

LONG = "Your order 42 has shipped. It comes on Monday."


@vp.tool(effect="read")
async def get_order(number: int) -> dict[str, object]:
    """Look up an order."""
    await anyio.sleep(0.5)
    return {"number": number, "status": "shipped"}


async def call(
    simulator: VoiceAgentSimulator, *parts: Any, agent: dict[str, Any] | None = None, **how: Any
) -> HostedCall:
    """Hold a call with the simulated service."""
    async with simulator.serve() as url:
        hosted = vp.HostedVoiceAgent("Be brief.", url=url, api_key=KEY, **(agent or {}))
        return await hold(hosted, *parts, **how)


@pytest.mark.parametrize("is_telephone", [False, True])
@pytest.mark.parametrize("is_messy", [False, True])
async def test_a_call_is_greeted_asks_a_tool_and_is_interrupted_to_the_word(
    *, is_messy: bool, is_telephone: bool
) -> None:
    """Whatever the service leaves out or adds, a call over one websocket gives what a row of four gives."""
    simulator = VoiceAgentSimulator(
        ["Where is my order?", "Stop."],
        [Calls("get_order", {"number": 42}), Says(LONG), Says("All right.")],
        api_key=KEY,
        names_replies=not is_messy,
        is_messy=is_messy,
    )

    held = await call(
        simulator,
        vp.ToolRouter([get_order]),
        agent={"greeting": "Hello there.", "voice": "jane", "sample_rate": 8_000 if is_telephone else 24_000},
        speaks=[(2.0, 3.0), (6.0, 6.5)],
        rate=8_000 if is_telephone else 24_000,
    )

    turns = (vp.TurnStarted, vp.ToolStarted, vp.ToolFinished, vp.TurnEnded, vp.Transcript)
    assert held.at(*turns) == [
        (0.4, "TurnStarted"),
        (1.12, "TurnCompleted"),
        (3.7, "Transcript"),
        (3.7, "TurnStarted"),
        (4.1, "ToolStarted"),
        (4.6, "ToolFinished"),
        (6.1, "TurnInterrupted"),
        (7.2, "Transcript"),
        (7.2, "TurnStarted"),
        (8.2, "TurnCompleted"),
    ]
    assert held.said == [
        "agent: Hello there.",
        "caller: Where is my order?",
        "agent:  [get_order done]",
        "agent: Your order 42 has",
        "caller: Stop.",
        "agent: All right.",
    ]
    (session,) = simulator.sessions
    assert [json.loads(result["result"]) for result in session.of("tool.result")] == [
        {"untrusted_result": {"number": 42, "status": "shipped"}}
    ]
    assert [type(message) for _, message in session.messages][-1:] == [dict]
    assert session.messages[-1][1] == {"type": "session.end"}
    assert (session.close_code, round(session.audio_s, 2)) == (1000, 10.0)


async def test_the_first_message_says_what_the_application_wants() -> None:
    """Settings of the agent and of the call travel in the service's words, tools in its flat form."""
    simulator = VoiceAgentSimulator(replies=lambda asked: Says(f"By {asked.by}."))
    agent = {"voice": "michael", "keyterms": ["Ozeki"], "min_silence_s": 0.4, "max_silence_s": 2.0, "volume": 80}

    held = await call(
        simulator,
        vp.ToolRouter([get_order]),
        agent=agent,
        settings=vp.CallSettings(voice="vera", language="de-AT", key_terms=["Müller"]),
        history=[vp.UserMessage("Hello."), vp.AssistantMessage.said("Good morning.")],
        greeting="Welcome.",
        acts=[(2.0, lambda s: s.reply("Ask for the name.")), (4.0, lambda s: s.user_says("Ada."))],
        for_s=6.0,
    )

    first, *rest = [message for _, message in simulator.sessions[0].messages]
    session = first["session"]
    assert session["system_prompt"].startswith("Be brief.\n\nThe conversation so far")
    assert session["system_prompt"].endswith('Caller: "Hello."\nYou: "Good morning."')
    assert session["input"] == {
        "format": {"encoding": "audio/pcm"},
        "keyterms": ["Müller"],
        "language_codes": ["de"],
        "turn_detection": {"min_silence": 400, "max_silence": 2000},
    }
    assert session["output"] == {"format": {"encoding": "audio/pcm"}, "voice": "vera", "volume": 80}
    assert session["tools"][0].keys() == {"type", "name", "description", "parameters"}
    assert [message["type"] for message in rest] == ["reply.create"] * 3 + ["session.end"]
    assert held.said[2:] == ["agent: Welcome.", "agent: By note.", "caller: Ada.", "agent: By typed."]


def _cut(simulator: VoiceAgentSimulator, session: vp.Session) -> None:
    del session
    simulator.cut()


@pytest.mark.slow
async def test_a_cut_connection_is_replaced_and_resumed_where_the_service_can() -> None:
    """A lost session is resumed, or a new one is told what was said; the greeting is not said again."""
    for resumes in (False, True):
        simulator = VoiceAgentSimulator(["Hello?", "Again."], [Says(LONG), Says("Yes?")], api_key=KEY, resumes=resumes)

        held = await call(
            simulator,
            vp.ToolRouter([get_order]),
            agent={"greeting": "Hi."},
            speaks=[(6.0, 6.5)] if resumes else [(1.5, 2.0), (8.0, 8.5)],
            acts=[(3.5, partial(_cut, simulator))],
            for_s=13.0,
        )

        (restored,) = held.of(vp.AgentRestored)
        assert restored.was_resumed is resumes
        kinds = [[message["type"] for _, message in session.messages] for session in simulator.sessions]
        assert kinds[0] == ["session.update"]
        assert kinds[1][0] == "session.resume"
        if resumes:
            assert held.said == ["agent: Hi.", "caller: Hello?", f"agent: {LONG}"]
            assert len(kinds) == 2
        else:
            prompt = simulator.sessions[2].of("session.update")[0]["session"]
            assert 'Caller: "Hello?"' in prompt["system_prompt"]
            assert "greeting" not in prompt
            assert [end[0] for end in held.ends] == ["TurnCompleted", "TurnFailed", "TurnCompleted"]


@pytest.mark.parametrize(
    ("agent", "error", "message"),
    [
        ({"api_key": "wrong-key"}, AuthenticationError, r"reports unauthorized: Invalid API key; check ASSEMBLYAI_API"),
        ({"voice": "nobody"}, ConfigurationError, "invalid_value, session.output.voice: Unknown voice nobody; see"),
    ],
)
async def test_what_the_service_refuses_is_one_error_that_says_what_to_do(
    agent: dict[str, Any], error: type[VoicepipeError], message: str
) -> None:
    """A refused first message ends the call before it begins, by kind and without the key."""
    simulator = VoiceAgentSimulator(api_key=KEY)
    async with simulator.serve() as url:
        hosted = vp.HostedVoiceAgent(**{"url": url, "api_key": KEY} | agent)
        with pytest.raises(error, match=message) as raised:
            await hold(hosted)
    assert simulator.sessions[0].close_code == 1008
    assert KEY not in "".join(traceback.format_exception(raised.value))


async def test_nobody_there_is_an_error_within_seconds() -> None:
    """A host that cannot be reached, or that never gets ready, is named."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    began_s = anyio.current_time()
    with pytest.raises(VendorError, match=f"127.0.0.1:{port} was not ready within 5 s"):
        await hold(vp.HostedVoiceAgent(url=f"ws://127.0.0.1:{port}"))
    assert anyio.current_time() - began_s == 5.0
    server.close()
    await server.wait_closed()
    with pytest.raises(VendorError, match=f"cannot connect to 127.0.0.1:{port}"):
        await hold(vp.HostedVoiceAgent(url=f"ws://127.0.0.1:{port}"))


@pytest.mark.slow
async def test_the_key_is_in_no_log_and_nothing_is_left(caplog: pytest.LogCaptureFixture) -> None:
    """The whole of a call at DEBUG, its parts and what observers see hold no key; no task or socket stays."""
    caplog.set_level(logging.DEBUG)
    simulator = VoiceAgentSimulator(["Hello?"], [Says("Hi.")], api_key=KEY)
    tasks = len(asyncio.all_tasks())

    held = await call(simulator, speaks=[(0.5, 1.0)], for_s=4.0)

    assert held.said == ["caller: Hello?", "agent: Hi."]
    assert KEY not in caplog.text
    assert KEY not in repr(vp.HostedVoiceAgent("Be brief.", api_key=KEY))
    await anyio.lowlevel.checkpoint()
    assert len(asyncio.all_tasks()) == tasks
    gc.collect()  # an open socket would warn here


def test_settings_that_cannot_be_are_refused_when_they_are_written() -> None:
    """Each is one sentence that says what was expected and what was found."""
    cases: list[tuple[dict[str, Any], str]] = [
        ({"sample_rate": 16_000}, "sample_rate must be 24000 or 8000, not 16000"),
        ({"voice": " "}, 'voice is empty; write for example "jane"'),
        ({"agent_id": "a1", "voice": "jane"}, "a stored agent has its own voice"),
        ({"keyterms": "Ozeki"}, "keyterms must be a list of up to 100 words"),
        ({"min_silence_s": 20.0}, "min_silence_s must be 0.05 to 10 seconds, not 20.0"),
        ({"min_silence_s": 2.0, "max_silence_s": 1.0}, "min_silence_s must be less than max_silence_s"),
        ({"vad_threshold": 2.0}, "vad_threshold must be 0 to 1, not 2.0"),
        ({"language_codes": "en"}, "language_codes must be a list"),
        ({"agent_id": ""}, "agent_id is empty"),
        ({"volume": 101}, "volume must be 0 to 100, not 101"),
        ({"url": "ws://example.com"}, "url would send the key to example.com unencrypted"),
    ]
    for settings, message in cases:
        with pytest.raises(ConfigurationError, match=message):
            vp.HostedVoiceAgent(**settings)


async def test_a_service_that_gives_no_times_is_heard_by_estimate() -> None:
    """Without times a cut reply still ends at a word, and no later than what was played."""
    simulator = VoiceAgentSimulator(["Hello?", "Stop."], [Says(LONG), None], habits=ServiceHabits(is_timed=False))

    held = await call(simulator, speaks=[(0.5, 1.0), (3.0, 3.5)], for_s=6.0)

    ((kind, _, heard), *_) = held.ends
    assert kind == "TurnInterrupted"
    assert LONG.startswith(heard)
    assert heard
    assert len(heard) <= 1.0 / 0.06


@pytest.mark.slow
async def test_words_that_come_after_a_reply_still_belong_to_it() -> None:
    """Whether the words come along with the sound or after it, history has them, once."""
    for come_last in (False, True):
        for names in (False, True):
            simulator = VoiceAgentSimulator(
                ["Hello?"], [Says(LONG), Says("Yes?")], words_come_last=come_last, names_replies=names
            )
            held = await call(simulator, speaks=[(0.5, 1.0)], acts=[(7.0, lambda s: s.user_says("Well?"))])
            assert held.said == ["caller: Hello?", f"agent: {LONG}", "caller: Well?", "agent: Yes?"]


async def test_a_telephone_line_is_answered_and_interrupted() -> None:
    """On a line of Twilio the caller's voice cuts the agent: one clear, and the history is what the line played."""
    simulator = VoiceAgentSimulator(["Where is it?", "Stop."], [Says(LONG), Says("Yes?")])
    async with simulator.serve() as url:
        row = vp.Pipeline(vp.HostedVoiceAgent(url=url, sample_rate=8_000, greeting="Hi."))
        line = Twilio(AUTH_TOKEN)
        async with twilio_calls(row, line) as (network, office, _), network.call(VOICE) as caller:
            await caller.wait_speaking()
            await caller.wait_silent()
            caller.say(tone(0.5, 8_000))
            await caller.wait_speaking()
            await anyio.sleep(1.0)
            caller.say(tone(0.5, 8_000))
            await caller.wait_silent()
            await caller.wait_speaking()
            await caller.wait_silent()
            await caller.hang_up()
            assert [what for _, what in caller.received].count("clear") == 1

    heard = [(type(end), end.heard) for end in office.of(vp.TurnEnded)]
    assert heard == [
        (vp.TurnCompleted, "Hi."),
        (vp.TurnInterrupted, "Your order 42"),
        (vp.TurnCompleted, "Yes?"),
    ]
    assert simulator.sessions[0].close_code == 1000
