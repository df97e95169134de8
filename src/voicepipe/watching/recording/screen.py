"""Which fields of a recording hold words, whose they are, and what stands there instead of words that are left out.

Rule 1: pure. It knows the JSON of events, exchanges, wire messages and history, and walks through all of it.
Rule 2: what is not listed holds no words: names, numbers, identifiers, and words of the program itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voicepipe.watching.recording.records import Json

__all__ = ["PAUSED", "Hidden", "Replace", "TextKind", "screened", "spelled_out", "without_words", "words_in"]

TextKind: TypeAlias = Literal["caller", "agent", "tool", "prompt", "error", "wire"]
"""Whose words a text has: the caller's, the agent's, those between the model and a tool, the prompt's, those of an
error, or a message to or from a service or a summary, which have a bit of everything."""

Replace: TypeAlias = Callable[[str, TextKind], str]
"""Returns what is written instead of a text."""

PAUSED: Final = "[paused]"

OF_TURN: Final[dict[str, TextKind]] = {"user_text": "caller", "heard": "agent", "error": "error"}
CALLER: Final[dict[str, TextKind]] = {"text": "caller"}
AGENT: Final[dict[str, TextKind]] = {"text": "agent"}

FIELDS: Final[dict[str, dict[str, TextKind]]] = {
    **dict.fromkeys(("TurnEnded", "TurnCompleted", "TurnInterrupted", "TurnFailed", "TurnEmpty"), OF_TURN),
    **dict.fromkeys(("Backchannel", "EarlyTranscript", "EchoIgnored", "Transcript", "UserMessage", "Word"), CALLER),
    **dict.fromkeys(("Idle", "SentenceStarted", "TextDelta", "VoiceAsked", "VoiceTooSlow"), AGENT),
    "ApplicationAsked": {"arguments": "agent"},
    "AssistantMessage": {"generated": "agent", "synthesised": "agent", "heard": "agent"},
    "Digit": {"key": "caller"},
    "ModelAsked": {"system": "prompt"},
    "RecordedResult": {"fields": "tool"},
    "ServiceState": {"fields": "wire"},
    "Summarised": {"text": "wire"},
    "ToolAsked": {"arguments": "tool"},
    "ToolCall": {"arguments": "tool", "result": "tool"},
    "ToolCallDelta": {"arguments": "tool"},
    "ToolGave": {"result": "tool"},
    "TurnStarted": {"user_text": "caller"},
    "Wording": {"spoken": "agent", "written": "agent"},
    "WireMessage": {"head": "wire", "text": "wire"},
}
"""The fields that hold words, by class."""

WITHOUT_TYPE: Final = {"calls": "ToolCall", "state": "ServiceState"}
"""Objects in a history that do not name their class, by field."""


def screened(kind: str, fields: Json, replace: Replace) -> Json:
    """Return the fields of an object, with each text in them replaced.

    Args:
        kind: The name of its class.
        fields: Its JSON.
        replace: Returns what is written instead of a text.
    """
    kinds = FIELDS.get(kind, {})
    written = {
        name: _walked(value, kinds.get(name), WITHOUT_TYPE.get(name, ""), replace) for name, value in fields.items()
    }
    if fields.get("wording") and written["text"] != fields["text"]:
        written["wording"] = []  # digits that are spelled out are not found in what was spoken
    return written


def _walked(value: object, of: TextKind | None, kind: str, replace: Replace) -> object:
    if isinstance(value, str):
        return replace(value, of) if of and value else value
    if isinstance(value, list):
        return [_walked(inner, of, kind, replace) for inner in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("Json", value)
    named: object = fields.get("type", kind)
    if isinstance(named, str) and named in FIELDS:
        return screened(named, fields, replace)
    if "message" in fields and "type" in fields:  # an error
        return {
            name: _walked(inner, None if name == "type" else "error", "", replace) for name, inner in fields.items()
        }
    return {name: inner if name == "type" else _walked(inner, of, "", replace) for name, inner in fields.items()}


def spelled_out(before: Json, after: Json) -> list[str]:
    """Return what a voice was given in other words than were written, if something was taken out of the sentence."""
    if not before.get("wording") or before["text"] == after["text"]:
        return []
    return [piece["spoken"] for piece in before["wording"] if piece["spoken"] != piece["written"]]


def without_words(text: str, of: TextKind) -> str:
    """Return what is written instead of a text in a pause; JSON stays JSON."""
    return '{"paused": true}' if of == "tool" and text.lstrip().startswith("{") else PAUSED


def words_in(text: str) -> Iterable[str]:
    """Return a text, and if it is JSON, each text and number in it."""
    yield text
    try:
        found: Any = json.loads(text)
    except ValueError:
        return
    waiting = [found]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += cast("Json", value).values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, (str, int, float)) and not isinstance(value, bool):
            yield str(value)


class Hidden:
    """Texts that must not be written, wherever they come up again: what was said in a pause, and personal facts.

    A text that tells something, with three digits, an @ or three words, is found within any other. Of what was said, a
    number, two words, or one of four letters, as a name is, are found as whole words. A shorter one like "yes" is only
    hidden in messages to services, and only as a whole.
    """

    def __init__(self) -> None:
        self._within: dict[str, str] = {}
        self._words: dict[str, re.Pattern[str]] = {}
        self._quoted: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._within or self._words or self._quoted)

    def add(self, text: str, instead: str = PAUSED, *, is_secret: bool = False, was_said: bool = False) -> None:
        """Hide a text; one that `is_secret` also within others, whatever it says."""
        if not (text := text.strip()):
            return
        forms = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}  # also as JSON has it,
        forms |= {form(text, errors="replace") for form in (quote, quote_plus)}  # and as a URL does
        if (is_secret and len(text) >= SHORTEST_SECRET) or TELLING.search(text):
            self._within |= dict.fromkeys(forms, instead)
            # The longest first: a part of it that is replaced would leave the rest.
            self._within = dict(sorted(self._within.items(), key=lambda item: -len(item[0])))
        elif was_said and NAMING.search(text):
            word = re.sub(r"^\W+|\W+$", "", text)
            self._words[word] = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)
        else:
            self._quoted |= dict.fromkeys((f'"{form}"' for form in forms), f'"{instead}"')

    def __call__(self, text: str, of: TextKind) -> str:
        """Return a text without what must not be written."""
        for hidden, other in self._within.items():
            if hidden in text:
                text = text.replace(hidden, other)
        for pattern in self._words.values():
            text = pattern.sub(PAUSED, text)
        for hidden, other in self._quoted.items() if of == "wire" else ():
            text = text.replace(hidden, other)
        return text

    def split(self, text: str, of: TextKind) -> tuple[str, str]:
        """Return a text without what must not be written, and its end if a hidden text may begin with that."""
        text, waiting = self(text, of), 0
        for hidden in (*self._within, *self._words):
            lengths = range(min(len(hidden) - 1, len(text)), waiting, -1)
            waiting = next((length for length in lengths if text.endswith(hidden[:length])), waiting)
        return text[: len(text) - waiting], text[len(text) - waiting :]


SHORTEST_SECRET: Final = 3
"""A shorter one is in too many words."""

NAMING: Final = re.compile(r"\d|\w{4}|\w\W+\w")

TELLING: Final = re.compile(r"\d.*\d.*\d|@|\w+\W+\w+\W+\w+", re.DOTALL)
