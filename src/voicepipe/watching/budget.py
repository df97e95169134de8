"""Budgets of latency: how long the parts of a caller's wait may take, and which turns took longer.

Rule 1: what is measured comes from the timeline of a turn alone, so a live turn and a recorded one are judged alike.
Rule 2: a budget for something that is never measured would never be broken, so it is refused.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from voicepipe.core.observer import Observer
from voicepipe.errors import ConfigurationError
from voicepipe.events import TurnEnded
from voicepipe.timeline import CONTRIBUTIONS, STAGE, Timeline, base_of
from voicepipe.watching_events import BudgetExceeded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from voicepipe.core.context import AnySession, SessionContext

__all__ = ["LatencyBudget", "Overrun", "measured_us"]

FIRST_AUDIO: Final = "first_audio"
ANSWER: Final = "answer"

SPANS: Final = {
    "llm_first_token": "llm_request",
    "tts_first_audio": "first_sentence",
}
"""Marks that are measured from the one at which a service was asked; all others from the end of the caller's speech."""

PARTS: Final = tuple(dict.fromkeys(part for part in CONTRIBUTIONS.values() if part != "speech"))
MARKS: Final = tuple(mark for mark in CONTRIBUTIONS if mark not in ("speech_ended", *PARTS))
NAMES: Final = (FIRST_AUDIO, ANSWER, *PARTS, *MARKS)

LONGEST_S: Final = 3600.0

