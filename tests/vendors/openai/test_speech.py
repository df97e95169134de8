"""Speech over HTTP, asked of a real server on loopback, on virtual time."""

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
from tests.helpers.raw_server import Act, RawServer, answer
from voicepipe.errors import AuthenticationError, ConfigurationError, IncompleteReply, RateLimited, VendorError
from voicepipe.flow import Sentence
from voicepipe.testing import RecordingOutput, Says, ScriptedModel
from voicepipe.vendors.openai.speech import OpenAITTS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

pytestmark = pytest.mark.anyio

KEY = "sk-canary-7f3a"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: audio/pcm\r\n\r\n"
PCM = bytes(range(1, 201))


def wav(pcm: bytes = PCM, *, rate: int = 24_000, channels: int = 1, width: int = 2) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(channels)
        written.setsampwidth(width)
        written.setframerate(rate)
        written.writeframes(pcm)
    return file.getvalue()


@asynccontextmanager
async def opened(base_url: str, **options: Any) -> AsyncGenerator[OpenAITTS]:
    tts = OpenAITTS(base_url=base_url, **options)
    async with tts.open():
        yield tts


async def spoken(*replies: Sequence[Act], text: str = "Hello.", **options: Any) -> tuple[list[bytes], RawServer]:
    """Return the pieces of audio of one sentence, and the server."""
    server = RawServer(*replies)
    async with server.serve() as base_url, opened(base_url, **options) as tts:
        return [piece async for piece in tts.synthesize(Sentence(text))], server


async def failing(*replies: Sequence[Act], **options: Any) -> tuple[VendorError, bytes, RawServer, float]:
    """Speak a sentence that must fail; return the error, the audio that came, the server, and how long it took."""
    server, heard = RawServer(*replies), b""
    async with server.serve() as base_url, opened(base_url, **options) as tts:
        asked_s = anyio.current_time()
        with pytest.raises(VendorError) as raised:
            async for piece in tts.synthesize(Sentence("Hello.")):
                heard += piece
        return raised.value, heard, server, round(anyio.current_time() - asked_s, 3)


# --- asked ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the openai client asks for the platform in a thread
async def test_it_asks_as_openais_own_client_does() -> None:
    """The request has the same path, fields and authorization as the one that OpenAI's client sends."""
    server = RawServer([HEAD, PCM])
    settings: dict[str, Any] = {"model": "gpt-4o-mini-tts", "voice": "marin", "speed": 1.5, "instructions": "Warmly."}
    async with server.serve() as base_url:
        async with openai.AsyncOpenAI(base_url=base_url, api_key=KEY, max_retries=0) as client:
            reply = await client.audio.speech.create(input="Hello.", response_format="pcm", **settings)
            theirs = reply.content
        async with opened(base_url, api_key=KEY, **settings) as tts:
            ours = b"".join([piece async for piece in tts.synthesize(Sentence("Hello.\n"))])

    first, second = server.requests
    assert second.body == first.body
    assert [request.headers.split()[:2] for request in server.requests] == [["POST", "/v1/audio/speech"]] * 2
    assert all(f"authorization: bearer {KEY}" in request.headers.lower() for request in server.requests)
    assert ours == theirs == PCM


async def test_what_is_not_set_is_left_to_the_service() -> None:
    """Without settings a request has the model, the voice, the format and the words, and no authorization."""
    _, server = await spoken([HEAD, PCM], text=" Où ? ")
    body = {"model": "gpt-4o-mini-tts", "voice": "alloy", "response_format": "pcm", "input": "Où ?"}
    assert server.requests[0].body == body
    assert "authorization" not in server.requests[0].headers.lower()


async def test_audio_is_passed_on_as_it_comes() -> None:
    """The first piece is passed on while the service still makes the rest."""
    server = RawServer([HEAD, 0.2, PCM, 1.0, PCM])
    heard: list[tuple[float, bytes]] = []
    async with server.serve() as base_url, opened(base_url) as tts:
        async for piece in tts.synthesize(Sentence("Hello.")):
            heard.append((round(anyio.current_time() - server.requests[0].at_s, 3), piece))
    assert heard == [(0.2, PCM), (1.2, PCM)]


async def test_a_pipeline_speaks_with_it() -> None:
    """In a whole session each sentence is one request, and pieces of odd lengths join without a click."""
    server = RawServer([HEAD, PCM[:1], 0.1, PCM[1:4], 0.1, PCM[4:]])
    output = RecordingOutput()
    async with server.serve() as base_url:
        voice = OpenAITTS(base_url=base_url)
        row = vp.Pipeline(ScriptedModel([Says("One. Two.")]), vp.SentenceChunker(), voice, output=output)
        async with row.session() as session:
            await session.user_says("Count.")

    assert sorted(request.body["input"] for request in server.requests) == ["One.", "Two."]
    assert b"".join(pcm for _, pcm in output.written) == PCM * 2


