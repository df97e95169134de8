"""Speech from AssemblyAI's streaming text-to-speech.

Rule 1: a sentence is one request (a very long one is a few); its audio is passed on as it comes.
Rule 2: closing a generator early withdraws its request synchronously; the socket stays open for the next turn.
"""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlencode, urlsplit

import anyio

from voicepipe.errors import ConfigurationError
from voicepipe.http.network import Network
from voicepipe.speaking.tts_sink import TTSSink
from voicepipe.vendors.assemblyai.key import KEY_ENV, VENDOR, credentials
from voicepipe.vendors.assemblyai.tts_protocol import TTSProtocol
from voicepipe.vendors.credentials import keyless
from voicepipe.vendors.line.address import socket_url
from voicepipe.vendors.line.socket import Endpoint
from voicepipe.vendors.line.speech_line import SpeechLine
from voicepipe.vendors.line.speech_text import parts_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import Self

    from pydantic import SecretStr

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.core.context import AnySession
    from voicepipe.flow import Sentence, WordMark
    from voicepipe.http.network import Route
    from voicepipe.speaking.voice_pace import StartBuffer

__all__ = ["AssemblyAITTS"]

REGIONS: Final[dict[str | None, str]] = {
    None: "tts.us.assemblyai.com",
    "us": "tts.us.assemblyai.com",
    "eu": "tts.eu.assemblyai.com",
}

PATH: Final = "/v1/ws"

SAMPLE_RATES: Final = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)

LANGUAGES: Final = {
    "en": "english", "es": "spanish", "de": "german", "fr": "french", "it": "italian", "pt": "portuguese",
}  # fmt: skip

MARKS_S: Final = 0.5
"""How long to wait for word times, at most: they come after the audio, or not at all."""

BEFORE_SILENCE_S: Final = 0.1
"""The wait for word times ends this long before the output could run dry."""


