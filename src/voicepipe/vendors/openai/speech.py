"""Speech from any OpenAI-compatible `/audio/speech`, in the cloud or on this machine.

Rule 1: audio is passed on as it arrives, and nothing else is: any other answer is an error that names what came.
Rule 2: a sentence is requested again once, and only while nothing of it was played.
"""

from __future__ import annotations

import json
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.errors import ConfigurationError, IncompleteReply, RateLimited, VendorError
from voicepipe.http.address import host_of
from voicepipe.http.client import HTTPClient
from voicepipe.http.network import Network
from voicepipe.http.refusals import excerpt, failure
from voicepipe.speaking.audio_body import AudioBody
from voicepipe.speaking.tts_sink import TTSSink
from voicepipe.vendors.credentials import Credentials, authorization, without_key
from voicepipe.vendors.extras import Extras
from voicepipe.vendors.openai.services import known_service

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from pydantic import SecretStr

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.flow import Sentence
    from voicepipe.http.response import HTTPResponse
    from voicepipe.speaking.voice_pace import StartBuffer

__all__ = ["OpenAITTS"]

OPENAI_URL: Final = "https://api.openai.com/v1"

PATH: Final = "/audio/speech"

HEAD_S: Final = 4.0
"""How long a service may take to answer. `TTSSink` waits longer for audio, so that the error names the service."""

GAP_S: Final = 3.0
"""How long each piece of audio may take after that."""

ERROR_BYTES: Final = 2_048
"""How much is read of a body that is not audio."""

PAUSE_S: Final = 0.5
"""How long to wait before the second try when a service asks for fewer requests and does not say when."""


class OpenAITTS(TTSSink):
    """Speech from OpenAI's speech endpoint, or from one of the many local servers that have the same.

    OpenAITTS(voice="marin", instructions="Speak warmly.")                            # the key is in OPENAI_API_KEY
    OpenAITTS(base_url="http://127.0.0.1:8880/v1", model="kokoro", voice="af_heart")

    If a request fails before any audio has arrived, it is sent once more: at once, or when the service asks for it, if
    that is within 4 s.

    Args:
        base_url: The service's URL, without `/audio/speech`.
        model: The model's id, any string the service knows.
        voice: The voice's id, any string the service knows.
        speed: 0.25 to 4; None leaves it to the service.
        instructions: How to speak, for models that accept instructions.
        sample_rate: Samples per second; OpenAI's is 24000. Audio of another rate, if a WAV header or the content type
            names one, is resampled when soxr is installed, and refused otherwise.
        start_buffer_s: How long after its first audio a sentence is played; see `TTSSink`.
        api_key: The key. Over plain http it is sent only to this machine.
        api_key_env: Name of the environment variable that holds the key, read when the pipeline is opened. Without it
            and `api_key`, a known service's key is read from its usual variable, as OpenAI's from OPENAI_API_KEY; that
            key is sent to no other host.
        headers: Further headers of each request. See `LLMStreamStage`.
        params: Query parameters of each request, e.g. Azure's {"api-version": "2025-03-01-preview"}.
        proxy: URL of the proxy to use, e.g. "http://user:password@proxy.example.com:3128"; "direct" for none. None
            leaves it to the environment (HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY), whose proxies never serve this
            machine.

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
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        proxy: str | SecretStr | None = None,
    ) -> None:
        for name, value in (("model", model), ("voice", voice)):
            if not value.strip():
                raise ConfigurationError(f"OpenAITTS: {name} must name a {name} of the service, not be {value!r}")
        if speed is not None and not 0.25 <= speed <= 4:
            raise ConfigurationError(f"OpenAITTS: speed must be 0.25 to 4, not {speed!r}")
        if sample_rate < 8_000:
            raise ConfigurationError(f"OpenAITTS: sample_rate must be at least 8000 a second, not {sample_rate!r}")
        host = host_of(base_url, PATH)
        self._service = known_service(host)
        self._extras = Extras("OpenAITTS", base_url, host, headers, params)
        self._network = Network("OpenAITTS", base_url, proxy)
        self._credentials = Credentials(
            "OpenAITTS",
            base_url,
            host,
            api_key=api_key,
            api_key_env=api_key_env,
            usual_env=self._service.key_env,
            own_header=self._service.header if self._extras.carries(self._service.header) else "",
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
        service, extras = self._service, self._extras
        self._http = HTTPClient(
            self.base_url,
            {**authorization(key, service.scheme, service.header), **extras.headers},
            hide=lambda text: extras.hidden(without_key(text, key)),
            params=extras.params,
            network=self._network,
        )
        async with self._http.open(warms=True):
            yield

    def adapt(self, settings: CallSettings) -> None:
        """Speak with the voice of the call. The endpoint takes no language: OpenAI's voices speak that of each text.

        Raises:
            ConfigurationError: There is a language but no voice, for a service whose voices have a language each.
        """
        if settings.voice is not None:
            self.voice = settings.voice
            self._fields = {**self._fields, "voice": settings.voice}
        elif not self._service.speaks_every_language:
            settings.refuse(f"{self.name} without another voice", "language")

    async def synthesize(self, sentence: Sentence) -> AsyncGenerator[bytes]:
        """Yield the audio as it arrives. See `TTSSink.synthesize`. Cancelling closes the request.

        Raises:
            VendorError: The service refused, is silent, or sent something that is not audio.
            IncompleteReply: It failed after the first audio, or sent less than the header of its WAV file promises.
        """
        body = json.dumps({**self._fields, "input": sentence.text.strip()}, ensure_ascii=False)
        was_heard, may_repeat = False, True
        last_try_s = anyio.current_time() + HEAD_S
        while True:
            try:
                async with aclosing(self._spoken(body)) as pieces:
                    async for pcm in pieces:
                        was_heard = True
                        yield pcm
            except VendorError as error:
                if was_heard:
                    raise IncompleteReply(f"the speech was cut: {error}", vendor=error.vendor) from error
                wait_s = _wait_s(error)
                may_wait = wait_s <= min(last_try_s, anyio.current_effective_deadline()) - anyio.current_time()
                if not may_repeat or not error.retryable or not may_wait:
                    raise
                may_repeat = False
            else:
                return
            await anyio.sleep(wait_s)

    async def _spoken(self, body: str) -> AsyncGenerator[bytes]:
        vendor = self._http.vendor
        async with self._http.post(PATH, body, limit_s=HEAD_S) as response:
            await self._check(response)
            audio = AudioBody(vendor, self.sample_rate, response.header("content-type") or "")
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


def _wait_s(error: VendorError) -> float:
    """Return how long to wait before the second try; it comes at once unless the service asks for fewer requests."""
    if not isinstance(error, RateLimited):
        return 0.0
    return PAUSE_S if error.retry_after_s is None else error.retry_after_s
