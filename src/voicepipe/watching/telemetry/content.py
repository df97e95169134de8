"""What a call says, as text for a trace. Nothing of it is written unless the application asks for it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from voicepipe.errors import ConfigurationError
from voicepipe.history import AssistantMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voicepipe.history import Message

__all__ = ["Content", "Kind", "is_wanted"]

SWITCH: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
ON_SPANS: Final = ("true", "span_only", "span_and_event")
ON_NO_SPANS: Final = ("", "false", "no_content", "event_only")

Kind: TypeAlias = Literal["system", "input", "output", "heard", "sentence", "arguments", "result", "error"]
"""What a text is: the system prompt, words of the conversation that a model was sent, what it wrote, what the caller
heard, what a voice was given, the arguments and the result of a tool, the message of an error."""


def is_wanted(given: bool | None) -> bool:
    """Return whether content is to be written: what the application says, or else the environment.

    Raises:
        ConfigurationError: The variable of the environment has a value that it cannot have.
    """
    if given is not None:
        return given
    value = os.environ.get(SWITCH, "").strip().lower()
    if value not in (*ON_SPANS, *ON_NO_SPANS):
        known = ", ".join(one.upper() for one in (*ON_NO_SPANS, *ON_SPANS) if one)
        raise ConfigurationError(f"{SWITCH} must be one of {known}, not {value!r}")
    return value in ON_SPANS


class Content:
    """Writes content.

    Args:
        redact: Gets each text and what it is, and returns what may be written.
    """

    def __init__(self, redact: Callable[[str, Kind], str] | None) -> None:
        self._redact = redact

    def text(self, text: str, kind: Kind) -> str:
        """Return what may be written of a text.

        Raises:
            ConfigurationError: The application's function returns no text.
        """
        if self._redact is None:
            return text
        redacted = self._redact(text, kind)
        if not isinstance(cast("object", redacted), str):
            raise ConfigurationError(f"redact must return the text to be written, not {type(redacted).__name__}")
        return redacted

    def instructions(self, system: str) -> str:
        """Return a system prompt as JSON."""
        return _json([_text_part(self.text(system, "system"))])

    def messages(self, messages: Sequence[Message]) -> str:
        """Return a conversation as JSON, in the form of the conventions."""
        written: list[dict[str, Any]] = []
        for message in messages:
            if not isinstance(message, AssistantMessage):
                written.append({"role": "user", "parts": [_text_part(self.text(message.text, "input"))]})
                continue
            parts = [_text_part(self.text(message.text, "input"))] if message.text else []
            calls = message.calls
            parts += [self.call(call.call_id, call.name, call.arguments) for call in calls]
            written.append({"role": "assistant", "parts": parts})
            if calls:
                results = [
                    {"type": "tool_call_response", "id": call.call_id, "response": self.text(call.result, "result")}
                    for call in calls
                ]
                written.append({"role": "tool", "parts": results})
        return _json(written)

    def reply(self, text: str, calls: Sequence[tuple[str, str, str]], finish_reason: str) -> str:
        """Return what a model wrote as JSON: its text, and its calls as (id, name, arguments)."""
        parts = [_text_part(self.text(text, "output"))] if text else []
        parts += [self.call(*call) for call in calls]
        return _json([{"role": "assistant", "parts": parts, "finish_reason": finish_reason}])

    def call(self, call_id: str, name: str, arguments: str) -> dict[str, Any]:
        """Return a tool call in the form of the conventions."""
        return {"type": "tool_call", "id": call_id, "name": name, "arguments": self.text(arguments, "arguments")}


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "content": text}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