async def test_an_interruption_closes_the_request() -> None:
    """Closing the generator closes the request at once."""
    server = RawServer([HEAD, PCM, "hold"])
    async with server.serve() as base_url, opened(base_url) as tts:
        pieces = tts.synthesize(Sentence("Hello."))
        assert await anext(pieces) == PCM
        closed_s = anyio.current_time()
        await pieces.aclose()
        with anyio.fail_after(1):
            await server.gone.wait()
        assert anyio.current_time() == closed_s


# --- failed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        pytest.param([answer("500 Internal Server Error", b"boom")], id="500"),
        pytest.param(["reset"], id="reset before the head"),
        pytest.param([HEAD, "reset"], id="reset after the head"),
        pytest.param([HEAD], id="no audio"),
        pytest.param([HEAD, "hold"], id="silence after the head"),
    ],
)
async def test_what_may_pass_is_asked_once_more_before_any_audio(first: list[Act]) -> None:
    """A request that failed before any audio is sent again, at once."""
    pieces, server = await spoken(first, [HEAD, PCM])
    assert (b"".join(pieces), len(server.requests)) == (PCM, 2)


async def test_a_service_that_stays_broken_is_asked_twice() -> None:
    """The second failure is raised, and quotes the service."""
    error, _, server, _ = await failing([answer("503 Service Unavailable", b"busy")])
    assert "HTTP 503: busy" in str(error)
    assert (len(server.requests), error.retryable) == (2, True)


@pytest.mark.parametrize("broken", [["reset"], [4.0, PCM]], ids=["reset", "silence"])
async def test_a_sentence_is_never_said_twice(broken: list[Act]) -> None:
    """A failure after the first audio is raised, the audio is kept, and the request is not repeated."""
    head = HEAD.replace(b"\r\n\r\n", b"\r\ncontent-length: 9999\r\n\r\n")
    error, heard, server, _ = await failing([head, PCM, 0.1, *broken])
    assert (heard, len(server.requests), error.vendor) == (PCM, 1, "127.0.0.1")
    assert isinstance(error, IncompleteReply)


async def test_less_audio_than_a_header_promises_is_a_cut_reply() -> None:
    """A WAV file that ends early raises `IncompleteReply` behind the audio that came; without any it is asked again."""
    sent = wav()
    error, heard, server, _ = await failing([answer("200 OK", sent[:-50], kind="audio/wav")])
    assert (type(error), heard, len(server.requests)) == (IncompleteReply, PCM[:-50], 1)
    assert "sent 150 of 200 bytes of audio" in str(error)

    pieces, server = await spoken(
        [answer("200 OK", sent[:44], kind="audio/wav")], [answer("200 OK", sent, kind="audio/wav")]
    )
    assert (b"".join(pieces), len(server.requests)) == (PCM, 2)


async def test_the_rate_of_the_media_type_is_obeyed() -> None:
    """Audio whose content type names another rate is resampled, so that a second of it lasts a second."""
    samples = bytes(2 * 16_000)
    pieces, _ = await spoken([answer("200 OK", samples, kind="audio/L16;rate=16000")])
    assert len(b"".join(pieces)) == 2 * 24_000


@pytest.mark.parametrize(
    ("status", "header", "waited_s"),
    [
        ("429 Too Many Requests", ["retry-after: 1"], 1.0),
        ("429 Too Many Requests", [], 0.5),
        ("503 Service Unavailable", ["retry-after: 2"], 2.0),
    ],
    ids=["429", "429 without a time", "503"],
)
async def test_a_service_that_asks_to_wait_is_obeyed(status: str, header: list[str], waited_s: float) -> None:
    """The sentence is sent again when the service asks for it, if that is soon enough."""
    pieces, server = await spoken([answer(status, b"", *header)], [HEAD, PCM])

    assert b"".join(pieces) == PCM
    first, second = server.requests
    assert round(second.at_s - first.at_s, 6) == waited_s


async def test_a_wait_that_does_not_fit_fails_at_once() -> None:
    """A service that asks for 9 s, or for more than the time around the sentence, is not waited for."""
    error, _, server, took_s = await failing([answer("429 Too Many Requests", b"", "retry-after: 9")])
    assert (type(error), len(server.requests), took_s) == (RateLimited, 1, 0.0)
    with anyio.fail_after(1.5):
        error, _, server, took_s = await failing([answer("429 Too Many Requests", b"", "retry-after: 2")])
    assert (type(error), len(server.requests), took_s) == (RateLimited, 1, 0.0)


async def test_a_cut_body_is_an_error() -> None:
    """Fewer bytes than the head promises are an error, not a short sentence."""
    error, heard, _, _ = await failing([HEAD.replace(b"\r\n\r\n", b"\r\ncontent-length: 9999\r\n\r\n"), PCM])
    assert heard == PCM
    assert "broke" in str(error)


@pytest.mark.parametrize(
    ("acts", "took_s", "said"),
    [(["hold"], 8.0, "did not answer within 4 s"), ([HEAD, "hold"], 6.0, "fell silent: no audio for 3 s")],
    ids=["no head", "no audio"],
)
async def test_silence_has_a_deadline(acts: list[Act], took_s: float, said: str) -> None:
    """A silent service is given up at the deadline, twice."""
    error, _, _, took = await failing(acts)
    assert (took, error.retryable) == (took_s, True)
    assert said in str(error)


