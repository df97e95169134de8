"""For how long a step of the loop held it: the only place of the kit that looks at real time.

Rule 1: a busy machine is nobody's fault. A step that only waited for a processor has not held the loop.
"""

from __future__ import annotations

import sys
import time
from typing import Final

__all__ = ["BLOCKED_S", "Spent"]

BLOCKED_S: Final = 0.2
"""A step that holds the loop for longer than this stops the audio of every call of the process."""


class Spent:
    """What this thread spends from now on."""

    def __init__(self) -> None:
        self._cpu_s, self._real_s = _clocks()
        self._waits = _waits_in_system()

    def held_s(self, *, is_alone: bool) -> float:
        """Return for how long it has computed, and if it has waited within the system, for how long in all.

        Args:
            is_alone: Whether no other thread works. Otherwise waits are left out: most are for Python's own lock.
        """
        cpu_s, real_s = _clocks()
        has_waited = is_alone and _waits_in_system() != self._waits
        return real_s - self._real_s if has_waited else cpu_s - self._cpu_s


def _clocks() -> tuple[float, float]:
    return time.thread_time(), time.perf_counter()  # noqa: TID251 - a step that blocks takes no time on the loop's clock


def _waits_in_system() -> int:
    """Return how often this thread has given up its processor by itself; always 0 where the system does not say."""
    if sys.platform == "linux":
        import resource  # noqa: PLC0415 - not on every platform

        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    return 0
