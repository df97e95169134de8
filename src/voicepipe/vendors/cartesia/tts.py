"""Speech from Cartesia's text-to-speech websocket: its settings, and where it is.

Rule 1: what all voices over a websocket do alike is `LineVoice`'s; what the messages mean is the protocol's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voicepipe.errors import ConfigurationError
from voicepipe.vendors.cartesia.languages import LANGUAGES, OTHER_CODES
from voicepipe.vendors.cartesia.protocol import CartesiaProtocol
from voicepipe.vendors.cartesia.refusals import VENDOR
from voicepipe.vendors.line.address import socket_url
from voicepipe.vendors.line.key import socket_credentials
from voicepipe.vendors.line.socket import Endpoint
from voicepipe.vendors.line.speech_text import parts_of
from voicepipe.vendors.line.voice import LineVoice

if TYPE_CHECKING:
    from pydantic import SecretStr

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.speaking.voice_pace import StartBuffer
    from voicepipe.vendors.line.speech_text import SpokenPart

__all__ = ["CartesiaTTS"]

KEY_ENV: Final = "CARTESIA_API_KEY"

VERSION: Final = "2026-03-01"
"""The version of the service's interface that this was written for; every connection names it."""

HOSTS: Final[dict[str | None, str]] = {None: "api.cartesia.ai"}

PATH: Final = "/tts/websocket"

SAMPLE_RATES: Final = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)

MAX_CHARACTERS: Final = 500
"""The longest text of one request: half a minute of speech, which a cancelled request may still cost."""

MAX_MESSAGE_BYTES: Final = 1 << 22
"""The reference names no length of a piece of audio."""


