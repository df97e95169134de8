"""Recognition over HTTP, asked of a real server on loopback, on virtual time."""

from __future__ import annotations

import io
import logging
import wave
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import openai
import pytest

import voicepipe as vp
from tests.hearing.test_utterance_recogniser import Loudness, audio
from tests.helpers.raw_server import RawServer, answer
from voicepipe.testing import RecordingOutput, Refuses, Says, ScriptedModel, ScriptedVoice
from voicepipe.testing.simulators.transcriptions import Transcribed, TranscriptionSimulator

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio

KEY = "sk-canary-7f3a"
RATE = 16_000
PCM = b"\x00\x10" * RATE


def said(seconds: float = 1.0, *, is_early: bool = False) -> vp.Utterance:
    pcm = PCM[: 2 * round(seconds * RATE)]
    return vp.Utterance(pcm=pcm, sample_rate=RATE, speech_s=seconds, is_early=is_early)


def wav(pcm: bytes = PCM) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(RATE)
        written.writeframes(pcm)
    return file.getvalue()


@asynccontextmanager
async def opened(base_url: str, **options: Any) -> AsyncGenerator[vp.OpenAIRecogniser]:
    ear = vp.OpenAIRecogniser(base_url=base_url, detector=Loudness(), **options)
    async with ear.open():
        yield ear


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the openai client asks for the platform in a thread
async def test_it_asks_as_openais_own_client_does() -> None:
    """The simulator serves OpenAI's client, which sends the same form as ours does."""
    simulator = TranscriptionSimulator(["Hello."] * 4, api_key=KEY)
    settings: dict[str, Any] = {"model": "whisper-1", "language": "en", "prompt": "Flat white"}
    async with simulator.serve() as base_url:
        async with openai.AsyncOpenAI(base_url=base_url, api_key=KEY, max_retries=0) as client:
            create = client.audio.transcriptions.create
            file = ("speech.wav", wav(), "audio/wav")
            theirs = await create(file=file, response_format="verbose_json", temperature=0, **settings)
            assert (theirs.text, theirs.segments[0].text.strip(), theirs.duration) == ("Hello.", "Hello.", 1.0)
            wrongs: list[tuple[dict[str, Any], str]] = [
                ({"model": "whisper-9"}, "does not exist"),
                ({"model": "gpt-4o-transcribe", "response_format": "verbose_json"}, "is not compatible with model"),
                ({"file": ("speech.wav", wav(b"\0" * 100), "audio/wav")}, "too short"),
                ({"file": ("speech.txt", b"text", "text/plain")}, "Unrecognized file format"),
            ]
            for wrong, message in wrongs:
                with pytest.raises(openai.APIStatusError, match=message):
                    await create(**{"file": file, "model": "whisper-1", **wrong})
        async with opened(base_url, api_key=KEY, model="whisper-1", language="en", key_terms=["Flat white"]) as ear:
            assert await ear.transcribe(said()) == "Hello."
    assert simulator.forms[0] == simulator.forms[1]
    assert simulator.forms[0].pcm == PCM
    assert all(request.headers["authorization"] == "***" for request in simulator.requests)


async def test_words() -> None:
    """What a model says is returned as one line; what Whisper made up by its own measure is not."""
    table: list[tuple[str, str | Transcribed, str]] = [
        ("whisper-1", Transcribed("Thank you.", no_speech=0.1), "Thank you."),
        ("whisper-1", Transcribed("Thank you.", no_speech=0.9), ""),
        ("whisper-1", "", ""),
        ("gpt-4o-transcribe", " Two\nlines. ", "Two lines."),
        ("gpt-4o-transcribe", "A sentence that nobody says in a second: " + "la " * 20, ""),
    ]
    for model, heard, words in table:
        async with TranscriptionSimulator([heard]).serve() as base_url, opened(base_url, model=model) as ear:
            assert await ear.transcribe(said()) == words


