"""What parts were given and gave, put into the turns that it was for.

Rule 1: a record that refers to something from before the recording is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from voicepipe.watching.recording.redaction import NOT_RECORDED
from voicepipe.watching.report.records import error_text
from voicepipe.watching.report.turn_story import Asking, Spoken, ToolRun, TurnStory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from voicepipe.watching.report.records import Record

__all__ = ["add_exchanges"]


def add_exchanges(exchanges: Iterable[Record], turns: dict[int, TurnStory]) -> None:
    """Add requests, tools and sentences to turns; those of drafts that became no turn get a turn that never was.

    Args:
        exchanges: The records, in the order of time.
        turns: The turns by number; it grows.
    """
    gathered = _Gathered(turns)
    for record in exchanges:
        take = _TAKES.get(record["kind"])
        if take is not None:
            take(gathered, record)


class _Gathered:
    """What has been seen so far, by its number."""

    def __init__(self, turns: dict[int, TurnStory]) -> None:
        self._turns = turns
        self._requests: dict[int, Asking] = {}
        self._tools: dict[str, ToolRun] = {}
        self._sentences: dict[int, Spoken] = {}

    def model_asked(self, record: Record) -> None:
        asking = Asking(
            request_id=record["request_id"],
            step=record["step"],
            asked_s=record["t_s"],
            system=record.get("system") or "",
            messages=record.get("messages", ()),
            tools=record.get("tools", ()),
        )
        self._requests[asking.request_id] = asking
        self._turn(record).requests.append(asking)

    def model_gave(self, record: Record) -> None:
        asking = self._requests.get(record["request_id"])
        if asking is None:
            return
        part: Record = record["part"]
        kind = part["type"]
        if asking.first_s is None and kind in ("TextDelta", "ToolCallDelta"):
            asking.first_s = record["t_s"]
        if kind == "TextDelta":
            asking.text = _joined(asking.text, part["text"])
        elif kind == "ToolCallDelta":
            call = asking.calls.setdefault(part["index"], ["", ""])
            call[0] = part["name"] or call[0]
            call[1] = _joined(call[1], part["arguments"])
        elif kind == "ReplyEnd":
            asking.finish_reason = part["finish_reason"]

    def model_ended(self, record: Record) -> None:
        if (asking := self._requests.get(record["request_id"])) is not None:
            asking.ended_s, asking.error = record["t_s"], error_text(record.get("error"))

    def draft_dropped(self, record: Record) -> None:
        """Part what a draft asked from what the turn will ask that gets its number."""
        turn = self._turn(record)
        for asking in turn.requests:
            asking.dropped_s = record["t_s"]
        for spoken in turn.sentences:
            spoken.dropped_s = record["t_s"]
        turn.dropped += turn.requests
        turn.dropped_sentences += turn.sentences
        turn.requests, turn.sentences = [], []

    def tool_asked(self, record: Record) -> None:
        run = ToolRun(
            call_id=record["call_id"], name=record["name"], arguments=record["arguments"], asked_s=record["t_s"]
        )
        self._tools[run.call_id] = run
        self._turn(record).tools.append(run)

    def tool_gave(self, record: Record) -> None:
        if (run := self._tools.get(record["call_id"])) is not None:
            run.gave_s, run.status, run.result = record["t_s"], record["status"], record["result"]

    def voice_asked(self, record: Record) -> None:
        spoken = Spoken(
            sentence_id=record["sentence_id"],
            text=record["text"],
            voice=record.get("voice", ""),
            asked_s=record["t_s"],
            rate=record["sample_rate"],
        )
        self._sentences[spoken.sentence_id] = spoken
        self._turn(record).sentences.append(spoken)

    def voice_gave(self, record: Record) -> None:
        spoken = self._sentences.get(record["sentence_id"])
        samples = record.get("samples")
        if spoken is None or samples is None:  # a mark has none
            return
        spoken.first_s = record["t_s"] if spoken.first_s is None else spoken.first_s
        spoken.samples += samples

    def voice_ended(self, record: Record) -> None:
        if (spoken := self._sentences.get(record["sentence_id"])) is not None:
            spoken.ended_s, spoken.error = record["t_s"], error_text(record.get("error"))

    def _turn(self, record: Record) -> TurnStory:
        number = record["turn_id"]
        return self._turns.setdefault(number, TurnStory(turn_id=number, started_s=record["t_s"], outcome="never"))


_TAKES: Final[dict[str, Callable[[_Gathered, Record], None]]] = {
    "ModelAsked": _Gathered.model_asked,
    "ModelGave": _Gathered.model_gave,
    "ModelEnded": _Gathered.model_ended,
    "DraftDropped": _Gathered.draft_dropped,
    "ToolAsked": _Gathered.tool_asked,
    "ToolGave": _Gathered.tool_gave,
    "VoiceAsked": _Gathered.voice_asked,
    "VoiceGave": _Gathered.voice_gave,
    "VoiceEnded": _Gathered.voice_ended,
}


def _joined(text: str, piece: str) -> str:
    """Return a text with a piece more; that something was not recorded is said once."""
    return text if piece == NOT_RECORDED and text.endswith(NOT_RECORDED) else text + piece
