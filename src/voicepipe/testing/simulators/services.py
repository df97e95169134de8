"""How the services in use that speak OpenAI's chat completions differ, as switches of the gateway simulator.

    GatewaySimulator([...], quirks=SERVICES["Mistral"])

Rule 1: each switch stands for something documented or observed by others; docs/services.md says what. None was tried
        live.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from voicepipe.testing.simulators._gateway_quirks import ASSEMBLYAI, GatewayQuirks

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SERVICES"]

OPENAI: Final = GatewayQuirks(limit_field="max_completion_tokens")

SERVICES: Final[Mapping[str, GatewayQuirks]] = {
    "OpenAI": OPENAI,
    "Azure": replace(OPENAI, needs_version=True, key_header="api-key"),
    "Gemini": GatewayQuirks(wants_state="call", refuses_keywords=True, envelope="list"),
    "Groq": GatewayQuirks(refused_calls=1),
    "Mistral": GatewayQuirks(order="mistral", failure_reason="error"),
    "vLLM with Gemma": GatewayQuirks(order="gemma", failure_reason="abort"),
    "vLLM with Llama": GatewayQuirks(order="llama", failure_reason="abort"),
    "llama.cpp": GatewayQuirks(order="gemma", order_status=500),
    "Ollama": GatewayQuirks(bare_calls=True),
    "OpenRouter": GatewayQuirks(
        comment="OPENROUTER PROCESSING", wants_state="details", failure_reason="error", error_in_stream=True
    ),
    "DeepSeek": GatewayQuirks(
        comment="keep-alive", wants_state="message", failure_reason="insufficient_system_resource"
    ),
    "LLM Gateway": ASSEMBLYAI,
    "other servers": GatewayQuirks(running_reason="null", sends_reason=False),
}
"""By the names that docs/services.md uses."""
