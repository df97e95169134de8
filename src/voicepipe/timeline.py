"""Where the time of one turn went.

Rule 1: a mark is set once, and the first time counts. Only that of a sample that was flushed before it was played is
        taken back.
Rule 2: contributions are differences of neighbouring marks in whole microseconds, so they add up exactly to the
        caller's wait: from the end of speech to the first audible sample.
"""

from __future__ import annotations

import re
from asyncio import get_running_loop
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = ["CONTRIBUTIONS", "STAGE", "Timeline", "base_of", "contribution_of"]

CONTRIBUTIONS: Final = {
    "speech_ended": "speech",
    "endpoint": "silence",
    "transcript": "stt",
    "committed": "patience",
    "turn_started": "turn",
    "llm_request": "request",
    "llm_first_token": "llm",
    "tool_called": "llm",
    "filler_due": "tools",
    "tools_done": "tools",
    "chunked": "sentence",
    "first_sentence": "sentence",
    "tts_first_audio": "tts",
    "released": "withheld",
    "filler_ended": "filler",
    "first_frame": "output",
    "first_sample": "output",
    "first_audible": "lead_in",
}
"""What the time *up to* a mark was spent on. A turn may pass a mark several times (`llm_request` after each tool)."""

STAGE: Final = "stage:"
"""Marks of this kind have the name of a stage of the row, which is also the name of what the time was spent on."""

HEARD: Final = ("endpoint", "transcript")

NUMBER: Final = re.compile(r"_[0-9]+$")


