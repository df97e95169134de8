"""Calls from the simulated network of Twilio to a whole server, on virtual time."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

import voicepipe as vp
from tests.helpers.asgi_server import serving
from tests.helpers.telephone_calls import AUTH_TOKEN, PUBLIC, VOICE, agent, twilio_calls
from voicepipe.serving import Limits, Serve, Twilio
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser
from voicepipe.testing.simulators.twilio import TwilioSimulator

pytestmark = pytest.mark.anyio


def line(**options: Any) -> Twilio:
    return Twilio(AUTH_TOKEN, **options)


def caller() -> ScriptedRecogniser:
    return ScriptedRecogniser(sample_rate=8_000)


LONG = "It left Lyon on Monday, was in Paris on Tuesday, and it is on the road to you since."


async def test_a_conversation() -> None:
    """The caller hears the greeting and the answer, and the history says so; then they hang up."""
    ears = caller()
    ears.says("Where is my parcel?", at_s=1.5)
    row = agent(ears, [Says("It is in Paris.")])
    async with twilio_calls(row, line(), greeting="Hello!") as (network, office, _), network.call(VOICE) as call:
        await call.wait_speaking()
        await call.wait_silent()
        await call.wait_speaking()
        await call.wait_silent()
        await call.hang_up()
        assert call.heard_s() == pytest.approx(21 * 0.04, abs=0.02)
    texts = [message.text for message in office.sessions[0].history]
    assert texts == ["Hello!", "Where is my parcel?", "It is in Paris."]
    assert (call.status, call.errors, call.closed_by) == ("completed", [], "server")


async def test_an_interruption() -> None:
    """One clear follows it and nothing of the old reply after that; the history is what the line played."""
    ears = caller()
    ears.says("Where is my parcel?", at_s=0.5).interrupts("Stop, please.", at_s=3.0)
    row = agent(ears, [Says(LONG), Says("Yes?")])
    async with twilio_calls(row, line()) as (network, office, _), network.call(VOICE) as call:
        await call.wait_speaking()
        began_s = anyio.current_time()
        await call.wait_silent()
        stopped_s = anyio.current_time() - 0.3
        await call.wait_speaking()
        await call.wait_silent()
        received = [what for at_s, what in call.received if at_s >= began_s]
        cleared = received.index("clear")
        assert received.count("clear") == 1
        assert received[:cleared].count("media") * 0.02 == pytest.approx(stopped_s - began_s, abs=0.04)
        assert received[cleared + 1 :].count("media") * 0.02 == pytest.approx(4 * 0.04)
        (cut,) = office.of(vp.TurnInterrupted)
        assert -1e-9 <= call.heard_s(began_s, stopped_s + 0.01) - cut.heard_s <= 0.2 + 1e-9


async def test_the_agent_hangs_up() -> None:
    """The caller hears the last word of the goodbye; then the stream closes, and the call ends."""
    async with (
        twilio_calls(agent(), line(), on_call=says_goodbye(None)) as (network, _, _),
        network.call(VOICE) as call,
    ):
        await call.wait_ended()
        assert call.heard_s() == pytest.approx(len(GOODBYE) * 0.04)
        assert call.received[-1][1].startswith("mark")
    assert (call.closed_by, call.close_code, call.status) == ("server", 1000, "completed")
    assert (len(call.twiml), "<Hangup" in call.twiml[-1], call.dialed) == (2, True, [])


GOODBYE = "Goodbye, and thanks for calling."


def says_goodbye(result: object, text: str = GOODBYE) -> Any:
    async def on_call(session: vp.Session[Any]) -> None:
        session.say(text)
        session.end(after_reply=True, result=result)
        await anyio.sleep_forever()

    return on_call


@pytest.mark.parametrize("to", ["+15550111", "sip:desk@pbx.example"])
async def test_a_transfer(to: str) -> None:
    """The caller is connected with a number or an address, once the last words have been heard."""
    ending = says_goodbye(vp.Transfer(to))
    async with twilio_calls(agent(), line(), on_call=ending) as (network, _, _), network.call(VOICE) as call:
        await call.wait_ended()
        assert call.heard_s() == pytest.approx(len(GOODBYE) * 0.04)
    assert (call.dialed, call.status, [code for code, _ in call.errors]) == ([to], "completed", [31921])


async def test_a_transfer_to_something_that_is_no_number(caplog: pytest.LogCaptureFixture) -> None:
    """The call is hung up, and the log says why, without the number."""
    ending = says_goodbye(vp.Transfer("reception"))
    async with twilio_calls(agent(), line(), on_call=ending) as (network, _, _), network.call(VOICE) as call:
        await call.wait_ended()
    assert call.dialed == []
    (error,) = (record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR)
    assert error.startswith("twilio cannot transfer a call: a call is transferred to a number such as")
    assert "reception" not in error


@pytest.mark.parametrize("is_async", [True, False])
async def test_the_application_decides_what_comes_after(is_async: bool) -> None:
    """It gets the form and the session's result, and its TwiML is answered; None leaves it to the transport."""
    asked: list[tuple[str, object]] = []

    def after(form: Any, result: object) -> str | None:
        asked.append((form["CallSid"], result))
        return "<Response><Say>You are number 3.</Say><Dial>+15550122</Dial></Response>" if result == "queue" else None

    async def after_async(form: Any, result: object) -> str | None:
        return after(form, result)

    transport, dialed, sids = line(after=after_async if is_async else after), [], []
    for result in ("queue", vp.Transfer("+15550111"), None):
        ending = says_goodbye(result)
        async with twilio_calls(agent(), transport, on_call=ending) as (network, _, _), network.call(VOICE) as call:
            await call.wait_ended()
        dialed.append(call.dialed)
        sids.append(call.sid)
    assert dialed == [["+15550122"], ["+15550111"], []]
    assert asked == list(zip(sids, ["queue", vp.Transfer("+15550111"), None], strict=True))


