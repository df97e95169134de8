"""The recogniser of Deepgram's Nova models."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from voicepipe.errors import ConfigurationError
from voicepipe.turntaking.patience import FACTORS
from voicepipe.vendors.deepgram.key import KEY_ENV
from voicepipe.vendors.deepgram.nova_protocol import ENDPOINTING_S, NovaHearing
from voicepipe.vendors.deepgram.parameters import NovaParameters
from voicepipe.vendors.deepgram.recogniser import DeepgramStreaming

if TYPE_CHECKING:
    from pydantic import SecretStr

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.turntaking.rules import Eagerness

__all__ = ["DeepgramRecogniser"]

PATH: Final = "/v1/listen"


class DeepgramRecogniser(DeepgramStreaming[NovaParameters]):
    """Recognises speech with Deepgram's Nova models.

    A turn ends after `endpointing_s` of silence, or after `utterance_end_s` without a word. The connection is made when
    a call begins, and replaced within a second when it breaks: the audio since the last final transcript, up to 5 s, is
    sent again, and the session emits `RecogniserLost`. A service that stops responding is noticed within 5 s of speech.
    The service reports the start of speech for noise as well, and late: for a quick barge-in install the extra
    `detector`.

    Never tried live: checked against the vendor's Python SDK 7.17.0 and a simulator.

    Args:
        api_key: The key; a service at a ws:// URL may go without.
        api_key_env: Name of the environment variable that holds the key otherwise, read when the pipeline is opened.
        region: Where audio is processed, "eu", "au" or "in"; anywhere by default.
        host: Another host instead, perhaps with its port.
        url: Another URL instead, e.g. "ws://127.0.0.1:8098"; ws:// reaches only this machine.
        model: The model: any name that the service knows at /v1/listen.
        parameters: The settings.
        proxy: URL of the proxy to use, e.g. "http://user:password@proxy.example.com:3128"; "direct" for none. None
            leaves it to the environment (HTTPS_PROXY, ALL_PROXY, NO_PROXY), whose proxies never serve this machine.

    Raises:
        ConfigurationError: A value is invalid.
        AuthenticationError: There is no key, or the service refuses it.
        VendorError: The service cannot be reached or refuses, or was lost and cannot be reached again.

    Source: the vendor's streaming reference and its Python SDK 7.17.0, read 2026-11-30.
    """

    _path = PATH
    parameters: NovaParameters

    def __init__(
        self,
        *,
        api_key: str | SecretStr | None = None,
        api_key_env: str = KEY_ENV,
        region: Literal["eu", "au", "in"] | None = None,
        host: str | None = None,
        url: str | None = None,
        model: str = "nova-3",
        parameters: NovaParameters | None = None,
        proxy: str | SecretStr | None = None,
    ) -> None:
        self._check(NovaParameters, model=model, parameters=parameters, example="nova-3")
        super().__init__(
            model,
            parameters or NovaParameters(),
            api_key=api_key,
            api_key_env=api_key_env,
            region=region,
            host=host,
            url=url,
            proxy=proxy,
        )
        self._has_keyterms = model.startswith("nova-3")
        if self.parameters.keyterms and not self._has_keyterms:
            raise ConfigurationError(f"{self.name}: {model} has no keyterms; set keywords, or take another model")
        self._eagerness: Eagerness = "normal"
        self._is_expecting = False
        self._protocol: NovaHearing | None = None

    def _begun(self) -> NovaHearing:
        self._protocol = NovaHearing(self.model, self.parameters, round(ENDPOINTING_S * FACTORS[self._eagerness], 3))
        self._protocol.reader.waits_for_utterance_end = self._is_expecting
        return self._protocol

    def _given(self, parameters: NovaParameters) -> None:
        if self._protocol is not None:
            self._protocol.parameters = parameters

    def adapt(self, settings: CallSettings) -> None:
        """Recognise the language of the call, and expect its key terms, instead of those of `parameters`.

        Raises:
            ConfigurationError: There are too many key terms or too long ones.
        """
        changes: dict[str, Any] = {} if settings.language is None else {"language": settings.language}
        if settings.key_terms is not None:
            changes["keyterms" if self._has_keyterms else "keywords"] = settings.key_terms
        try:
            self.parameters = replace(self.parameters, **changes)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.name}: {error}") from None

    def update(self, **changes: Any) -> None:  # noqa: ANN401 - each recogniser has its own
        """Change settings, on this connection and on later ones.

        Args:
            changes: `keyterms` (with Nova-3, and not in a region) or `numerals`. The service fixes all other settings
                for a connection, its silences among them.

        Raises:
            ConfigurationError: A name is unknown or fixed for the call, or a value out of range.
        """
        if "keyterms" in changes and not self._has_keyterms:
            raise ConfigurationError(f"update: {self.model} has no keyterms; take a model of Nova-3")
        super().update(**changes)

    def set_pace(self, eagerness: Eagerness, *, is_expecting: bool) -> None:
        """Let a turn go on through short silences while a number is expected. See `Recogniser.set_pace`.

        The service's silences are fixed for a connection: `utterance_end_s` then ends the turn, not `endpointing_s`,
        and another eagerness counts from the next call on.
        """
        self._eagerness, self._is_expecting = eagerness, is_expecting
        if self._protocol is not None:
            self._protocol.reader.waits_for_utterance_end = is_expecting
