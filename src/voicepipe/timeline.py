"""Where the time of one turn went.

Rule 1: a mark is set once, and the first time counts.
Rule 2: contributions are differences of neighbouring marks in whole microseconds, so they add up exactly to the
        caller's wait.
"""

from __future__ import annotations

from asyncio import get_running_loop
from typing import Final

__all__ = ["Timeline"]

CONTRIBUTIONS: Final = {
    "speech_ended": "speech",
    "endpoint": "silence",
    "transcript": "stt",
    "committed": "patience",
    "turn_started": "turn",
    "llm_request": "request",
    "llm_first_token": "llm",
    "tool_called": "llm",
    "tools_done": "tools",
    "first_sentence": "sentence",
    "tts_first_audio": "tts",
    "released": "withheld",
    "first_frame": "output",
}
"""What the time *up to* a mark was spent on. A turn may pass a mark several times (`llm_request` after each tool)."""

HEARD: Final = ("endpoint", "transcript")


class Timeline:
    """Marks of one turn, in seconds on the event loop's clock.

    | mark | set when |
    |---|---|
    | speech_ended | the caller's last speech sample |
    | endpoint | the end of the caller's turn was decided (so *silence* is the silence waited for) |
    | transcript | the final transcript arrived (*stt*) |
    | committed | it was certain that the caller does not go on (*patience*); without a wait there is no such mark |
    | turn_started | the reply was started (*turn*) |
    | llm_request, llm_request_2 ... | a request to the model was about to be sent (*request*) |
    | llm_first_token | the reply's first text arrived (*llm*) |
    | tool_called, tool_called_2 ... | the model's tool calls were complete (*llm*) |
    | tools_done, tools_done_2 ... | their results were there (*tools*) |
    | first_sentence | the first sentence was handed to TTS (*sentence*) |
    | tts_first_audio | its first audio arrived (*tts*) |
    | released | a sound of the caller's that had held up the reply was over (*withheld*) |
    | first_frame | the first frame was handed to the output (*output*) |
    | ended | the turn ended |
    """

    def __init__(self) -> None:
        self._marks: dict[str, int] = {}

    def mark(self, name: str, at_s: float | None = None) -> None:
        """Set a mark, at the present time by default. A mark that is set already stays as it is."""
        if name not in self._marks:
            self._marks[name] = round((get_running_loop().time() if at_s is None else at_s) * 1e6)

    def mark_again(self, name: str) -> None:
        """Set a mark that a turn may pass several times: name, name_2, name_3 ..."""
        count, numbered = 1, name
        while numbered in self._marks:
            count += 1
            numbered = f"{name}_{count}"
        self.mark(numbered)

    def __getattr__(self, name: str) -> float:
        """Return a mark in seconds, e.g. `timeline.first_frame`."""
        marks: dict[str, int] = self.__dict__.get("_marks", {})
        if name in marks:
            return marks[name] / 1e6
        raise AttributeError(f"this turn has no mark {name!r}; it has {', '.join(marks) or 'none yet'}")

    def __contains__(self, name: str) -> bool:
        """Return whether a mark is set."""
        return name in self._marks

    @property
    def marks(self) -> dict[str, float]:
        """All marks in seconds, in the order of time."""
        return {name: us / 1e6 for name, us in sorted(self._marks.items(), key=lambda item: item[1])}

    @property
    def waited_us(self) -> int | None:
        """Microseconds from the end of the caller's speech to the first frame; None if there was no answer."""
        if "speech_ended" not in self._marks or "first_frame" not in self._marks:
            return None
        return self._marks["first_frame"] - self._marks["speech_ended"]

    @property
    def contributions_us(self) -> dict[str, int]:
        """What the wait was spent on, in microseconds: the values add up exactly to `waited_us`.

        Empty if there was no answer. Marks from before the end of the caller's speech, or from after the first frame,
        contribute nothing.
        """
        waited = self.waited_us
        if waited is None:
            return {}
        start, end = self._marks["speech_ended"], self._marks["first_frame"]
        # Marks of the same microsecond stay in the order in which they were set. But a draft may begin with the very
        # transcript that ends the caller's turn, and its marks are set when it is committed.
        ordered = sorted(
            ((us, base) for name, us in self._marks.items() if (base := _base(name)) in CONTRIBUTIONS),
            key=lambda mark: (mark[0], mark[1] not in HEARD),
        )
        spent: dict[str, int] = {}
        before = start
        for us, base in ordered:
            if base != "speech_ended" and start <= us <= end:
                spent[CONTRIBUTIONS[base]] = spent.get(CONTRIBUTIONS[base], 0) + us - before
                before = us
        return spent

    def __repr__(self) -> str:
        """Show the wait and what it was spent on, in milliseconds."""
        waited = self.waited_us
        if waited is None:
            return f"<Timeline {', '.join(self._marks) or 'no marks'}>"
        parts = " + ".join(f"{name} {us / 1e3:.0f}" for name, us in self.contributions_us.items() if us)
        return f"<Timeline {waited / 1e3:.0f} ms = {parts}>"


def _base(name: str) -> str:
    """Return the name of a mark without its number: "llm_request" for "llm_request_2"."""
    return name.rstrip("0123456789").removesuffix("_")
