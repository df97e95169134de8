"""How a server writes thoughts and calls into a reply's text when its parsers are off. Pure.

Source: the chat templates of the models named below, and the documentation of the servers' parsers, read 2026-11-29.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from voicepipe.flow import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.testing.script import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.testing._completions import Timetable
    from voicepipe.testing.script import Piece

__all__ = ["THOUGHT", "CallSpelling", "ThoughtDelta", "ThoughtSpelling", "calls_as_text", "with_end", "with_thoughts"]

ThoughtSpelling: TypeAlias = Literal["tags", "closing_tag", "brackets", "channels", "field"]
"""As Qwen and DeepSeek, as they do behind a template that opens the tag, as Magistral, as gpt-oss, or in a field."""

CallSpelling: TypeAlias = Literal["tags", "brackets", "json", "repeated"]
"""As Hermes and Qwen, as Mistral, as Llama, or both as a call and as text in the same delta."""

THOUGHT: Final = "The caller wants to know something. I should be brief."

THOUGHT_MARKS: Final[dict[ThoughtSpelling, tuple[str, str]]] = {
    "tags": ("<think>\n", "\n</think>\n\n"),
    "closing_tag": ("", "\n</think>\n\n"),
    "brackets": ("[THINK]", "[/THINK]"),
    "channels": ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
}

CALL_MARKS: Final[dict[CallSpelling, tuple[str, str]]] = {
    "tags": ('<tool_call>\n{"name": "%s", "arguments": ', "}\n</tool_call>"),
    "brackets": ('[TOOL_CALLS][{"name": "%s", "arguments": ', "}]"),
    "json": ('{"name": "%s", "parameters": ', "}"),
}


@dataclass(frozen=True, slots=True)
class ThoughtDelta(TextDelta):
    """A piece of the model's thoughts, sent in a field of its own."""


def with_thoughts(timetable: Timetable, spelling: ThoughtSpelling, thinking_s: float) -> Timetable:
    """Return a reply that begins with thoughts, and whose other pieces are late by as much."""
    begins_s = timetable[0][0]
    opens, closes = THOUGHT_MARKS.get(spelling, ("", ""))
    kind = ThoughtDelta if spelling == "field" else TextDelta
    thoughts = [kind(token) for token in tokens(f"{opens}{THOUGHT}{closes}")]
    step_s = thinking_s / len(thoughts)
    early: Timetable = [(begins_s + step_s * number, piece) for number, piece in enumerate(thoughts)]
    return early + [(due_s + thinking_s, piece) for due_s, piece in timetable]


def calls_as_text(timetable: Timetable, spelling: CallSpelling) -> Timetable:
    """Return a reply whose calls are text."""
    if spelling not in CALL_MARKS or not any(isinstance(piece, ToolCallDelta) for _, piece in timetable):
        return timetable
    return [(due_s, written) for due_s, piece in _with_ends(timetable) for written in _written(piece, spelling)]


def _with_ends(timetable: Timetable) -> Iterator[tuple[float, Piece | None]]:
    """Yield the pieces, and None after the last one of each call."""
    is_open = False
    for due_s, piece in timetable:
        if is_open and not (isinstance(piece, ToolCallDelta) and not piece.name):
            yield due_s, None
        is_open = isinstance(piece, ToolCallDelta)
        yield due_s, piece


def _written(piece: Piece | None, spelling: CallSpelling) -> Iterator[Piece]:
    opens, closes = CALL_MARKS[spelling]
    match piece:
        case None:
            yield from map(TextDelta, tokens(closes))
        case ToolCallDelta(name=name) if name:
            yield from map(TextDelta, tokens(opens % name))
        case ToolCallDelta(arguments=arguments):
            yield TextDelta(arguments)
        case ReplyEnd():
            yield ReplyEnd(finish_reason="stop")
        case _:
            yield piece


def with_end(timetable: Timetable, mark: str) -> Timetable:
    """Return a reply whose text ends with a mark of the chat template."""
    due_s, end = timetable[-1]
    return [*timetable[:-1], *((due_s, TextDelta(token)) for token in tokens(mark)), (due_s, end)]
