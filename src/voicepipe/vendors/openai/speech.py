"""Speech from any OpenAI-compatible `/audio/speech`, in the cloud or on this machine.

Rule 1: audio is passed on as it arrives, and nothing else is: any other answer is an error that names what came.
Rule 2: a sentence is requested again once, and only while nothing of it was played.
"""

from __future__ import annotations

import json
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.errors import ConfigurationError, RateLimited, VendorError
from voicepipe.http.address import host_of
from voicepipe.http.client import HTTPClient
from voicepipe.http.refusals import excerpt, failure
from voicepipe.speaking.tts_sink import TTSSink
from voicepipe.vendors.credentials import Credentials, authorization, without_key

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from pydantic import SecretStr

    from voicepipe.flow import Sentence
    from voicepipe.http.response import HTTPResponse
    from voicepipe.speaking.voice_pace import StartBuffer

__all__ = ["OpenAITTS", "SpeechBody"]

OPENAI_HOST: Final = "api.openai.com"
OPENAI_URL: Final = f"https://{OPENAI_HOST}/v1"
OPENAI_KEY: Final = "OPENAI_API_KEY"

PATH: Final = "/audio/speech"

HEAD_S: Final = 4.0
"""How long a service may take to answer. `TTSSink` waits longer for audio, so that the error names the service."""

GAP_S: Final = 3.0
"""How long each piece of audio may take after that."""

ERROR_BYTES: Final = 2_048
"""How much is read of a body that is not audio."""

HEADER_BYTES: Final = 4_096
"""How long the header of a WAV file may be."""

UNKNOWN_SIZES: Final = (0, 0xFFFFFFFF, 0x7FFFFFFF)
"""What servers write as the size of the samples while they do not know it yet."""


