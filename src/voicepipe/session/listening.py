"""From the source to the turn policy: the half of a session that listens.

source ─▶ intake: late audio, lag, gaps ─▶ [session stages] ─▶ STT ─▶ [session stages] ─▶ turn policy
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from voicepipe.core.channel import Channel
from voicepipe.core.failures import joined
from voicepipe.core.stage import flow_of
from voicepipe.flow import AudioFrame
from voicepipe.hearing.intake import LATE_FRAMES, WAITING_FRAMES, Intake, Reports

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from voicepipe.audio.source import Source
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import SessionContext
    from voicepipe.core.stage import SessionStage
    from voicepipe.flow import Hearing

__all__ = ["listening"]

EDGE: Final = 16
"""Between two session stages: room for a burst of transcripts, or for 0.3 s of audio."""


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
    async with anyio.create_task_group() as tasks:
        audio = inbox = Channel[Any](WAITING_FRAMES + LATE_FRAMES)
        reports: Reports | None = None
        for stage in stages:
            channel = Channel[Any](EDGE)
            outbox: Outbox[Any] = channel
            if reports is None and flow_of(stage)[1] is not AudioFrame:
                outbox = reports = Reports(channel)
            tasks.start_soon(_run_stage, stage, inbox, channel, outbox, session, name=f"voicepipe {stage.name}")
            inbox = channel
        if source is None:
            audio.close()
        else:
            intake = Intake(session, source, rate, audio, reports or Reports(Channel(EDGE)), is_deaf)
            tasks.start_soon(intake.run, name=f"voicepipe {source.name}")
        yield cast("Inbox[Hearing]", inbox)
        tasks.cancel_scope.cancel()


async def _run_stage(
    stage: SessionStage[Any, Any],
    inbox: Channel[Any],
    channel: Channel[Any],
    outbox: Outbox[Any],
    session: SessionContext,
) -> None:
    with joined(stage._fault_name, inbox, channel):
        await stage.run(inbox, outbox, session)
