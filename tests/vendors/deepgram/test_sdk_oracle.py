"""Deepgram's own SDK as the judge: its client talks to the simulator, and its models read both sides' messages."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import pytest

import voicepipe as vp
from tests.helpers.deepgram_calls import KEY, RATE, Caller, hearing, hold
from voicepipe.testing.simulators.deepgram import DeepgramQuirks, DeepgramSession, DeepgramSimulator
from voicepipe.testing.simulators.stt import Spoken

if TYPE_CHECKING:
    from deepgram import AsyncDeepgramClient

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.oracle,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:websockets.*:DeprecationWarning"),  # the SDK uses names of an older version
]

SCRIPT = [Spoken("My order number is four two.", 0.5, 1.9), Spoken("Thank you", 2.1, 2.6)]


async def our_call(kind: type[vp.DeepgramRecogniser | vp.DeepgramFluxRecogniser], model: str) -> DeepgramSession:
    """Return the record of a call in which we send every message that we have, and every setting."""

    async def during(session: vp.Session) -> None:
        session.recogniser.update(keyterms=["Müller"], numerals=True)
        session.expect(vp.Digits(12))
        session.recogniser.force_endpoint()

    simulator = DeepgramSimulator(hearing(SCRIPT), api_key=KEY, quirks=DeepgramQuirks(noises=[(3.0, 3.4)]))
    shared: dict[str, Any] = {"keyterms": ["a"], "numerals": False, "profanity_filter": True, "tag": "t"}
    parameters: Any
    if kind is vp.DeepgramRecogniser:
        parameters = vp.NovaParameters(**shared, smart_format=True, language="multi")
    else:
        parameters = vp.FluxParameters(**shared, eager_eot_threshold=0.4, language_hints=["de"])
    call = await hold(
        simulator,
        Caller(SCRIPT, 9.0),
        lambda url: kind(url=url, api_key=KEY, model=model, parameters=parameters),
        during,
    )
    assert call.error is None
    return simulator.sessions[0]


def validated(models: dict[str, Any], messages: list[dict[str, Any]]) -> set[str]:
    """Check each message against the SDK's model of its type, whose fields are all that it has; return the types."""
    for message in messages:
        kind = message["type"]
        assert models[kind].model_validate(message).model_extra == {}, message
    return {message["type"] for message in messages}


async def test_the_sdk_knows_novas_messages() -> None:
    """What both sides send has the fields that the SDK's models require, and no others."""
    from deepgram.listen.v1.client import AsyncV1Client
    from deepgram.listen.v1.types import (
        ListenV1CloseStream,
        ListenV1Configure,
        ListenV1ConfigureSuccess,
        ListenV1Finalize,
        ListenV1KeepAlive,
        ListenV1Metadata,
        ListenV1Results,
        ListenV1SpeechStarted,
        ListenV1UtteranceEnd,
    )

    session = await our_call(vp.DeepgramRecogniser, "nova-3")
    ours = {"CloseStream": ListenV1CloseStream, "Configure": ListenV1Configure, "Finalize": ListenV1Finalize}
    assert validated(ours, [control.message for control in session.controls]) == set(ours)
    theirs = {
        "ConfigureSuccess": ListenV1ConfigureSuccess,
        "Metadata": ListenV1Metadata,
        "Results": ListenV1Results,
        "SpeechStarted": ListenV1SpeechStarted,
        "UtteranceEnd": ListenV1UtteranceEnd,
    }
    assert validated(theirs, [message for _, message in session.sent]) == set(theirs)
    assert ListenV1KeepAlive.model_validate({"type": "KeepAlive"}).model_extra == {}
    assert session.query.keys() <= inspect.signature(AsyncV1Client.connect).parameters.keys()


