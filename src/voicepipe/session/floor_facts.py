"""What turn-taking asks about the agent, read from the floor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.conversation.turn_state import TurnState
from voicepipe.history import AssistantMessage

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.conversation.turn import Turn
    from voicepipe.session.expecting import Expecting
    from voicepipe.session.floor import Floor
    from voicepipe.turntaking.expectation import Progress
    from voicepipe.turntaking.floor_view import Phase

__all__ = ["FloorFacts"]

QUESTION_MARKS = ("?", "\u037e", "\u061f", "\uff1f")
AFTER_MARKS = "\"')]*_ \n\u201d\u2019\u00bb"


class FloorFacts:
    """The floor as `TurnCore` sees it; see `FloorView`.

    Args:
        floor: The turns of the session.
        expecting: What is expected of the caller.
        is_working: Whether a tool is at work outside of the turns.
    """

    def __init__(self, floor: Floor, expecting: Expecting, is_working: Callable[[], bool]) -> None:
        self._floor = floor
        self._expecting = expecting
        self._is_working = is_working

    @property
    def phase(self) -> Phase:
        """What the agent does; a reply of which everything so far has been heard is being thought about."""
        if (turn := self._live) is None:
            return "quiet"
        return "speaking" if turn.speech.left_s else "thinking"

    @property
    def has_draft(self) -> bool:
        """Whether a draft is being prepared."""
        return self._floor.turn is not None and self._live is None

    @property
    def reply_id(self) -> int:
        """The number of the newest turn."""
        return self._floor.turns_so_far

    @property
    def heard_s(self) -> float:
        """Seconds of the reply that were heard."""
        turn = self._live
        return turn.speech.lease.played_s if turn is not None and turn.speech.lease is not None else 0.0

    @property
    def heard_words(self) -> int:
        """Words of the reply that were heard."""
        turn = self._live
        return turn.speech.heard_words if turn is not None else 0

    @property
    def left_s(self) -> float:
        """Seconds that are synthesised and still to be heard."""
        turn = self._live
        return turn.speech.left_s if turn is not None else 0.0

    @property
    def asks(self) -> bool:
        """Whether the newest reply ends with a question."""
        turn = self._floor.newest
        messages = turn.own_messages if turn is not None else ()
        said = [message.generated for message in messages if isinstance(message, AssistantMessage)]
        return bool(said) and said[-1].rstrip(AFTER_MARKS).endswith(QUESTION_MARKS)

    @property
    def is_protected(self) -> bool:
        """Whether the reply must be heard whole."""
        return self._live is not None and self._live.is_protected

    @property
    def is_joinable(self) -> bool:
        """Whether the reply answers the caller, no tool was called for it, and nothing failed in it.

        A turn that failed is reported as failed, which does not say that its words belong to the next turn.
        """
        turn = self._live
        if turn is None or turn.transcript is None or turn.failure is not None:
            return False
        return not any(isinstance(message, AssistantMessage) and message.calls for message in turn.own_messages)

    @property
    def is_working(self) -> bool:
        """Whether a tool is at work outside of the turns."""
        return self._is_working()

    def progress(self, text: str) -> Progress:
        """Return how far the caller has come with what is expected of them, if they have said this."""
        return self._expecting.progress(text)

    @property
    def _live(self) -> Turn | None:
        turn = self._floor.turn
        return None if turn is None or turn.state is TurnState.DRAFT else turn
