"""The wait of a turn, as stretches of time on the axis of the call.

Rule 1: the stretches follow each other without a gap and add up to the turn's contributions, to the microsecond.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from voicepipe.timeline import HEARD, STAGE, base_of, contribution_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DOES", "WORDS", "Span", "spans_of", "words_for"]

WORDS: Final = {
    "speech": "Speech",
    "silence": "Silence",
    "stt": "Recogniser",
    "patience": "Patience",
    "turn": "Turn",
    "request": "Request",
    "llm": "Model",
    "tools": "Tools",
    "sentence": "Sentence",
    "tts": "Voice",
    "withheld": "Withheld",
    "filler": "Filler",
    "output": "Output",
    "lead_in": "Lead-in",
}
"""What contributions are called in a picture."""

DOES: Final = {
    **dict.fromkeys(("speech", "silence", "stt", "patience"), "listens"),
    **dict.fromkeys(("tts", "withheld", "filler", "output", "lead_in"), "speaks"),
}
"""What the agent does meanwhile: it "listens" or "speaks", and in all other contributions it "thinks"."""


class Span(NamedTuple):
    """A stretch of a wait.

    Attributes:
        name: The contribution that it counts to, e.g. "llm".
        start_s: When it began, in seconds since the session began.
        end_s: When it ended.
    """

    name: str
    start_s: float
    end_s: float


def words_for(name: str) -> str:
    """Return what a contribution is called in a picture: one of the application's own has the name of its stage."""
    return WORDS.get(name) or name.removeprefix(STAGE)


def spans_of(marks: Mapping[str, float], contributions: Mapping[str, float]) -> list[Span]:
    """Return the stretches of a wait; none if there was no answer.

    Args:
        marks: The marks of a `Timeline`, in seconds.
        contributions: What the wait was spent on, in seconds: marks of anything else end no stretch.
    """
    if "speech_ended" not in marks or not contributions:
        return []
    start = round(marks["speech_ended"] * 1e6)
    end = start + sum(round(seconds * 1e6) for seconds in contributions.values())
    ordered = sorted(
        (
            (round(at_s * 1e6), base_of(name), spent_on)
            for name, at_s in marks.items()
            if (spent_on := contribution_of(name)) is not None and spent_on in contributions
        ),
        key=lambda mark: (mark[0], mark[1] not in HEARD),
    )
    found: list[Span] = []
    before = start
    for us, base, name in ordered:
        if base != "speech_ended" and start <= us <= end:
            if us > before:
                found.append(Span(name, before / 1e6, us / 1e6))
            before = us
    return found