@pytest.mark.parametrize(
    ("reply", "kind", "said"),
    [
        pytest.param(answer("400 Bad Request", b"no such voice"), VendorError, "no such voice", id="400"),
        pytest.param(answer("401 Unauthorized", b""), AuthenticationError, "check the key", id="401"),
        pytest.param(answer("429 Too Many Requests", b"", "retry-after: 9"), RateLimited, "HTTP 429", id="429"),
        pytest.param(answer("200 OK", b'{"error": 1}'), VendorError, "application/json instead of audio", id="JSON"),
        pytest.param(answer("200 OK", b"<html>", kind="text/html"), VendorError, "does base_url lead", id="page"),
        pytest.param(answer("200 OK", b"ID3\x04", kind="audio/pcm"), VendorError, "answered MP3", id="MP3"),
        pytest.param(answer("200 OK", b"\xff\xfb\x90\x00", kind="audio/mpeg"), VendorError, "MP3", id="bare MP3"),
        pytest.param(answer("200 OK", b"OggS\x00", kind="audio/ogg"), VendorError, "answered Ogg", id="Ogg"),
        pytest.param(answer("200 OK", b"fLaC\x00", kind="audio/flac"), VendorError, "answered FLAC", id="FLAC"),
        pytest.param(
            answer("200 OK", b"<!DOCTYPE html><p>4711", kind="audio/pcm"),
            VendorError,
            "a page (HTML)",
            id="HTML as audio",
        ),
        pytest.param(answer("200 OK", b'{"error": 1}', kind="audio/wav"), VendorError, "JSON", id="JSON as audio"),
    ],
)
async def test_what_is_not_audio_is_refused(reply: bytes, kind: type[Exception], said: str) -> None:
    """An error or another format raises after one request, says what came, and none of it is played."""
    error, heard, server, _ = await failing([reply])
    assert type(error) is kind
    assert said in str(error)
    assert (heard, len(server.requests)) == (b"", 1)


async def test_a_redirect_is_not_followed() -> None:
    """A service that sends the caller elsewhere is refused: the key goes to no other host."""
    other = RawServer([HEAD, PCM])
    async with other.serve() as elsewhere:
        moved = answer("307 Temporary Redirect", b"", f"location: {elsewhere}/audio/speech")
        error, _, _, _ = await failing([moved], api_key=KEY)
    assert "redirects are not followed" in str(error)
    assert other.requests == []


async def test_the_key_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG the key is in no log, repr or error, even when the service repeats it."""
    caplog.set_level(logging.DEBUG)
    error, _, server, _ = await failing([answer("401 Unauthorized", f"bad key {KEY}".encode())], api_key=KEY)
    assert f"Bearer {KEY}" in server.requests[0].headers
    assert KEY not in f"{error!r} {error} {OpenAITTS(api_key=KEY)!r} {vars(OpenAITTS(api_key=KEY))} {caplog.text}"


# --- configured -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": " "}, "model must name"),
        ({"voice": ""}, "voice must name"),
        ({"speed": 0.2}, "speed must be 0.25 to 4"),
        ({"speed": 4.1}, "speed must be 0.25 to 4"),
        ({"speed": float("nan")}, "speed must be 0.25 to 4"),
        ({"sample_rate": 7_999}, "sample_rate must be at least 8000"),
        ({"api_key": ""}, "api_key is empty"),
        ({"api_key": "k", "api_key_env": "K"}, "not both"),
        ({"base_url": "https://api.example.com/v1/audio/speech"}, "base_url ends before /audio/speech"),
        ({"base_url": "ftp://api.example.com"}, "base_url must start with https://"),
        ({"base_url": "http://api.example.com/v1", "api_key": "k"}, "unencrypted"),
        ({"base_url": "http://api.example.com/v1", "api_key_env": "K"}, "unencrypted"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], said: str) -> None:
    """An invalid setting is refused when the part is made."""
    with pytest.raises(ConfigurationError, match=said):
        OpenAITTS(**options)


async def test_openais_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key OPENAI_API_KEY is read for OpenAI alone; the error says if it is not set."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(AuthenticationError, match="OPENAI_API_KEY is not set"):
        async with OpenAITTS().open():
            pass
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    _, server = await spoken([HEAD, PCM])
    assert KEY not in server.requests[0].headers


async def test_a_key_may_be_in_any_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The named variable is read when the pipeline is opened."""
    monkeypatch.setenv("VOICE_KEY", f" {KEY}\n")
    _, server = await spoken([HEAD, PCM], api_key_env="VOICE_KEY")
    assert f"Bearer {KEY}\r\n" in server.requests[0].headers + "\r\n"


def test_repr_shows_the_voice() -> None:
    """The settings are visible."""
    shown = repr(OpenAITTS(base_url="http://127.0.0.1:1/v1", model="kokoro", voice="af_heart"))
    assert shown == "<OpenAITTS kokoro af_heart at http://127.0.0.1:1/v1>"
