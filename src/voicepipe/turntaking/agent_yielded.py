"""What turn-taking learns of a hosted agent besides what it hears; a module of its own, which a description loads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from voicepipe.flow import Hearing

__all__ = ["AgentYielded", "Report"]


@dataclass(frozen=True, slots=True)
class AgentYielded:
    """The hosted agent has stopped speaking, because the caller speaks."""


class Report(Protocol):
    """Takes what a hosted agent hears and does, and has the session act on it in the same step."""

    def __call__(self, event: Hearing | AgentYielded, /) -> None: ...  # noqa: D102 - the class says it
