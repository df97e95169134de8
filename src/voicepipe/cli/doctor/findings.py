"""What a check finds. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voicepipe.errors import VoicepipeError

__all__ = ["Finding", "Status"]


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    ABSENT = "absent"
    """Something that the application may want is not installed. Nothing is wrong."""
    WARNING = "warning"
    """Calls can be held, but are worse than they could be; or it is not known whether they can."""
    FAILED = "failed"
    """No call can be held."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check has found.

    Attributes:
        what: What was checked, e.g. "clock".
        status: How it ended.
        found: What it is like.
        remedy: What to do about it; "" for nothing.
    """

    what: str
    status: Status
    found: str
    remedy: str = ""

    @classmethod
    def of_error(cls, what: str, error: VoicepipeError, status: Status = Status.FAILED) -> Finding:
        """Return the finding that an error is. Its message says what was found, and then what to do."""
        found, _, remedy = " ".join(str(error).split()).partition("; ")
        return cls(what, status, found, remedy)
