"""The one place where a reply's audio meets the output.

Rule 1: nothing is written before the turn is committed.
Rule 2: a turn writes through a lease. `flush` revokes it in the same step in which the output falls silent, so no frame
        of an interrupted reply can follow.
Rule 3: an output that fails ends the session under its name; its bare error reaches nobody who writes or flushes.
Rule 4: each frame is recorded with its sentence; from that and from what the output has played follows what was heard.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.audio.output import STALLED_OUTPUT_S, OutputStalled, stalled
from voicepipe.core.failures import named
from voicepipe.errors import AudioError, LeaseRevoked, VoicepipeError
from voicepipe.events import SentenceStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.audio.output import Output
    from voicepipe.conversation.turn import Turn
    from voicepipe.core.context import OutputLease
    from voicepipe.flow import Sentence, WordMark

__all__ = ["Lease", "Playback", "Playout"]

EXACT_S: Final = 1e-6
"""Times within this are the same: they are sums of frame lengths."""


class Playout:
    """The output of one session, and who may write to it.

    Args:
        output: Where the audio goes.
        on_failure: Takes the error of an output that fails.

    Attributes:
        audible_until_s: When everything that was written so far will have been played, on the loop's clock.
    """

    def __init__(self, output: Output, on_failure: Callable[[VoicepipeError], None]) -> None:
        self.output = output
        self.audible_until_s = -math.inf
        self._on_failure = on_failure
        self._played_s = 0.0
        self._lease: Lease | None = None

    def begin(self, turn: Turn) -> Lease:
        """Give the output to a turn, and take it from the turn that had it. A turn that has the output keeps it."""
        if self._lease is not None and self._lease.turn is turn:
            return self._lease
        if self._lease is not None:
            self._lease.revoke()
        self._lease = Lease(self, turn)
        return self._lease

    def flush(self) -> None:
        """Silence the output immediately; after that no turn has it."""
        if self._lease is not None:
            self._lease.revoke()
        self._lease = None
        self.audible_until_s = min(self.audible_until_s, anyio.current_time())
        self.flush_output()

    def flush_output(self) -> None:
        """Silence the output; an error of it ends the session."""
        try:
            with named(self.output.name):
                self.output.flush()
        except VoicepipeError as error:
            self._on_failure(error)

    @property
    def played_s(self) -> float:
        """Seconds of audio that were played since the session began, by the output; an error of it ends the session."""
        try:
            with named(self.output.name):
                played_s = self.output.played_s
                if not math.isfinite(played_s):
                    raise AudioError(f"{self.output.name}.played_s must be a number of seconds, not {played_s!r}")
                self._played_s = played_s
        except VoicepipeError as error:
            self._on_failure(error)
        return self._played_s

    async def write(self, pcm: bytes, turn: Turn) -> None:
        """Write a frame of a turn.

        Raises:
            VoicepipeError: The output failed. That ends the session, unless it is only an `OutputStalled`.
        """
        try:
            with named(self.output.name):
                if self.output._watches_itself:
                    await self.output.write(pcm)
                    return
                with anyio.move_on_after(STALLED_OUTPUT_S) as limit:
                    await self.output.write(pcm)
                if limit.cancelled_caught:
                    raise stalled(self.output)
        except OutputStalled:
            raise
        except VoicepipeError as error:
            turn.fail(error)  # first, so that the turn's terminal event says why
            self._on_failure(error)
            raise

    def took(self, duration_s: float) -> None:
        """Note that the output has taken a frame, which it plays after those before it."""
        self.audible_until_s = max(self.audible_until_s, anyio.current_time()) + duration_s


class Lease:
    """The right of one turn to write to the output.

    Attributes:
        turn: The turn that has the output.
        is_revoked: Whether it has lost the output.
    """

    def __init__(self, playout: Playout, turn: Turn) -> None:
        self.turn = turn
        self.is_revoked = False
        self._playout = playout
        self._output = playout.output
        self._began_s = playout.played_s
        self._frozen_s: float | None = None

    @property
    def played_s(self) -> float:
        """Seconds of this turn's audio that have been played."""
        return self._playout.played_s - self._began_s if self._frozen_s is None else self._frozen_s

    @property
    def silent_s(self) -> float:
        """For how many seconds the output has had nothing left to play."""
        return max(0.0, anyio.current_time() - self._playout.audible_until_s - EXACT_S)

    def revoke(self) -> None:
        """Take the output away; `played_s` no longer changes."""
        self._frozen_s = self.played_s
        self.is_revoked = True

    async def write(self, pcm: bytes) -> None:
        """Write a frame to the output, waiting for room.

        Raises:
            LeaseRevoked: The turn lost the output, before this or while it waited.
            AudioError: The output holds audio but plays none.
        """
        self.check()
        speech, duration_s = self.turn.speech, len(pcm) / 2 / self._output.sample_rate
        speech.add_audio(duration_s)  # before the write: while it waits for room, the frame may be played
        try:
            await self._write(pcm)
        except BaseException:
            speech.add_audio(-duration_s)
            raise
        self._playout.took(duration_s)

    async def _write(self, pcm: bytes) -> None:
        await self._playout.write(pcm, self.turn)
        if self.is_revoked:
            # An output that was waiting for room when it was flushed may have taken the frame in after all.
            self._playout.flush_output()
        self.check()

    async def wait_played(self) -> None:
        """Wait until all audio that this turn has written has been played.

        Raises:
            LeaseRevoked: The turn has lost the output.
            AudioError: The output holds audio but plays none.
        """
        reached, since = self.played_s, anyio.current_time()
        pause = 0.0
        while left := self.turn.speech.left_s:
            # Not for all that is left: an output that plays nothing has to be noticed earlier.
            await anyio.sleep(min(max(left, pause), STALLED_OUTPUT_S + 0.005))
            pause = 0.005  # an output that lags a little must not be asked continually
            self.check()
            now = anyio.current_time()
            if self.played_s > reached:
                reached, since = self.played_s, now
            elif now - since > STALLED_OUTPUT_S:
                raise stalled(self._output)

    def check(self) -> None:
        """Raise `LeaseRevoked` if the turn has lost the output."""
        if self.is_revoked:
            raise LeaseRevoked(f"turn {self.turn.turn_id} no longer owns the output")