class Timeline:
    """Marks of one turn, in seconds on the event loop's clock.

    | mark | set when |
    |---|---|
    | speech_ended | the caller's last speech sample |
    | endpoint | the end of the caller's turn was decided (so *silence* is the silence waited for) |
    | transcript | the final transcript arrived (*stt*) |
    | committed | it was certain that the caller does not go on (*patience*); without a wait there is no such mark |
    | turn_started | the reply was started (*turn*) |
    | stage:NAME | a stage between transcript and model, or model and TTS, handed on its first item (*stage:NAME*) |
    | llm_request, llm_request_2 ... | a request to the model was about to be sent (*request*) |
    | llm_first_token | the reply's first text arrived (*llm*) |
    | tool_called, tool_called_2 ... | the model's tool calls were complete (*llm*) |
    | filler_due | a tool took so long that its `say` was to be spoken (*tools*) |
    | tools_done, tools_done_2 ... | the results of the tools were there (*tools*) |
    | chunked | the first sentence was complete; only where a stage follows the chunker (*sentence*) |
    | first_sentence | the first sentence was handed to TTS (*sentence*) |
    | tts_first_audio | its first audio arrived (*tts*) |
    | released | a sound of the caller's that had held up the reply was over (*withheld*) |
    | filler_ended | filler that was in the way of the answer was over (*filler*) |
    | first_frame | the first frame was handed to the output (*output*) |
    | first_sample | the output played its first sample (*output*) |
    | first_audible | the output played the first audible sample: what the voice begins with is silence (*lead_in*) |
    | answer | the output played the first audible sample of the answer |
    | ended | the turn ended |

    Filler is what fills a silence and answers nothing: the `say` of a tool, and a text of `CachedOpeners`. If a turn
    begins with it, the answer's own `first_sentence`, `tts_first_audio`, `first_frame`, `first_sample` and
    `first_audible` are marked too, with the number 2. A turn that says nothing else, and says it to its end, has
    answered with it.
    """

    def __init__(self) -> None:
        self._marks: dict[str, int] = {}
        self._of_filler: set[str] = set()

    @classmethod
    def from_marks(cls, marks: Mapping[str, float]) -> Self:
        """Return a timeline with these marks, in seconds on any one clock: those of a recording, for instance."""
        made = cls()
        for name, at_s in marks.items():
            made.mark(name, at_s)
        return made

    def mark(self, name: str, at_s: float | None = None) -> None:
        """Set a mark, at the present time by default. A mark that is set already stays as it is."""
        if name not in self._marks:
            self._marks[name] = round((get_running_loop().time() if at_s is None else at_s) * 1e6)

    def mark_again(self, name: str, at_s: float | None = None) -> None:
        """Set a mark that a turn may pass several times: name, name_2, name_3 ..."""
        count, numbered = 1, name
        while numbered in self._marks:
            count += 1
            numbered = f"{name}_{count}"
        self.mark(numbered, at_s)

    def mark_speech(self, name: str, at_s: float | None = None, *, is_filler: bool) -> None:
        """Set a mark of speech: the first time counts, and if that was filler, the answer's first time as well."""
        if name not in self._marks:
            self.mark(name, at_s)
            if is_filler:
                self._of_filler.add(name)
        elif not is_filler and name in self._of_filler:
            self._of_filler.remove(name)
            self.mark_again(name, at_s)

    def withdraw(self, names: tuple[str, ...], after_s: float) -> None:
        """Take marks back, numbered ones included, that were set for a time that did not come."""
        after_us = round(after_s * 1e6)
        for name in [name for name, us in self._marks.items() if us > after_us and base_of(name) in names]:
            del self._marks[name]
            if name == base_of(name):
                self._of_filler.discard(name)
            else:
                self._of_filler.add(base_of(name))

    def end(self, *, is_whole: bool) -> None:
        """Mark the end of the turn; one that was said to its end has answered, with filler or with silence perhaps."""
        if is_whole and (heard_us := self._heard_us) is not None:
            self.mark("answer", heard_us / 1e6)
        self.mark("ended")

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
        """Microseconds of silence from the end of the caller's speech to the first audible sample, filler or answer.

        None if there was no answer. Where nothing is audible, as at an output that shows text, the wait ends at the
        first frame.
        """
        return self._since_speech_us(self._heard_us)

    @property
    def answered_us(self) -> int | None:
        """Microseconds from the end of the caller's speech to the first audible sample of the answer, filler excepted.

        None if there was no answer.
        """
        return self._since_speech_us(self._marks.get("answer"))

    @property
    def contributions_us(self) -> dict[str, int]:
        """What the wait was spent on, in microseconds: the values add up exactly to `waited_us`.

        Empty if there was no answer. Marks from before the end of the caller's speech, or from after the first audible
        sample, contribute nothing.
        """
        return self._spent_us(self.waited_us)

    @property
    def answer_contributions_us(self) -> dict[str, int]:
        """What the wait for the answer was spent on, in microseconds: the values add up exactly to `answered_us`.

        Without filler they are `contributions_us`.
        """
        return self._spent_us(self.answered_us)

    @property
    def _heard_us(self) -> int | None:
        return self._marks.get("first_audible", self._marks.get("first_frame"))

    def _since_speech_us(self, end_us: int | None) -> int | None:
        start_us = self._marks.get("speech_ended")
        return None if start_us is None or end_us is None else end_us - start_us

    def _spent_us(self, total_us: int | None) -> dict[str, int]:
        if total_us is None:
            return {}
        start = self._marks["speech_ended"]
        end = start + total_us
        # Marks of the same microsecond stay in the order in which they were set. But a draft may begin with the very
        # transcript that ends the caller's turn, and its marks are set when it is committed.
        ordered = sorted(
            (
                (us, base_of(name), spent_on)
                for name, us in self._marks.items()
                if start <= us <= end and (spent_on := contribution_of(name)) not in (None, "speech")
            ),
            key=lambda mark: (mark[0], mark[1] not in HEARD),
        )
        spent: dict[str, int] = {}
        before = start
        for us, _, name in ordered:
            assert name is not None  # noqa: S101
            spent[name] = spent.get(name, 0) + us - before
            before = us
        return spent

    def __repr__(self) -> str:
        """Show the wait and what it was spent on, in milliseconds."""
        waited = self.waited_us
        if waited is None:
            return f"<Timeline {', '.join(self._marks) or 'no marks'}>"
        parts = " + ".join(f"{name} {us / 1e3:.0f}" for name, us in self.contributions_us.items() if us)
        return f"<Timeline {waited / 1e3:.0f} ms = {parts}>"


def contribution_of(mark: str) -> str | None:
    """Return the name of what the time up to a mark was spent on; None for a mark that ends no such time."""
    base = base_of(mark)
    return base if base.startswith(STAGE) else CONTRIBUTIONS.get(base)


def base_of(name: str) -> str:
    """Return the name of a mark without its number: "llm_request" for "llm_request_2"."""
    return NUMBER.sub("", name) if name[-1:].isdigit() else name
