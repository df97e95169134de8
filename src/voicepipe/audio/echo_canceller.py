"""Takes the agent's own voice out of what the microphone picks up.

Rule 1: pure: blocks of both sides go in, a cleaned block comes out. `EchoPath` brings the two sides together in time.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Final

from voicepipe.core.part import Part

__all__ = ["BLOCKS_A_SECOND", "EchoCanceller"]

BLOCKS_A_SECOND: Final = 100
"""An echo canceller works on blocks of 10 ms, as all that are derived from telephony do."""


class EchoCanceller(Part):
    """Base class of what `Pipeline(echo_canceller=...)` takes; subclasses implement `prepare` and `process`.

    *Near* is what the microphone picks up: the caller, and the echo of the agent. *Far* is what the loudspeaker plays.
    A session uses a copy of its own, because a canceller learns the room.
    """

    @abstractmethod
    def prepare(self, near_rate: int, far_rate: int) -> None:
        """Begin a call.

        Args:
            near_rate: Samples per second of the near side: those of the recogniser. A multiple of 100.
            far_rate: Samples per second of the far side: those of the output. A multiple of 100.

        Raises:
            ConfigurationError: It cannot work at these rates.
        """

    @abstractmethod
    def process(self, near: bytes, far: bytes) -> bytes:
        """Return the near block without the echo of the far side. Called on the event loop: must not wait.

        Args:
            near: 10 ms of little-endian signed 16-bit mono PCM.
            far: 10 ms that were played at the same time, or up to 0.1 s later than `near` was recorded. The echo in
                `near` is that of far blocks up to 0.5 s earlier: of the delay in devices and room.

        Returns:
            As many samples as `near` has. An error raised here ends the session and names this part.
        """
