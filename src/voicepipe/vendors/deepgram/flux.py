"""The recogniser of Deepgram's Flux models."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from voicepipe.errors import ConfigurationError
from voicepipe.turntaking.patience import FACTORS
from voicepipe.vendors.deepgram.flux_protocol import FluxHearing
from voicepipe.vendors.deepgram.key import KEY_ENV
from voicepipe.vendors.deepgram.parameters import EOT_TIMEOUT_S, MULTILINGUAL_FLUX, FluxParameters
from voicepipe.vendors.deepgram.recogniser import DeepgramStreaming

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from pydantic import SecretStr

    from voicepipe.core.call_settings import CallSettings
    from voicepipe.turntaking.rules import Eagerness

__all__ = ["DeepgramFluxRecogniser"]

PATH: Final = "/v2/listen"

THRESHOLDS: Final[dict[Eagerness, float]] = {"low": 0.8, "normal": 0.7, "high": 0.6}
"""How sure the service has to be that a turn is over; 0.7 is its own default, the others are a guess."""

PACED: Final = {"eot_threshold", "eot_timeout_s"}
"""What turn-taking decides about, unless the application does."""

EXPECTING: Final = 0.9
"""The same while something is expected of the caller, which is often said in several breaths."""


class DeepgramFluxRecogniser(DeepgramStreaming[FluxParameters]):
    """Recognises speech with Deepgram's Flux models, which decide by the words when the caller's turn is over.

    When Flux thinks that a turn is probably over, it says so early (`eager_eot_threshold`): a reply is drafted, and
    dropped if the caller goes on. The connection is made when a call begins, and replaced within a second when it
    breaks: the audio since the last final transcript, up to 5 s, is sent again, and the session emits `RecogniserLost`.
    A service that stops responding is noticed within 5 s.

    Never tried live: checked against the vendor's Python SDK 7.17.0 and a simulator.

    Args:
        api_key: The key; a service at a ws:// URL may go without.
        api_key_env: Name of the environment variable that holds the key otherwise, read when the pipeline is opened.
        region: Where audio is processed, "eu", "au" or "in"; anywhere by default.
        host: Another host instead, perhaps with its port.
        url: Another URL instead, e.g. "ws://127.0.0.1:8098"; ws:// reaches only this machine.
        model: "flux-general-en", or "flux-general-multi" for ten languages.
        parameters: The settings.
        proxy: URL of the proxy to use, e.g. "http://user:password@proxy.example.com:3128"; "direct" for none. None
            leaves it to the environment (HTTPS_PROXY, ALL_PROXY, NO_PROXY), whose proxies never serve this machine.

    Raises:
        ConfigurationError: A value is invalid.
        AuthenticationError: There is no key, or the service refuses it.
        VendorError: The service cannot be reached or refuses, or was lost and cannot be reached again.

    Source: the vendor's reference of Flux and its Python SDK 7.17.0, read 2026-11-30.
    """

    _path = PATH
    parameters: FluxParameters

    def __init__(
        self,
        *,
        api_key: str | SecretStr | None = None,
        api_key_env: str = KEY_ENV,
        region: Literal["eu", "au", "in"] | None = None,
        host: str | None = None,
        url: str | None = None,
        model: str = "flux-general-en",
        parameters: FluxParameters | None = None,
        proxy: str | SecretStr | None = None,
    ) -> None:
        self._check(FluxParameters, model=model, parameters=parameters, example="flux-general-en")
        super().__init__(
            model,
            parameters or FluxParameters(),
            api_key=api_key,
            api_key_env=api_key_env,
            region=region,
            host=host,
            url=url,
            proxy=proxy,
        )
        if self.parameters.language_hints and model != MULTILINGUAL_FLUX:
            raise ConfigurationError(f"{self.name}: {model} takes no language_hints; {MULTILINGUAL_FLUX} does")
        self._is_paced = all(getattr(self.parameters, name) is None for name in PACED)
        self._wanted: dict[str, float] = {}
        self._protocol: FluxHearing | None = None

    def _begun(self) -> FluxHearing:
        self._protocol = FluxHearing(self.model, self.parameters)
        return self._protocol

    def _given(self, parameters: FluxParameters) -> None:
        if self._protocol is not None:
            self._protocol.parameters = parameters

    def adapt(self, settings: CallSettings) -> None:
        """Recognise the language of the call, and expect its key terms, instead of those of `parameters`.

        Raises:
            ConfigurationError: The model knows English only, or there are too many key terms or too long ones.
        """
        changes: dict[str, Any] = {}
        if settings.language is not None and self.model == MULTILINGUAL_FLUX:
            changes["language_hints"] = [settings.language_code]
        elif settings.language_code not in ("", "en"):
            raise ConfigurationError(
                f"{self.name}: the model {self.model} knows English only, not {settings.language!r}; set "
                f"model={MULTILINGUAL_FLUX!r}"
            )
        if settings.key_terms is not None:
            changes["keyterms"] = settings.key_terms
        try:
            self.parameters = replace(self.parameters, **changes)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.name}: {error}") from None

    def update(self, **changes: Any) -> None:  # noqa: ANN401 - each recogniser has its own
        """Change settings, on this connection and on later ones.

        Args:
            changes: Fields of `FluxParameters` that are marked there as changeable in mid-call.

        Raises:
            ConfigurationError: A name is unknown or fixed for the call, or a value out of range.
        """
        super().update(**changes)
        self._is_paced = self._is_paced and not PACED & changes.keys()

    @asynccontextmanager
    async def updated(self, **changes: Any) -> AsyncGenerator[None]:  # noqa: ANN401
        """Change settings while the block lasts, then restore them. See `update`.

        Raises:
            ConfigurationError: As for `update`; or the service has no default for a value to restore.
        """
        was_paced = self._is_paced
        try:
            async with super().updated(**changes):
                yield
        finally:
            self._is_paced = was_paced
            self._keep_pace()

    def set_pace(self, eagerness: Eagerness, *, is_expecting: bool) -> None:
        """Be surer that a turn is over while a number is expected, and by `TurnRules.eagerness`.

        Thresholds and silences of the application's stay. See `Recogniser.set_pace`.
        """
        threshold = EXPECTING if is_expecting else THRESHOLDS[eagerness]
        self._wanted = {"eot_threshold": threshold, "eot_timeout_s": round(EOT_TIMEOUT_S * FACTORS[eagerness], 3)}
        self._keep_pace()

    def _keep_pace(self) -> None:
        """Set what turn-taking wants, unless the application has set it."""
        if not self._is_paced or not self._wanted:
            return
        least = self.parameters.eager_eot_threshold or 0.0
        wanted = self._wanted | {"eot_threshold": max(least, self._wanted["eot_threshold"])}
        if self.parameters.restoring(list(wanted)) != wanted:  # what is not set has the service's default
            self._change(wanted)
