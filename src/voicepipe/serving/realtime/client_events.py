"""What a client of the Realtime protocol sends, read from its messages. Pure.

Rule 1: a message that is no valid event is `Rejected` with words for the client; it never ends the call.
Rule 2: sizes are limited here, and fields that nobody here reads are left out: newer clients send more of them.

Source: the types of the `openai` package 3.57 and OpenAI's reference "Realtime client events", read 2026-11-30.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "MOST_AUDIO_CHARACTERS",
    "MOST_TEXT",
    "AppendAudio",
    "AudioFormat",
    "CancelResponse",
    "ClearAudio",
    "ClientEvent",
    "CommitAudio",
    "CreateItem",
    "CreateResponse",
    "DeleteItem",
    "FunctionCallOutput",
    "FunctionTool",
    "MessageItem",
    "Rejected",
    "ResponseWishes",
    "RetrieveItem",
    "SessionWishes",
    "TruncateItem",
    "UpdateSession",
    "read_event",
    "read_tool",
]

MOST_AUDIO_CHARACTERS: Final = 256 * 1024
"""Base64 of one `input_audio_buffer.append`: 4 s of PCM at 24 kHz."""

MOST_CHARACTERS: Final = MOST_AUDIO_CHARACTERS + 1024
"""Of one message. A larger one is not even parsed, because that would hold up all other calls."""

MOST_MS: Final = 2**53
"""The largest integer that every client counts exactly."""

MOST_NAME: Final = 512
MOST_TEXT: Final = 16 * 1024
MOST_PARTS: Final = 16
MOST_TOOLS: Final = 64
MOST_SCHEMA: Final = 16 * 1024


class Rejected(Exception):  # noqa: N818 - names what happened to the event
    """An event of the client that is answered with `error`; the session goes on.

    Args:
        code: What is wrong, in the protocol's words, e.g. "unknown_event".
        message: The same for people: what was expected, what was found.
        param: The field, e.g. "session.audio.input.format".
        event_id: The client's id of the event.
    """

    def __init__(self, code: str, message: str, *, param: str | None = None, event_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.event_id = event_id


ShortText: TypeAlias = Annotated[str, Field(max_length=MOST_NAME)]
Id: TypeAlias = Annotated[str, Field(min_length=1, max_length=128)]
LongText: TypeAlias = Annotated[str, Field(max_length=MOST_TEXT)]


class _Given(BaseModel):
    """Base of everything that a client sends."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class ClientEvent(_Given):
    """Base of the events.

    Attributes:
        event_id: The client's id of it; an `error` quotes it.
    """

    event_id: ShortText | None = None


# --- the session ------------------------------------------------------------------------------------------------------


class AudioFormat(_Given):
    """How audio is written: 16-bit PCM at 24 kHz, or G.711 at 8 kHz."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
    rate: int | None = None


class TurnDetection(_Given):
    """Which of the two detectors the client asks for; its thresholds are not read."""

    type: Literal["server_vad", "semantic_vad"]


class VoiceId(_Given):
    """A voice by its id."""

    id: ShortText


class InputWishes(_Given):
    """What a client asks for about its own audio."""

    format: AudioFormat | None = None
    turn_detection: TurnDetection | None = None


class OutputWishes(_Given):
    """What a client asks for about the agent's audio."""

    format: AudioFormat | None = None
    voice: ShortText | VoiceId | None = None


class AudioWishes(_Given):
    """What a client asks for about audio."""

    input: InputWishes | None = None
    output: OutputWishes | None = None


class SessionWishes(_Given):
    """The settings that a client asks for; what is not in `model_fields_set` stays as it is.

    Attributes:
        tools: Not read before it is known whether the client may bring tools; see `read_tool`.
    """

    type: Literal["realtime"] = "realtime"
    instructions: LongText | None = None
    output_modalities: Annotated[list[Literal["audio", "text"]], Field(min_length=1, max_length=2)] | None = None
    tools: Annotated[list[Any], Field(max_length=MOST_TOOLS)] | None = None
    audio: AudioWishes | None = None


class UpdateSession(ClientEvent):
    """Change the session's settings."""

    session: SessionWishes


class FunctionTool(_Given):
    """A tool that the client runs.

    Attributes:
        parameters: The JSON schema of its arguments.
    """

    type: Literal["function"] = "function"
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: Annotated[str, Field(max_length=4096)] | None = None
    parameters: dict[str, Any] | None = None


def read_tool(given: object, param: str) -> FunctionTool:
    """Return a tool of `session.tools`.

    Raises:
        Rejected: It is no function tool, or its schema is too large.
    """
    if isinstance(given, dict) and cast("dict[str, Any]", given).get("type", "function") != "function":
        raise Rejected("unsupported_tool", 'only tools of the type "function" are supported', param=f"{param}.type")
    try:
        tool = FunctionTool.model_validate(given)
        size = len(json.dumps(tool.parameters, ensure_ascii=False).encode())
    except ValidationError as error:
        raise _rejected(error, param) from None
    except RecursionError:
        raise Rejected("too_large", "the schema of a tool is nested too deeply", param=param) from None
    except UnicodeEncodeError:  # half of a surrogate pair, which no request to the model can have
        raise Rejected("invalid_value", "the schema of a tool is not Unicode", param=param) from None
    if size > MOST_SCHEMA:
        raise Rejected("too_large", f"the schema of a tool has at most {MOST_SCHEMA} bytes", param=param)
    return tool


