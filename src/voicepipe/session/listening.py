"""From the source to turn-taking: the half of a session that listens.

source ─▶ intake: late audio, lag, gaps ─▶ [session stages] ─▶ STT ─▶ [session stages] ─▶ turn-taking
                        └────▶ detector ─────────────────────────────┘
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import anyio

from voicepipe.core.abandon import run_abandonably
from voicepipe.core.channel import Channel
from voicepipe.core.failures import joined, single_error
from voicepipe.core.handover import checker
from voicepipe.core.stage import can_follow, flow_of
from voicepipe.errors import StageError
from voicepipe.flow import AudioFrame, SpeechEnded, SpeechStarted
from voicepipe.hearing.detecting import Detecting
from voicepipe.hearing.detector import MissingDetector
from voicepipe.hearing.intake import LATE_FRAMES, WAITING_FRAMES, Intake
from voicepipe.hearing.reports import Reports
from voicepipe.hearing.stt import recogniser_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from voicepipe.audio.echo_path import EchoPath
    from voicepipe.audio.source import Source
    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.core.context import SessionContext
    from voicepipe.core.stage import SessionStage
    from voicepipe.flow import Hearing
    from voicepipe.hearing.detector import Detector
    from voicepipe.session.wiring import Row
    from voicepipe.turntaking.echo import EchoGuard

__all__ = ["listen"]

EDGE: Final = 16
"""Between two session stages: room for a burst of transcripts, or for 0.3 s of audio."""

LAST_WORDS_S: Final = 5.0
"""How long what listens may take after the caller has hung up: for the last words. Then the call ends by its name."""


async def listen(
    session: SessionContext,
    row: Row,
    source: Source | None,
    hear: Callable[[Hearing], None],
    echo: EchoGuard | None,
    echo_path: EchoPath | None,
) -> None:
    """Listen until the caller hangs up.

    Args:
        session: The session that listens.
        row: Its parts.
        source: Where the audio comes from; None where the stages need none.
        hear: Takes what is heard.
        echo: Remembers what the agent says; None where the microphone does not pick it up.
        echo_path: Takes the agent's echo out of the audio; None without echo cancellation.

    Raises:
        VoicepipeError: A part that listens failed.
    """
    is_deaf = echo.is_audible if echo is not None and recogniser_of(row.hearing_stages).is_closed else None
    ears = _listening(session, row.hearing_stages, source, row.hearing_rate, is_deaf, row.detector, echo_path)
    with single_error():
        async with ears as hearing:
            async for event in hearing:
                hear(event)


@asynccontextmanager
async def _listening(
    session: SessionContext,
    stages: Sequence[SessionStage[Any, Any]],
    source: Source | None,
    rate: int,
    is_deaf: Callable[[float], bool] | None = None,
    detector: Detector | None = None,
    echo_path: EchoPath | None = None,
) -> AsyncGenerator[Inbox[Hearing]]:
    """Run the listening stages, and yield the end of their row; it is closed when the caller hangs up.

    Args:
        session: The session that the stages belong to.
        stages: From audio to transcripts.
        source: Where the audio comes from.
        rate: Samples per second that the stages take.
        is_deaf: Whether the stages get silence instead of the source's audio at a given time; None for never.
        detector: Looks at the source's audio before the stages do; its reports are merged with those of the first stage
            that reports what was heard.
        echo_path: Takes the agent's echo out of the audio; None without echo cancellation.
    """
    looks = source is not None and not isinstance(detector, MissingDetector | None)
    detecting: Detecting | None = None
    at_work = list(stages)

    async def take_in(intake: Intake) -> None:
        await intake.run()
        await anyio.sleep(LAST_WORDS_S)
        for part in at_work[:1]:  # the first one that does not read, or does not end
            name = part._fault_name
            raise StageError(f"{name} did not end within {LAST_WORDS_S:g} s after the caller had hung up", part=name)

    async def run_stage(
        stage: SessionStage[Any, Any], inbox: Channel[Any], channel: Channel[Any], outbox: Outbox[Any]
    ) -> None:
        name = stage._fault_name
        with joined(name, inbox, channel):
            if all(part._is_ours for part in (stage, *stage._held())):
                await stage.run(inbox, outbox, session)
            else:
                await run_abandonably(stage.run, inbox, outbox, session, name=name, report=session.emit)
        at_work.remove(stage)

    async with anyio.create_task_group() as tasks:
        audio = inbox = Channel[Any](WAITING_FRAMES + LATE_FRAMES)
        reports: Reports | None = None
        for stage in stages:
            sent = flow_of(stage)[1]
            check = checker(sent, stage._fault_name)
            channel = Channel[Any](EDGE, check)
            outbox: Outbox[Any] = channel
            if reports is None and sent is not AudioFrame:
                # A stage that promises nothing but transcripts sends nothing else.
                if detector is not None and looks and can_follow(SpeechStarted | SpeechEnded, sent):
                    detecting = Detecting(detector, rate)
                outbox = reports = Reports(channel, check, is_detected=detecting is not None)
            tasks.start_soon(run_stage, stage, inbox, channel, outbox, name=f"voicepipe {stage.name}")
            inbox = channel
        if source is None:
            audio.close()
        else:
            reporting = reports or Reports(Channel(EDGE))
            intake = Intake(session, source, rate, audio, reporting, is_deaf, detecting, echo_path)
            tasks.start_soon(take_in, intake, name=f"voicepipe {source.name}")
        yield cast("Inbox[Hearing]", inbox)
        tasks.cancel_scope.cancel()
