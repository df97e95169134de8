"""Calls whose voice speaks over a warm websocket, on virtual time, with each vendor that has contexts."""

from __future__ import annotations

import logging
import traceback
from contextlib import aclosing
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.context_voices import KEY, VENDORS, Vendor, calling, pause_s, pieces_of
from voicepipe.errors import AuthenticationError, ConfigurationError, VendorError
from voicepipe.testing.simulators._contexts import VoiceFault

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("vendor", VENDORS, ids=str)]

LONG = "One two three four five six seven eight nine ten. Eleven twelve."


async def test_a_reply_is_spoken(vendor: Vendor) -> None:
    """Each sentence is one context on one socket that was open before; the audio is played without a gap."""
    simulator = vendor.simulator(api_key=KEY)
    async with calling(vendor, simulator, "Hello there. How are you today?") as call:
        await anyio.sleep(5)
        turn = await call.session.user_says("Hello?")

    assert call.heard == "Hello there. How are you today?"
    assert turn.timeline.tts_first_audio == 5.2
    assert call.output.spans() == [(pytest.approx(5.2), pytest.approx(5.2 + (12 + 18) * 0.06))]
    (session,) = simulator.sessions
    assert session.spoken == [("Hello there.", "done"), ("How are you today?", "done")]
    assert (session.began_s, session.error, session.close_code) == (0.0, "", 1000)


@pytest.mark.parametrize("ahead_s", [0.001, 0.35, 1.0, 1.7])
async def test_what_was_heard_is_exact(vendor: Vendor, ahead_s: float) -> None:
    """After an interruption the history ends at the last whole word; the next reply comes on the same socket."""
    simulator = vendor.simulator(api_key=KEY)
    async with calling(vendor, simulator, LONG, "Fine.") as call:
        heard = await call.is_interrupted_after(0.2 + ahead_s)
        silent_from_s = anyio.current_time()
        await call.session.user_says("Sorry?")
    characters = int(ahead_s / 0.06)
    words = LONG[:characters].rsplit(" ", 1)[0] if LONG[characters] != " " else LONG[:characters]

    assert heard == (words if ahead_s > 0.18 else "")
    assert call.heard == "Fine."
    (session,) = simulator.sessions
    assert session.error == ""
    assert session.spoken[-1] == ("Fine.", "done")
    after = [span for span in call.output.spans() if span[0] >= silent_from_s]
    assert [round(end - start, 3) for start, end in after] == [0.3]


@pytest.mark.slow
async def test_marks_come_with_the_audio(vendor: Vendor) -> None:
    """A word is marked as soon as its audio has come, at its place; a long sentence goes on counting."""
    simulator = vendor.simulator(character_s=0.05)
    text = ' He said: "3.5 — not four."\n' + "word " * 300
    async with simulator.serve() as url:
        pieces = await pieces_of(vendor.voice(url=url), text)
    marks = [piece for _, piece in pieces if isinstance(piece, vp.WordMark)]
    words = [text[: mark.char_end].rsplit(maxsplit=1)[-1] for mark in marks]
    came_s = 0.0
    for _, piece in pieces:
        came_s += len(piece) / 48_000 if isinstance(piece, bytes) else 0.0
        assert isinstance(piece, bytes) or piece.end_s <= came_s + 0.1 + 1e-6

    assert [word for word in words if word != "—"] == [word for word in text.split() if word != "—"]
    assert [mark.end_s for mark in marks] == sorted(mark.end_s for mark in marks)
    assert marks[-1].end_s == pytest.approx(came_s)


async def test_closing_a_generator_takes_its_request_back(vendor: Vendor) -> None:
    """A synthesis that is closed early is withdrawn without waiting, and its late audio is thrown away."""
    simulator = vendor.simulator(speed=2.0)
    async with simulator.serve() as url:
        voice = vendor.voice(url=url)
        async with voice.open(), voice.attach(None):  # type: ignore[arg-type]  # it needs nothing of a session
            async with aclosing(voice.synthesize(vp.Sentence("One two three."))) as pieces:
                await anext(pieces)
                closed_s = anyio.current_time()
            assert anyio.current_time() == closed_s
            pcm = [piece async for piece in voice.synthesize(vp.Sentence("Four.")) if isinstance(piece, bytes)]
    assert len(b"".join(pcm)) == round(5 * 0.06 * 24_000) * 2


@pytest.mark.slow
async def test_a_storm_of_barge_ins_costs_one_socket(vendor: Vendor) -> None:
    """After thirty interruptions at all moments the same session speaks a reply, and nothing was refused."""
    simulator = vendor.simulator(speed=4.0)
    async with calling(vendor, simulator, *[LONG] * 30, "Fine.") as call:
        for at in range(30):
            await call.is_interrupted_after(0.001 + 0.04 * at)
        await call.session.user_says("Sorry?")
    assert call.heard == "Fine."
    assert [(one.error, one.close_code) for one in simulator.sessions] == [("", 1000)]


@pytest.mark.parametrize("how", ["close", "cut", "stall"])
async def test_a_socket_lost_before_the_first_audio_costs_only_time(vendor: Vendor, how: Any) -> None:
    """A sentence that waits when the socket is lost or falls silent is spoken on another, once; the turn completes."""
    simulator = vendor.simulator(faults=[VoiceFault(how=how)])
    async with calling(vendor, simulator, "No, never. Sorry.") as call:
        turn = await call.session.user_says("Hello?")
    assert turn.failure is None
    assert call.heard == "No, never. Sorry."
    assert turn.timeline.tts_first_audio == pytest.approx(0.2 + (2.5 if how == "stall" else pause_s()))
    assert simulator.sessions[1].spoken == [("No, never.", "done"), ("Sorry.", "done")]


