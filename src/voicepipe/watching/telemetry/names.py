"""The names that traces use: OpenTelemetry's conventions for generative AI, and voicepipe's own.

Rule 1: all names are here, because those of the conventions still change; their version is pinned below.
Rule 2: what the conventions do not have yet begins with "voicepipe.".

Source: open-telemetry/semantic-conventions-genai, read 2026-11-29, all of it in development. The spans `speech_to_text`
and `text_to_speech`, and a turn as `invoke_agent`, are a proposal there.
"""

from __future__ import annotations

from typing import Final

__all__ = ["PROVIDERS_BY_HOST", "PROVIDERS_BY_PART", "model_and_provider", "provider_of_part"]

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/gen-ai/1.42.0-dev"

# --- attributes -------------------------------------------------------------------------------------------------------

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
CONVERSATION: Final = "gen_ai.conversation.id"
SESSION: Final = "session.id"  # by which Langfuse and Phoenix group the spans of a call
AGENT: Final = "gen_ai.agent.name"
OUTPUT_TYPE: Final = "gen_ai.output.type"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_CALL: Final = "gen_ai.tool.call.id"
TOOL_TYPE: Final = "gen_ai.tool.type"
SERVER: Final = "server.address"
ERROR: Final = "error.type"
END_REASON: Final = "gen_ai.agent.invocation.end_reason"

# content, only if it is asked for
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
SYSTEM: Final = "gen_ai.system_instructions"
TOOL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_RESULT: Final = "gen_ai.tool.call.result"

ENDED_BY: Final = "voicepipe.ended_by"
TRANSPORT: Final = "voicepipe.transport"
TURN: Final = "voicepipe.turn.number"
OUTCOME: Final = "voicepipe.outcome"
INTERRUPTED_BY: Final = "voicepipe.interrupted_by"
SILENCE_HEARD: Final = "voicepipe.silence_heard_s"
ANSWERED: Final = "voicepipe.answered_s"
WAIT: Final = "voicepipe.wait.{}_s"
DRAFT: Final = "voicepipe.draft"
HEARD_CHARACTERS: Final = "voicepipe.heard_characters"
HEARD: Final = "voicepipe.heard"
CHARACTERS: Final = "voicepipe.characters"
TEXT: Final = "voicepipe.text"
STEP: Final = "voicepipe.step"
STATUS: Final = "voicepipe.tool.status"
CANCELLED: Final = "voicepipe.cancelled"
ESTIMATED: Final = "voicepipe.usage_is_estimated"

# OpenInference, which Phoenix reads
KIND: Final = "openinference.span.kind"
INPUT_VALUE: Final = "input.value"
OUTPUT_VALUE: Final = "output.value"
LLM_MODEL: Final = "llm.model_name"
PROMPT_TOKENS: Final = "llm.token_count.prompt"
COMPLETION_TOKENS: Final = "llm.token_count.completion"

# --- operations, each with its kind of OpenInference ------------------------------------------------------------------

KINDS: Final = {
    "invoke_agent": "AGENT",
    "chat": "LLM",
    "execute_tool": "TOOL",
    "speech_to_text": "CHAIN",
    "text_to_speech": "CHAIN",
}

# --- metrics of the conventions ---------------------------------------------------------------------------------------

INFERENCE_S: Final = "gen_ai.client.inference.duration"
FIRST_CHUNK_S: Final = "gen_ai.client.inference.time_to_first_chunk"
TOKENS_IN: Final = "gen_ai.client.inference.usage.input_tokens"
TOKENS_OUT: Final = "gen_ai.client.inference.usage.output_tokens"
TOOL_S: Final = "gen_ai.execute_tool.duration"
BUCKETS_S: Final = tuple(0.01 * 2**power for power in range(14))

# --- who provides it --------------------------------------------------------------------------------------------------

PROVIDERS_BY_HOST: Final = {
    "api.openai.com": "openai",
    "openai.azure.com": "azure.ai.openai",
    "assemblyai.com": "assemblyai",
    "anthropic.com": "anthropic",
    "googleapis.com": "gcp.gemini",
    "amazonaws.com": "aws.bedrock",
    "api.x.ai": "x_ai",
    "groq.com": "groq",
    "mistral.ai": "mistral_ai",
    "deepseek.com": "deepseek",
    "cohere.com": "cohere",
    "perplexity.ai": "perplexity",
}

PROVIDERS_BY_PART: Final = {
    "AssemblyAIRecogniser": "assemblyai",
    "AssemblyAITTS": "assemblyai",
    "OpenAITTS": "openai",
    "CartesiaTTS": "cartesia",
    "ElevenLabsTTS": "elevenlabs",
    "EspeakTTS": "espeak",
    "PocketsphinxRecogniser": "pocketsphinx",
}


def model_and_provider(label: str) -> tuple[str, str, str]:
    """Return a model's id, who provides it, and its host, from its label: "gpt-5.2 at https://api.openai.com/v1".

    A label without an address is the name of a model of the application, which is its own provider.
    """
    model, at, url = label.rpartition(" at ")
    if not at:
        return label, label, ""
    host = url.partition("://")[2].partition("/")[0].partition(":")[0]
    known = (name for end, name in PROVIDERS_BY_HOST.items() if host == end or host.endswith(f".{end}"))
    return model, next(known, host), host


def provider_of_part(name: str) -> str:
    """Return who provides a voice or a recogniser; a part of the application provides itself."""
    return PROVIDERS_BY_PART.get(name, name)