async def test_what_is_known_about_a_call() -> None:
    """Its numbers and ids, and what the application says about them, are facts of the session; the token is not."""

    async def incoming(form: Any) -> dict[str, str]:
        return {"tenant": f"shop of {form['To']}", "from": "nobody"}

    async with twilio_calls(agent(), line(incoming=incoming)) as (network, office, _):
        async with network.call(VOICE, caller="+15550123", called="+15550124") as call:
            await anyio.sleep(0.1)
    (session,) = office.sessions
    assert dict(session.facts) == {
        "from": "+15550123",
        "to": "+15550124",
        "call_sid": call.sid,
        "account_sid": "AC" + "0" * 32,
        "direction": "inbound",
        "stream_sid": f"MZ{1:032x}",
        "tenant": "shop of +15550124",
        "transport": "twilio",
    }
    assert session.id == call.sid
    assert all(number not in text for text in call.twiml for number in ("+15550123", "+15550124"))


async def test_the_application_answers_a_call_itself() -> None:
    """TwiML in place of facts is what the caller gets, and no session is opened."""
    night = "<Response><Say>We open at nine.</Say></Response>"
    async with twilio_calls(agent(), line(incoming=lambda form: night)) as (network, office, _):
        async with network.call(VOICE) as call:
            await call.wait_ended()
    assert (call.twiml, call.status, office.sessions) == ([night], "completed", [])


async def test_keys() -> None:
    """Keys that the caller presses are one message, which ends with #."""
    model = ScriptedModel(lambda request: Says(f"You pressed {request.last_user_text}."))
    async with twilio_calls(agent(None, model), line()) as (network, _, _), network.call(VOICE) as call:
        await anyio.sleep(0.1)
        await call.press("47#")
        await call.wait_speaking()
    assert model.requests[0].last_user_text == "47"


async def test_words_that_the_network_held_back() -> None:
    """What was said in a hiccup of the network is understood, and answered."""
    ears = caller()
    ears.says("Where is my parcel?", at_s=1.5)
    async with twilio_calls(agent(ears, [Says("In Paris.")]), line()) as (network, office, _):
        async with network.call(VOICE, gaps=[(1.0, 0.8)]) as call:
            await call.wait_speaking()
            await call.wait_silent()
    (said,) = office.of(vp.Transcript)
    assert said.text == "Where is my parcel?"
    assert said.speech_ended_s == pytest.approx(1.5, abs=0.05)  # when it was said, not when it arrived


async def test_a_server_inside_of_another_application() -> None:
    """Its webhook and its stream have the path at which it is mounted, in the answer and in the signature."""
    serve = Serve(agent(), [line()], greeting="Hello!", public_url=PUBLIC)
    async with serve.lifespan(), serving(Starlette(routes=[Mount("/voice", serve.app)])) as port:
        network = TwilioSimulator(AUTH_TOKEN, server=f"http://127.0.0.1:{port}", public_url=PUBLIC)
        async with network.call(f"{PUBLIC}/voice/twilio") as call:
            await call.wait_speaking()
    assert (call.errors, 'url="wss://voice.example.com/voice/twilio"' in call.twiml[0]) == ([], True)


# --- how a call ends --------------------------------------------------------------------------------------------------


async def test_the_stream_closes_soon_after_stop() -> None:
    """Within a second of the caller's hanging up, in the middle of a reply."""
    async with twilio_calls(agent(), line(), greeting=LONG) as (network, office, _), network.call(VOICE) as call:
        await call.wait_speaking()
        await anyio.sleep(1.0)
        await call.hang_up()
    assert call.stopped_s is not None
    assert call.closed_s is not None
    assert (call.closed_by, call.closed_s - call.stopped_s <= 1.0) == ("server", True)
    assert office.sessions[0].ended.is_set()


