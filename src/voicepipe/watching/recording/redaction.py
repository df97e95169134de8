"""Words that are left out of a recording, before anything is written.

Rule 1: pure. Lines go in, and the same lines come out, perhaps later, with other words in them.
Rule 2: pieces of a text cannot be judged, so they wait for the whole: early words for the transcript, what a model
        gives for the end of its reply. What does not become whole in time is left out.
Rule 3: where words are left out, so is their sound.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Final, TypeAlias

from voicepipe.watching.recording.pieces import LEFT_OUT, Pieces
from voicepipe.watching.recording.screen import Hidden, TextKind, screened, spelled_out, without_words, words_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.watching.recording.batch import Line
    from voicepipe.watching.recording.manifest import Sides
    from voicepipe.watching.recording.records import Json

__all__ = ["HOLD_S", "LEFT_OUT", "NOT_RECORDED", "Redact", "Redaction", "Screen", "Silenced"]

Redact: TypeAlias = Callable[[str, TextKind], str]
"""Returns a text as it may be written. It is called in a thread, with one text at a time."""

HOLD_S: Final = 30.0
"""How long a recording that is redacted waits with everything: as long as callers take to spell a number."""

NOT_RECORDED: Final = "[not recorded]"

PADDING_S: Final = 0.15
"""Recognisers say only about when a word began and ended."""

LONGEST_S: Final = 30.0
"""Without times of words, and of the beginning of speech, so much sound before its end is left out."""

PIECES: Final[tuple[tuple[str, TextKind], ...]] = (("text", "agent"), ("arguments", "tool"))
"""What a reply comes in pieces of."""

SIDE_OF: Final[dict[TextKind, tuple[Sides, ...]]] = {
    "caller": ("both", "caller"),
    "agent": ("both", "agent"),
    "tool": ("both",),
    "wire": ("both",),
    "error": ("both",),
    "prompt": ("both", "agent"),
}
"""With which sides each kind of text is recorded. What may hold words of both needs both."""


class Screen:
    """Leaves out what nobody may write: words of pauses, of a side that is not recorded, and personal facts.

    Args:
        sides: Whose words are recorded.
    """

    def __init__(self, sides: Sides) -> None:
        self.hidden = Hidden()
        self._pieces = Pieces(self.hidden)
        self._sides: Sides = sides
        self._begun: set[tuple[object, str]] = set()  # replies that have had a piece in a pause

    def passed(self, line: Line) -> Iterator[Line]:
        """Yield what may be written for a line."""
        for one in self._pieces.passed(line):
            if one.is_paused:
                self._remember(one)
                one.fields = self._paused(one)
            elif self._sides != "both" or self.hidden:
                fields = screened(one.kind, one.fields, self._replaced)
                for words in spelled_out(one.fields, fields):
                    self.hidden.add(words)
                one.fields = self._without_words_of(fields, one)
            yield one

    def history(self, messages: list[Json]) -> list[Json]:
        """Return the messages of a history without what may not be written."""
        if self._sides == "both" and not self.hidden:
            return messages
        return [screened(_class_of(message), message, self._replaced) for message in messages]

    def _without_words_of(self, fields: Json, line: Line) -> Json:
        """Leave out the words of a transcript, one by one, if its text has changed: they say the same."""
        before: Json = line.fields.get("hearing") or line.fields
        inner: Json = fields.get("hearing") or fields
        if not inner.get("words") or inner["text"] == before["text"]:
            return fields
        return _with(fields, inner, {"words": [{**word, "text": LEFT_OUT} for word in inner["words"]]})

    def _replaced(self, text: str, of: TextKind) -> str:
        if self._sides not in SIDE_OF[of]:
            return NOT_RECORDED
        return self.hidden(text, of)

    def _paused(self, line: Line) -> Json:
        """Return a line without words. Of the pieces of one reply, the first stands for all."""
        piece = line.fields.get("part")
        if isinstance(piece, dict) and piece.get("type") in ("TextDelta", "ToolCallDelta"):
            key = (line.fields.get("request_id"), f"{piece['type']} {piece.get('index')}")
            is_first = key not in self._begun
            if any(piece.get(name) for name in ("text", "arguments")):
                self._begun.add(key)
            return screened(line.kind, line.fields, lambda _, of: without_words("{", of) if is_first else "")
        return screened(line.kind, line.fields, without_words)

    def _remember(self, line: Line) -> None:
        fields: Json = line.fields.get("hearing") or line.fields
        kind = fields.get("type", line.kind)
        if kind == "Transcript":
            self.hidden.add(fields["text"], was_said=True)
        elif kind == "TurnStarted":
            self.hidden.add(fields["user_text"], was_said=True)
        elif kind in ("ToolAsked", "ToolGave"):
            for text in words_in(fields["arguments" if kind == "ToolAsked" else "result"]):
                self.hidden.add(text)


def _class_of(message: Json) -> str:
    return "UserMessage" if message.get("role") == "user" else "AssistantMessage"


@dataclass(frozen=True, slots=True)
class Silenced:
    """A span whose sound is left out.

    Attributes:
        channel: "caller" or "agent".
        from_s: Where it begins.
        until_s: Where it ends; None for the end of a turn that goes on.
        turn_id: The turn; None for the caller's words.
    """

    channel: str
    from_s: float
    until_s: float | None
    turn_id: int | None = None


class Redaction:
    """Applies the application's hook to lines, and holds them back until that can be done.

    Args:
        redact: The hook.
    """

    def __init__(self, redact: Redact) -> None:
        self._redact = redact
        self._held: list[Line] = []
        self._early: list[Line] = []  # words of the present utterance, of which no transcript has come
        self._pieces: dict[object, list[Line]] = {}  # of replies that have not ended, by their request
        self._spoke_s: float | None = None  # when the caller began to speak
        self._sentences: set[int] = set()  # whose sound is left out
        self._spelled: set[str] = set()  # what such a sentence spells out, as JSON may have it
        self.silenced: list[Silenced] = []
        self.ended_turns: list[tuple[int, float]] = []

    def take(self, line: Line) -> None:
        """Take a line; it is there again in `release`."""
        self._held.append(line)
        kind, fields = line.kind, line.fields
        inner: Json = fields.get("hearing") or fields
        if inner.get("type", kind) == "EarlyTranscript":
            self._early.append(line)
        elif inner.get("type", kind) == "Transcript":
            self._transcript(line, inner)
        elif inner.get("type", kind) == "SpeechStarted":
            self._spoke_s = inner["at_s"] if self._spoke_s is None else self._spoke_s
        elif kind == "ModelGave":
            self._pieces.setdefault(fields["request_id"], []).append(line)
        elif kind == "ModelEnded":
            self._judge(self._pieces.pop(fields["request_id"], []))
            line.fields = screened(kind, fields, self._redact)
        elif kind == "WireMessage":
            self._wire(line)
        else:
            line.fields = screened(kind, fields, self._redact)
            self._silence(kind, fields, line.fields)

    def release(self, until_s: float) -> list[Line]:
        """Return the lines up to a time. Words that are still incomplete are left out."""
        released = [line for line in self._held if line.fields["t_s"] <= until_s]
        self._held = self._held[len(released) :]
        late = {id(line) for line in released}
        for line in (one for one in self._early if id(one) in late):
            line.fields = screened(line.kind, line.fields, _left_out)
        self._early = [line for line in self._early if id(line) not in late]
        for request in [key for key, lines in self._pieces.items() if id(lines[0]) in late]:
            self._judge(self._pieces.pop(request), is_whole=False)
        return released

    def is_silent(self, sentence_id: int) -> bool:
        """Return whether the sound of a sentence is left out."""
        return sentence_id in self._sentences

    def text(self, kind: str, fields: Json) -> Json:
        """Return whole texts as they may be written: a row of the table of turns, or a message of the history."""
        return screened(kind, fields, self._redact)

    # --- the caller's words -------------------------------------------------------------------------------------------

    def _transcript(self, line: Line, fields: Json) -> None:
        text = fields["text"]
        changed = self._redact(text, "caller")
        if changed != text:
            for early in self._early:
                early.fields = screened(early.kind, early.fields, _left_out)
            self.silenced += [Silenced("caller", *span) for span in self._spans(text, changed, fields)]
            words = [{**word, "text": LEFT_OUT} for word in fields["words"]]
            line.fields = _with(line.fields, fields, {"text": changed, "words": words})
        if line.kind == "Transcript":  # the exchange comes first, and is about the same
            self._early.clear()
            self._spoke_s = None

    def _spans(self, text: str, changed: str, fields: Json) -> list[tuple[float, float]]:
        """Return when the words were said that have been changed."""
        if not fields["words"]:
            ended_s = fields["speech_ended_s"]
            return [(ended_s - LONGEST_S if self._spoke_s is None else self._spoke_s - PADDING_S, ended_s + PADDING_S)]
        matcher = SequenceMatcher(None, text, changed, autojunk=False)
        ranges = [(first, max(end, first + 1)) for tag, first, end, _, _ in matcher.get_opcodes() if tag != "equal"]
        spans, at = list[tuple[float, float]](), 0
        for word in fields["words"]:
            first = max(text.find(word["text"], at), at)
            at = first + len(word["text"])
            if any(begin < at and first < end for begin, end in ranges):
                spans.append((word["start_s"] - PADDING_S, word["end_s"] + PADDING_S))
        return spans or [(fields["words"][0]["start_s"] - PADDING_S, fields["words"][-1]["end_s"] + PADDING_S)]

    # --- the model's and the agent's ----------------------------------------------------------------------------------

    def _judge(self, lines: list[Line], *, is_whole: bool = True) -> None:
        """Apply the hook to the pieces of a reply as to one text; a text that is changed stands in its first piece."""
        for name, of in PIECES:
            by_index: dict[object, list[Line]] = {}
            for line in lines:
                if name in line.fields["part"]:
                    by_index.setdefault(line.fields["part"].get("index"), []).append(line)
            for pieces in by_index.values():
                text = "".join(line.fields["part"][name] for line in pieces)
                changed = self._redact(text, of) if is_whole else LEFT_OUT
                for line in pieces if changed != text else ():
                    line.fields = {**line.fields, "part": {**line.fields["part"], name: changed}}
                    changed = ""

    def _silence(self, kind: str, before: Json, after: Json) -> None:
        if kind == "VoiceAsked" and before["text"] != after["text"]:
            self._sentences.add(before["sentence_id"])
            for words in spelled_out(before, after):
                self._spelled |= {words, json.dumps(words)[1:-1]}
            self.silenced.append(Silenced("agent", before["t_s"], None, before["turn_id"]))
        elif kind in ("TurnCompleted", "TurnEmpty", "TurnFailed", "TurnInterrupted"):
            self.ended_turns.append((before["turn_id"], before["t_s"]))

    def _wire(self, line: Line) -> None:
        """Apply the hook to a request as a whole; what comes back comes in pieces."""
        if line.fields["direction"] == "sent":
            line.fields = screened(line.kind, line.fields, self._sent)
        elif line.fields.get("text"):
            line.fields = {**line.fields, "text": LEFT_OUT}

    def _sent(self, text: str, of: TextKind) -> str:
        """Apply the hook to a request, and take out what a voice was given in place of what the hook took out."""
        text = self._redact(text, of)
        for words in self._spelled:
            text = text.replace(words, LEFT_OUT)
        return text


def _left_out(text: str, of: TextKind) -> str:
    del text, of
    return LEFT_OUT


def _with(fields: Json, inner: Json, changes: Json) -> Json:
    """Return the fields of a line in which those of a transcript have changed, whether it is the line itself or not."""
    return {**fields, **changes} if inner is fields else {**fields, "hearing": {**inner, **changes}}
