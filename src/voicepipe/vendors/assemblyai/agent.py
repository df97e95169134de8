"""AssemblyAI's Voice Agent API: an agent that the service hosts, as one stage of a row."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from urllib.parse import urlsplit

from voicepipe.errors import ConfigurationError, VendorError
from voicepipe.hosted.agent import SpeechToSpeech
from voicepipe.http.network import Network
from voicepipe.vendors.assemblyai.agent_protocol import VoiceAgentProtocol
from voicepipe.vendors.assemblyai.key import KEY_ENV, VENDOR, credentials
from voicepipe.vendors.credentials import keyless
from voicepipe.vendors.line.address import socket_url
from voicepipe.vendors.line.agent_socket import AgentSocket
from voicepipe.vendors.line.socket import Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from typing import Self

    from pydantic import SecretStr

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.hosted.line import AgentConnection
    from voicepipe.hosted.messages import AgentSetup
    from voicepipe.http.network import Route

__all__ = ["HostedVoiceAgent"]

HOSTS: Final = {
    None: "agents.assemblyai.com",
    "us": "agents.us.assemblyai.com",
    "eu": "agents.eu.assemblyai.com",
}

PATH: Final = "/v1/ws"

ENCODINGS: Final = {24_000: "audio/pcm", 8_000: "audio/pcmu"}
"""What the service takes and gives, by sample rate; 8 kHz is a telephone's G.711."""

MAX_KEYTERMS: Final = 100


