"""Waits that do not depend on what is said: a silent caller, the end of a long call, keys of a telephone.

Rule 1: pure. A time is asked for with `wake_at`, and what is due then is returned.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from voicepipe.floor_events import CallLimit, Idle

if TYPE_CHECKING:
    from voicepipe.turntaking.floor_view import FloorView
    from voicepipe.turntaking.rules import TurnRules

__all__ = ["CallClock", "Keypad"]

WARNED_S: Final = 30.0
"""How long before the end of a call its limit is reported."""


class CallClock:
    """When a silent caller is spoken to, and when a long call ends.

    Args:
        rules: The settings.
        began_s: When the call began.
    """

    def __init__(self, rules: TurnRules, began_s: float) -> None:
        self._rules = rules
        self._step = 0  # how often the silent caller has been spoken to
        self._replies = -1  # replies so far, when the agent was last quiet
        self._idle_at_s = math.inf
        self._ends_s = began_s + rules.max_call_s
        self._warns_s = self._ends_s - min(WARNED_S, rules.max_call_s / 2)

    @property
    def wake_at(self) -> float:
        """When something is due; inf for never."""
        return min(self._idle_at_s, self._warns_s, self._ends_s)

    @property
    def step(self) -> int:
        """How often the silent caller has been spoken to since their last words."""
        return self._step

    def resume(self, step: int, lasted_s: float) -> None:
        """Go on with a call that had lasted for so long when it broke off."""
        self._step = min(step, max(0, len(self._rules.idle) - 1))
        self._ends_s -= lasted_s
        self._warns_s -= lasted_s

    def quiet(self, replies: int, now: float) -> None:
        """The agent has nothing to say; only words begin the wait again, not noise."""
        if replies != self._replies:
            self._replies = replies
            if self._step < len(self._rules.idle):
                before_s = self._rules.idle[self._step - 1] if self._step else 0.0
                self._idle_at_s = now + self._rules.idle[self._step] - before_s

    def answered(self) -> None:
        """The caller has said something."""
        self._step, self._idle_at_s = 0, math.inf

    def due(self, now: float, *, is_quiet: bool, waits_until_s: float) -> list[Idle | CallLimit]:
        """Return what is due.

        Args:
            now: The time.
            is_quiet: Whether nobody has the floor and no tool is at work.
            waits_until_s: Until when the caller may be speaking.
        """
        due: list[Idle | CallLimit] = []
        if self._idle_at_s <= now:
            if not is_quiet:
                self._idle_at_s = now + 1.0  # a tool is at work; a reply ends in a wait of its own
            elif waits_until_s > now:
                self._idle_at_s = waits_until_s
            else:
                due.append(self._idle())
        if self._warns_s <= now:
            self._warns_s = math.inf
            due.append(CallLimit(left_s=self._ends_s - now))
        if self._ends_s <= now:
            self._ends_s = math.inf
            due.append(CallLimit(left_s=0.0))
        return due

    def _idle(self) -> Idle:
        silent_s, text = self._rules.idle[self._step], self._rules.idle_texts[self._step]
        self._step += 1
        self._idle_at_s = math.inf
        is_last = self._step == len(self._rules.idle)
        if is_last:
            text = self._rules.idle_texts[-1]
        self._replies = -1  # also if nothing is said
        return Idle(step=self._step, silent_s=silent_s, text=text, is_last=is_last)


class Keypad:
    """What the caller types on a telephone.

    Args:
        end_key: Ends it; "" for none.
        pause_s: How long after the last key it is complete.
        floor: Knows what is expected: with the last key of that it is complete at once.
    """

    def __init__(self, end_key: str, pause_s: float, floor: FloorView) -> None:
        self.due_s = math.inf
        self._end_key = end_key
        self._pause_s = pause_s
        self._floor = floor
        self._keys = ""

    @property
    def is_active(self) -> bool:
        """Whether the caller is typing."""
        return self.due_s < math.inf

    def press(self, key: str, now: float) -> str:
        """Take a key, and return what was typed if that is the end of it."""
        if key == self._end_key:
            return self.take()
        self._keys += key
        if self._floor.progress(self._keys) == "met":
            return self.take()
        self.due_s = now + self._pause_s
        return ""

    def take(self) -> str:
        """Return what was typed so far, and begin again."""
        keys, self._keys, self.due_s = self._keys, "", math.inf
        return keys
