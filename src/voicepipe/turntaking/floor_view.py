"""What turn-taking asks about the agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from voicepipe.turntaking.expectation import Progress

__all__ = ["FloorView", "Phase"]

Phase: TypeAlias = Literal["quiet", "thinking", "speaking"]
"""What the agent does: speaking means that sound waits to be played, also while it is paused. A draft is quiet."""


class FloorView(Protocol):
    """The agent, as far as turn-taking depends on it."""

    @property
    def phase(self) -> Phase:
        """What the agent does now."""
        ...

    @property
    def has_draft(self) -> bool:
        """Whether a reply is prepared that is not certain to be wanted."""
        ...

    @property
    def reply_id(self) -> int:
        """Counts the replies of the session; that of the newest one."""
        ...

    @property
    def heard_s(self) -> float:
        """Seconds of the present reply that were heard."""
        ...

    @property
    def heard_words(self) -> int:
        """Words of the present reply that were heard."""
        ...

    @property
    def left_s(self) -> float:
        """Seconds of the present reply that are still to be played, as far as they have been synthesised."""
        ...

    @property
    def asks(self) -> bool:
        """Whether the newest reply is complete and ends with a question."""
        ...

    @property
    def is_protected(self) -> bool:
        """Whether the present reply must be heard whole."""
        ...

    @property
    def is_joinable(self) -> bool:
        """Whether the present reply can be taken back: it answers the caller, and no tool ran for it."""
        ...

    @property
    def is_working(self) -> bool:
        """Whether a tool is still at work."""
        ...

    def progress(self, text: str) -> Progress:
        """Return how far the caller has come with what is expected of them, if they have said this."""
        ...
