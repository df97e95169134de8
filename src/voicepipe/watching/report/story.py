"""What happened in a recorded call: its turns, what each part did for them, and what came between.

Rule 1: this is pure: records go in, a story comes out. Nothing is read, drawn or written here.
Rule 2: all times are in seconds since the session began.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from voicepipe.watching.recording.redaction import NOT_RECORDED
from voicepipe.watching.report.exchanges import add_exchanges
from voicepipe.watching.report.notes import Note, note_of
from voicepipe.watching.report.records import error_text
from voicepipe.watching.report.spans import spans_of
from voicepipe.watching.report.turn_story import Asking, TurnStory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voicepipe.watching.report.records import Record, Records

__all__ = ["Story", "story_of", "unheard"]

OUTCOMES: Final = {
    "TurnCompleted": "completed",
    "TurnInterrupted": "interrupted",
    "TurnFailed": "failed",
    "TurnEmpty": "empty",
}
"""How a turn ended, by the event that says so. Some of those interrupted are "joined"; without one it is "open"."""


@dataclass(slots=True, kw_only=True)
class Story:
    """A call.

    Attributes:
        turns: Its turns, in the order of their numbers.
        drafts: Requests of drafts that were dropped at the end of the call, with no turn after them.
        notes: What happened outside of turns and in them, in the order of time.
        speech: From when to when the caller spoke.
        held: From when to when a reply was paused or withheld.
        ends_s: How long the call lasted, or as far as it was recorded.
        has_content: Whether the words of the call are in it. See `without_content`.
    """

    turns: list[TurnStory] = field(default_factory=list[TurnStory])
    drafts: list[Asking] = field(default_factory=list[Asking])
    notes: list[Note] = field(default_factory=list[Note])
    speech: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    held: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    ends_s: float = 0.0
    has_content: bool = True


def story_of(records: Records) -> Story:
    """Return what happened in a call."""
    story = Story()
    ended: Record = records.manifest.get("ended") or {}
    last_s = max(
        (float(record["t_s"]) for kind in (records.events, records.exchanges) for record in kind[-1:]), default=0.0
    )
    story.ends_s = float(ended.get("t_s") or last_s)
    turns = {turn.turn_id: turn for turn in _turns(records.events)}
    add_exchanges(records.exchanges, turns)
    story.drafts = [
        asking for turn in turns.values() if turn.outcome == "never" for asking in turn.requests + turn.dropped
    ]
    story.turns = [turns[number] for number in sorted(turns) if turns[number].outcome != "never"]
    for turn in story.turns:
        turn.generated = _generated(turn)
        if turn.outcome != "completed" and NOT_RECORDED not in (turn.heard, turn.generated):
            turn.unheard = unheard(turn.generated, turn.heard)
    story.notes = [note for record in records.events if (note := note_of(record)) is not None]
    for note in story.notes:
        note.turn_id = note.turn_id or _running_at(note.at_s, story.turns)
        if note.turn_id in turns:
            turns[note.turn_id].notes.append(note)
    story.speech = list(_stretches(records.events, ("SpeechStarted",), ("SpeechEnded",), story.ends_s))
    _add_beginnings(story, [record for record in records.events if record["event"] == "Transcript"])
    ends = ("Resumed", "Released", *OUTCOMES)
    story.held = list(_stretches(records.events, ("Paused", "Withheld"), ends, story.ends_s))
    return story


def _running_at(at_s: float, turns: Iterable[TurnStory]) -> int:
    """Return the number of the turn in which something happened that belongs to none by itself; 0 between turns."""
    running = (turn for turn in turns if turn.started_s <= at_s and (turn.ended_s is None or at_s <= turn.ended_s))
    return max((turn.turn_id for turn in running), default=0)


def _turns(events: Iterable[Record]) -> Iterable[TurnStory]:
    turns: dict[int, TurnStory] = {}
    for record in events:
        kind = record["event"]
        if kind == "TurnStarted":
            number = record["turn_id"]
            turns[number] = TurnStory(turn_id=number, user_text=record["user_text"], started_s=record["t_s"])
        elif kind in OUTCOMES:
            number = record["turn_id"]
            turn = turns.setdefault(number, TurnStory(turn_id=number, started_s=record["t_s"]))
            _end(turn, record)
        elif kind == "SentenceStarted" and (speaks := turns.get(record["turn_id"])) is not None:
            speaks.said.append((record["t_s"], record["text"]))
    return turns.values()


def _end(turn: TurnStory, record: Record) -> None:
    turn.user_text = record.get("user_text", turn.user_text)
    turn.ended_s = record["t_s"]
    turn.outcome = "joined" if record.get("joined") else OUTCOMES[record["event"]]
    turn.by = record.get("by", "")
    turn.heard, turn.heard_s = record.get("heard", ""), record.get("heard_s", 0.0)
    turn.marks = dict(record.get("marks") or {})
    turn.contributions = dict(record.get("contributions") or {})
    turn.spans = spans_of(turn.marks, turn.contributions)
    turn.error, turn.finish_reason = error_text(record.get("error")), record.get("finish_reason", "")


def _generated(turn: TurnStory) -> str:
    written = " ".join(text for asking in turn.requests if (text := asking.text.strip()))
    return written or " ".join(text for spoken in turn.sentences if (text := spoken.text.strip()))


def unheard(generated: str, heard: str) -> str:
    """Return what of a reply comes after the part that was heard.

    What was heard lacks the markup that is not spoken, and white space may differ: characters are compared one by one,
    and those that were not spoken are passed over.
    """
    spoken = iter("".join(heard.split()))
    awaited = next(spoken, None)
    for at, character in enumerate(generated):
        if awaited is None:
            return generated[at:].strip()
        if character == awaited:
            awaited = next(spoken, None)
    return ""


def _add_beginnings(story: Story, transcripts: Sequence[Record]) -> None:
    """Find where the caller began to say what each turn answers: with the first transcript that is part of it."""
    answered_s = 0.0
    for turn in story.turns:
        until_s = turn.marks.get("speech_ended")
        if until_s is None or not turn.user_text:
            continue
        ends = (one["speech_ended_s"] for one in transcripts if one["text"].strip() in turn.user_text)
        end_s = min((end_s for end_s in ends if answered_s < end_s <= until_s), default=until_s)
        turn.spoke_s = max((start_s for start_s, _ in story.speech if start_s <= end_s), default=end_s)
        if turn.outcome != "joined":
            answered_s = until_s


def _stretches(
    events: Iterable[Record], begins: Sequence[str], ends: Sequence[str], ends_s: float
) -> Iterable[tuple[float, float]]:
    """Yield from when to when something lasted; what the recording does not end, the call ends."""
    since_s: float | None = None
    for record in events:
        if record["event"] in begins and since_s is None:
            since_s = _at(record)
        elif record["event"] in ends and since_s is not None:
            yield since_s, max(since_s, _at(record))
            since_s = None
    if since_s is not None:
        yield since_s, max(since_s, ends_s)


def _at(record: Record) -> float:
    """Return when something was: a recogniser reports the beginning of speech later than it was."""
    return float(record.get("at_s", record["t_s"]))
