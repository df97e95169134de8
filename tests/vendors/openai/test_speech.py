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
from hypothesis import given
from hypothesis import strategies as st

import voicepipe as vp
from tests.helpers.raw_server import Act, RawServer, answer
from voicepipe.errors import AuthenticationError, ConfigurationError, RateLimited, VendorError
from voicepipe.flow import Sentence
from voicepipe.testing import RecordingOutput, Says, ScriptedModel
from voicepipe.vendors.openai.speech import OpenAITTS, SpeechBody

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


# --- what a body holds ------------------------------------------------------------------------------------------------


def body(*pieces: bytes, sample_rate: int = 24_000) -> bytes:
    found = SpeechBody("api.example.com", sample_rate)
    return b"".join(map(found.feed, pieces)) + found.rest()


EXTENSIBLE = wav().replace(b"\x10\x00\x00\x00\x01\x00", b"\x10\x00\x00\x00\xfe\xff")
FORMAT = wav()[12:36]
LIST = b"LIST\x05\x00\x00\x00words\x00"


@pytest.mark.parametrize(
    ("sent", "samples"),
    [
        pytest.param(PCM, PCM, id="raw"),
        pytest.param(b"\xff\xfb\x00\x00", b"\xff\xfb\x00\x00", id="raw that looks like MP3"),
        pytest.param(b"\x01\x02\x03", b"\x01\x02\x03", id="shorter than a header"),
        pytest.param(b"", b"", id="nothing"),
        pytest.param(wav(), PCM, id="WAV"),
        pytest.param(EXTENSIBLE, PCM, id="extensible WAV"),
        pytest.param(b"RIFF\0\0\0\0WAVE" + FORMAT + LIST + b"data\xff\xff\xff\xff" + PCM, PCM, id="WAV without sizes"),
        pytest.param(b"RIFF\0\0\0\0WAVE" + FORMAT + b"data\0\0\0\0" + PCM, PCM, id="WAV with sizes of 0"),
        pytest.param(wav() + LIST, PCM, id="WAV with something behind"),
    ],
)
def test_a_body_is_its_samples(sent: bytes, samples: bytes) -> None:
    """Raw samples stay as they are, and a WAV file loses its header, however the body is cut."""
    assert body(sent) == samples
    assert body(*[bytes([byte]) for byte in sent]) == samples


@given(st.binary(min_size=1, max_size=200), st.lists(st.integers(1, 60), max_size=20))
def test_no_cut_changes_the_samples(pcm: bytes, sizes: list[int]) -> None:
    """The samples of a WAV file are the same wherever it is cut into pieces."""
    sent, pieces = wav(pcm[: len(pcm) & ~1] or b"\0\0"), []
    for size in sizes:
        pieces.append(sent[:size])
        sent = sent[size:]
    assert body(*pieces, sent) == (pcm[: len(pcm) & ~1] or b"\0\0")


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (wav(rate=22_050), "sends 22050 samples a second instead of 24000; set sample_rate=22050"),
        (wav(PCM * 2, channels=2), "a WAV file of 2 channels with 16 bits"),
        (wav(width=1), "1 channels with 8 bits"),
        (wav()[:30], "a WAV file that ends in its header"),
        (b"RIFF\0\0\0\0WAVE" + FORMAT + b"LIST\xff\xff\x00\x00", "a WAV file without samples"),
    ],
)
def test_another_kind_of_samples_is_refused(sent: bytes, said: str) -> None:
    """Samples that would be noise are refused with what they are and what to change."""
    with pytest.raises(VendorError, match=said) as raised:
        body(sent)
    assert not raised.value.retryable