class Playback:
    """Plays the sentences of one turn, in order.

    Args:
        turn: The turn that speaks.
    """

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._lease: OutputLease | None = None
        self._unreported: str | None = None  # the current sentence, until its first frame comes

    async def play(self, frame: bytes) -> None:
        """Write at most 20 ms of the current sentence; waits for the turn's commit and for room."""
        lease = self._lease or await self._begin()
        lease.check()  # revoked in the very step in which this audio came
        if self._unreported is not None:
            self._turn.emit(SentenceStarted(turn_id=self._turn.turn_id, text=self._unreported))
            self._unreported = None
        self._turn.timeline.mark("first_frame")
        await lease.write(frame)

    @property
    def silent_s(self) -> float:
        """For how many seconds the output has had nothing left to play."""
        return self._lease.silent_s if self._lease is not None else 0.0

    async def begin_sentence(self, sentence: Sentence) -> None:
        """Begin a sentence: the audio that follows belongs to it."""
        if self._lease is None:
            await self._begin()
        self._turn.sentence_begins(sentence)
        self._unreported = sentence.text.strip()

    def mark(self, mark: WordMark) -> None:
        """Note how far the current sentence has come."""
        self._turn.speech.add_mark(mark.char_end, mark.end_s)

    def finish_sentence(self) -> None:
        """End the current sentence: all its audio has come."""
        self._turn.speech.finish()

    async def wait_played(self) -> None:
        """Wait until everything has been played."""
        if self._lease is not None:
            await self._lease.wait_played()

    async def _begin(self) -> OutputLease:
        turn = self._turn
        await turn.committed.wait()
        self._lease = turn.session.lease(turn)
        turn.speech_begins(self._lease)
        return self._lease
