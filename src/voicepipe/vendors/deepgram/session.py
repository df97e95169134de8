"""What the connections of Nova and of Flux have in common. Pure, see `HearingSession`."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Final

from voicepipe.core.log import log
from voicepipe.vendors.deepgram.key import VENDOR
from voicepipe.vendors.line.hearing_protocol import HearingSession, Reading
from voicepipe.vendors.line.hearing_watch import Sign
from voicepipe.vendors.line.json_values import number, parsed
from voicepipe.vendors.loose_json import as_objects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.flow import Word
    from voicepipe.vendors.line.heard_turn import HeardTurn

__all__ = ["CLOSE_STREAM", "DeepgramSession", "Message", "text_of", "words_of"]

Message = dict[str, Any]
"""A message of the service, as it came: nothing in it can be relied on."""

CLOSE_STREAM: Final = '{"type":"CloseStream"}'

ANSWER_S: Final = 5.0
"""An answer that takes longer does not come."""

MOST_REPORTS: Final = 20
"""Log lines for one connection."""


class DeepgramSession(HearingSession[Message]):
    """One connection. Changed settings travel one message at a time: the service limits those it has not answered.

    Args:
        sample_rate: Of the audio.
        query: Of the connection.
        known: The settings that may change in mid-call, as `_wanted` returns them, which the query brings.
    """

    def __init__(self, sample_rate: int, query: str, known: Message) -> None:
        super().__init__(sample_rate)
        self.query = query
        self._known = known
        self._is_up_to_date = True
        self._unanswered_until_s = -math.inf
        self._reports = 0

    @abstractmethod
    def _wanted(self) -> Message:
        """Return the present settings that may change in mid-call, by the service's names."""

    @abstractmethod
    def _sign(self, message: Message) -> Sign:
        """Return what a message shows that is of neither of the kinds that this class knows."""

    def read(self, raw: bytes) -> Reading[Message]:
        """See `HearingSession.read`."""
        message = parsed(raw)
        match message.get("type"):
            case "ConfigureSuccess":
                self._unanswered_until_s = -math.inf
            case "ConfigureFailure":
                self._unanswered_until_s = -math.inf
                self._report("refused a change of settings", message)
            case "Warning":
                self._report("warns", message)
            case _:
                return Reading(self._sign(message), message)
        return Reading(Sign.OTHER)

    def refresh(self) -> None:
        """See `HearingSession.refresh`."""
        self._is_up_to_date = False

    def update(self, now: float) -> str | None:
        """See `HearingSession.update`."""
        if self._is_up_to_date or now < self._unanswered_until_s:
            return None
        self._is_up_to_date = True
        wanted = self._wanted()
        changes = {name: value for name, value in wanted.items() if self._known.get(name) != value}
        self._known = wanted
        if not changes:
            return None
        self._unanswered_until_s = now + ANSWER_S
        return json.dumps({"type": "Configure", **changes})

    def _report(self, what: str, message: Message) -> None:
        if self._reports < MOST_REPORTS:
            self._reports += 1
            said = self.clean(f"{message.get('code') or ''} {message.get('description') or ''}".strip())
            log.warning("%s %s: %s", VENDOR, what, said or "it does not say why")


def text_of(value: object) -> str:
    """Return a text without the white space around it; "" for anything else."""
    return value.strip() if isinstance(value, str) else ""


def words_of(words: object, turn: HeardTurn, now: float, *, after_s: float = 0.0) -> Sequence[Word]:
    """Return the words of a message, with their times.

    Args:
        words: As they came.
        turn: Maps their positions to times.
        now: Stands for a time that is missing.
        after_s: Words that begin before this position are left out.
    """
    found: list[Word] = []
    for one in as_objects(words):
        text = text_of(one.get("punctuated_word")) or text_of(one.get("word"))
        start_s, end_s = number(one.get("start")), number(one.get("end"))
        if text and (start_s is None or start_s >= after_s):
            found.append(turn.word(text, start_s, end_s, number(one.get("confidence")) or 0.0, now))
    return found
