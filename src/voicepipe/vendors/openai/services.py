"""What the services that speak OpenAI's format need in addition to it. docs/services.md says where each differs.

Rule 1: a service is known by its host. What another host needs, the application sets, and an error names the option.

Source: the API references of the services and AssemblyAI's OpenAPI description of the LLM Gateway, read 2026-11-29.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from voicepipe.errors import ConfigurationError
from voicepipe.http.address import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicepipe.vendors.openai.strict_order import MessageOrder

__all__ = ["GATEWAY_URL", "LimitField", "Service", "filler_of", "known_service", "service_at"]

GATEWAY_URL: Final = "https://llm-gateway.assemblyai.com/v1"

FILLERS: Final = {"claude": '{"_":""}'}
"""What to send in place of empty arguments, by how a model's id begins. The gateway's routes to Claude answer 400 or
500 to a history with empty arguments; its own command line client sends this. The host does not decide, because the
gateway may have another name."""

LimitField: TypeAlias = Literal["max_tokens", "max_completion_tokens"]
"""The field of a request that limits the reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What differs between services that speak the same format.

    Attributes:
        model: The model to ask if the application names none; "" if it must name one.
        key_env: The environment variable that usually holds the key; None if there is none.
        header: The header that carries the key.
        scheme: The text before the key in that header.
        body: Fields of every request, unless the application sets them.
        limit_field: The field that limits a reply.
        order: The order of messages that it takes.
        speaks_every_language: Whether its voices speak the language of each text, instead of one of their own.
    """

    model: str = ""
    key_env: str | None = None
    header: str = "authorization"
    scheme: str = "Bearer "
    body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    limit_field: LimitField = "max_tokens"
    order: MessageOrder = "free"
    speaks_every_language: bool = False

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

AZURE: Final = Service(
    key_env="AZURE_OPENAI_API_KEY",
    header="api-key",
    scheme="",
    limit_field="max_completion_tokens",
    speaks_every_language=True,
)

SERVICES: Final = {
    "llm-gateway.assemblyai.com": GATEWAY,
    "llm-gateway.eu.assemblyai.com": GATEWAY,
    "api.openai.com": Service(
        key_env="OPENAI_API_KEY", limit_field="max_completion_tokens", speaks_every_language=True
    ),
    "openai.azure.com": AZURE,
    "services.ai.azure.com": AZURE,
    "cognitiveservices.azure.com": AZURE,
    "generativelanguage.googleapis.com": Service(key_env="GEMINI_API_KEY"),
    "api.groq.com": Service(key_env="GROQ_API_KEY", limit_field="max_completion_tokens"),
    "api.mistral.ai": Service(key_env="MISTRAL_API_KEY", order="strict"),
    "api.deepseek.com": Service(key_env="DEEPSEEK_API_KEY"),
    "openrouter.ai": Service(key_env="OPENROUTER_API_KEY"),
}
"""Services by host; a host below one of these is the same service, e.g. `ada.openai.azure.com`."""


def filler_of(model: str) -> str:
    """Return what a model sends and gets in place of empty arguments; "" if they may be empty."""
    return next((filler for start, filler in FILLERS.items() if model.startswith(start)), "")


def known_service(host: str) -> Service:
    """Return the properties of the service at a host."""
    return next((one for name, one in SERVICES.items() if host == name or host.endswith(f".{name}")), OTHER)


def service_at(host: str, model: str, part: str) -> Service:
    """Return the properties of the service that a language model is at.

    Args:
        host: Where it is.
        model: The model that the application names, or "".
        part: The part that asks; named in errors.

    Raises:
        ConfigurationError: The application names no model, and the service has no usual one.
    """
    if is_loopback(host) and not model:
        return SIMULATED  # without a model it is the gateway, here one that runs on this machine
    service = known_service(host)
    if not model and not service.model:
        raise ConfigurationError(f"{part}: model must name a model of {host}, not be empty")
    return service