@pytest.mark.parametrize("how", ["close", "cut", "stall"])
async def test_a_sentence_that_breaks_is_not_said_twice(vendor: Vendor, how: Any) -> None:
    """When audio breaks off, the history keeps what was heard, the turn fails typed, and the next turn speaks."""
    simulator = vendor.simulator(faults=[VoiceFault(how=how, after_chunks=12)], speed=3.0)
    async with calling(vendor, simulator, LONG, "Fine.") as call:
        turn = await call.session.user_says("Hello?")
        broken = call.heard
        await call.session.user_says("Sorry?")
    assert isinstance(turn.failure, VendorError)
    assert turn.failure.retryable
    assert LONG.startswith(broken)
    assert 0 < len(broken) < len(LONG)
    assert call.heard == "Fine."
    assert len(simulator.sessions) == 2


async def test_a_quiet_call_keeps_a_warm_socket(vendor: Vendor) -> None:
    """An idle session is replaced before the service ends it, so that a sentence after ten minutes is not delayed."""
    simulator = vendor.simulator()
    async with calling(vendor, simulator, "Yes.", "Still here.") as call:
        await call.session.user_says("Are you there?")
        await anyio.sleep(600)
        turn = await call.session.user_says("And now?")
    assert (call.heard, turn.failure) == ("Still here.", None)
    assert turn.timeline.tts_first_audio - turn.timeline.first_sentence == pytest.approx(0.2)
    assert [one.error for one in simulator.sessions] == [""] * len(simulator.sessions)
    assert 2 < len(simulator.sessions) < 8


async def test_a_refused_key_is_an_error_that_does_not_show_it(
    vendor: Vendor, caplog: pytest.LogCaptureFixture
) -> None:
    """With every logger at DEBUG, no log, repr, wire message or traceback has the key; the error says what to do."""
    wire: list[vp.WireMessage] = []

    class Watcher(vp.Observer):
        def on_wire(self, message: vp.WireMessage) -> None:
            wire.append(message)

    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.DEBUG)
    error: BaseException | None = None
    shown: list[str] = []
    try:
        async with vendor.simulator(api_key="another").serve() as url:
            voice = vendor.voice(url=url, api_key=KEY)
            row = vp.Pipeline(vp.testing.ScriptedModel([vp.testing.Says("Hi.")]), vp.SentenceChunker(), voice)
            shown = [repr(voice), repr(vars(voice)), repr(row)]
            async with row.session(output=vp.testing.RecordingOutput(), observers=[Watcher()]) as session:
                error = (await session.user_says("Hello?")).failure
    except AuthenticationError as raised:
        error = raised
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
    assert isinstance(error, AuthenticationError)
    assert "check" in str(error)
    shown += [*traceback.format_exception(error), caplog.text]
    shown += [repr(vars(record)) for record in caplog.records]
    assert KEY not in "\n".join([*shown, *map(repr, wire)])


async def test_an_unknown_voice_is_a_configuration_error(vendor: Vendor) -> None:
    """A voice that the service does not know fails the turn with an error that names the argument."""
    async with calling(vendor, vendor.simulator(), "Hello.", voice_id="nobody") as call:
        turn = await call.session.user_says("Hello?")
    assert isinstance(turn.failure, ConfigurationError)
    assert "voice_id" in str(turn.failure)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"voice_id": " "}, "voice_id is empty"),
        ({"model_id": ""}, "model_id is empty"),
        ({"sample_rate": 11_025}, "sample_rate must be one of 8000"),
        ({"language": "tlh"}, "speaks .* not 'tlh'"),
        ({"url": "ws://tts.example.com"}, "unencrypted"),
        ({"url": "https://tts.example.com"}, "wss://"),
        ({"host": "☃.example.com"}, "is no URL"),
        ({"proxy": "ftp://relay"}, "proxy= must be the URL of a proxy"),
        ({"host": "tts.example.com", "url": "wss://tts.example.com"}, "give one of"),
        ({"api_key": ""}, "api_key is empty"),
    ],
)
async def test_invalid_settings_are_refused(vendor: Vendor, settings: dict[str, Any], words: str) -> None:
    """A wrong value is an error when the part is made, and the message says what would be right."""
    with pytest.raises(ConfigurationError, match=words):
        vendor.voice(**settings)


async def test_a_call_has_its_own_voice_and_language(vendor: Vendor) -> None:
    """`CallSettings` changes the voice and the language of one call; a language that is not spoken is refused."""
    voice = vendor.voice(api_key=KEY)
    twin = voice._copied()
    twin.adapt(vp.CallSettings(voice="anna", language="pt-BR"))
    found = vars(twin)
    assert (found["voice_id"], found["language"]) == ("anna", "pt")
    assert vars(voice)["voice_id"] != "anna"
    assert KEY not in repr(voice)
    with pytest.raises(ConfigurationError, match="not 'tlh'"):
        voice.adapt(vp.CallSettings(language="tlh"))


async def test_a_missing_key_is_an_error_before_the_first_call(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing key is an error when the pipeline is opened, with the variable's name."""
    name = f"{str(vendor).upper()}_API_KEY"
    monkeypatch.delenv(name, raising=False)
    with pytest.raises(AuthenticationError, match=f"{name} is not set"):
        async with vendor.voice().open():
            raise AssertionError("it opened")