@pytest.mark.parametrize("how", ["loses_stop", "breaks"])
async def test_a_network_that_says_nothing(how: str) -> None:
    """Without `stop`, and without a close frame, the call ends when the connection does."""
    async with twilio_calls(agent(), line(), greeting=LONG, network={"loses_stop": True}) as (network, office, serve):
        async with network.call(VOICE) as call:
            await call.wait_speaking()
            if how == "breaks":
                call.break_off()
            await call.hang_up()
        with anyio.fail_after(1.0):
            await serve.desk.wait_empty()
        assert office.sessions[0].ended.is_set()


async def test_a_line_that_is_in_use() -> None:
    """When nobody can take a call, the caller hears that the line is busy, or what the application says then."""
    announced = "<Response><Say>Please call again.</Say></Response>"
    for options, status, twiml in (({}, "busy", None), ({"busy": announced}, "completed", announced)):
        limits = Limits(sessions=1)
        async with twilio_calls(agent(), line(**options), limits=limits) as (network, office, _):
            async with network.call(VOICE) as first:
                await anyio.sleep(0.1)
                async with network.call(VOICE) as second:
                    await second.wait_ended()
                assert (first.status, second.status) == ("in-progress", status)
            assert len(office.sessions) == 1
        assert twiml in (None, second.twiml[0])


async def test_a_server_that_drains() -> None:
    """A new caller hears that the line is busy, and the call that there is goes on."""
    async with twilio_calls(agent(), line(), greeting=LONG) as (network, _, serve), network.call(VOICE) as first:
        await first.wait_speaking()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve.desk.drain, 60.0)
            await anyio.sleep(0.1)
            async with network.call(VOICE) as second:
                await second.wait_ended()
            assert second.status == "busy"
            await first.wait_silent()
            assert first.heard_s() == pytest.approx(len(LONG) * 0.04, abs=0.02)
            await first.hang_up()


async def test_a_malformed_message_ends_its_call_only() -> None:
    """The stream closes with the code for it, and another call goes on."""
    async with twilio_calls(agent(), line(), greeting=LONG) as (network, _, _):
        async with network.call(VOICE) as good, network.call(VOICE) as bad:
            await bad.wait_speaking()
            await bad.send({"event": "media", "media": {"payload": "!"}})
            await bad.wait_ended()
            await good.wait_silent()
            assert good.heard_s() == pytest.approx(len(LONG) * 0.04, abs=0.02)
    assert (bad.closed_by, bad.close_code) == ("server", 1007)


async def test_what_was_of_no_use_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """At the end of a call the log says how many messages were ignored, and nothing about them."""
    caplog.set_level(logging.INFO, "voicepipe")
    async with twilio_calls(agent(), line()) as (network, _, _), network.call(VOICE) as call:
        await anyio.sleep(0.1)
        await call.send({"event": "weather", "weather": "sunny"})
        await call.send({"event": "media", "media": {"track": "inbound"}})
        await call.hang_up()
    (said,) = (record.getMessage() for record in caplog.records if "ignored" in record.getMessage())
    assert said == f"session {call.sid}: twilio ignored 2 messages, 0 of them with audio"


@pytest.mark.slow
async def test_calls_leave_nothing() -> None:
    """Sixty callers, of whom every third vanishes: no call, no token and no result is left."""
    transport, limits = line(), Limits(opening_per_s=1_000)
    options = {"limits": limits, "on_call": says_goodbye(vp.Transfer("+15550111"), "Bye!")}
    async with twilio_calls(agent(), transport, **options) as (network, _, serve):
        for number in range(60):
            async with network.call(VOICE) as call:
                await call.wait_speaking()
                if number % 3 == 0:
                    call.break_off()
                await call.wait_ended()
        await serve.desk.wait_empty()
        assert (len(serve.desk.tokens), len(transport._between._results)) == (0, 0)


async def test_nothing_personal_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Neither numbers, keys and parameters nor tokens and signatures are in the log, whatever goes wrong."""
    caplog.set_level(logging.DEBUG, "voicepipe")
    async with twilio_calls(agent(), line()) as (network, office, _):
        async with network.call(VOICE, caller="+15550123", called="+15550124") as call:
            await anyio.sleep(0.1)
            await call.press("7")
            await call.send({"event": "media", "media": {"payload": "!" * 50}})
            await call.wait_ended()
    assert office.sessions[0].facts["from"] == "+15550123"
    logged = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    token = call.twiml[0].partition('name="token" value="')[2].partition('"')[0]
    assert (len(token) > 20, "began (from=***" in logged, "twilio refused" in logged) == (True, True, True)
    assert [text for text in (token, AUTH_TOKEN, "+15550123", "+15550124", "!!!") if text in logged] == []
