"""How long to wait until a worker is started again that does not stay.

Rule 1: pure. A worker that was fine is started again at once; one that never is must not take the machine's time.
"""

from __future__ import annotations

from typing import Final

__all__ = ["Patience"]

STEADY_S: Final = 2.0
"""A worker that has lasted so long was fine."""

FIRST_S: Final = 0.5
MOST_S: Final = 30.0


class Patience:
    """Counts the failures of one place for a worker.

    Attributes:
        wait_s: How long to wait until the next start, in seconds: 0, then 0.5, 1, 2 ... 30.
    """

    def __init__(self) -> None:
        self.wait_s = 0.0

    def failed(self) -> None:
        """Count a worker that could not be started."""
        self.wait_s = min(MOST_S, 2 * self.wait_s) or FIRST_S

    def lasted(self, seconds: float) -> None:
        """Count a worker that has ended unasked after so long."""
        if seconds >= STEADY_S:
            self.wait_s = 0.0
        else:
            self.failed()