class HostedVoiceAgent(SpeechToSpeech):
    """An agent that AssemblyAI hosts: it hears, answers and speaks, and calls the tools of the `ToolRouter` after it.

    Pipeline(MicSource(), HostedVoiceAgent("Be brief."), ToolRouter([get_order]))

    One websocket takes the place of recogniser, model and voice. The service decides when the caller has finished and
    when it yields to them. See docs/hosted-agents.md for what differs from a row of four. Never tried live: written
    from the vendor's reference and notes of its users, and checked against a simulator.

    Args:
        instructions: The system prompt.
        greeting: What the service says first, word for word; `host.session(greeting=...)` asks it to say a text.
        voice: A voice, e.g. "jane"; None for the service's own choice.
        agent_id: A stored agent of the account instead; prompt and voice are then its own, unless `instructions` are
            given, and its tools are those of the `ToolRouter`, if there are any.
        sample_rate: 24000, or 8000 for a telephone's G.711.
        keyterms: Up to 100 words that it has to expect, such as names.
        language_codes: The languages that it has to expect, e.g. ["en", "de"]; None for the service's own choice.
        min_silence_s: How long the caller is silent at least before they are answered; 1 s by default.
        max_silence_s: How long at most; 3 s by default. Either turns the service's adaptive waits off.
        vad_threshold: How sure the service must be that it hears speech, 0 to 1; 0.5 by default.
        interrupts: Whether the caller's voice interrupts the agent.
        volume: 0 to 100; None for the service's own.
        region: Where audio is processed, "us" or "eu"; the nearest place otherwise.
        host: Another host, over TLS.
        url: Another URL, e.g. "ws://127.0.0.1:8098"; ws:// reaches only this machine.
        api_key: The key; a service at a ws:// URL may go without.
        api_key_env: Name of the environment variable that holds it otherwise, read when the pipeline is opened.
        proxy: URL of the proxy to use; "direct" for none. None leaves it to the environment.

    Raises:
        ConfigurationError: A value is invalid; raised here, or when a call begins and the service refuses it.
        AuthenticationError: There is no key (when the pipeline is opened), or it is refused (when a call begins).
        VendorError: The service cannot be reached, or was lost and cannot be reached again.

    Source: the vendor's Voice Agent reference and notes of its users, read 2026-11-22.
    """

    fills_silence = False  # whether it can speak while it waits for a tool's result is in no reference

    _key: SecretStr
    _route: Route

    def __init__(
        self,
        instructions: str = "",
        *,
        greeting: str = "",
        voice: str | None = None,
        agent_id: str | None = None,
        sample_rate: Literal[24_000, 8_000] = 24_000,
        keyterms: Sequence[str] = (),
        language_codes: Sequence[str] | None = None,
        min_silence_s: float | None = None,
        max_silence_s: float | None = None,
        vad_threshold: float | None = None,
        interrupts: bool = True,
        volume: int | None = None,
        region: Literal["us", "eu"] | None = None,
        host: str | None = None,
        url: str | None = None,
        api_key: str | SecretStr | None = None,
        api_key_env: str = KEY_ENV,
        proxy: str | SecretStr | None = None,
    ) -> None:
        if isinstance(cast("object", language_codes), str):
            raise ConfigurationError(f'{self.name}: language_codes must be a list, e.g. ["en", "de"], not a text')
        if volume is not None and not 0 <= volume <= 100:
            raise ConfigurationError(f"{self.name}: volume must be 0 to 100, not {volume}")
        if sample_rate not in ENCODINGS:
            raise ConfigurationError(f"{self.name}: sample_rate must be 24000 or 8000, not {sample_rate!r}")
        if voice is not None and not voice.strip():
            raise ConfigurationError(f'{self.name}: voice is empty; write for example "jane", or leave it out')
        if agent_id is not None and not agent_id.strip():
            raise ConfigurationError(f"{self.name}: agent_id is empty; give a stored agent's id, or leave it out")
        if agent_id is not None and (voice is not None or greeting):
            raise ConfigurationError(f"{self.name}: a stored agent has its own voice and greeting; leave them out")
        self.instructions = instructions
        self.greeting = greeting
        self.voice = voice
        self.agent_id = agent_id
        self.sample_rate = sample_rate
        self.has_greeting = bool(greeting.strip())
        self.keyterms = self._terms(keyterms)
        self.language_codes = list(language_codes) if language_codes is not None else None
        self.volume = volume
        self._turns = self._turn_detection(min_silence_s, max_silence_s, vad_threshold, interrupts=interrupts)
        self.url = socket_url(self.name, PATH, HOSTS, region=region, host=host, url=url)
        self._network = Network(self.name, self.url, proxy)
        self._credentials = credentials(self.name, self.url, api_key, api_key_env)

    def _terms(self, terms: Sequence[str]) -> list[str]:
        if isinstance(terms, str) or len(terms) > MAX_KEYTERMS:
            raise ConfigurationError(f"{self.name}: keyterms must be a list of up to {MAX_KEYTERMS} words")
        return list(terms)

    def _turn_detection(
        self, min_s: float | None, max_s: float | None, threshold: float | None, *, interrupts: bool
    ) -> dict[str, Any]:
        """Return how the service takes turns, in its words."""
        for name, value in (("min_silence_s", min_s), ("max_silence_s", max_s)):
            if value is not None and not 0.05 <= value <= 10:
                raise ConfigurationError(f"{self.name}: {name} must be 0.05 to 10 seconds, not {value}")
        if min_s is not None and max_s is not None and not min_s < max_s:
            raise ConfigurationError(f"{self.name}: min_silence_s must be less than max_silence_s")
        if threshold is not None and not 0 <= threshold <= 1:
            raise ConfigurationError(f"{self.name}: vad_threshold must be 0 to 1, not {threshold}")
        given = {
            "vad_threshold": threshold,
            "min_silence": None if min_s is None else round(min_s * 1000),
            "max_silence": None if max_s is None else round(max_s * 1000),
            "interrupt_response": None if interrupts else False,
        }
        return {name: value for name, value in given.items() if value is not None}

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Read the key and the certificates, so that a missing one is an error before the first call."""
        self._key = self._credentials.read()
        self._route = await self._network.route()
        yield

    def adapt(self, settings: CallSettings) -> None:
        """Take over voice, language and key terms of one call."""
        if self.agent_id is not None:
            settings.refuse(self.name, "voice")
        if settings.voice is not None:
            self.voice = settings.voice
        if settings.language is not None:
            self.language_codes = [settings.language_code]
        if settings.key_terms is not None:
            self.keyterms = self._terms(settings.key_terms)

    async def connect(self, setup: AgentSetup) -> AgentConnection:
        """Begin a session with the service, or go on with a lost one if the service still has it."""
        if setup.resumes:
            try:
                return await self._connected(setup)
            except VendorError as error:
                if error.retryable:
                    raise
        return await self._connected(replace(setup, resumes=""))

    async def _connected(self, setup: AgentSetup) -> AgentConnection:
        endpoint = Endpoint(vendor=VENDOR, url=self.url, key=self._key, route=self._route, scheme="Bearer ")
        protocol = VoiceAgentProtocol(self._session(), self._key, is_telephone=self.sample_rate == 8_000)
        return await AgentSocket.open(endpoint, protocol, setup)

    def _session(self) -> dict[str, Any]:
        """Return the session's fields, without prompt and tools; a stored agent has an audio format of its own."""
        stored: dict[str, Any] = {} if self.agent_id is None else {"agent_id": self.agent_id}
        audio = {} if stored else {"format": {"encoding": ENCODINGS[self.sample_rate]}}
        heard: dict[str, Any] = dict(audio)
        spoken: dict[str, Any] = dict(audio)
        for fields, name, value in (
            (heard, "keyterms", self.keyterms),
            (heard, "language_codes", self.language_codes),
            (heard, "turn_detection", self._turns),
            (spoken, "voice", self.voice),
            (spoken, "volume", self.volume),
        ):
            if value not in (None, [], {}):
                fields[name] = value
        session = stored | {name: fields for name, fields in (("input", heard), ("output", spoken)) if fields}
        return session | ({"greeting": self.greeting} if self.has_greeting else {})

    def _at_simulator(self, url: str) -> Self:
        """Return a copy that uses a simulator on this machine, without a key.

        Raises:
            ConfigurationError: The URL cannot be used.
        """
        twin = self._copied()
        twin.url = socket_url(self.name, PATH, HOSTS, region=None, host=None, url=url)
        twin._credentials = keyless(self.name, twin.url, urlsplit(twin.url).hostname or "")
        return twin

    def __repr__(self) -> str:
        """Show the voice and where it is."""
        return f"<{self.name} {self.agent_id or self.voice or 'default voice'} at {urlsplit(self.url).hostname}>"
