"""Where a replay stands in its recording.

Rule 1: what is given as late as it was recorded, within 20 ms, goes on at its recorded times, so that differences do
        not add up. What is given at another time goes on as long after it as it did in the recording. With recorded
        parts alone, what is given up to 0.1 s early goes on at its recorded times as well: the steps of a program took
        that long, which take no time in a replay.
Rule 2: what came after the end of a turn comes after it here, too, although the turn may end some milliseconds later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.core.clock import loop_time

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LONGER_S", "SAME_S", "Playhead"]

SAME_S: Final = 0.02
"""Times of a call that are no further apart are the same: a frame of audio lasts so long."""


EARLY_S: Final = 0.1
"""What the steps of a program between two parts take at most, on a slow machine."""

LONGER_S: Final = 30.0
"""How much longer than the recorded call a replay may take until it ends by itself."""

LATE_S: Final = 0.1
"""How much later a turn may end than it did, if something was given to the session just after it."""


class Playhead:
    """The time of a recording, as it passes in its replay; one for each replay.

    Args:
        listens_s: When the recorded session began to listen. The playhead is there when the replay does.
        is_recorded: Whether all parts are recorded, so that none of them is quicker than it was.
    """

    def __init__(self, listens_s: float, *, is_recorded: bool = False) -> None:
        self._listens_s = listens_s
        self._early_s = EARLY_S if is_recorded else SAME_S
        self._zero_s: float | None = None
        self._ends: dict[int, anyio.Event] = {}

    @property
    def now_s(self) -> float:
        """How far the replay has come, in seconds since the session began; the first look starts it."""
        return round(loop_time() - self._zero(), 6)

    def on_clock(self, at_s: float) -> float:
        """Return a time of the recording on the loop's clock."""
        return at_s + self._zero()

    def shift_s(self, recorded_s: float, now_s: float) -> float:
        """Return by how much the times of what was given at `recorded_s`, and now at `now_s`, move (Rule 1)."""
        late_s = now_s - recorded_s
        return 0.0 if -self._early_s <= late_s <= SAME_S else late_s

    async def until(self, at_s: float, *, steps: bool = False) -> None:
        """Wait until a time of the recording; if that has come, this is a step of the loop only if it `steps`."""
        if steps or at_s > self.now_s:
            await anyio.sleep_until(self.on_clock(at_s))

    def turn_ended(self, turn_id: int) -> None:
        """Note that a turn of the replay has ended."""
        self._ends.setdefault(turn_id, anyio.Event()).set()

    async def after(self, turn_ids: Iterable[int]) -> None:
        """Wait until these turns have ended, which they had before; a replay may be a little late."""
        for turn_id in turn_ids:
            ended = self._ends.setdefault(turn_id, anyio.Event())
            if not ended.is_set():
                with anyio.move_on_after(LATE_S):
                    await ended.wait()

    def _zero(self) -> float:
        if self._zero_s is None:
            self._zero_s = loop_time() - self._listens_s
        return self._zero_s
