"""An output for a remote peer: the library paces, a subclass sends.

Rule 1: one 20 ms tick drives all paced outputs of an event loop. It never waits: each output sends in its own task and
        holds at most two frames.
Rule 2: after `flush`, no further frame of the old audio is sent. A frame that is already being sent is sent completely,
        so that the transport stays intact; `clear` follows, before any new audio.
Rule 3: `pacing` decides what is sent when, and how much of it counts as played; this module carries it out.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.audio.output import STALLED_OUTPUT_S, Output, stalled
from voicepipe.audio.pcm import FRAME_S
from voicepipe.audio.remote.pacing import HeardBy, Pacing
from voicepipe.audio.remote.shared_tick import Beat, current_beat
from voicepipe.core.clock import loop_time
from voicepipe.errors import AudioError, ConfigurationError
from voicepipe.events import SentenceStarted
from voicepipe.floor_events import Resumed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.core.context import AnySession
    from voicepipe.events import Event

__all__ = ["PacedOutput", "PacingStatistics"]

MOST_BUFFER_S: Final = 1.5
"""An output that plays nothing for 2 s has failed, so no peer may keep audio for as long."""

MOST_LEAD_S: Final = 1.0
"""What is sent ahead is what an interruption throws away."""

MOST_NOTES: Final = 1_000
"""Events that may wait for the peer, as many as a session keeps for its readers."""

SEND_S: Final = 5.0
"""A peer is gone if one message cannot be sent within this time. The turn has failed before that: see `Playback`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PacingStatistics:
    """How well a paced output keeps time, at one moment.

    All paced outputs of an event loop share one tick, so the figures about ticks cover all of them since the first.

    Attributes:
        outputs: Outputs that currently share the tick.
        ticks: Ticks so far; a tick that is so late that others were missed counts once.
        late: Ticks that were more than 10 ms late. The frames that they owed were sent immediately.
        worst_late_s: The largest delay of a tick so far, in seconds.
        frames: Frames of 20 ms that this output has sent.
    """

    outputs: int
    ticks: int
    late: int
    worst_late_s: float
    frames: int


