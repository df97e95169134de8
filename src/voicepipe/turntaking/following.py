"""Turn-taking where a hosted agent decides: the service ends the caller's turn, answers it, and yields to the caller.

Rule 1: pure, like `TurnCore`, whose place it takes: events and the time go in, decisions come out.
Rule 2: the service is followed. Nothing is drafted, held up or paused here, because it would not know of it.

| the agent | event | decision |
|---|---|---|
| any | speech, early words | none |
| is quiet, thinks | the caller's words, whole | `Interrupt` if it thinks, `Start` |
| speaks, or is protected | the caller's words, whole | held until it is quiet: the service answers them then; `Start` |
| thinks, speaks | the service has yielded | `Interrupt` |
| thinks, speaks | typed words, keys | `Interrupt`, `Start` |

A silent caller, a long call and keys of a telephone are treated as by `TurnCore`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Protocol

from voicepipe.flow import Digit, EarlyTranscript, Hearing, SpeechEnded, SpeechStarted, Transcript
from voicepipe.turntaking.agent_yielded import AgentYielded
from voicepipe.turntaking.core import Quiet, Tick
from voicepipe.turntaking.decisions import Interrupt, Start
from voicepipe.turntaking.phrases import joined
from voicepipe.turntaking.waits import CallClock, Keypad

if TYPE_CHECKING:
    from voicepipe.turntaking.decisions import Decision
    from voicepipe.turntaking.echo import EchoGuard
    from voicepipe.turntaking.floor_view import FloorView
    from voicepipe.turntaking.rules import TurnRules

__all__ = ["DecidingCore", "FollowingCore"]

WORDLESS_S: Final = 5.0
"""Speech that is not reported to have ended is over after this time."""


class DecidingCore(Protocol):
    """What decides about turns: `FollowingCore`, or `TurnCore`, which meets no `AgentYielded`."""

    @property
    def speaks_until_s(self) -> float: ...  # noqa: D102 - `FollowingCore` says it

    @property
    def wake_at(self) -> float: ...  # noqa: D102

    def handle(  # noqa: D102
        self, event: Hearing | Tick | Quiet | AgentYielded, now: float, *, is_typed: bool = False
    ) -> list[Decision]: ...


class FollowingCore:
    """The turn-taking of one session with a hosted agent.

    Args:
        rules: The settings; of them count `idle`, `max_call_s` and `dtmf_end`, with what belongs to them.
        floor: What the agent does.
        echo: Not used: what the service takes for words is answered by it.
        is_closed: Not used.
        clock: How long the caller has been silent, and the call has lasted; by default of a call that began at 0.

    Attributes:
        speaks_until_s: Until when the caller is taken to be speaking, as far as the service reports it.
    """

    def __init__(
        self,
        rules: TurnRules,
        floor: FloorView,
        echo: EchoGuard | None = None,
        *,
        is_closed: bool = False,
        clock: CallClock | None = None,
    ) -> None:
        del echo, is_closed
        self._floor = floor
        self._clock = clock or CallClock(rules, 0.0)
        self._keypad = Keypad(rules.dtmf_end, rules.dtmf_s, floor)
        self._held: Transcript | None = None
        self._heard_s = 0.0
        self.speaks_until_s = -math.inf

    @property
    def wake_at(self) -> float:
        """When a `Tick` is due unless another event comes first; inf for no tick."""
        return min(self._keypad.due_s, self._clock.wake_at)

    def handle(
        self, event: Hearing | Tick | Quiet | AgentYielded, now: float, *, is_typed: bool = False
    ) -> list[Decision]:
        """Return what to do about an event that happened at `now`, in order."""
        if isinstance(event, (SpeechStarted, EarlyTranscript)):
            self.speaks_until_s = now + WORDLESS_S
        elif isinstance(event, (SpeechEnded, Transcript)):
            self.speaks_until_s = now
        match event:
            case Transcript():
                return self._said(event, now, is_typed=is_typed)
            case AgentYielded():
                return self._silence()
            case Digit(key=key):
                return self._pressed(key, now)
            case Quiet():
                self._clock.quiet(self._floor.reply_id, now)
                return self._answer_held()
            case Tick():
                return self._tick(now)
            case _:
                return []

    def _said(self, event: Transcript, now: float, *, is_typed: bool) -> list[Decision]:
        self._held, self._heard_s = joined(self._held, event), now
        must_wait = self._floor.phase == "speaking" or (self._floor.phase == "thinking" and self._floor.is_protected)
        if must_wait and not is_typed:
            return []
        return [*self._silence(is_typed=is_typed), *self._answer_held()]

    def _answer_held(self) -> list[Decision]:
        if self._held is None:
            return []
        words, self._held = self._held, None
        self._clock.answered()
        return [Start(words, self._heard_s)]

    def _silence(self, *, is_typed: bool = False) -> list[Decision]:
        """Interrupt the agent; a reply that must be heard whole only where the caller types."""
        if self._floor.phase == "quiet" or (self._floor.is_protected and not is_typed):
            return []
        return [Interrupt()]

    def _pressed(self, key: str, now: float) -> list[Decision]:
        decisions = [] if self._keypad.is_active else self._silence()
        return decisions + self._typed(self._keypad.press(key, now), now)

    def _typed(self, keys: str, now: float) -> list[Decision]:
        interrupts = not self._floor.is_protected
        return self._said(Transcript(keys, now, now), now, is_typed=interrupts) if keys else []

    def _tick(self, now: float) -> list[Decision]:
        if self._keypad.due_s <= now:
            return self._typed(self._keypad.take(), now)
        is_quiet = self._floor.phase == "quiet" and not self._floor.is_working
        return [*self._clock.due(now, is_quiet=is_quiet, waits_until_s=self.speaks_until_s)]
