"""Speech from AssemblyAI's streaming text-to-speech: its settings, and where it is.

Rule 1: what all voices over a websocket do alike is `LineVoice`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlencode

from voicepipe.errors import ConfigurationError
from voicepipe.vendors.assemblyai.key import KEY_ENV, VENDOR, credentials
from voicepipe.vendors.assemblyai.tts_protocol import TTSProtocol
from voicepipe.vendors.line.address import socket_url
from voicepipe.vendors.line.socket import Endpoint
from voicepipe.vendors.line.speech_text import parts_of
from voicepipe.vendors.line.voice import LineVoice

if TYPE_CHECKING:
    from pydantic import SecretStr

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.speaking.voice_pace import StartBuffer
    from voicepipe.vendors.line.speech_text import SpokenPart

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

MAX_CHARACTERS: Final = 1000
"""The longest text of one request: about a minute of speech. The service takes 2000, but only 1500 without a pause, and
a barge-in drops a whole request."""

MAX_RUN: Final = 40
"""The longest run without white space; the service refuses somewhere between 40 and 60."""


class AssemblyAITTS(LineVoice):
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
        self._reach("AssemblyAITTS", proxy, credentials("AssemblyAITTS", self.url, api_key, api_key_env))

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

    def _url_at(self, url: str) -> str:
        return socket_url(self.name, PATH, REGIONS, region=None, host=None, url=url)

    def _parts(self, text: str) -> list[SpokenPart]:
        return parts_of(text, max_characters=MAX_CHARACTERS, max_run=MAX_RUN)

    @property
    def _wants_words(self) -> bool:
        return self.word_boundaries

    def _begun(self, now: float, endpoint: Endpoint) -> TTSProtocol:
        return TTSProtocol(now, sample_rate=self.sample_rate, key=endpoint.key)

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
