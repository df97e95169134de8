"""Plays the sentences of one turn: what their audio is written through, and what is reported on the way.

Rule 1: nothing is played before the turn is committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.errors import LeaseRevoked
from voicepipe.events import SentenceStarted
from voicepipe.text.wording import written

if TYPE_CHECKING:
    from voicepipe.conversation.turn import Turn
    from voicepipe.core.context import OutputLease
    from voicepipe.flow import Sentence, WordMark

__all__ = ["Playback"]


class Playback:
    """Plays the sentences of one turn, in order.

    Args:
        turn: The turn that speaks.
    """

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._lease: OutputLease | None = None
        self._unreported: str | None = None  # the current sentence, until its first frame comes
        self._is_filler = False

    async def play(self, frame: bytes) -> None:
        """Write at most 20 ms of the current sentence; waits for the turn's commit and for room."""
        lease = self._lease or await self._begin()
        lease.check()  # revoked in the very step in which this audio came
        if lease.is_held:
            await self._wait_released(lease)
        if self._unreported is not None:
            self._turn.emit(SentenceStarted(turn_id=self._turn.turn_id, text=self._unreported))
            self._unreported = None
            self._turn.timeline.mark_speech("first_frame", is_filler=self._is_filler)
        await lease.write(frame)

    async def _wait_released(self, lease: OutputLease) -> None:
        await lease.wait_released()
        lease.check()
        if "first_audible" not in self._turn.timeline:
            self._turn.timeline.mark("released")

    @property
    def silent_s(self) -> float:
        """For how many seconds the output has had nothing left to play."""
        return self._lease.silent_s if self._lease is not None else 0.0

    async def begin_sentence(self, sentence: Sentence, *, is_filler: bool = False) -> None:
        """Begin a sentence: the audio that follows belongs to it. Filler answers nothing."""
        if self._lease is None:
            await self._begin()
        elif self._is_filler and not is_filler:
            self._turn.timeline.mark("filler_ended")
        self._is_filler = is_filler
        self._turn.sentence_begins(sentence, is_filler=is_filler)
        self._unreported = written(sentence).strip() or None  # a hosted agent's words may come after their sound

    def mark(self, mark: WordMark) -> None:
        """Note how far the current sentence has come."""
        self._turn.speech.add_mark(mark.char_end, mark.end_s)

    def finish_sentence(self) -> None:
        """End the current sentence: all its audio has come."""
        self._turn.speech.finish()

    async def wait_played(self) -> None:
        """Report that all audio was written, and wait until it has been played."""
        if self._lease is not None:
            self._lease.finish()
            await self._lease.wait_played()

    async def _begin(self) -> OutputLease:
        turn = self._turn
        await turn.committed.wait()
        if turn.is_over:  # it was committed and interrupted in the same step; the cancellation comes with the next one
            raise LeaseRevoked(f"turn {turn.turn_id} is over")
        self._lease = turn.session.lease(turn)
        turn.speech_begins(self._lease)
        return self._lease
