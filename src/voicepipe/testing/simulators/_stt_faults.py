"""The ways in which a session can go wrong: one class each, timed on the audio clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Closes", "Drops", "Fault", "HangsUp", "Rejects", "Stalls", "TurnsDeaf"]


@dataclass(frozen=True, slots=True)
class Closes:
    """The service closes the session.

    Attributes:
        code: The close code.
        at_s: When, on the audio clock; None for instead of `Begin`, 0 for immediately after it.
        reason: The close frame's reason.
        error: Sent as an `Error` message before; "" for none.
    """

    code: int
    at_s: float | None = 0.0
    reason: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Drops:
    """The connection breaks without a close frame, by a TCP reset.

    Attributes:
        at_s: As in `Closes`.
    """

    at_s: float | None = 0.0


@dataclass(frozen=True, slots=True)
class HangsUp:
    """The connection ends without a close frame, as when a process exits.

    Attributes:
        at_s: As in `Closes`.
    """

    at_s: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Stalls:
    """The service sends nothing, though it reads audio and answers pings.

    Attributes:
        at_s: As in `Closes`; None sends no `Begin` either.
        for_s: Seconds until it sends everything that has become due; endless by default.
    """

    at_s: float | None = 0.0
    for_s: float = math.inf


@dataclass(frozen=True, slots=True)
class TurnsDeaf:
    """The connection is half open: the service no longer reads, sends or answers, pings included.

    Attributes:
        at_s: As in `Closes`; None does not answer the handshake either.
    """

    at_s: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Rejects:
    """The handshake is answered with an HTTP error.

    Attributes:
        status: The HTTP status.
    """

    status: int


Fault: TypeAlias = Closes | Drops | HangsUp | Rejects | Stalls | TurnsDeaf
"""One way to go wrong."""
