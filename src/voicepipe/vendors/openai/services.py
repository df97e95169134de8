"""What AssemblyAI's LLM Gateway needs in addition to the chat-completions format.

Source: AssemblyAI's reference of the LLM Gateway and its OpenAPI description, read 2026-11-22.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from voicepipe.errors import ConfigurationError
from voicepipe.http.address import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["GATEWAY_URL", "Service", "service_at"]

GATEWAY_URL: Final = "https://llm-gateway.assemblyai.com/v1"

GATEWAY_HOSTS: Final = ("llm-gateway.assemblyai.com", "llm-gateway.eu.assemblyai.com")

FILLERS: Final = {"claude": '{"_":""}'}
"""What to send in place of empty arguments, by how a model's id begins. The gateway's routes to Claude answer 400 or
500 to a history with empty arguments; its own command line client sends this. The host does not decide, because the
gateway may have another name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What differs between services that speak the same format.

    Attributes:
        model: The model to ask if the application names none; "" if it must name one.
        key_env: The environment variable that usually holds the key; None if there is none.
        scheme: The text before the key in the authorization header.
        body: Fields of every request, unless the application sets them.
    """

    model: str = ""
    key_env: str | None = None
    scheme: str = "Bearer "
    body: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def extra_body(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the further fields of a body. An application that names fallbacks decides about retries, too."""
        return {**({} if "fallbacks" in given else self.body), **given}


OTHER: Final = Service()

GATEWAY: Final = Service(
    model="gpt-5.2",
    key_env="ASSEMBLYAI_API_KEY",
    scheme="",
    # Without this it retries by itself after half a second, and does not say so; retries are this library's decision.
    body={"fallback_config": {"retry": False}},
)

SIMULATED: Final = replace(GATEWAY, key_env=None)
"""A simulator of the gateway needs no key unless it was started with one; then pass `api_key`."""


def filler_of(model: str) -> str:
    """Return what a model sends and gets in place of empty arguments; "" if they may be empty."""
    return next((filler for start, filler in FILLERS.items() if model.startswith(start)), "")


def service_at(host: str, model: str, part: str) -> Service:
    """Return the properties of the service at a host.

    Args:
        host: Where it is.
        model: The model that the application names, or "".
        part: The part that asks; named in errors.

    Raises:
        ConfigurationError: The application names no model, and the service has no usual one.
    """
    if is_loopback(host) and not model:
        return SIMULATED  # without a model it is the gateway, here one that runs on this machine
    service = GATEWAY if host in GATEWAY_HOSTS else OTHER
    if not model and not service.model:
        raise ConfigurationError(f"{part}: model must name a model of {host}, not be empty")
    return service