class CartesiaTTS(LineVoice):
    """Speaks with a voice of Cartesia, over a websocket that is opened before the first turn and kept for all turns.

    CartesiaTTS("f786b574-daa5-4673-aa0c-cbe3e8534c02")                     # the key is in CARTESIA_API_KEY
    CartesiaTTS("f786b574-daa5-4673-aa0c-cbe3e8534c02", language="de", speed=1.1)

    Never tried live: it was checked against the vendor's Python SDK 4.2.0 and a simulator.

    What was heard is exact to the word, where the service sends word times; for some languages and texts ("2 + 2 = 4")
    it sends none, and what was heard is then an estimate. A sentence is one context. A turn's sentences do not share
    one, although that would carry the intonation over: the service ends a context one second after its audio, and the
    next sentence is requested when the one before it begins to play. At a barge-in the contexts are cancelled at once;
    what the service has begun it may still send, and that is thrown away. The socket stays open. One that is idle for
    four minutes is replaced before the service closes it, a lost one at once, and a sentence that had no audio yet is
    requested again.

    Args:
        voice_id: The id of a voice of the account.
        model_id: E.g. "sonic-3.5", "sonic-3" or "sonic-latest".
        language: A code of ISO 639, e.g. "de"; None leaves it to the service.
        sample_rate: Samples per second: 8000, 16000, 22050, 24000, 44100 or 48000.
        speed: 0.6 to 1.5 times the voice's own; from sonic-3 on.
        volume: 0.5 to 2.0 times the voice's own; from sonic-3 on.
        emotion: E.g. "content"; from sonic-3 on.
        pronunciation_dict_id: The id of a pronunciation dictionary of the account.
        host: Another host, over TLS.
        url: Another URL, e.g. "wss://tts.example.com"; "ws://" is for this machine alone.
        api_key: The key; a service at a ws:// URL may go without.
        api_key_env: Name of the environment variable that holds the key, read when the pipeline is opened.
        start_buffer_s: How long after its first audio a sentence is played; see `TTSSink`.
        proxy: URL of the proxy to use; see `AssemblyAITTS`.

    Raises:
        ConfigurationError: A value is invalid; raised here, or with the first sentence if only the service can tell.
        AuthenticationError: There is no key (when the pipeline is opened), or it is refused (when a session starts).
        VendorError: The service cannot be reached when a session starts.

    Source: the service's reference of version 2026-03-01, read 2026-11-30.
    """

    reads_numbers = True  # its guide "Text normalization" (read 2026-11-30): in each request, unless that is turned off

    def __init__(
        self,
        voice_id: str = "f786b574-daa5-4673-aa0c-cbe3e8534c02",
        *,
        model_id: str = "sonic-3.5",
        language: str | None = None,
        sample_rate: int = 24_000,
        speed: float | None = None,
        volume: float | None = None,
        emotion: str | None = None,
        pronunciation_dict_id: str | None = None,
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
                raise ConfigurationError(f"CartesiaTTS: {name} is empty; write the id from the playground")
        if sample_rate not in SAMPLE_RATES:
            known = ", ".join(map(str, SAMPLE_RATES))
            raise ConfigurationError(f"CartesiaTTS: sample_rate must be one of {known}, not {sample_rate}")
        for name, factor, least, most in (("speed", speed, 0.6, 1.5), ("volume", volume, 0.5, 2.0)):
            if factor is not None and not least <= factor <= most:
                raise ConfigurationError(f"CartesiaTTS: {name} must be between {least} and {most}, not {factor}")
        self.voice_id = voice_id
        self.model_id = model_id
        self.language = None if language is None else _code(language)
        self.sample_rate = sample_rate
        self.speed = speed
        self.volume = volume
        self.emotion = emotion
        self.pronunciation_dict_id = pronunciation_dict_id
        self.start_buffer_s = start_buffer_s
        self.url = socket_url("CartesiaTTS", PATH, HOSTS, region=None, host=host, url=url)
        key = socket_credentials("CartesiaTTS", self.url, api_key, api_key_env, usual_env=KEY_ENV, vendor=VENDOR)
        self._reach("CartesiaTTS", proxy, key)

    def adapt(self, settings: CallSettings) -> None:
        """Speak with the voice and in the language of the call.

        Raises:
            ConfigurationError: The service does not speak the language.
        """
        if settings.language is not None:
            self.language = _code(settings.language)
        self.voice_id = settings.voice or self.voice_id

    def _parts(self, text: str) -> list[SpokenPart]:
        return parts_of(text, max_characters=MAX_CHARACTERS)

    def _url_at(self, url: str) -> str:
        return socket_url(self.name, PATH, HOSTS, region=None, host=None, url=url)

    def _begun(self, now: float, endpoint: Endpoint) -> CartesiaProtocol:
        return CartesiaProtocol(now, sample_rate=self.sample_rate, clean=endpoint.clean, settings=self._settings())

    def _settings(self) -> dict[str, object]:
        """Return what each message holds besides the text."""
        manner = {"speed": self.speed, "volume": self.volume, "emotion": self.emotion}
        wanted: dict[str, object] = {
            "model_id": self.model_id,
            "voice": {"mode": "id", "id": self.voice_id},
            "language": self.language,
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": self.sample_rate},
            "generation_config": {name: value for name, value in manner.items() if value is not None} or None,
            "pronunciation_dict_id": self.pronunciation_dict_id,
            "add_timestamps": True,
            "use_normalized_timestamps": False,  # the words as they were sent, which can be found in the text
            "max_buffer_delay_ms": 0,  # a request is a whole sentence, which need not wait for more
        }
        return {name: value for name, value in wanted.items() if value is not None}

    def _endpoint(self) -> Endpoint:
        return Endpoint(
            vendor=VENDOR,
            url=self.url,
            key=self._key,
            route=self._route,
            header="X-API-Key",
            headers={"Cartesia-Version": VERSION},
            max_message_bytes=MAX_MESSAGE_BYTES,
            id_header="X-Request-Id",
        )

    def __repr__(self) -> str:
        """Show voice, model, rate and where the service is; never the key."""
        return f"<{self.name} {self.voice_id} {self.model_id} {self.sample_rate} Hz at {self.url}>"


def _code(language: str) -> str:
    code = language.partition("-")[0].lower()
    code = OTHER_CODES.get(code, code)
    if code not in LANGUAGES:
        raise ConfigurationError(f"CartesiaTTS: speaks {' '.join(sorted(LANGUAGES))}, not {language!r}")
    return code
