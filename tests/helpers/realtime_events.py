"""Server events of the Realtime protocol, checked with the types of the `openai` package and written as short lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from openai.types.realtime import RealtimeServerEvent
from pydantic import TypeAdapter


@cache
def types() -> TypeAdapter[Any]:
    return TypeAdapter(RealtimeServerEvent)


def checked(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an event that the stock client's types accept, as the type that it names."""
    parsed = types().validate_python({"event_id": "event_1", **event})
    assert parsed.type == event["type"]
    if "response" in event:  # in a union the types take what they know, and drop the rest
        assert parsed.response.model_dump(exclude_unset=True).keys() == event["response"].keys()
    return event


def line(event: Mapping[str, Any]) -> str:
    """Return an event as a line: its type without the first word, and what matters of it."""
    checked(event)
    said = [event["type"].removeprefix("input_audio_buffer.").removeprefix("conversation.").removeprefix("response.")]
    said += [event[key] for key in ("item_id",) if key in event and "delta" not in event["type"]]
    said += [f"{event[key]} ms" for key in ("audio_start_ms", "audio_end_ms") if key in event]
    if event["type"].startswith("response.") and "response" in event:
        said[0] = event["type"]
        response = event["response"]
        said += [response["id"], *([response["status"]] if response["status"] != "in_progress" else [])]
        said += [f"({response['status_details'].get('reason')})"] if response["status_details"] else []
    if "item" in event:
        item = event["item"]
        said += [item["id"], item.get("role", item["type"])]
    said += [repr(event[key]) for key in ("transcript", "text", "arguments") if key in event]
    if "transcript" in event["type"] or "text" in event["type"] or "arguments" in event["type"]:
        said += [repr(event["delta"])] if "delta" in event else []
    return " ".join(said)


def lines(events: Iterable[Mapping[str, Any]]) -> list[str]:
    return [line(event) for event in events]
