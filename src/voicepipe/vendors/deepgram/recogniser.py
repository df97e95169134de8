"""What the recognisers of Nova and of Flux have in common: where they are, and how their settings change."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from voicepipe.errors import ConfigurationError
from voicepipe.http.network import Network
from voicepipe.vendors.deepgram.key import HOSTS, SCHEME, VENDOR, credentials
from voicepipe.vendors.deepgram.parameters import DeepgramParameters
from voicepipe.vendors.line.address import socket_url
from voicepipe.vendors.line.streaming_recogniser import StreamingRecogniser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from pydantic import SecretStr

__all__ = ["DeepgramStreaming"]

P = TypeVar("P", bound=DeepgramParameters)


class DeepgramStreaming(StreamingRecogniser, Generic[P]):
    """Base of both recognisers.

    Args:
        model: The model's name.
        parameters: The settings.
        api_key: The key.
        api_key_env: Name of the environment variable that holds it otherwise.
        region: Where audio is processed.
        host: Another host instead.
        url: Another URL instead.
        proxy: URL of the proxy to use.
    """

    _vendor = VENDOR
    _scheme = SCHEME

    def __init__(
        self,
        model: str,
        parameters: P,
        *,
        api_key: str | SecretStr | None,
        api_key_env: str,
        region: str | None,
        host: str | None,
        url: str | None,
        proxy: str | SecretStr | None,
    ) -> None:
        url = socket_url(self.name, self._path, HOSTS, region=region, host=host, url=url)
        super().__init__(url, Network(self.name, url, proxy), credentials(self.name, url, api_key, api_key_env))
        self.model = model
        self.parameters = parameters
        self.sample_rate = parameters.sample_rate

    @abstractmethod
    def _given(self, parameters: P) -> None:
        """Take settings over, here and in the call."""

    def _change(self, changes: Mapping[str, object]) -> None:
        self.parameters = self.parameters.changed(changes)
        self._given(self.parameters)
        self._refresh()

    def update(self, **changes: Any) -> None:  # noqa: ANN401 - each recogniser has its own
        """Change settings, on this connection and on later ones.

        Args:
            changes: Fields of the parameters that are marked there as changeable in mid-call.

        Raises:
            ConfigurationError: A name is unknown or fixed for the call, or a value out of range.
        """
        self._change(changes)

    @asynccontextmanager
    async def updated(self, **changes: Any) -> AsyncGenerator[None]:  # noqa: ANN401
        """Change settings while the block lasts, then restore them. See `update`.

        Raises:
            ConfigurationError: As for `update`; or the service has no default for a value to restore.
        """
        before = self.parameters.restoring(list(changes))
        self.update(**changes)
        try:
            yield
        finally:
            self._change(before)

    def _check(self, kind: type[DeepgramParameters], *, model: object, parameters: object, example: str) -> None:
        """Refuse a model or settings that are none.

        Raises:
            ConfigurationError: One of them cannot be used.
        """
        if not isinstance(model, str) or not model.strip() or model.startswith("flux") != example.startswith("flux"):
            other = "DeepgramRecogniser" if example.startswith("flux") else "DeepgramFluxRecogniser"
            raise ConfigurationError(
                f"{self.name}: model must name a model such as {example!r}, not {model!r}; the other models are those "
                f"of {other}"
            )
        if parameters is not None and not isinstance(parameters, kind):
            raise ConfigurationError(f"{self.name}: parameters must be {kind.__name__}(...), not {parameters!r}")

    def __repr__(self) -> str:
        """Show the model and where it is; never the key."""
        return f"<{self.name} {self.model} at {self.url}>"
