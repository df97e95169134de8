"""The one place where a reply's audio meets the output.

Rule 1: a turn writes through a lease. `flush` revokes it in the same step in which the output falls silent, so no frame
        of an interrupted reply can follow.
Rule 2: an output that fails ends the session under its name; its bare error reaches nobody who writes or flushes.
Rule 3: each frame is recorded with its sentence; from that and from what the output has played follows what was heard.
Rule 4: while the reply is held up nothing is written. A paused one goes on at a word, from the frames that were kept.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.audio.output import STALLED_OUTPUT_S, Output, OutputStalled, stalled
from voicepipe.core.clock import loop_time
from voicepipe.core.failures import named
from voicepipe.errors import AudioError, LeaseRevoked, VoicepipeError
from voicepipe.events import UtteranceEnded
from voicepipe.observed import PlayedAudio
from voicepipe.speaking.first_sound import FirstSound
from voicepipe.speaking.kept_audio import KeptAudio
from voicepipe.speaking.played import Played

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.audio.echo_path import EchoPath
    from voicepipe.conversation.turn import Turn
    from voicepipe.core.context import Watching
    from voicepipe.events import Event

__all__ = ["Lease", "Playout"]

EXACT_S: Final = 1e-6
"""Times within this are the same: they are sums of frame lengths."""


class Playout:
    """The output of one session, and who may write to it.

    Args:
        output: Where the audio goes.
        on_failure: Takes the error of an output that fails.
        echo_path: Learns what is played; None without echo cancellation.
        watch: The observers of the session; None without any.

    Attributes:
        audible_until_s: When everything that was written so far will have been played, on the loop's clock.
        is_withheld: Whether the reply is held up before its first sample.
        is_paused: Whether it is held up because it was paused, and does not go on yet.
    """

    def __init__(
        self,
        output: Output,
        on_failure: Callable[[VoicepipeError], None],
        echo_path: EchoPath | None = None,
        watch: Watching | None = None,
    ) -> None:
        self.output = output
        self.audible_until_s = -math.inf
        self.is_withheld = self.is_paused = False
        self._wants_events = type(output).on_event is not Output.on_event
        self._echo_path = echo_path
        self._played = Played(watch.played) if watch is not None and watch.wants_played else None
        self._on_failure = on_failure
        self._played_s = 0.0
        self._lease: Lease | None = None
        self._released: anyio.Event | None = None  # set when the reply that is held up may be played

    @property
    def is_held(self) -> bool:
        """Whether the reply is held up."""
        return self._released is not None

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
        self.release()
        self._silence()

    def finish(self) -> None:
        """Note that the turn has ended: nothing holds it up any more, and none of its audio is needed again."""
        self.release()
        if self._played is not None:
            self._played.look(loop_time())
        if self._lease is not None:
            self._lease.forget_audio()

    def hold(self) -> None:
        """Write nothing until `release` or `flush`."""
        self.is_withheld = True
        self._hold()

    def release(self) -> None:
        """Let the reply be played."""
        self.is_withheld = self.is_paused = False
        if self._released is not None:
            self._released.set()
            self._released = None

    async def wait_released(self) -> None:
        """Wait until the reply may be played."""
        while self._released is not None:
            await self._released.wait()

    def pause(self) -> None:
        """Silence the output immediately, but keep the reply for `resume`."""
        self.is_withheld, self.is_paused = False, True
        self._hold()
        if self._lease is not None:
            self._lease.pause()
        self._silence()

    def resume_at(self) -> float:
        """Decide where the paused reply goes on, and return that place in seconds; `resume` must follow."""
        self.is_paused = False
        return self._lease.resume_at() if self._lease is not None else 0.0

    async def resume(self) -> None:
        """Play again what was not heard of the paused reply, then let the rest follow."""
        if self._lease is not None and not await self._lease.replay():
            return  # paused again, or interrupted
        self.release()

    def _hold(self) -> None:
        if self._released is None:
            self._released = anyio.Event()

    def _silence(self) -> None:
        now = loop_time()
        self.audible_until_s = min(self.audible_until_s, now)
        if self._echo_path is not None:
            self._echo_path.silenced(now)
        if self._played is not None:
            self._played.silenced(now)
        self.flush_output()

    def on_event(self, event: Event) -> None:
        """Have the output take note of an event, if it wants to; an error of it ends the session."""
        if not self._wants_events:
            return
        try:
            with named(self.output.name):
                self.output.on_event(event)
        except VoicepipeError as error:
            self._on_failure(error)

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

    def took(self, pcm: bytes, turn: Turn) -> float:
        """Note that the output has taken a frame, which it plays after those before it, and return when."""
        now, rate = loop_time(), self.output.sample_rate
        audible_s = max(self.audible_until_s, now)
        if self._echo_path is not None:
            self._echo_path.plays(pcm, audible_s)
        if self._played is not None:
            audio = PlayedAudio(pcm=pcm, sample_rate=rate, at_s=audible_s, turn_id=turn.turn_id)
            self._played.plays(audio, now)
        self.audible_until_s = audible_s + len(pcm) / 2 / rate
        return audible_s


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
        self._began_s = playout.played_s  # what the output had played when the turn, or the rest of it, began
        self._from_s = 0.0  # where in the turn's audio that was
        self._heard_s = 0.0  # before that; a word that is said again is not heard less
        self._frozen_s: float | None = None
        self._pauses = 0
        self._kept = KeptAudio(self._output.sample_rate)
        self._is_written = False  # whether all of the turn's audio was written
        self._first_sound = FirstSound(turn.timeline, self._output.sample_rate)

    @property
    def played_s(self) -> float:
        """Seconds of this turn's audio that have been played; what is said again counts once."""
        if self._frozen_s is not None:
            return self._frozen_s
        return max(self._heard_s, self._from_s + self._playout.played_s - self._began_s)

    @property
    def next_audible_s(self) -> float:
        """When the frame that is written next will be audible, on the loop's clock."""
        return max(self._playout.audible_until_s, loop_time())

    @property
    def is_held(self) -> bool:
        """Whether nothing may be written at present."""
        return self._playout.is_held

    async def wait_released(self) -> None:
        """Wait until the turn may write."""
        await self._playout.wait_released()

    @property
    def silent_s(self) -> float:
        """For how many seconds the output has had nothing left to play; 0 while the reply is held up."""
        if self._playout.is_held:
            return 0.0
        return max(0.0, loop_time() - self._playout.audible_until_s - EXACT_S)

    def pause(self) -> None:
        """Note that the output is about to be flushed, and that the turn goes on later."""
        self._heard_s = self.played_s
        self.turn.speech.silenced()
        self._pauses += 1
        self._first_sound.silenced(loop_time())

    def resume_at(self) -> float:
        """Decide where the turn goes on: at the word that was heard only in part, or in a quiet place before that.

        The sentences before that word were heard whole, so nothing of them is said again.
        """
        speech, at_s = self.turn.speech, self.turn.speech.word_start_s(self._heard_s)
        if at_s is None:
            at_s = max(self._kept.quiet_s(self._heard_s), speech.sentence_start_s(self._heard_s))
        self._from_s = at_s
        self._began_s = self._playout.played_s
        return self._from_s

    def forget_audio(self) -> None:
        """Drop what was kept for a pause, 100 KB or more that a silent line would hold."""
        self._kept = KeptAudio(self._output.sample_rate)

    async def replay(self) -> bool:
        """Write again what was not heard, and return whether all of it was written."""
        pauses, at_s = self._pauses, self._from_s
        self._first_sound.released()
        try:
            for frame in self._kept.since(self._from_s, fades=not self.turn.speech.begins_at(self._from_s)):
                if not await self._write(frame, at_s) or self._pauses != pauses:
                    return False
                at_s += len(frame) / 2 / self._output.sample_rate
        except LeaseRevoked:
            return False
        except VoicepipeError as error:
            self.turn.fail(error)  # whoever writes next meets it too
        if self._is_written:
            self.finish()
        return True

    def finish(self) -> None:
        """Report that all of the turn's audio was written."""
        self._is_written = True
        self.turn.emit(UtteranceEnded(turn_id=self.turn.turn_id))

    def correct(self, heard_s: float) -> None:
        """Note that less of the turn was heard than was thought. Only of a turn that is paused, or is over."""
        excess_s = max(0.0, self.played_s - heard_s)
        if self._frozen_s is not None:
            self._frozen_s -= excess_s
        else:
            self._began_s += excess_s
            self._heard_s = min(self._heard_s, heard_s)

    def revoke(self) -> None:
        """Take the output away; `played_s` no longer changes."""
        self._frozen_s = self.played_s
        self.is_revoked = True
        self._first_sound.silenced(loop_time())

    async def write(self, pcm: bytes) -> None:
        """Write a frame to the output, waiting for room.

        Raises:
            LeaseRevoked: The turn lost the output, before this or while it waited.
            AudioError: The output holds audio but plays none.
        """
        await self.wait_released()
        self.check()
        speech, duration_s = self.turn.speech, len(pcm) / 2 / self._output.sample_rate
        at_s = speech.written_s
        if self._kept.add(at_s, pcm):
            self._kept.forget_before(self.played_s)
        speech.add_audio(duration_s)  # before the write: while it waits for room, the frame may be played
        try:
            await self._write(pcm, at_s)
        except BaseException:
            speech.add_audio(-duration_s)
            raise

    async def _write(self, pcm: bytes, at_s: float) -> bool:
        """Write a frame, and return whether the output has it: it has not if the turn was paused meanwhile.

        Args:
            pcm: The frame.
            at_s: Its place in the turn's audio.
        """
        pauses = self._pauses
        await self._playout.write(pcm, self.turn)
        if self.is_revoked or self._pauses != pauses:
            # An output that was waiting for room when it was flushed may have taken the frame in after all.
            self._playout.flush_output()
            self.check()
            return False
        played_s = self._playout.took(pcm, self.turn)
        if self._first_sound.is_due:
            self._first_sound.plays(pcm, played_s, is_filler=self.turn.speech.is_filler_at(at_s))
        return True

    async def wait_played(self) -> None:
        """Wait until all audio that this turn has written has been played.

        Raises:
            LeaseRevoked: The turn has lost the output.
            AudioError: The output holds audio but plays none.
        """
        reached, since = self.played_s, loop_time()
        pause = 0.0
        while left := self.turn.speech.left_s:
            if self.is_held:
                await self.wait_released()
                self.check()
                since = loop_time()
                continue
            # Not for all that is left: an output that plays nothing has to be noticed earlier.
            await anyio.sleep(min(max(left, pause), STALLED_OUTPUT_S + 0.005))
            pause = 0.005  # an output that lags a little must not be asked continually
            self.check()
            now = loop_time()
            if self.played_s > reached:
                reached, since = self.played_s, now
            elif now - since > STALLED_OUTPUT_S:
                raise stalled(self._output)

    def check(self) -> None:
        """Raise `LeaseRevoked` if the turn has lost the output."""
        if self.is_revoked:
            raise LeaseRevoked(f"turn {self.turn.turn_id} no longer owns the output")
