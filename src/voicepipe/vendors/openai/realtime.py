"""OpenAI's Realtime API: a model that hears and speaks, as one stage of a row."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlencode, urlsplit

from voicepipe.errors import ConfigurationError
from voicepipe.hosted.agent import SpeechToSpeech
from voicepipe.http.network import Network
from voicepipe.vendors.credentials import Credentials
from voicepipe.vendors.line.address import socket_url
from voicepipe.vendors.line.agent_socket import AgentSocket
from voicepipe.vendors.line.socket import Endpoint
from voicepipe.vendors.openai.realtime_protocol import VENDOR, RealtimeProtocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from pydantic import SecretStr

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.hosted.line import AgentConnection
    from voicepipe.hosted.messages import AgentSetup
    from voicepipe.http.network import Route

__all__ = ["OpenAIRealtimeAgent"]

HOSTS: Final[dict[str | None, str]] = {None: "api.openai.com"}

PATH: Final = "/v1/realtime"

KEY_ENV: Final = "OPENAI_API_KEY"

FORMATS: Final[dict[int, dict[str, Any]]] = {
    24_000: {"type": "audio/pcm", "rate": 24_000},
    8_000: {"type": "audio/pcmu"},
}
"""What the service takes and gives, by sample rate; 8 kHz is a telephone's G.711."""