class AssemblyAITTS(TTSSink):
    """Speaks with a voice of AssemblyAI, over a websocket that is opened before the first turn and kept for all turns.

    AssemblyAITTS()                                                       # the key is in ASSEMBLYAI_API_KEY
    AssemblyAITTS("aai-michael", language="german", region="eu")

    When the service's session ends (by age, a restart, or a broken connection), another replaces it, and a sentence
    that had no audio yet is requested again. A barge-in cancels the request and keeps the socket.

    Args:
        voice_id: A built-in voice ("aai-" and alba, anna, charles, eve, george, jane, jean, mary, michael, paul or
            vera), or the id of one of the account's. A voice belongs to a region.
        language: In English, e.g. "spanish"; None for the voice's own.
        sample_rate: Samples per second: 8000, 16000, 22050, 24000, 44100 or 48000.
        model_id: None for the service's own choice.
        region: Where the text is processed: "us" or "eu"; "us" if `region`, `host` and `url` are left out.
        host: Another host, over TLS.
        url: Another URL, e.g. "wss://tts.example.com"; "ws://" is for this machine alone.
        api_key: The key; a service at a ws:// URL may go without.
        api_key_env: Name of the environment variable that holds the key, read when the pipeline is opened.
        word_boundaries: Whether to request the time of each word; otherwise how much of a cut sentence was heard is
            estimated.
        inactivity_timeout_s: How long the service keeps a session without a message, 5 to 120 s; one is sent twice as
            often.
        start_buffer_s: How long after its first audio a sentence is played; see `TTSSink`.
        proxy: URL of the proxy to use, e.g. "http://user:password@proxy.example.com:3128"; "direct" for none. None
            leaves it to the environment (HTTPS_PROXY, ALL_PROXY, NO_PROXY), whose proxies never serve this machine.

    Raises:
        ConfigurationError: A value is invalid; raised here, or when a session starts and the service refuses it.
        AuthenticationError: There is no key (when the pipeline is opened), or it is refused (when a session starts).
        VendorError: The service cannot be reached when a session starts.

    Source: the service's streaming reference and its Python SDK 1.8.2 (`tts/v1`), read 2026-11-22.
    """

    _key: SecretStr
    _route: Route
    _line: SpeechLine

    def __init__(
        self,
        voice_id: str = "aai-jane",
        *,
        language: str | None = None,
        sample_rate: int = 24_000,
        model_id: str | None = None,
        region: Literal["us", "eu"] | None = None,
        host: str | None = None,
        url: str | None = None,
        api_key: str | SecretStr | None = None,
        api_key_env: str = KEY_ENV,
        word_boundaries: bool = True,
        inactivity_timeout_s: int = 120,
        start_buffer_s: StartBuffer = 0.0,
        proxy: str | SecretStr | None = None,
    ) -> None:
        super().__init__()
        if not voice_id.strip():
            raise ConfigurationError('AssemblyAITTS: voice_id is empty; write for example "aai-jane"')
        if sample_rate not in SAMPLE_RATES:
            known = ", ".join(map(str, SAMPLE_RATES))
            raise ConfigurationError(f"AssemblyAITTS: sample_rate must be one of {known}, not {sample_rate}")
        if not 5 <= inactivity_timeout_s <= 120:
            raise ConfigurationError(
                f"AssemblyAITTS: inactivity_timeout_s must be between 5 and 120, not {inactivity_timeout_s}"
            )
        self.voice_id = voice_id
        self.language = language
        self.sample_rate = sample_rate
        self.model_id = model_id
        self.word_boundaries = word_boundaries
        self.inactivity_timeout_s = inactivity_timeout_s
        self.start_buffer_s = start_buffer_s
        self.url = socket_url("AssemblyAITTS", PATH, REGIONS, region=region, host=host, url=url)
        self._network = Network("AssemblyAITTS", self.url, proxy)
        self._credentials = credentials("AssemblyAITTS", self.url, api_key, api_key_env)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Read the key and the certificates, so that a missing one is an error before the first call."""
        self._key = self._credentials.read()
        self._route = await self._network.route()
        yield

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Hold a session with the service while the call lasts."""
        del session
        self._line = SpeechLine(self._endpoint(), self._begun)
        async with self._line.open():
            yield

    def adapt(self, settings: CallSettings) -> None:
        """Speak with the voice and in the language of the call.

        Raises:
            ConfigurationError: The service does not speak the language.
        """
        if settings.language is not None:
            if settings.language_code not in LANGUAGES:
                known = ", ".join(LANGUAGES)
                raise ConfigurationError(f"{self.name} speaks {known}, not {settings.language!r}")
            self.language = LANGUAGES[settings.language_code]
        self.voice_id = settings.voice or self.voice_id

    def _at_simulator(self, url: str) -> Self:
        """Return a copy that uses a simulator on this machine, without a key.

        Raises:
            ConfigurationError: The URL cannot be used.
        """
        twin = self._copied()
        twin.url = socket_url(self.name, PATH, REGIONS, region=None, host=None, url=url)
        twin._credentials = keyless(self.name, twin.url, urlsplit(twin.url).hostname or "")
        return twin

    async def synthesize(self, sentence: Sentence) -> AsyncGenerator[bytes | WordMark]:
        """Yield the audio as it comes, and the word times when they come. See `TTSSink.synthesize`."""
        before_s = 0.0
        for part in parts_of(sentence.text):
            request = self._line.ask(part.text)
            first_s = last_s = math.inf  # when its first piece was passed on, and when the wait for word times ends
            has_marks = not self.word_boundaries
            now = anyio.current_time()
            try:
                while True:
                    news = self._line.news
                    audio_s = request.came_bytes / 2 / self.sample_rate
                    if request.is_done and request.words is not None and not has_marks:
                        has_marks = True
                        for mark in part.marks(request.words, audio_s=audio_s, start_s=before_s):
                            yield mark
                    elif request.audio:
                        first_s = min(first_s, anyio.current_time())
                        yield request.audio.popleft()
                    elif request.error is not None:
                        raise request.error
                    elif request.is_done and (has_marks or not audio_s or now >= last_s):
                        break
                    else:
                        if request.is_done:
                            heard_s = first_s + audio_s - BEFORE_SILENCE_S
                            last_s = min(last_s, anyio.current_time() + MARKS_S, heard_s)
                        now = await self._line.changed(news, last_s)
            finally:
                self._line.drop(request)
            before_s += audio_s

    def _begun(self, now: float) -> TTSProtocol:
        return TTSProtocol(now, sample_rate=self.sample_rate, key=self._key)

    def _endpoint(self) -> Endpoint:
        wanted = {
            "voice_id": self.voice_id,
            "language": self.language,
            "model_id": self.model_id,
            "sample_rate": str(self.sample_rate),
            "encoding": "pcm_s16le",
            "word_boundaries": "true" if self.word_boundaries else "false",
            "inactivity_timeout": str(self.inactivity_timeout_s),
        }
        query = urlencode({name: value for name, value in wanted.items() if value})
        return Endpoint(vendor=VENDOR, url=f"{self.url}?{query}", key=self._key, route=self._route)

    def __repr__(self) -> str:
        """Show voice, rate and where the service is; never the key."""
        return f"<{self.name} {self.voice_id} {self.sample_rate} Hz at {self.url}>"
