"""From the source to what was heard: the half of a session that listens.

source ─▶ 0.5 s, oldest dropped ─▶ [session stages] ─▶ STT ─▶ [session stages] ─▶ turn policy
"""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from voicepipe._lifetimes import named
from voicepipe.audio.pcm import FRAME_S, frames_of
from voicepipe.audio.resample import resampler
from voicepipe.channel import Channel
from voicepipe.events import AudioDropped, AudioFrame

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from voicepipe.audio.source import Source
    from voicepipe.channel import Inbox
    from voicepipe.events import Hearing
    from voicepipe.session import Session
    from voicepipe.stage import SessionStage

__all__ = ["heard"]

WAITING_FRAMES: Final = 25
"""Source to recogniser: 0.5 s in 20 ms frames. Live audio must not lag, so the oldest is dropped and counted."""

EDGE: Final = 16
"""Between two session stages: a burst of transcripts, or 0.3 s of audio."""

TELL_DROPPED_S: Final = 0.1
"""Dropped audio is told once it amounts to this much, so that a lag does not flood the application."""

CLOCK_SLIP_S: Final = 0.1
"""A source's samples are its clock, until it differs from the loop's by this much: then audio is missing."""


@asynccontextmanager
async def heard(
    session: Session, stages: Sequence[SessionStage[Any, Any]], source: Source | None, rate: int
) -> AsyncGenerator[Inbox[Hearing]]:
    """Run the listening stages, which take audio at `rate`; what is yielded ends when the caller hangs up."""
    async with anyio.create_task_group() as tasks:
        inbox = Channel[Any](WAITING_FRAMES)
        if source is None:
            inbox.close()
        else:
            tasks.start_soon(_pump, session, source, rate, inbox, name=f"voicepipe {source.name}")
        for stage in stages:
            outbox = Channel[Any](EDGE)
            tasks.start_soon(_run_stage, stage, inbox, outbox, session, name=f"voicepipe {stage.name}")
            inbox = outbox
        yield cast("Inbox[Hearing]", inbox)
        tasks.cancel_scope.cancel()


async def _run_stage(
    stage: SessionStage[Any, Any], inbox: Channel[Any], outbox: Channel[Any], session: Session
) -> None:
    try:
        with named(stage.name):
            await stage.run(inbox, outbox, session)
    finally:
        outbox.close()
        inbox.close_receiver()


async def _pump(session: Session, source: Source, rate: int, outbox: Channel[AudioFrame]) -> None:
    """Stamp the source's audio, cut it into frames, and never wait."""
    converted = resampler(source.sample_rate, rate, source.name, "the recogniser")
    next_s, told_s = 0.0, 0.0
    try:
        with named(source.name):
            async with aclosing(cast("AsyncGenerator[bytes]", source.frames())) as pieces:
                async for piece in pieces:
                    pcm = converted.feed(piece) if converted else piece
                    arrived_s = anyio.current_time() - len(pcm) / 2 / rate
                    if abs(arrived_s - next_s) > CLOCK_SLIP_S:
                        next_s = arrived_s
                    for frame in frames_of(pcm, rate):
                        outbox.send_latest(AudioFrame(pcm=frame, sample_rate=rate, start_s=next_s))
                        next_s += len(frame) / 2 / rate
                    dropped_s = source.dropped_s + outbox.dropped * FRAME_S
                    if dropped_s >= told_s + TELL_DROPPED_S:
                        session.tell(AudioDropped(seconds=dropped_s - told_s))
                        told_s = dropped_s
    finally:
        outbox.close()