class OpenAITTS(TTSSink):
    """Speech from OpenAI's speech endpoint, or from one of the many local servers that have the same.

    OpenAITTS(voice="marin", instructions="Speak warmly.")                            # the key is in OPENAI_API_KEY
    OpenAITTS(base_url="http://127.0.0.1:8880/v1", model="kokoro", voice="af_heart")

    If a request fails before any audio has arrived, it is sent once more, at once.

    Args:
        base_url: The service's URL, without `/audio/speech`.
        model: The model's id, any string the service knows.
        voice: The voice's id, any string the service knows.
        speed: 0.25 to 4; None leaves it to the service.
        instructions: How to speak, for models that accept instructions.
        sample_rate: Samples per second of the audio that the service sends; OpenAI's is 24000. Only the header of a WAV
            file can contradict it.
        start_buffer_s: How long after its first audio a sentence is played; see `TTSSink`.
        api_key: The key. Over plain http it is sent only to this machine.
        api_key_env: Name of the environment variable that holds the key, read when the pipeline is opened. Without it
            and `api_key`, OpenAI's key is read from OPENAI_API_KEY; that key is sent to no other host.

    Raises:
        ConfigurationError: A value is invalid; raised here or when the pipeline is opened.
        AuthenticationError: The environment variable holds no key; raised when the pipeline is opened.

    Source: OpenAI's API reference, "Create speech", read 2026-11-22.
    """

    def __init__(
        self,
        *,
        base_url: str = OPENAI_URL,
        model: str = "gpt-4o-mini-tts",
        voice: str = "alloy",
        speed: float | None = None,
        instructions: str = "",
        sample_rate: int = 24_000,
        start_buffer_s: StartBuffer = 0.0,
        api_key: str | SecretStr | None = None,
        api_key_env: str | None = None,
    ) -> None:
        for name, value in (("model", model), ("voice", voice)):
            if not value.strip():
                raise ConfigurationError(f"OpenAITTS: {name} must name a {name} of the service, not be {value!r}")
        if speed is not None and not 0.25 <= speed <= 4:
            raise ConfigurationError(f"OpenAITTS: speed must be 0.25 to 4, not {speed!r}")
        if sample_rate < 8_000:
            raise ConfigurationError(f"OpenAITTS: sample_rate must be at least 8000 a second, not {sample_rate!r}")
        host = host_of(base_url, PATH)
        usual_env = OPENAI_KEY if host == OPENAI_HOST else None
        self._credentials = Credentials(
            "OpenAITTS", base_url, host, api_key=api_key, api_key_env=api_key_env, usual_env=usual_env
        )
        self.base_url = base_url
        self.model = model
        self.voice = voice
        self.sample_rate = sample_rate
        self.start_buffer_s = start_buffer_s
        self._fields: dict[str, Any] = {"model": model, "voice": voice, "response_format": "pcm"}
        if speed is not None:
            self._fields["speed"] = speed
        if instructions:
            self._fields["instructions"] = instructions
        self._http: HTTPClient

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Keep one pool of warm connections for all sessions."""
        key = self._credentials.read()
        self._http = HTTPClient(self.base_url, authorization(key), hide=partial(without_key, key=key))
        async with self._http.open(warms=True):
            yield

    async def synthesize(self, sentence: Sentence) -> AsyncGenerator[bytes]:
        """Yield the audio as it arrives. See `TTSSink.synthesize`. Cancelling closes the request.

        Raises:
            VendorError: The service refused, is silent, or sent something that is not audio.
        """
        body = json.dumps({**self._fields, "input": sentence.text.strip()}, ensure_ascii=False)
        was_heard, may_repeat = False, True
        while True:
            try:
                async with aclosing(self._spoken(body)) as pieces:
                    async for pcm in pieces:
                        was_heard = True
                        yield pcm
            except VendorError as error:
                # After a request to wait, another try at once does not help.
                if was_heard or not may_repeat or not error.retryable or isinstance(error, RateLimited):
                    raise
                may_repeat = False
            else:
                return

    async def _spoken(self, body: str) -> AsyncGenerator[bytes]:
        vendor = self._http.vendor
        async with self._http.post(PATH, body, limit_s=HEAD_S) as response:
            await self._check(response)
            audio = SpeechBody(
                vendor, self.sample_rate, may_be_mp3=response.content_type in ("audio/mpeg", "audio/mp3")
            )
            is_empty = True
            while (piece := await self._piece(response)) is not None:
                if pcm := audio.feed(piece):
                    is_empty = False
                    yield pcm
            if pcm := audio.rest():
                is_empty = False
                yield pcm
        if is_empty:
            raise failure(vendor, "answered without any audio", retryable=True)

    async def _check(self, response: HTTPResponse) -> None:
        """Refuse a response that cannot be audio.

        Raises:
            VendorError: It is a refusal, or text.
        """
        if response.status != 200:
            raise await response.refusal()
        kind = response.content_type
        if kind.startswith("text/") or kind.endswith("json"):
            words = excerpt(await response.words(ERROR_BYTES, until=anyio.current_time() + GAP_S))
            found = f"{kind} instead of audio ({words or 'empty'})"
            raise failure(self._http.vendor, f"answered {found}; does base_url lead to a speech service?")

    async def _piece(self, response: HTTPResponse) -> bytes | None:
        with anyio.move_on_after(GAP_S):
            return await anext(response, None)
        raise failure(self._http.vendor, f"fell silent: no audio for {GAP_S:g} s", retryable=True)

    def __repr__(self) -> str:
        """Show the voice and where it is; never the key."""
        return f"<{self.name} {self.model} {self.voice} at {self.base_url}>"


class SpeechBody:
    """Takes raw samples out of a response. Pure.

    The header of a WAV file is removed, because some servers send nothing else; any other format is refused.

    Args:
        vendor: Named in errors.
        sample_rate: The rate that the header of a WAV file must have.
        may_be_mp3: Whether the server calls the body MP3; otherwise the same bytes may be samples.
    """

    def __init__(self, vendor: str, sample_rate: int, *, may_be_mp3: bool = False) -> None:
        self._vendor = vendor
        self._sample_rate = sample_rate
        self._may_be_mp3 = may_be_mp3
        self._held: bytearray | None = bytearray()
        self._left: int | None = None

    def feed(self, piece: bytes) -> bytes:
        """Take bytes, and return the samples among them; b"" until the format is known.

        Raises:
            VendorError: The body has another format.
        """
        if self._held is not None:
            self._held += piece
            start = self._samples_at(bytes(self._held))
            if start is None:
                return b""
            piece, self._held = bytes(self._held[start:]), None
        if self._left is not None:
            piece = piece[: self._left]
            self._left -= len(piece)
        return piece

    def rest(self) -> bytes:
        """Return the samples that were still held back when the body ended.

        Raises:
            VendorError: The body ended within the header of a WAV file.
        """
        held = bytes(self._held or b"")
        if held.startswith(b"RIFF"):
            raise self._refused("a WAV file that ends in its header")
        return held

    def _samples_at(self, head: bytes) -> int | None:
        """Return where the samples begin; None while that is not known."""
        if len(head) < 4:
            return None
        for magic, name in ((b"ID3", "MP3"), (b"OggS", "Ogg"), (b"fLaC", "FLAC")):
            if head.startswith(magic):
                raise self._refused(name)
        if self._may_be_mp3 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
            raise self._refused("MP3")
        return self._wav_samples_at(head) if head.startswith(b"RIFF") else 0

    def _wav_samples_at(self, head: bytes) -> int | None:
        at = 12
        while len(head) >= at + 8:
            kind, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
            if kind == b"data":
                self._left = None if size in UNKNOWN_SIZES else size
                return at + 8
            if kind == b"fmt " and len(head) >= at + 24:
                self._check_format(head[at + 8 : at + 24])
            at += 8 + size + size % 2
        if len(head) > HEADER_BYTES or at > HEADER_BYTES:
            raise self._refused("a WAV file without samples")
        return None

    def _check_format(self, fields: bytes) -> None:
        code, channels, rate, bits = (
            int.from_bytes(fields[start:end], "little") for start, end in ((0, 2), (2, 4), (4, 8), (14, 16))
        )
        if (code not in (1, 0xFFFE)) or (channels, bits) != (1, 16):
            raise self._refused(f"a WAV file of {channels} channels with {bits} bits (format {code})")
        if rate != self._sample_rate:
            sends = f"sends {rate} samples a second instead of {self._sample_rate}"
            raise failure(self._vendor, f"{sends}; set sample_rate={rate}")

    def _refused(self, found: str) -> VendorError:
        wanted = "raw 16-bit mono samples (response_format pcm)"
        return failure(self._vendor, f"answered {found} instead of {wanted}; use a model or server that sends those")