class OpenAIRealtimeAgent(SpeechToSpeech):
    """A model of OpenAI's Realtime API: it hears, answers and speaks, and calls the tools of the `ToolRouter` after it.

    Pipeline(MicSource(), OpenAIRealtimeAgent("Be brief."), ToolRouter([get_order]))

    One websocket takes the place of recogniser, model and voice. The service decides when the caller has finished and
    when it yields to them, and learns how much of a cut reply was heard. Its audio comes faster than real time, and
    its words have no times, so the history of a cut reply is an estimate. See docs/hosted-agents.md. Any server of the
    same protocol works. Never tried live: checked against the types of the `openai` package 3.57 and simulators.

    Args:
        instructions: The system prompt.
        model: The model: any name that the service knows.
        voice: A voice, e.g. "marin"; None for the service's own choice.
        sample_rate: 24000, or 8000 for a telephone's G.711.
        transcription_model: Writes down what the caller says, for events and history; the model itself hears the sound.
        language: The language of the caller, e.g. "de"; None lets it be guessed.
        eagerness: Ends the caller's turn by what they say, sooner or later: "low", "medium", "high" or "auto". None
            ends it by silence alone.
        silence_s: The silence that ends the caller's turn without `eagerness`; 0.5 s by default.
        interrupts: Whether the caller's voice interrupts the agent.
        host: Another host, over TLS.
        url: Another URL, e.g. "ws://127.0.0.1:8000/v1/realtime"; ws:// reaches only this machine.
        api_key: The key; a service at a ws:// URL may go without.
        api_key_env: Name of the environment variable that holds it otherwise, read when the pipeline is opened.
        proxy: URL of the proxy to use; "direct" for none. None leaves it to the environment.

    Raises:
        ConfigurationError: A value is invalid; raised here, or when a call begins and the service refuses it.
        AuthenticationError: There is no key (when the pipeline is opened), or it is refused (when a call begins).
        VendorError: The service cannot be reached, or was lost and cannot be reached again.

    Source: the types of the `openai` package 3.57 and OpenAI's Realtime reference, read 2026-11-30.
    """

    repeats_tags = True
    fills_silence = True

    _key: SecretStr
    _route: Route

    def __init__(
        self,
        instructions: str = "",
        *,
        model: str = "gpt-realtime",
        voice: str | None = None,
        sample_rate: Literal[24_000, 8_000] = 24_000,
        transcription_model: str = "gpt-4o-mini-transcribe",
        language: str | None = None,
        eagerness: Literal["low", "medium", "high", "auto"] | None = None,
        silence_s: float | None = None,
        interrupts: bool = True,
        host: str | None = None,
        url: str | None = None,
        api_key: str | SecretStr | None = None,
        api_key_env: str = KEY_ENV,
        proxy: str | SecretStr | None = None,
    ) -> None:
        if sample_rate not in FORMATS:
            raise ConfigurationError(f"{self.name}: sample_rate must be 24000 or 8000, not {sample_rate!r}")
        for name, value in (("model", model), ("transcription_model", transcription_model), ("voice", voice)):
            if value is not None and not value.strip():
                raise ConfigurationError(f"{self.name}: {name} is empty; leave it out for the default")
        if eagerness not in (None, "low", "medium", "high", "auto"):
            raise ConfigurationError(f'{self.name}: eagerness must be "low", "medium", "high" or "auto"')
        if silence_s is not None and (eagerness is not None or not 0 < silence_s <= 10):
            raise ConfigurationError(f"{self.name}: silence_s must be up to 10 seconds, and goes without eagerness")
        self.instructions = instructions
        self.model = model
        self.voice = voice
        self.sample_rate = sample_rate
        self.transcription_model = transcription_model
        self.language = language
        self.eagerness = eagerness
        self.silence_s = silence_s
        self.interrupts = interrupts
        self.url = socket_url(self.name, PATH, HOSTS, region=None, host=host, url=url)
        self._network = Network(self.name, self.url, proxy)
        parts = urlsplit(self.url)
        self._credentials = Credentials(
            self.name,
            self.url,
            parts.hostname or "",
            api_key=api_key,
            api_key_env=None if api_key is not None or api_key_env == KEY_ENV else api_key_env,
            usual_env=KEY_ENV,
            vendor=VENDOR,
            is_optional=parts.scheme == "ws",
        )

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Read the key and the certificates, so that a missing one is an error before the first call."""
        self._key = self._credentials.read()
        self._route = await self._network.route()
        yield

    def adapt(self, settings: CallSettings) -> None:
        """Take over voice and language of one call; the service takes no key terms."""
        settings.refuse(self.name, "key_terms")
        if settings.voice is not None:
            self.voice = settings.voice
        if settings.language is not None:
            self.language = settings.language_code

    async def connect(self, setup: AgentSetup) -> AgentConnection:
        """Begin a session with the service."""
        endpoint = Endpoint(
            vendor=VENDOR,
            url=f"{self.url}?{urlencode({'model': self.model})}",
            key=self._key,
            route=self._route,
            scheme="Bearer ",
        )
        is_telephone = self.sample_rate == 8_000
        protocol = RealtimeProtocol(self._session(), self._key, is_telephone=is_telephone, interrupts=self.interrupts)
        return await AgentSocket.open(endpoint, protocol, setup)

    def _session(self) -> dict[str, Any]:
        """Return the fields of the first `session.update`, without prompt and tools."""
        heard = {"model": self.transcription_model} | ({"language": self.language} if self.language else {})
        audio: dict[str, Any] = {
            "input": {
                "format": FORMATS[self.sample_rate],
                "transcription": heard,
                "turn_detection": self._turn_detection(),
            },
            "output": {"format": FORMATS[self.sample_rate]} | ({"voice": self.voice} if self.voice else {}),
        }
        return {"output_modalities": ["audio"], "audio": audio}

    def _turn_detection(self) -> dict[str, Any]:
        turns: dict[str, Any] = {"create_response": True, "interrupt_response": self.interrupts}
        if self.eagerness is not None:
            return {"type": "semantic_vad", "eagerness": self.eagerness, **turns}
        silence = {} if self.silence_s is None else {"silence_duration_ms": round(self.silence_s * 1000)}
        return {"type": "server_vad", **silence, **turns}

    def __repr__(self) -> str:
        """Show the model and where it is."""
        return f"<{self.name} {self.model} at {urlsplit(self.url).hostname}>"
