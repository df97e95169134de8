"""What a server of the Realtime protocol sends. Pure: each function returns one event.

Rule 1: an event is a plain mapping, which is written as JSON as it is; `event_id` comes with the writing.

Source: the types of the `openai` package 3.57 and OpenAI's reference "Realtime server events", read 2026-11-30. The
tests validate each event with those types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from voicepipe.serving.realtime.client_events import Rejected
    from voicepipe.serving.realtime.items import Item, Response
    from voicepipe.serving.realtime.settings import Settings

__all__ = [
    "ServerEvent",
    "arguments_events",
    "audio_delta",
    "buffer_cleared",
    "buffer_committed",
    "content_part",
    "error",
    "idle",
    "item_added",
    "item_deleted",
    "item_done",
    "item_retrieved",
    "item_truncated",
    "output_item",
    "response_event",
    "session_event",
    "speech_started",
    "speech_stopped",
    "text_delta",
    "text_done",
    "transcription_completed",
    "transcription_failed",
]

ServerEvent: TypeAlias = dict[str, Any]


def session_event(name: Literal["session.created", "session.updated"], settings: Settings) -> ServerEvent:
    """The settings that hold."""
    return {"type": name, "session": settings.json}


def error(rejected: Rejected) -> ServerEvent:
    """An event of the client was wrong."""
    detail = {
        "type": "invalid_request_error",
        "code": rejected.code,
        "message": rejected.message,
        "param": rejected.param,
        "event_id": rejected.event_id,
    }
    return {"type": "error", "error": detail}


# --- the caller -------------------------------------------------------------------------------------------------------


def speech_started(item_id: str, at_s: float) -> ServerEvent:
    """The caller speaks, and the agent is silent."""
    return {"type": "input_audio_buffer.speech_started", "audio_start_ms": _ms(at_s), "item_id": item_id}


def speech_stopped(item_id: str, at_s: float) -> ServerEvent:
    """The caller has stopped speaking, perhaps only for a moment."""
    return {"type": "input_audio_buffer.speech_stopped", "audio_end_ms": _ms(at_s), "item_id": item_id}


def idle(item_id: str, from_s: float, to_s: float) -> ServerEvent:
    """The caller has been silent for long."""
    return {
        "type": "input_audio_buffer.timeout_triggered",
        "audio_start_ms": _ms(from_s),
        "audio_end_ms": _ms(to_s),
        "item_id": item_id,
    }


def buffer_committed(item_id: str, previous: str | None) -> ServerEvent:
    """The caller's audio has become an item."""
    return {"type": "input_audio_buffer.committed", "item_id": item_id, "previous_item_id": previous}


def buffer_cleared() -> ServerEvent:
    """The caller's audio was dropped."""
    return {"type": "input_audio_buffer.cleared"}


def transcription_completed(item_id: str, text: str, speech_s: float) -> ServerEvent:
    """What the caller said."""
    return {
        "type": "conversation.item.input_audio_transcription.completed",
        "item_id": item_id,
        "content_index": 0,
        "transcript": text,
        "usage": {"type": "duration", "seconds": round(speech_s, 3)},
    }


def transcription_failed(item_id: str) -> ServerEvent:
    """No words were recognised in what the caller said."""
    detail = {"type": "transcription_error", "code": "no_words", "message": "no words were recognised", "param": None}
    return {
        "type": "conversation.item.input_audio_transcription.failed",
        "item_id": item_id,
        "content_index": 0,
        "error": detail,
    }


# --- items ------------------------------------------------------------------------------------------------------------


def item_added(item: Item, previous: str | None) -> ServerEvent:
    """An item is in the conversation."""
    return {"type": "conversation.item.added", "item": item.json, "previous_item_id": previous}


def item_done(item: Item, previous: str | None) -> ServerEvent:
    """An item is whole."""
    return {"type": "conversation.item.done", "item": item.json, "previous_item_id": previous}


def item_retrieved(item: Item) -> ServerEvent:
    """An item as it is now."""
    return {"type": "conversation.item.retrieved", "item": item.json}


def item_truncated(item: Item, audio_end_ms: int) -> ServerEvent:
    """Of an item only its beginning was heard."""
    return {
        "type": "conversation.item.truncated",
        "item_id": item.id,
        "content_index": 0,
        "audio_end_ms": audio_end_ms,
    }


def item_deleted(item_id: str) -> ServerEvent:
    """An item is no longer in the conversation."""
    return {"type": "conversation.item.deleted", "item_id": item_id}


# --- responses --------------------------------------------------------------------------------------------------------


def response_event(name: Literal["response.created", "response.done"], response: Response) -> ServerEvent:
    """A response begins or ends."""
    return {"type": name, "response": response.json}


def output_item(step: Literal["added", "done"], response: Response, item: Item) -> ServerEvent:
    """An item of a response begins or is whole."""
    return {
        "type": f"response.output_item.{step}",
        "response_id": response.id,
        "output_index": response.items.index(item),
        "item": item.json,
    }


def content_part(step: Literal["added", "done"], response: Response, item: Item) -> ServerEvent:
    """The one part of a message begins or is whole."""
    part = {"type": "audio", "transcript": item.text} if item.is_audio else {"type": "text", "text": item.text}
    return {"type": f"response.content_part.{step}", **_place(response, item), "content_index": 0, "part": part}


def audio_delta(response: Response, item: Item, encoded: str) -> ServerEvent:
    """A piece of the agent's audio, in base64."""
    return {"type": "response.output_audio.delta", **_place(response, item), "content_index": 0, "delta": encoded}


def text_delta(response: Response, item: Item, text: str) -> ServerEvent:
    """A piece of what the agent says: of the transcript, or of a reply in text."""
    kind = "output_audio_transcript" if item.is_audio else "output_text"
    return {"type": f"response.{kind}.delta", **_place(response, item), "content_index": 0, "delta": text}


def text_done(response: Response, item: Item) -> list[ServerEvent]:
    """All that the agent has said of a message."""
    place = {**_place(response, item), "content_index": 0}
    if not item.is_audio:
        return [{"type": "response.output_text.done", **place, "text": item.text}]
    return [
        {"type": "response.output_audio.done", **place},
        {"type": "response.output_audio_transcript.done", **place, "transcript": item.text},
    ]


def arguments_events(response: Response, item: Item) -> list[ServerEvent]:
    """The arguments of a function call, in one piece."""
    place = {**_place(response, item), "call_id": item.call_id}
    kind = "response.function_call_arguments"
    return [
        {"type": f"{kind}.delta", **place, "delta": item.arguments},
        {"type": f"{kind}.done", **place, "arguments": item.arguments, "name": item.name},
    ]


def _place(response: Response, item: Item) -> dict[str, Any]:
    return {"response_id": response.id, "item_id": item.id, "output_index": response.items.index(item)}


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))
