"""From the source to the turn policy: the half of a session that listens.

source ─▶ 0.5 s, oldest dropped ─▶ [session stages] ─▶ STT ─▶ [session stages] ─▶ turn policy
"""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from voicepipe.audio.pcm import FRAME_S, frames_of
from voicepipe.audio.resample import resampler
from voicepipe.core.abandon import run_abandonably
from voicepipe.core.channel import Channel
from voicepipe.core.failures import joined, named
from voicepipe.core.handover import checker
from voicepipe.core.stage import flow_of
from voicepipe.errors import AudioError, StageError
from voicepipe.events import AudioDropped
from voicepipe.flow import AudioFrame

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from voicepipe.audio.source import Source
    from voicepipe.core.channel import Inbox
    from voicepipe.core.context import SessionContext
    from voicepipe.core.stage import SessionStage
    from voicepipe.flow import Hearing

__all__ = ["listening"]

WAITING_FRAMES: Final = 25
"""Source to recogniser: 0.5 s in 20 ms frames. Live audio must not lag, so older frames are dropped and counted when
more audio comes."""

LARGEST_PIECE: Final = 500
"""Frames that one piece from a source may have: 10 s. All of it is kept, since none of it is late."""

EDGE: Final = 16
"""Between two session stages: room for a burst of transcripts, or for 0.3 s of audio."""

REPORT_DROPPED_S: Final = 0.1
"""Dropped audio is reported once it amounts to this much, so that a lag does not flood the application with events."""

LAST_WORDS_S: Final = 5.0
"""How long what listens may take after the caller has hung up: for the last words. Then the call ends by its name."""

CLOCK_SLIP_S: Final = 0.1
"""Time is counted in samples, until that differs from the loop's clock by this much: then audio is missing."""


@asynccontextmanager
async def listening(
    session: SessionContext,
    stages: Sequence[SessionStage[Any, Any]],
    source: Source | None,
    rate: int,
    is_deaf: Callable[[float], bool] | None = None,
) -> AsyncGenerator[Inbox[Hearing]]:
    """Run the listening stages, and yield the end of their row; it is closed when the caller hangs up.

    Args:
        session: The session that the stages belong to.
        stages: From audio to transcripts.
        source: Where the audio comes from.
        rate: Samples per second that the stages take.
        is_deaf: Whether the stages get silence instead of the source's audio at a given time; None for never.
    """
    at_work = list(stages)

    async def take_in(intake: _Intake) -> None:
        await intake.run()
        await anyio.sleep(LAST_WORDS_S)
        for part in at_work[:1]:  # the first one that does not read, or does not end
            ended = f"{part.name} did not end within {LAST_WORDS_S:g} s after the caller had hung up"
            raise StageError(ended, part=part.name)

    async def run_stage(stage: SessionStage[Any, Any], inbox: Channel[Any], outbox: Channel[Any]) -> None:
        with joined(stage.name, inbox, outbox):
            await run_abandonably(stage.run, inbox, outbox, session, name=stage.name, report=session.emit)
        at_work.remove(stage)

    async with anyio.create_task_group() as tasks:
        inbox = Channel[Any](WAITING_FRAMES + LARGEST_PIECE)
        if source is None:
            inbox.close()
        else:
            intake = _Intake(session, source, rate, inbox, is_deaf)
            tasks.start_soon(take_in, intake, name=f"voicepipe {source.name}")
        for stage in stages:
            outbox = Channel[Any](EDGE, checker(flow_of(stage)[1], stage.name))
            tasks.start_soon(run_stage, stage, inbox, outbox, name=f"voicepipe {stage.name}")
            inbox = outbox
        yield cast("Inbox[Hearing]", inbox)
        tasks.cancel_scope.cancel()


class _Intake:
    """Takes a source's audio: adds the time, cuts it into frames of 20 ms, and never waits."""

    def __init__(
        self,
        session: SessionContext,
        source: Source,
        rate: int,
        outbox: Channel[AudioFrame],
        is_deaf: Callable[[float], bool] | None,
    ) -> None:
        self._session = session
        self._is_deaf = is_deaf
        self._source = source
        self._rate = rate
        self._outbox = outbox
        self._resampler = resampler(source.sample_rate, rate, source.name, "the recogniser")
        self._frame_bytes = 2 * int(FRAME_S * rate)
        self._rest = b""
        self._next_s = -math.inf
        self._dropped_frames = 0
        self._reported_s = 0.0

    async def run(self) -> None:
        """Take in the source's audio until the caller hangs up."""
        with named(self._source.name):
            await run_abandonably(self._source.pump, self, name=self._source.name, report=self._session.emit)
            self._flush()
        self._outbox.close()  # not after an error, which is no hang-up

    def __call__(self, pcm: bytes) -> None:
        if self._outbox.is_abandoned:
            return  # the recogniser reported that the caller hung up
        if not isinstance(cast("object", pcm), (bytes, bytearray, memoryview)):
            found = f"{self._source.name} must give bytes of PCM, not {type(pcm).__name__}"
            raise StageError(found, part=self._source.name)
        if len(pcm) % 2:
            raise AudioError(f"{self._source.name} must give whole 16-bit samples, not {len(pcm)} bytes")
        if self._resampler is not None:
            pcm = self._resampler.feed(pcm)
        if self._is_deaf is not None and self._is_deaf(anyio.current_time()):
            pcm = bytes(len(pcm))
        pcm = self._rest + pcm
        arrived_s = anyio.current_time() - len(pcm) / 2 / self._rate
        if abs(arrived_s - self._next_s) > CLOCK_SLIP_S:
            self._next_s = arrived_s
        while self._outbox.queued > WAITING_FRAMES:
            self._outbox.receive_nowait()
            self._dropped_frames += 1
        frames = frames_of(pcm, self._rate)
        self._rest = frames.pop() if frames and len(frames[-1]) < self._frame_bytes else b""
        for frame in frames:
            self._send(frame)
        self._report_dropped()

    def _flush(self) -> None:
        """Send what is left of the last frame and in the resampler: the caller hung up."""
        rest = self._rest + (self._resampler.flush() if self._resampler is not None else b"")
        if not self._outbox.is_abandoned:
            for frame in frames_of(rest, self._rate):
                self._send(frame)

    def _send(self, frame: bytes) -> None:
        self._outbox.send_latest(AudioFrame(pcm=frame, sample_rate=self._rate, start_s=self._next_s))
        self._next_s += len(frame) / 2 / self._rate

    def _report_dropped(self) -> None:
        dropped_s = self._source.dropped_s + (self._dropped_frames + self._outbox.dropped) * FRAME_S
        if dropped_s >= self._reported_s + REPORT_DROPPED_S:
            self._session.emit(AudioDropped(seconds=dropped_s - self._reported_s))
            self._reported_s = dropped_s