KEPT: Final = 1000
"""The newest overruns that are kept for `assert_met`: a server may run for months."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrun:
    """Something in one turn took longer than its budget.

    Attributes:
        name: What, as the budget calls it, e.g. "first_audio".
        took_s: How long it took.
        budget_s: How long it may take.
    """

    name: str
    took_s: float
    budget_s: float

    def __str__(self) -> str:
        """Say it in a few words."""
        return f"{self.name} took {self.took_s:.3f} s of {self.budget_s:g} s"


class LatencyBudget(Observer):
    """How long the parts of a caller's wait may take.

    LatencyBudget(first_audio_s=0.9, answer_s=1.5, llm_first_token_s=0.4, tts_s=0.3)

    As an observer, `Pipeline(..., observers=[budget])`, it emits `BudgetExceeded` for each turn and name that is over,
    and notes it for `assert_met`. A turn in which something was not measured does not break the budget for it.

    | name | what may take so long |
    |---|---|
    | first_audio | the silence from the end of the caller's speech to the first audible sample, filler included |
    | answer | the same until the answer itself is audible |
    | llm_first_token | from the request to the model to its first text |
    | tts_first_audio | from the first sentence to the voice's first audio |
    | silence, stt, llm, tts, lead_in ... | a contribution to `first_audio`, see `Timeline` |
    | stage:NAME | the same for a stage of the application |
    | endpoint, transcript, llm_request, tools_done ... | from the end of the caller's speech to this mark |

    Args:
        more: Budgets by name, for names that are no words of Python: `{"stage:Redact": 0.05}`.
        budgets: Budgets by name, with `_s` at the end, in seconds.

    Attributes:
        budgets: All of them, by name, in seconds.

    Raises:
        ConfigurationError: A name is nothing that is measured, or a time is not positive, or there is none.
    """

    def __init__(self, more: Mapping[str, float] | None = None, /, **budgets: float) -> None:
        self.budgets = {_name(given): _seconds(given, value) for given, value in {**(more or {}), **budgets}.items()}
        if not self.budgets:
            raise ConfigurationError("LatencyBudget: give it at least one budget, e.g. first_audio_s=0.9")
        self._broken: deque[tuple[str, int, Overrun]] = deque(maxlen=KEPT)  # shared by the copies of all sessions
        self._session: SessionContext[Any]

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Know the session that it emits events in."""
        self._session = session
        yield

    def on_event(self, event: object) -> None:
        """Compare each turn with the budget."""
        if isinstance(event, TurnEnded):
            for over in self.broken(event.timeline):
                self._broken.append((self._session.id, event.turn_id, over))
                self._session.emit(
                    BudgetExceeded(turn_id=event.turn_id, name=over.name, took_s=over.took_s, budget_s=over.budget_s)
                )

    def broken(self, timeline: Timeline | Mapping[str, float]) -> tuple[Overrun, ...]:
        """Return what took too long in one turn, in the order of the budgets.

        Args:
            timeline: Of the turn; or its marks in seconds, as a recording has them.
        """
        return tuple(
            Overrun(name=name, took_s=took_s, budget_s=self.budgets[name])
            for name, took_s in self.measured(timeline).items()
            if round(took_s * 1e6) > round(self.budgets[name] * 1e6)
        )

    def measured(self, timeline: Timeline | Mapping[str, float]) -> dict[str, float]:
        """Return how long each of the budgets' names took in one turn, in seconds; what was not measured is left out.

        Args:
            timeline: As in `broken`.
        """
        if not isinstance(timeline, Timeline):
            timeline = Timeline.from_marks(timeline)
        took_us = {name: measured_us(name, timeline) for name in self.budgets}
        return {name: us / 1e6 for name, us in took_us.items() if us is not None}

    def check(self, turn: object) -> None:
        """Raise if a turn took too long; for tests.

        Args:
            turn: A `Turn` that has ended, its terminal event, or a `Timeline`.

        Raises:
            AssertionError: It did; the message has what, and where the time of the turn went.
            ConfigurationError: This is none of them.
        """
        timeline = cast("object", getattr(turn, "timeline", turn))
        if not isinstance(timeline, Timeline):
            raise ConfigurationError(f"LatencyBudget.check takes a turn or its terminal event, not {turn!r}")
        if over := self.broken(timeline):
            turn_id = getattr(turn, "turn_id", None)
            which = "the turn" if turn_id is None else f"turn {turn_id}"
            raise AssertionError(f"{which} is over its budget: {'; '.join(map(str, over))}\n{timeline!r}")

    def assert_met(self) -> None:
        """Raise if a turn that it has observed took too long; for tests.

        Raises:
            AssertionError: One did; the message has each of them.
        """
        if self._broken:
            lines = [f"session {session_id}, turn {turn_id}: {over}" for session_id, turn_id, over in self._broken]
            times = f"{len(lines)} times" if len(lines) < KEPT else f"{KEPT} times or more"
            raise AssertionError("\n".join([f"over budget {times}:", *lines]))

    def __repr__(self) -> str:
        """Show the budgets."""
        return f"<LatencyBudget {', '.join(f'{name} {budget_s:g} s' for name, budget_s in self.budgets.items())}>"


def _name(given: object) -> str:
    name = given.removesuffix("_s") if isinstance(given, str) else ""
    if name in NAMES or (name.startswith(STAGE) and len(name) > len(STAGE)):
        return name
    raise ConfigurationError(
        f"LatencyBudget: {given!r} is nothing that is measured; there are {', '.join(f'{name}_s' for name in NAMES)}, "
        "and {'stage:NAME': seconds} for a stage"
    )


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= LONGEST_S:
        raise ConfigurationError(f"LatencyBudget: {name} must be a number of seconds above 0, not {value!r}")
    return float(value)


def measured_us(name: str, timeline: Timeline) -> int | None:
    """Return how long something in a turn took, in microseconds, by a name of `LatencyBudget`; None if it was not."""
    if name == FIRST_AUDIO:
        return timeline.waited_us
    if name == ANSWER:
        return timeline.answered_us
    if name in PARTS or name.startswith(STAGE):
        return timeline.contributions_us.get(name)
    if name not in timeline:
        return None
    end_s, begin = getattr(timeline, name), SPANS.get(name, "speech_ended")
    begins_s = [at_s for mark, at_s in timeline.marks.items() if base_of(mark) == begin and at_s <= end_s]
    return round((end_s - max(begins_s)) * 1e6) if begins_s else None