async def test_the_sdk_knows_fluxs_messages() -> None:
    """What both sides send has the fields that the SDK's models require, and no others."""
    from deepgram.listen.v2.client import AsyncV2Client
    from deepgram.listen.v2.types import (
        ListenV2CloseStream,
        ListenV2Configure,
        ListenV2ConfigureSuccess,
        ListenV2Connected,
        ListenV2ForceEndTurn,
        ListenV2TurnInfo,
        ListenV2Warning,
    )

    session = await our_call(vp.DeepgramFluxRecogniser, "flux-general-multi")
    ours = {"CloseStream": ListenV2CloseStream, "Configure": ListenV2Configure, "ForceEndTurn": ListenV2ForceEndTurn}
    assert validated(ours, [control.message for control in session.controls]) == set(ours)
    theirs = {
        "ConfigureSuccess": ListenV2ConfigureSuccess,
        "Connected": ListenV2Connected,
        "TurnInfo": ListenV2TurnInfo,
        "Warning": ListenV2Warning,
    }
    assert validated(theirs, [message for _, message in session.sent]) == set(theirs)
    assert session.query.keys() <= inspect.signature(AsyncV2Client.connect).parameters.keys()


def client(url: str, key: str = KEY) -> AsyncDeepgramClient:
    """The SDK's client of the simulator."""
    from deepgram import AsyncDeepgramClient
    from deepgram.environment import DeepgramClientEnvironment

    place = DeepgramClientEnvironment(base=url, production=url, agent=url, agent_rest=url)
    return AsyncDeepgramClient(api_key=key, environment=place)


async def test_the_sdk_speaks_with_the_simulated_nova() -> None:
    """Its client is refused with a wrong key, and with the right one hears the script in pieces and the end of it."""
    from deepgram.core.api_error import ApiError

    simulator = DeepgramSimulator(SCRIPT, api_key=KEY)
    asked: dict[str, Any] = {"model": "nova-3", "encoding": "linear16", "sample_rate": RATE, "interim_results": "true"}
    async with simulator.serve() as url:
        with pytest.raises(ApiError) as refused:
            async with client(url, "another").listen.v1.connect(**asked):
                pass
        assert refused.value.status_code == 401
        async with client(url).listen.v1.connect(**asked, endpointing=300, utterance_end_ms=1000) as connection:
            for _ in range(40):
                await connection.send_media(bytes(RATE // 5))
            await connection.send_close_stream()
            messages = [message async for message in connection]
    said = [one.channel.alternatives[0].transcript for one in messages if one.type == "Results" and one.is_final]
    assert " ".join(text for text in said if text) == "My order number is four two. Thank you"
    assert messages[-1].type == "Metadata"


async def test_the_sdk_speaks_with_the_simulated_flux() -> None:
    """Its client sees the turn begin, be resumed and end, and what it configures is answered."""
    simulator = DeepgramSimulator(SCRIPT, api_key=KEY)
    async with simulator.serve() as url:
        asked: dict[str, Any] = {"model": "flux-general-en", "encoding": "linear16", "sample_rate": RATE}
        async with client(url).listen.v2.connect(**asked, eager_eot_threshold=0.3, eot_threshold=0.9) as connection:
            await connection.send_configure({"type": "Configure", "thresholds": {"eot_timeout_ms": 1000}})
            for _ in range(50):
                await connection.send_media(bytes(RATE // 5))
            await connection.send_close_stream()
            messages = [message async for message in connection]
    events = [getattr(message, "event", message.type) for message in messages]
    assert [event for event in events if event != "Update"] == [
        "Connected", "ConfigureSuccess", "StartOfTurn", "EagerEndOfTurn", "TurnResumed", "EagerEndOfTurn", "EndOfTurn",
    ]  # fmt: skip
    (end,) = [message for message in messages if getattr(message, "event", "") == "EndOfTurn"]
    assert (end.transcript, end.trigger) == ("My order number is four two. Thank you", "timeout")
    assert json.loads(json.dumps(simulator.sessions[0].asked.eot_timeout_s)) == 1.0