async def test_settings_of_a_call() -> None:
    """A call's language and key terms are sent in place of the pipeline's."""
    simulator = TranscriptionSimulator(["Ja."])
    async with simulator.serve() as base_url, opened(base_url, prompt="Bestellungen.", key_terms=["Tee"]) as ear:
        ear.adapt(vp.CallSettings(language="de-AT", key_terms=["Melange", "Einspänner"]))
        assert await ear.transcribe(said()) == "Ja."
    (form,) = simulator.forms
    assert form.fields["language"] == "de"
    assert form.fields["prompt"] == "Bestellungen. Melange, Einspänner"
    assert form.fields["response_format"] == "json"


async def test_failures(caplog: pytest.LogCaptureFixture) -> None:
    """What may help is tried again within 4 s; everything else is one error that names the service and not the key."""
    caplog.set_level(logging.DEBUG, logger="voicepipe")
    busy, wrong_key = Refuses(503, "busy"), Refuses(401, f"wrong key {KEY}")
    table: list[tuple[list[Any], str, float]] = [
        ([busy, "Hello."], "Hello.", 0.0),
        ([Refuses(429, "slow down", retry_after_s=2.0), "Hello."], "Hello.", 2.0),
        ([Refuses(429, "slow down", retry_after_s=60.0)], "slow down", 0.0),
        ([wrong_key], "check the key", 0.0),
        ([Refuses(400, "no such model")], "no such model", 0.0),
        ([Transcribed("late", after_s=9.0)], "did not answer within 6 s", 6.0),
    ]
    for answers, expected, after_s in table:
        simulator = TranscriptionSimulator(answers)
        async with simulator.serve() as base_url, opened(base_url, api_key=KEY) as ear:
            asked_s = anyio.current_time()
            try:
                outcome = await ear.transcribe(said())
            except vp.VendorError as error:
                outcome = str(error)
            assert expected in outcome
            assert KEY not in outcome
            assert round(anyio.current_time() - asked_s, 1) == after_s
    async with TranscriptionSimulator([busy]).serve() as base_url, opened(base_url) as ear:
        with pytest.raises(vp.VendorError):
            await ear.transcribe(said(is_early=True))  # asked once: newer words will follow


async def test_answers_that_are_none() -> None:
    """An answer without a text, or one that does not end, is an error that says what came."""
    table = {
        "text/html without a text (<html>)": [answer("200 OK", b"<html>", kind="text/html")],
        "without a text ({})": [answer("200 OK", b"{}")],
        "without a text (empty)": [answer("200 OK", b"")],
        "did not end its answer within 2 s": [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", "hold"],
        "the connection to 127.0.0.1 broke": [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", "reset"],
    }
    for message, acts in table.items():
        async with RawServer(*[acts] * 3).serve() as base_url, opened(base_url) as ear:
            with pytest.raises(vp.VendorError) as raised:
                await ear.transcribe(said())
            assert message in str(raised.value)


async def test_in_a_call() -> None:
    """In a pipeline each turn is one request if the caller does not pause, and its words are answered."""
    simulator = TranscriptionSimulator([Transcribed("Hello.", after_s=0.2)])
    async with simulator.serve() as base_url:
        ear = vp.OpenAIRecogniser(base_url=base_url, detector=Loudness())
        row = vp.Pipeline(vp.STTStage(ear), ScriptedModel([Says("Hi.")]), vp.SentenceChunker(), ScriptedVoice())
        source = vp.PushSource(RATE)
        async with row.open() as host, host.session(source=source, output=RecordingOutput()) as session:
            for pcm in audio(1.0, 1.0, 2.0):
                await anyio.sleep(0.02)
                source.push(pcm)
            await anyio.sleep(2.0)
            assert [message.text for message in session.history] == ["Hello.", "Hi."]
    assert len(simulator.forms) == 1


def test_what_is_refused() -> None:
    """Settings that cannot work are refused, and a key is shown nowhere."""
    for message, settings in {
        "model must name a model": {"model": " "},
        "key_terms must be a list": {"key_terms": "Tee"},
        "unencrypted": {"base_url": "http://example.com/v1", "api_key": KEY},
    }.items():
        with pytest.raises(vp.ConfigurationError, match=message):
            vp.OpenAIRecogniser(**settings)  # type: ignore[arg-type]
    assert KEY not in repr(vp.OpenAIRecogniser(api_key=KEY))
