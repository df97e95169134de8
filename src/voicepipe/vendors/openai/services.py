"""AssemblyAI's LLM Gateway: what it wants beside the chat-completions format.

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
"""The gateway's routes to Claude answer 400 or 500 to a history with empty arguments; its command line client sends
this. By the model's id and not by the host, because the gateway may stand behind another name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What differs between services that speak the same format.

    Attributes:
        model: The model that is asked when none is named; "" when one must be.
        key_env: The environment variable that its key is in; None when there is no such custom.
        scheme: What stands before the key in the authorization header.
        body: Fields of every request, unless the application sets them.
        fillers: What must be sent for the arguments of a call that has none, by how a model's id begins.
    """

    model: str = ""
    key_env: str | None = None
    scheme: str = "Bearer "
    body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fillers: Mapping[str, str] = field(default_factory=lambda: FILLERS)

    def extra_body(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the further fields of a body; an application that names fallbacks decides about retries, too."""
        return {**({} if "fallbacks" in given else self.body), **given}

    def filler(self, model: str) -> str:
        """Return what stands for empty arguments, in what is sent and received; "" where they may be empty."""
        return next((filler for start, filler in self.fillers.items() if model.startswith(start)), "")


OTHER: Final = Service()

GATEWAY: Final = Service(
    model="gpt-5.2",
    key_env="ASSEMBLYAI_API_KEY",
    scheme="",
    # Else it asks its upstream a second time, half a second later and unseen; a retry is ours to decide and to tell.
    body={"fallback_config": {"retry": False}},
)

SIMULATED: Final = replace(GATEWAY, key_env=None)
"""A simulator of the gateway asks for no key, unless it is told to; then pass `api_key`."""


def service_at(host: str, model: str, part: str) -> Service:
    """Return what is known of the service at a host.

    Args:
        host: Where it is.
        model: The model that the application named, or "".
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
