"""Texts that come in pieces, without what must not be written: it may be split anywhere between them.

Rule 1: pure. The end of a piece that may be the beginning of a hidden text waits for the next one, which gets it.
Rule 2: a stream of HTTP is cut by the network and by the service, within JSON, so nothing can be found in it. Once
        something is hidden, what comes in one is left out; the exchanges have the same words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from voicepipe.watching.recording.batch import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.watching.recording.screen import Hidden, TextKind

__all__ = ["LEFT_OUT", "Pieces"]

LEFT_OUT: Final = "[left out]"

TEXTS: Final[dict[object, tuple[str, TextKind]]] = {
    "TextDelta": ("text", "agent"),
    "ToolCallDelta": ("arguments", "tool"),
}


class Pieces:
    """Hides texts in the pieces of a model's replies and of streams.

    Args:
        hidden: What must not be written.
    """

    def __init__(self, hidden: Hidden) -> None:
        self._hidden = hidden
        self._waiting: dict[object, dict[object, tuple[str, Line]]] = {}  # by request, and by part of its reply
        self._streams: set[object] = set()

    def passed(self, line: Line) -> Iterator[Line]:
        """Yield what is written for a line: itself, and before the end of a reply the rest of it."""
        fields, part = line.fields, line.fields.get("part")
        kind = part.get("type") if isinstance(part, dict) else None
        if line.kind == "WireMessage":
            self._stream(fields)
        elif line.kind == "ModelEnded" or kind == "ReplyEnd":
            for rest, piece in self._waiting.pop(fields["request_id"], {}).values():
                yield _rest(piece, rest, fields["t_s"])
        elif self._hidden and line.kind == "ModelGave" and kind in TEXTS and not line.is_paused:
            self._piece(line, kind)
        yield line

    def _piece(self, line: Line, kind: object) -> None:
        name, of = TEXTS[kind]
        part = line.fields["part"]
        waiting = self._waiting.setdefault(line.fields["request_id"], {})
        before, _ = waiting.pop((kind, part.get("index")), ("", line))
        text, rest = self._hidden.split(before + part[name], of)
        if part.get("ends_segment"):  # nothing follows that it could be continued with
            text, rest = text + rest, ""
        line.fields = {**line.fields, "part": {**part, name: text}}
        if rest:
            waiting[kind, part.get("index")] = rest, line

    def _stream(self, fields: dict[str, Any]) -> None:
        connection, head = fields["connection"], fields["head"]
        if fields["direction"] == "sent":
            if head.partition(" ")[0] in ("GET", "POST"):
                self._streams.add(connection)
        elif self._hidden and not head and connection in self._streams and "text" in fields:
            fields["text"] = LEFT_OUT


def _rest(piece: Line, text: str, t_s: float) -> Line:
    """Return a line with the rest of a text: a piece like its last one, which says nothing else."""
    part: dict[str, Any] = piece.fields["part"]
    only = {"type", "index"} & part.keys()
    bare = {"call_id": "", "name": "", "state": None} if part["type"] == "ToolCallDelta" else {"ends_segment": False}
    rest = {**{name: part[name] for name in only}, **bare, TEXTS[part["type"]][0]: text}
    return Line(piece.file, piece.kind, {**piece.fields, "t_s": t_s, "part": rest})