# --- audio ------------------------------------------------------------------------------------------------------------


class AppendAudio(ClientEvent):
    """Audio of the caller, in base64."""

    audio: Annotated[str, Field(max_length=MOST_AUDIO_CHARACTERS)]


class CommitAudio(ClientEvent):
    """The caller has spoken: what they said is a turn."""


class ClearAudio(ClientEvent):
    """Drop the audio that has not been committed."""


# --- items ------------------------------------------------------------------------------------------------------------


class ContentPart(_Given):
    """A part of a message."""

    type: Literal["input_text", "output_text", "text", "input_audio", "output_audio", "audio", "input_image"]
    text: LongText | None = None


class MessageItem(_Given):
    """A message that the client puts into the conversation."""

    type: Literal["message"]
    id: Id | None = None
    role: Literal["user", "assistant", "system"]
    content: Annotated[list[ContentPart], Field(min_length=1, max_length=MOST_PARTS)]

    @property
    def text(self) -> str:
        """The text of its parts.

        Raises:
            Rejected: A part is not text.
        """
        if any(part.type not in ("input_text", "output_text", "text") for part in self.content):
            raise Rejected("unsupported_content", "messages of clients hold text only", param="item.content")
        return "\n".join(part.text or "" for part in self.content)


class FunctionCallOutput(_Given):
    """What a tool of the client brought."""

    type: Literal["function_call_output"]
    id: Id | None = None
    call_id: Id
    output: Annotated[str, Field(max_length=64 * 1024)]


class CreateItem(ClientEvent):
    """Put an item into the conversation, at its end."""

    item: Annotated[MessageItem | FunctionCallOutput, Field(discriminator="type")]


class RetrieveItem(ClientEvent):
    """Ask for an item as the server knows it."""

    item_id: Id


class TruncateItem(ClientEvent):
    """Report how much of an item's audio was played before the client dropped the rest."""

    item_id: Id
    content_index: Annotated[int, Field(ge=0)] = 0
    audio_end_ms: Annotated[int, Field(ge=0, le=MOST_MS)]


class DeleteItem(ClientEvent):
    """Take an item out of the conversation."""

    item_id: Id


# --- responses --------------------------------------------------------------------------------------------------------


class ResponseWishes(_Given):
    """What a client asks for about one response.

    Attributes:
        metadata: Comes back with the response.
    """

    instructions: LongText | None = None
    output_modalities: list[Literal["audio", "text"]] | None = None
    conversation: ShortText | None = None
    input: list[Any] | None = None
    tools: list[Any] | None = None
    metadata: Annotated[dict[ShortText, ShortText], Field(max_length=16)] | None = None


class CreateResponse(ClientEvent):
    """Let the agent speak now."""

    response: ResponseWishes | None = None


class CancelResponse(ClientEvent):
    """Stop the response that runs."""

    response_id: Id | None = None


# --- reading ----------------------------------------------------------------------------------------------------------

EVENTS: Final[dict[str, type[ClientEvent]]] = {
    "session.update": UpdateSession,
    "input_audio_buffer.append": AppendAudio,
    "input_audio_buffer.commit": CommitAudio,
    "input_audio_buffer.clear": ClearAudio,
    "conversation.item.create": CreateItem,
    "conversation.item.retrieve": RetrieveItem,
    "conversation.item.truncate": TruncateItem,
    "conversation.item.delete": DeleteItem,
    "response.create": CreateResponse,
    "response.cancel": CancelResponse,
}


def read_event(message: str | bytes) -> ClientEvent:
    """Return the event in a message.

    Raises:
        Rejected: It is no event that is known here, or a field of it is wrong.
    """
    if isinstance(message, bytes):
        raise Rejected("invalid_message", "events are JSON in text messages; audio goes into input_audio_buffer.append")
    if len(message) > MOST_CHARACTERS:
        raise Rejected("too_large", f"a message has at most {MOST_CHARACTERS} characters, not {len(message)}")
    try:
        parsed: object = json.loads(message)
    except (ValueError, RecursionError):
        raise Rejected("invalid_json", "the message is not JSON") from None
    if not isinstance(parsed, dict):
        raise Rejected("invalid_json", "an event is a JSON object")
    given = cast("dict[str, Any]", parsed)
    name, event_id = given.get("type"), given.get("event_id")
    event_id = event_id if isinstance(event_id, str) and len(event_id) <= MOST_NAME else None
    kind = EVENTS.get(name) if isinstance(name, str) else None
    if kind is None:
        said = f"there is no event {name[:80]!r}" if isinstance(name, str) else "an event has a type"
        raise Rejected("unknown_event", f"{said}; supported are: {', '.join(EVENTS)}", param="type", event_id=event_id)
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        rejected = _rejected(error)
        rejected.event_id = event_id
        raise rejected from None


def _rejected(error: ValidationError, prefix: str = "") -> Rejected:
    """Return a validation error in words for the client: the field and what is wrong, without the value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    param = ".".join(filter(None, [prefix, *map(str, first["loc"])]))[:200]
    return Rejected(_code(first), f"{param}: {first['msg']}"[:400], param=param)


def _code(complaint: ErrorDetails) -> str:
    match complaint["type"]:
        case "missing":
            return "missing_required_parameter"
        case "string_too_long" | "too_long":
            return "too_large"
        case _:
            return "invalid_value"
