"""A turn that a service answers before it says what the caller's words were."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from voicepipe.conversation.turn import Turn
    from voicepipe.hosted.spoken_reply import SpokenReply

__all__ = ["Unheard"]


class Unheard:
    """Brings the words of such a turn into it, whichever comes first.

    Args:
        reply: The reply that answers them.
        item_id: The service's id of them; "" if it gives none.
    """

    def __init__(self, reply: SpokenReply, item_id: str) -> None:
        self.reply = reply
        self.item_id = item_id
        self._turn: Turn | None = None
        self._words = ""

    def begins(self, turn: Turn) -> None:
        """Note that the turn has begun."""
        self._turn = turn
        self._join()

    def came(self, words: str) -> None:
        """Note what the words were."""
        self._words = words
        self._join()

    def _join(self) -> None:
        if self._turn is not None and self._words:
            self._turn.understood(self._words)
