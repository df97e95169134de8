"""The recogniser of AssemblyAI: Universal-3 Pro Streaming, and its relatives."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from voicepipe.errors import ConfigurationError
from voicepipe.http.network import Network
from voicepipe.vendors.assemblyai.key import KEY_ENV, VENDOR, credentials
from voicepipe.vendors.assemblyai.pace import Pace
from voicepipe.vendors.assemblyai.parameters import StreamingParameters, is_word_by_word
from voicepipe.vendors.assemblyai.stt_messages import event_models
from voicepipe.vendors.assemblyai.stt_session import AssemblyAIHearing
from voicepipe.vendors.line.address import socket_url
from voicepipe.vendors.line.streaming_recogniser import StreamingRecogniser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from pydantic import SecretStr

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.turntaking.rules import Eagerness

__all__ = ["AssemblyAIRecogniser"]

HOSTS: Final = {
    None: "streaming.assemblyai.com",
    "us": "streaming.us.assemblyai.com",
    "eu": "streaming.eu.assemblyai.com",
}

PATH: Final = "/v3/ws"

ENGLISH_MODEL: Final = "universal-streaming-english"

REMEMBERED_CHARACTERS: Final = 1500
"""How much of the agent's words is sent: the service keeps about as much."""


class AssemblyAIRecogniser(StreamingRecogniser):
    """Recognises speech with AssemblyAI's streaming service.

    The connection is made when a call begins, and replaced within a second when it breaks: the audio since the last
    final transcript, up to 5 s, is sent again, and the session emits `RecogniserLost`. A service that stops responding
    is noticed within 5 s. A session is renewed before it is three hours old.

    `SpeechStarted` comes late, half a second to more than a second after the caller began: for a quick barge-in install
    the extra `detector`. An early transcript is stable when it ends like a sentence, when it came twice, when the
    service marks it as an utterance, or when it is probably the end of the turn.

    Args:
        api_key: The key; a service at a ws:// URL may go without.
        api_key_env: Name of the environment variable that holds the key otherwise, read when the pipeline is opened.
        region: Where audio is processed; the nearest place unless it is "us" or "eu".
        host: Another host instead, perhaps with its port.
        url: Another URL instead, e.g. "ws://127.0.0.1:8098"; ws:// reaches only this machine.
        speech_model: The model: any name that the service knows.
        parameters: The settings.
        sends_agent_context: Whether the service receives what the caller heard the agent say, which helps it to
            understand the answer. Models before Universal-3 do not receive it.
        proxy: URL of the proxy to use, e.g. "http://user:password@proxy.example.com:3128"; "direct" for none. None
            leaves it to the environment (HTTPS_PROXY, ALL_PROXY, NO_PROXY), whose proxies never serve this machine.

    Raises:
        ConfigurationError: A value is invalid, or the service refuses it.
        AuthenticationError: There is no key, or the service refuses it.
        VendorError: The service cannot be reached, or was lost and cannot be reached again.

    Source: the vendor's streaming reference and its Python SDK 1.8.2, read 2026-11-22.
    """

    _vendor = VENDOR
    _path = PATH

    def __init__(
        self,
        *,
        api_key: str | SecretStr | None = None,
        api_key_env: str = KEY_ENV,
        region: Literal["us", "eu"] | None = None,
        host: str | None = None,
        url: str | None = None,
        speech_model: str = "u3-rt-pro",
        parameters: StreamingParameters | None = None,
        sends_agent_context: bool = True,
        proxy: str | SecretStr | None = None,
    ) -> None:
        if not isinstance(cast("object", speech_model), str) or not speech_model.strip():
            raise ConfigurationError(f"{self.name}: speech_model must name a model, e.g. 'u3-rt-pro'")
        if parameters is not None and not isinstance(cast("object", parameters), StreamingParameters):
            raise ConfigurationError(f"{self.name}: parameters must be StreamingParameters(...), not {parameters!r}")
        url = socket_url(self.name, PATH, HOSTS, region=region, host=host, url=url)
        super().__init__(url, Network(self.name, url, proxy), credentials(self.name, url, api_key, api_key_env))
        self.speech_model = speech_model
        self.parameters = parameters or StreamingParameters()
        self.sample_rate = self.parameters.sample_rate
        self.sends_agent_context = sends_agent_context
        self._protocol: AssemblyAIHearing | None = None
        self._pace = Pace.of(self.speech_model, self.parameters)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Read the key and the certificates, and import the vendor's SDK while no call would have to wait for it."""
        async with super().open():
            event_models()
            yield

    def _begun(self) -> AssemblyAIHearing:
        self._protocol = AssemblyAIHearing(self.speech_model, self.parameters)
        return self._protocol

    def adapt(self, settings: CallSettings) -> None:
        """Recognise the language of the call, and expect its key terms, instead of those of `parameters`.

        Raises:
            ConfigurationError: The model knows English only, or there are too many key terms or too long ones.
        """
        changes: dict[str, Any] = {}
        if settings.language is not None and self.speech_model != ENGLISH_MODEL:
            changes["language_codes"] = [settings.language_code]
        elif settings.language_code not in ("", "en"):
            raise ConfigurationError(
                f"{self.name}: the model {ENGLISH_MODEL} knows English only, not {settings.language!r}; set another "
                "speech_model"
            )
        if settings.key_terms is not None:
            changes["keyterms_prompt"] = settings.key_terms
        try:
            self.parameters = replace(self.parameters, **changes)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.name}: {error}") from None

    def update(self, **changes: Any) -> None:  # noqa: ANN401 - each recogniser has its own
        """Change settings, on this connection and on later ones.

        Args:
            changes: Fields of `StreamingParameters` that are marked there as changeable in mid-call.

        Raises:
            ConfigurationError: A name is unknown or fixed for the call, or a value out of range.
        """
        self._change(changes)
        self._pace = self._pace.after(changes)

    def _change(self, changes: Mapping[str, object]) -> None:
        self.parameters = self.parameters.changed(changes)
        if self._protocol is not None:
            self._protocol.parameters = self.parameters
            self._refresh()

    @asynccontextmanager
    async def updated(self, **changes: Any) -> AsyncGenerator[None]:  # noqa: ANN401
        """Change settings while the block lasts, then restore them. See `update`.

        Raises:
            ConfigurationError: As for `update`; or the value to restore is neither set nor documented.
        """
        before = self.parameters.restoring(list(changes), self.speech_model)
        was_given = self._pace.is_given
        self.update(**changes)
        try:
            yield
        finally:
            self._change(before)
            self._pace = replace(self._pace, is_given=was_given)
            self._change(self._pace.changes(self.parameters))

    def set_pace(self, eagerness: Eagerness, *, is_expecting: bool) -> None:
        """Wait longer while a number is expected, and by `TurnRules.eagerness`; silences of the application's stay.

        See `Recogniser.set_pace`.
        """
        self._pace = self._pace.wanting(eagerness, is_expecting=is_expecting)
        if changes := self._pace.changes(self.parameters):
            self._change(changes)

    def agent_said(self, text: str) -> None:
        """Send the service the end of what the caller has heard."""
        if self.sends_agent_context and not is_word_by_word(self.speech_model):
            self.update(agent_context=text[-REMEMBERED_CHARACTERS:])

    def __repr__(self) -> str:
        """Show the model and where it is; never the key."""
        return f"<{self.name} {self.speech_model} at {self.url}>"