class PacedOutput(Output):
    """Base class of outputs to a remote peer, at the pace of speech; subclasses implement `send`.

    For a peer that buffers audio, as telephone lines do, also implement `clear`; otherwise it goes on speaking after an
    interruption. For a peer that reports what it has played, implement `mark` and pass its reports to `marked`, or set
    `reports_position` and pass them to `played`; the history is then exact to 0.2 s, or to the sample. Otherwise audio
    counts as played by the clock, `peer_buffer_s` after it was sent; `heard_by` says which of these it is.

    For a peer that shows what happens, implement `tell`: it gets the session's events in the order of the audio.

    One task awaits these methods, one after another. Each may take 5 s; a longer one ends the session with an
    `AudioError`. An error that they raise also ends the session and names this output. A peer that has hung up is not
    an error: ignore it there, and call `end` of the source instead. They are cancelled only when the session ends.

    A paced output belongs to one session: create one for each and pass it to `host.session(output=...)`.

    Attributes:
        sample_rate: Samples per second that `send` gets, 8000 to 192000 and a multiple of 50.
        peer_buffer_s: How long audio is on its way and in the peer's jitter buffer before it is played, 0 to 1.5 s. A
            reply has been heard, and a session that ends after its reply ends, only after that. A peer that reports
            what it has played needs no such guess.
        lead_s: How much audio is sent ahead of the pace of speech, 0 to 1 s, so that a peer behind a network that
            jitters does not run dry. The peer must be able to `clear` it.
        reports_position: Whether the peer reports how much it has played, by `played`.
        turn_id: In `send`, the turn whose audio it is; 0 before the first.
    """

    sample_rate: int = 24_000
    peer_buffer_s: float = 0.2
    lead_s: float = 0.0
    reports_position: bool = False
    turn_id: int = 0

    _pacing: Pacing | None = None  # created by `attach`, so that a subclass need not call our __init__
    _beat: Beat
    _scope: anyio.CancelScope
    _idle: asyncio.Future[None] | None = None
    _writers: list[tuple[int, asyncio.Future[None]]]  # tasks that wait for room, and since which tick
    _busy_since: int | None = None
    _is_attached = _is_leaving = _tells = False
    _watches_itself = True

    @abstractmethod
    async def send(self, pcm: bytes) -> None:
        """Send 20 ms of audio to the peer.

        Args:
            pcm: Little-endian signed 16-bit mono PCM, always `sample_rate / 50` samples: the end of an utterance is
                padded with silence, which does not count as played.
        """

    async def clear(self) -> None:
        """Make the peer drop audio that it has not played yet. Called after a flush, before any new audio."""

    async def mark(self, name: str) -> None:
        """Ask the peer to report when it has played everything sent so far; pass the report to `marked`.

        Called after each 0.2 s of audio and when the agent stops speaking; never if a subclass does not implement it.

        Args:
            name: What the peer has to report; different each time.
        """

    async def tell(self, event: Event) -> None:
        """Tell the peer what happens, if it wants to know. Called with each event of the session.

        The events come in the order of the audio: `SentenceStarted` before the sentence's first frame, `UtteranceEnded`
        after the last frame of a turn's speech. After an interruption `clear` comes first, then what was decided
        (`Paused`, `TurnInterrupted`), then new audio.
        """

    def marked(self, name: str) -> None:
        """Take the peer's report that it has played everything up to this mark.

        A name that is unknown, repeated, or belongs to flushed audio is ignored.
        """
        if self._pacing is not None:
            self._pacing.marked(name)

    def played(self, samples: int) -> None:
        """Take the peer's report that it has played everything up to this sample of what `send` was given.

        Args:
            samples: Counts from the beginning of the session, and includes what the peer was given and has cleared. A
                position in audio that was flushed meanwhile, or before the last report, is ignored.
        """
        if self._pacing is not None:
            self._pacing.played(samples)

    @property
    def heard_by(self) -> HeardBy:
        """How it is known what the peer has played: "marks" or "position" if it reports them, else by the "clock"."""
        if self.reports_position:
            return "position"
        return "marks" if type(self).mark is not PacedOutput.mark else "clock"

    def on_event(self, event: Event) -> None:
        """Give an event its place in the audio. See `Output.on_event`.

        Raises:
            AudioError: The peer has not taken 1,000 events.
        """
        if self._pacing is None or not (self._tells or isinstance(event, (SentenceStarted, Resumed))):
            return
        if self._pacing.notes >= MOST_NOTES:
            raise AudioError(f"{self.name}.tell is {MOST_NOTES:,} events behind; check that the peer reads")
        self._pacing.note(event)
        self._wake()

    def statistics(self) -> PacingStatistics:
        """Return how well this output keeps time."""
        if self._pacing is None:
            return PacingStatistics(outputs=0, ticks=0, late=0, worst_late_s=0.0, frames=0)
        beat = self._beat
        return PacingStatistics(
            outputs=beat.listeners,
            ticks=beat.ticks,
            late=beat.late,
            worst_late_s=beat.worst_late_s,
            frames=self._pacing.frames,
        )

    @asynccontextmanager
    async def attach(self, session: AnySession) -> AsyncGenerator[None]:
        """Join the tick, and send until the session ends; a pending `clear` and events are still sent.

        Raises:
            ConfigurationError: `sample_rate` has no whole frame of 20 ms, a length of time does not fit, or the output
                is in another session.
        """
        del session
        rate = self.sample_rate
        if not 8_000 <= rate <= 192_000 or rate % 50:
            raise ConfigurationError(
                f"{self.name}: sample_rate must be 8000 to 192000 and a multiple of 50, not {rate}; e.g. 8000 or 24000"
            )
        if not 0 <= self.peer_buffer_s <= MOST_BUFFER_S:
            raise ConfigurationError(
                f"{self.name}: peer_buffer_s must be 0 to {MOST_BUFFER_S:g} seconds, not {self.peer_buffer_s!r}"
            )
        if not 0 <= self.lead_s <= MOST_LEAD_S:
            raise ConfigurationError(f"{self.name}: lead_s must be 0 to {MOST_LEAD_S:g} seconds, not {self.lead_s!r}")
        if self.lead_s and type(self).clear is PacedOutput.clear:
            raise ConfigurationError(
                f"{self.name}: lead_s needs a peer that can drop what it was sent; implement clear(), or use lead_s = 0"
            )
        if self._is_attached:
            raise ConfigurationError(f"{self.name} is already in a session; create one for each session")
        self._is_attached = True
        self._beat = current_beat()
        self._is_leaving = False
        self._writers, self._busy_since = [], None
        self._tells = type(self).tell is not PacedOutput.tell
        with self._beat.joined(self._on_tick):
            self._pacing = Pacing(
                rate,
                heard_by=self.heard_by,
                tick=self._beat.number,
                buffer_s=self.peer_buffer_s,
                lead_s=self.lead_s,
            )
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._send_all, self._pacing, name=f"voicepipe {self.name} sends")
                    try:
                        yield
                    finally:
                        self._is_leaving = True
                        self._wake()
            finally:
                self._is_attached = False

    async def write(self, pcm: bytes) -> None:
        """Take a piece of audio of any length. See `Output.write`.

        Raises:
            AudioError: There was no room for 2 s, or the bytes are not whole samples.
        """
        pacing = self._pacing
        if pacing is None:
            raise AudioError(f"{self.name} is not in a session; pass it to host.session(output=...)")
        if len(pcm) % 2:
            raise AudioError(f"{self.name} takes whole 16-bit samples, an even number of bytes, not {len(pcm)}")
        flushes = pacing.flushes
        while not pacing.has_room(len(pcm)):
            await self._wait_for_room()
            if pacing.flushes != flushes:
                return
        if pacing.put(pcm, self._beat.number):
            self._wake()

    def flush(self) -> None:
        """Drop what has not been sent, and make the peer clear the rest. See `Output.flush`."""
        if self._pacing is not None:
            self._pacing.flush(loop_time(), self._beat.number)
            self._announce_room()
            self._wake()

    @property
    def played_s(self) -> float:
        """Seconds that the peer has played: by its newest mark, or by the clock without `mark`."""
        return self._pacing.played_s(loop_time()) if self._pacing is not None else 0.0

    def _on_tick(self, tick: int) -> None:
        assert self._pacing is not None  # noqa: S101 - ticks come only while the output is attached
        # Both waits are limited here, because a timeout around each would cost more than the frame itself.
        # Ticks are counted, not seconds: while the event loop stood still, the peer was not to blame.
        ticks = self._beat.ticks
        if self._busy_since is not None and (ticks - self._busy_since) * FRAME_S > SEND_S:
            self._scope.cancel()
        if self._writers and (ticks - self._writers[0][0]) * FRAME_S >= STALLED_OUTPUT_S:
            _, writer = self._writers.pop(0)
            if not writer.done():
                writer.set_exception(stalled(self))
        if self._pacing.tick(tick):
            self._wake()

    async def _send_all(self, pacing: Pacing) -> None:
        """Carry out what `pacing` asks for, one thing after another."""
        with anyio.CancelScope() as self._scope:
            while True:
                self._busy_since = self._beat.ticks
                if pacing.take_clear():
                    await self.clear()
                elif (event := pacing.take_note()) is not None:
                    if isinstance(event, (SentenceStarted, Resumed)):
                        self.turn_id = event.turn_id
                    if self._tells:
                        await self.tell(event)
                elif self._is_leaving:
                    return
                elif (name := pacing.take_mark()) is not None:
                    await self.mark(name)
                elif (frame := pacing.take_frame(self._beat.number)) is not None:
                    self._announce_room()
                    await self.send(frame)
                    pacing.sent(loop_time())
                else:
                    await self._wait()
        raise AudioError(
            f"{self.name} could not send a message within {SEND_S:g} s; check that the peer reads its connection"
        )

    async def _wait(self) -> None:
        self._busy_since = None
        self._idle = asyncio.get_running_loop().create_future()
        try:
            await self._idle
        finally:
            self._idle = None

    def _wake(self) -> None:
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _wait_for_room(self) -> None:
        writer = asyncio.get_running_loop().create_future()
        self._writers.append((self._beat.ticks, writer))
        await writer

    def _announce_room(self) -> None:
        for _, writer in self._writers:
            if not writer.done():  # the writer may have been cancelled
                writer.set_result(None)
        self._writers.clear()

    def __repr__(self) -> str:
        """Show the rate and how much has been sent."""
        return f"<{self.name} {self.sample_rate} Hz {self.statistics().frames} frames sent>"
