"""Calls with the simulated Deepgram: each of the caller's turns is heard once, whatever breaks."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeAlias

import anyio
import pytest

import voicepipe as vp
from tests.helpers.deepgram_calls import KEY, RATE, Caller, Held, hearing, hold
from voicepipe.audio.output import PullOutput
from voicepipe.core.channel import Channel
from voicepipe.errors import AuthenticationError, RateLimited, VendorError
from voicepipe.testing import ScriptedRecogniser
from voicepipe.testing.simulators._stt_ears import hosted
from voicepipe.testing.simulators.deepgram import DeepgramQuirks, DeepgramSimulator
from voicepipe.testing.simulators.stt import Closes, Drops, Fault, HangsUp, Rejects, Spoken, Stalls, TurnsDeaf

pytestmark = pytest.mark.anyio

Kind: TypeAlias = type[vp.DeepgramRecogniser] | type[vp.DeepgramFluxRecogniser]

NOVA, FLUX = vp.DeepgramRecogniser, vp.DeepgramFluxRecogniser

SCRIPT = [Spoken("My order number is four two.", 1.0, 2.6), Spoken("Thank you.", 5.0, 5.8)]
SAID = [one.text for one in SCRIPT]

both = pytest.mark.parametrize("kind", [NOVA, FLUX])


async def held(
    kind: Kind,
    simulator: DeepgramSimulator,
    during: Callable[[vp.Session], Awaitable[None]] | None = None,
    *,
    script: list[Spoken] = SCRIPT,
    hangs_up_s: float = 9.0,
    turns: vp.TurnRules | None = None,
) -> Held:
    caller = Caller(script, hangs_up_s)
    return await hold(simulator, caller, lambda url: kind(url=url, api_key=KEY), during, turns=turns)


@both
async def test_a_call_is_heard(kind: Kind) -> None:
    """Both turns are heard with the times of their words, in messages of the recommended length, and it ends well."""
    simulator = DeepgramSimulator(SCRIPT, api_key=KEY)
    call = await held(kind, simulator)
    (session,) = simulator.sessions
    assert call.said == SAID
    assert call.words == [(word.text, round(word.start_s, 2)) for one in SCRIPT for word in one.words]
    assert [round(event.at_s, 1) for event in call.of(vp.SpeechStarted)] == [1.0, 5.0]
    assert set(session.frames) == {1600 if kind is NOVA else 2560}
    assert (session.kinds, session.close) == (["CloseStream"], (1000, "") if kind is NOVA else (1005, ""))
    assert session.query["sample_rate"] == str(RATE)


@both
@pytest.mark.slow
async def test_no_word_is_lost_with_a_connection_nor_heard_twice(kind: Kind) -> None:
    """A break before, within or after a turn, or its transcript, leaves one transcript of it."""
    faults: list[Fault] = [
        Drops(0.5), Drops(1.5), Closes(1011, at_s=2.2, reason="NET-0000"), HangsUp(2.7), Closes(1000, at_s=3.0),
        Drops(3.3), Closes(1012, at_s=5.4), Stalls(1.6),
    ]  # fmt: skip
    for fault in faults:
        simulator = DeepgramSimulator(hearing(SCRIPT), api_key=KEY, faults={1: fault})
        call = await held(kind, simulator, hangs_up_s=13.0 if isinstance(fault, Stalls) else 9.0)
        assert (call.said, call.error, call.losses) == (SAID, None, 1), fault


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_any_break_leaves_every_word_once(seed: int) -> None:
    """Whatever is said and whenever the connection breaks, all words are heard, in order, none of them twice."""
    random = Random(seed)
    for _ in range(6):
        script: list[Spoken] = []
        start_s, number = 0.6, 0
        for _ in range(random.randint(1, 3)):
            words = [f"w{number + at}" for at in range(random.randint(1, 14))]
            end_s, number = start_s + len(words) * random.uniform(0.2, 0.45), number + len(words)
            script.append(Spoken(" ".join(words) + random.choice([".", ""]), round(start_s, 2), round(end_s, 2)))
            start_s = end_s + random.uniform(2.0, 7.0)
        kind, at_s = random.choice([NOVA, FLUX]), round(random.uniform(0.2, start_s), 2)
        faults: list[Fault] = [Drops(at_s), HangsUp(at_s), Closes(1011, at_s=at_s)]
        fault = random.choice(faults)
        simulator = DeepgramSimulator(hearing(script), api_key=KEY, faults={1: fault})
        call = await held(kind, simulator, script=script, hangs_up_s=start_s + 4.0)
        assert " ".join(call.said).split() == [word.text for one in script for word in one.words], (kind, script, fault)
        assert (call.error, call.losses) == (None, 1)


async def test_a_line_that_was_dead_during_a_turn_is_made_up_for() -> None:
    """A service that stops responding in mid-turn is noticed within 4 s of speech, and the turn is heard whole."""
    script = [Spoken(" ".join(f"{number}" for number in range(20)), 1.0, 9.0)]
    simulator = DeepgramSimulator(hearing(script), api_key=KEY, faults={1: TurnsDeaf(5.0)})
    call = await held(NOVA, simulator, script=script, hangs_up_s=14.0)
    assert call.said == [script[0].text]
    assert simulator.sessions[1].started_s < 9.0


@pytest.mark.parametrize(
    ("fault", "error", "remedy"),
    [
        (Rejects(401), AuthenticationError, "check the key"),
        (Rejects(402), VendorError, "top up"),
        (Rejects(400), VendorError, "check the model"),
        (Rejects(429), RateLimited, "fewer sessions"),
        (Rejects(503), VendorError, "try again"),
        (Closes(1008, at_s=2.0, reason=f"DATA-0000 {KEY}"), VendorError, "cannot decode"),
        (TurnsDeaf(None), VendorError, "did not begin"),
    ],
)
async def test_a_refusal_says_who_has_to_act(fault: Fault, error: type[VendorError], remedy: str) -> None:
    """A refusal ends the call with an error of its kind, once, which says what to do and never shows the key."""
    simulator = DeepgramSimulator(api_key=KEY, faults=fault)
    call = await held(NOVA, simulator)
    assert type(call.error) is error
    assert remedy in str(call.error)
    assert KEY not in str(call.error)
    assert len(simulator.sessions) <= 1


@both
async def test_the_key_is_seen_by_nobody(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    """The key travels in one header; no log, representation, event or recorded message shows it."""
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []

    class Everything(vp.Observer):
        def on_wire(self, message: vp.WireMessage) -> None:
            seen.append(repr(message))

    simulator = DeepgramSimulator(
        SCRIPT, api_key=KEY, faults={1: Closes(1011, at_s=2.0, reason=KEY, error=f"Not with {KEY}")}
    )
    recogniser: list[object] = []

    def make(url: str) -> vp.Recogniser:
        recogniser.append(kind(url=url, api_key=KEY))
        return kind(url=url, api_key=KEY)

    call = await hold(simulator, Caller(SCRIPT, 4.0), make, observers=[Everything()])
    assert len(simulator.sessions) == 2
    assert seen
    assert KEY not in "".join([caplog.text, repr(recogniser), repr(call), *seen])


async def test_a_wrong_key_is_refused() -> None:
    """The key goes into the header that the service reads, and another one is refused when the call begins."""
    call = await hold(DeepgramSimulator(api_key="another"), Caller([], 1.0), lambda url: NOVA(url=url, api_key=KEY))
    assert isinstance(call.error, AuthenticationError)
    assert "INVALID_AUTH" in str(call.error)


@both
async def test_a_connection_without_audio_stays(kind: Kind) -> None:
    """A source that gives nothing for half a minute costs no connection, and what comes then has its own time."""
    simulator = DeepgramSimulator([Spoken("Hello.", 0.5 if kind is NOVA else 1.1, 1.5)], api_key=KEY)
    frames, heard = Channel[vp.AudioFrame](2000), Channel[vp.Hearing](100)
    async with simulator.serve() as url, hosted(kind(url=url, api_key=KEY)) as host:
        async with host.session(output=PullOutput(), deps=(frames, heard)):
            await anyio.sleep(30)
            began_s = anyio.current_time()
            for number in range(300):
                await frames.send(vp.AudioFrame(pcm=bytes(640), sample_rate=RATE, start_s=began_s + 0.02 * number))
                await anyio.sleep(0.02)
            frames.close()
            events = [event async for event in heard]
    (session,) = simulator.sessions
    assert session.kinds == (["KeepAlive"] * 7 if kind is NOVA else []) + ["CloseStream"]
    (final,) = [event for event in events if isinstance(event, vp.Transcript)]
    assert began_s + 0.9 < final.speech_ended_s < began_s + 1.6


@both
async def test_the_simulator_hears_with_a_recogniser(kind: Kind) -> None:
    """A recogniser of ours takes the script's place: its words come in the service's messages."""
    script = ScriptedRecogniser().says("Hello there.", at_s=1.0, speech_s=0.8, silence_s=0.5)
    assert (await held(kind, DeepgramSimulator(script, api_key=KEY), script=[], hangs_up_s=4.0)).said == [
        "Hello there."
    ]


@both
async def test_a_turn_ends_on_request(kind: Kind) -> None:
    """`force_endpoint` ends the turn at the words so far; without speech, or an answer, it costs no word."""
    script = [Spoken("one two three four", 1.0, 3.0)]

    async def force(session: vp.Session) -> None:
        for seconds in (0.5, 1.7):
            await anyio.sleep(seconds)
            session.recogniser.force_endpoint()

    for quirks in (DeepgramQuirks(), DeepgramQuirks(ignores_finalize=True)):
        simulator = DeepgramSimulator(script, api_key=KEY, quirks=quirks)
        call = await held(kind, simulator, force, script=script)
        assert " ".join(call.said) == script[0].text
        assert len(call.said) == (1 if kind is NOVA and quirks.ignores_finalize else 2)
        assert simulator.sessions[0].kinds.count("Finalize" if kind is NOVA else "ForceEndTurn") == 2


@both
async def test_noise_is_no_turn_and_hides_no_turn(kind: Kind) -> None:
    """Speech is reported for noise, and ends; where noise hides the silence, a turn ends all the same."""
    simulator = DeepgramSimulator((), api_key=KEY, quirks=DeepgramQuirks(noises=[(1.0, 2.0)], unknown_messages=True))
    call = await held(kind, simulator, script=[], hangs_up_s=5.0)
    speech = [round(event.at_s, 1) for event in call.of(vp.SpeechStarted) + call.of(vp.SpeechEnded)]
    assert (call.said, speech) == ([], [1.0, 2.3] if kind is NOVA else [])

    simulator = DeepgramSimulator(SCRIPT, api_key=KEY, quirks=DeepgramQuirks(is_noisy=True))
    assert (await held(kind, simulator)).said == SAID


NUMBER = [Spoken("four two", 1.0, 1.8), Spoken("seven", 2.5, 2.9)]


async def test_an_expected_number_is_one_turn() -> None:
    """While digits are expected, a pause ends no turn, and the last digit ends it; Flux is asked to be surer."""

    async def expect(session: vp.Session) -> None:
        session.expect(vp.Digits(3))

    simulator = DeepgramSimulator(NUMBER, api_key=KEY)
    for kind, controls in ((NOVA, ["Finalize", "CloseStream"]), (FLUX, ["Configure", "ForceEndTurn", "Configure"])):
        call = await held(kind, simulator, expect, script=NUMBER)
        assert call.said == ["four two seven"]
        assert simulator.sessions[-1].kinds[: len(controls)] == controls
    changes = [control.message for control in simulator.sessions[-1].controls[:3:2]]
    assert [change["thresholds"]["eot_threshold"] for change in changes] == [0.9, 0.7]


async def test_eagerness_sets_how_soon_a_turn_ends() -> None:
    """`TurnRules.eagerness` reaches the service: Nova with the connection, Flux as soon as the call begins."""
    asked: list[object] = []
    for eagerness in ("low", "normal", "high"):
        for kind in (NOVA, FLUX):
            simulator = DeepgramSimulator(api_key=KEY)
            await held(kind, simulator, script=[], hangs_up_s=0.5, turns=vp.TurnRules(eagerness=eagerness))
            settings = simulator.sessions[0].asked
            asked.append(settings.endpointing_s if kind is NOVA else (settings.eot_threshold, settings.eot_timeout_s))
    assert asked == [0.45, (0.8, 7.5), 0.3, (0.7, 5.0), 0.18, (0.6, 3.0)]


@both
async def test_settings_change_in_mid_call(kind: Kind) -> None:
    """What the protocol can change is changed without a new connection, for a block or for good."""

    async def change(session: vp.Session) -> None:
        recogniser = session.recogniser
        await anyio.sleep(1)
        async with recogniser.updated(keyterms=["Müller"], numerals=True):
            await anyio.sleep(1)
            during.append(simulator.sessions[0].asked)
        await anyio.sleep(1)
        during.append(simulator.sessions[0].asked)
        with pytest.raises(vp.ConfigurationError, match="fixed for the call"):
            recogniser.update(sample_rate=8000)

    during: list[object] = []
    simulator = DeepgramSimulator(api_key=KEY)
    call = await held(kind, simulator, change, script=[], hangs_up_s=4.0)
    assert call.error is None
    assert [(one.keyterms, one.numerals) for one in during] == [(("Müller",), True), ((), False)]  # type: ignore[attr-defined]


async def test_a_call_has_its_own_language_and_words() -> None:
    """`CallSettings` replaces the pipeline's language and key terms, by the names that the model knows them by."""
    settings = vp.CallSettings(language="de-AT", key_terms=["Melange"])
    found: list[dict[str, str]] = []
    for recogniser in (
        lambda url: NOVA(url=url),
        lambda url: NOVA(url=url, model="nova-2"),
        lambda url: FLUX(url=url, model="flux-general-multi"),
    ):
        simulator = DeepgramSimulator()
        async with simulator.serve() as url:
            twin = recogniser(url)
            twin.adapt(settings)
            async with hosted(twin) as host, host.session(output=PullOutput(), deps=_channels()):
                pass
        found.append(simulator.sessions[0].query)
    assert [found[0][name] for name in ("language", "keyterm")] == ["de-AT", "Melange"]
    assert [found[1][name] for name in ("language", "keywords")] == ["de-AT", "Melange"]
    assert [found[2][name] for name in ("language_hint", "keyterm")] == ["de", "Melange"]
    with pytest.raises(vp.ConfigurationError, match="English only"):
        FLUX().adapt(settings)


def _channels() -> tuple[Channel[vp.AudioFrame], Channel[vp.Hearing]]:
    frames, heard = Channel[vp.AudioFrame](10), Channel[vp.Hearing](10)
    frames.close()
    return frames, heard
