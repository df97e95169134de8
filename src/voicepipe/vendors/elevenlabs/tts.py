"""Speech from ElevenLabs' multi-context websocket: its settings, and where it is.

Rule 1: what all voices over a websocket do alike is `LineVoice`'s; what the messages mean is the protocol's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote, urlencode

from voicepipe.errors import ConfigurationError
from voicepipe.vendors.elevenlabs.languages import LANGUAGES, ONLY_BY_TEXT, OTHER_CODES
from voicepipe.vendors.elevenlabs.protocol import INACTIVITY_S, ElevenLabsProtocol
from voicepipe.vendors.elevenlabs.refusals import VENDOR
from voicepipe.vendors.line.address import socket_url
from voicepipe.vendors.line.key import socket_credentials
from voicepipe.vendors.line.socket import Endpoint
from voicepipe.vendors.line.speech_text import parts_of
from voicepipe.vendors.line.voice import LineVoice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import SecretStr

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.speaking.voice_pace import StartBuffer
    from voicepipe.vendors.line.speech_text import SpokenPart

__all__ = ["ElevenLabsTTS"]

KEY_ENV: Final = "ELEVENLABS_API_KEY"

REGIONS: Final[dict[str | None, str]] = {
    None: "api.elevenlabs.io",
    "us": "api.us.elevenlabs.io",
    "eu": "api.eu.residency.elevenlabs.io",
    "in": "api.in.residency.elevenlabs.io",
    "sg": "api.sg.residency.elevenlabs.io",
}

PATH: Final = "/v1/text-to-speech"

SAMPLE_RATES: Final = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)

VOICE_SETTINGS: Final = ("stability", "similarity_boost", "style", "use_speaker_boost", "speed")

MAX_CHARACTERS: Final = 500
"""The longest text of one request: half a minute of speech. Nothing stops a request that the service has."""

MAX_MESSAGE_BYTES: Final = 1 << 24
"""A message may hold more than a megabyte of audio; with the usual limit the client would break the connection."""


class ElevenLabsTTS(LineVoice):
    """Speaks with a voice of ElevenLabs, over a websocket that is opened before the first turn and kept for all turns.

    ElevenLabsTTS("JBFqnCBsd6RMkjVDRZzb")                                 # the key is in ELEVENLABS_API_KEY
    ElevenLabsTTS("JBFqnCBsd6RMkjVDRZzb", language="de", voice_settings={"stability": 0.4, "speed": 1.1})

    Never tried live: it was checked against the vendor's Python SDK 2.78.0 and a simulator.

    What was heard is exact to the word: the service times each character. A sentence is one context. A turn's sentences
    do not share one, although that would carry the intonation over: the audio does not say which sentence it belongs
    to, and a context that waits for the next sentence is ended. At a barge-in the sentences are dropped here at once,
    and what the service still sends of them is thrown away; it cannot be asked to stop, since closing a context lets it
    finish. The socket stays open. One that is idle for two minutes is replaced before the service closes it, a lost one
    at once, and a sentence that had no audio yet is requested again.

    Args:
        voice_id: The id of a voice of the account.
        model_id: "eleven_flash_v2_5" is the fastest; "eleven_v3" has no such websocket.
        language: A code of ISO 639, e.g. "de"; None lets the model tell by the text.
        sample_rate: Samples per second: 8000, 16000, 22050, 24000, 32000, 44100 or 48000; some need a larger plan.
        voice_settings: stability, similarity_boost, style, use_speaker_boost, speed; the voice's own otherwise.
        text_normalization: Whether the service spells out numbers and dates: "auto", "on" or "off". With "on", a
            `Speakable` leaves it to the service.
        region: Where the text is processed, for accounts that have data residency: "us", "eu", "in" or "sg".
        host: Another host, over TLS.
        url: Another URL, e.g. "wss://tts.example.com"; "ws://" is for this machine alone.
        api_key: The key; a service at a ws:// URL may go without.
        api_key_env: Name of the environment variable that holds the key, read when the pipeline is opened.
        start_buffer_s: How long after its first audio a sentence is played; see `TTSSink`.
        proxy: URL of the proxy to use; see `AssemblyAITTS`.

    Raises:
        ConfigurationError: A value is invalid; raised here, or with the first sentence if only the service can tell.
        AuthenticationError: There is no key (when the pipeline is opened), or it is refused (with the first sentence).
        VendorError: The service cannot be reached when a session starts.

    Source: the service's reference and guide of the multi-context websocket, read 2026-11-30.
    """

    def __init__(
        self,
        voice_id: str = "JBFqnCBsd6RMkjVDRZzb",
        *,
        model_id: str = "eleven_flash_v2_5",
        language: str | None = None,
        sample_rate: int = 24_000,
        voice_settings: Mapping[str, float | bool] | None = None,
        text_normalization: Literal["auto", "on", "off"] = "auto",
        region: Literal["us", "eu", "in", "sg"] | None = None,
        host: str | None = None,
        url: str | None = None,
        api_key: str | SecretStr | None = None,
        api_key_env: str = KEY_ENV,
        start_buffer_s: StartBuffer = 0.0,
        proxy: str | SecretStr | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("voice_id", voice_id), ("model_id", model_id)):
            if not value.strip():
                raise ConfigurationError(f"ElevenLabsTTS: {name} is empty; write the id from the dashboard")
        if sample_rate not in SAMPLE_RATES:
            known = ", ".join(map(str, SAMPLE_RATES))
            raise ConfigurationError(f"ElevenLabsTTS: sample_rate must be one of {known}, not {sample_rate}")
        if unknown := sorted(set(voice_settings or ()) - set(VOICE_SETTINGS)):
            known = ", ".join(VOICE_SETTINGS)
            raise ConfigurationError(f"ElevenLabsTTS: voice_settings has {known}, not {', '.join(unknown)}")
        if text_normalization not in ("auto", "on", "off"):
            raise ConfigurationError(
                f'ElevenLabsTTS: text_normalization must be "auto", "on" or "off", not {text_normalization!r}'
            )
        self.voice_id = voice_id
        self.model_id = model_id
        self.language = None if language is None else self._code(language)
        self.sample_rate = sample_rate
        self.voice_settings = dict(voice_settings or {})
        self.text_normalization = text_normalization
        self.reads_numbers = text_normalization == "on"  # with "auto" nobody knows
        self.start_buffer_s = start_buffer_s
        self.url = socket_url("ElevenLabsTTS", PATH, REGIONS, region=region, host=host, url=url)
        key = socket_credentials("ElevenLabsTTS", self.url, api_key, api_key_env, usual_env=KEY_ENV, vendor=VENDOR)
        self._reach("ElevenLabsTTS", proxy, key)

    def adapt(self, settings: CallSettings) -> None:
        """Speak with the voice and in the language of the call.

        Raises:
            ConfigurationError: The model does not speak the language.
        """
        if settings.language is not None:
            self.language = self._code(settings.language)
        self.voice_id = settings.voice or self.voice_id

    def _code(self, language: str) -> str:
        code = language.partition("-")[0].lower()
        code = OTHER_CODES.get(code, code)
        if code not in LANGUAGES.get(self.model_id, {code}):
            known = " ".join(sorted(LANGUAGES[self.model_id]))
            raise ConfigurationError(f"ElevenLabsTTS: {self.model_id} speaks {known}, not {language!r}")
        return code

    def _parts(self, text: str) -> list[SpokenPart]:
        return parts_of(text, max_characters=MAX_CHARACTERS)

    def _url_at(self, url: str) -> str:
        return socket_url(self.name, PATH, REGIONS, region=None, host=None, url=url)

    def _begun(self, now: float, endpoint: Endpoint) -> ElevenLabsProtocol:
        return ElevenLabsProtocol(
            now, sample_rate=self.sample_rate, clean=endpoint.clean, voice_settings=self.voice_settings
        )

    def _endpoint(self) -> Endpoint:
        wanted = {
            "model_id": self.model_id,
            "language_code": None if self.model_id in ONLY_BY_TEXT else self.language,
            "output_format": f"pcm_{self.sample_rate}",
            "auto_mode": "true",  # a request is a whole sentence, which need not wait for more
            "sync_alignment": "true",
            "apply_text_normalization": self.text_normalization,
            "inactivity_timeout": str(INACTIVITY_S),
        }
        query = urlencode({name: value for name, value in wanted.items() if value})
        return Endpoint(
            vendor=VENDOR,
            url=f"{self.url}/{quote(self.voice_id, safe='')}/multi-stream-input?{query}",
            key=self._key,
            route=self._route,
            header="xi-api-key",
            max_message_bytes=MAX_MESSAGE_BYTES,
            id_header="x-trace-id",
        )

    def __repr__(self) -> str:
        """Show voice, model, rate and where the service is; never the key."""
        return f"<{self.name} {self.voice_id} {self.model_id} {self.sample_rate} Hz at {self.url}>"
