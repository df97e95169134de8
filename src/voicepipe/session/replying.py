"""The reply turn: what happens between a transcript and its sound, on one screen.

    transcript ─▶ [stages] ─▶ model and tools ─▶ sentence chunker ─▶ [stages] ─▶ TTS and playback

Every arrow is a bounded channel, every stage a task, everything inside one cancel scope. An interruption is
`output.flush()`, then `turn.scope.cancel()`; nothing here has to know about it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.core.abandon import run_abandonably
from voicepipe.core.channel import Channel
from voicepipe.core.clock import loop_time
from voicepipe.core.failures import joined, single_error
from voicepipe.core.stage import flow_of
from voicepipe.errors import StageError
from voicepipe.events import CleanupOverran
from voicepipe.flow import Sentence, TextDelta, Transcript
from voicepipe.session.stage_times import StageTimes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio.abc import TaskGroup

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.stage import Stage

__all__ = ["run_reply"]

CAPACITY: Final[dict[Any, int]] = {
    # A whole reply, at most 16 KiB of text: the response is read at the speed of the network, not of speech.
    TextDelta: 16 * 1024,
    # Back-pressure begins here: one sentence waits while another is synthesised ahead and a third is played.
    Sentence: 1,
}

NO_PROGRESS_S: Final = 6.0
"""How long the stages behind the model may take, once the text is complete and all that reached TTS was heard, until
they hand on another sentence or end. And how long a stage may go on after the last sentence was heard."""


async def run_reply(stages: Sequence[Stage[Any, Any]], first: object, turn: Turn) -> None:
    """Send one item through a row of stages and return when all are done.

    Raises:
        VoicepipeError: A stage failed; any other exception is wrapped in `StageError` with the stage's name.
    """
    with single_error():
        await _Reply(stages, turn).run(first)


class _Reply:
    """A row of stages at work.

    Args:
        stages: From a transcript, or from a text, to sound.
        turn: The turn that they work for.
    """

    def __init__(self, stages: Sequence[Stage[Any, Any]], turn: Turn) -> None:
        self._stages = stages
        self._turn = turn
        self._at_work = list(stages)
        # The last stage that reads transcripts is the model.
        before = max((at for at, stage in enumerate(stages, 1) if flow_of(stage)[0] is Transcript), default=0)
        self._before, self._behind = stages[:before], stages[before:]
        self._times = StageTimes(turn, self._before[-1] if self._before else None, stages[-1])
        self._tasks: TaskGroup
        self._watch = anyio.CancelScope()

    async def run(self, first: object) -> None:
        """Send one item through the row."""
        inbox = Channel[Any](1)
        await inbox.send(first)
        inbox.close()
        async with anyio.create_task_group() as self._tasks:
            inboxes = [inbox, *(self._channel_behind(*pair) for pair in pairwise((*self._stages, None)))]
            ends = list(zip(self._stages, inboxes, inboxes[1:], strict=False))
            for stage, inbox, outbox in ends[1:]:
                self._tasks.start_soon(self._run_stage, stage, inbox, outbox, name=f"voicepipe {stage.name}")
            if not self._before:
                self._tasks.start_soon(self._watch_progress)
            await self._run_stage(*ends[0])  # in this task: the request leaves a step of the loop earlier
        for stage in self._at_work:  # it did not end with the reply, and was cancelled
            self._turn.emit(CleanupOverran(part=stage.name, after_s=NO_PROGRESS_S))

    def _channel_behind(self, stage: Stage[Any, Any] | None, after: Stage[Any, Any] | None) -> Channel[Any]:
        assert stage is not None  # noqa: S101 - only the last of a row has nothing after it
        return Channel[Any](CAPACITY.get(flow_of(stage)[1], 8), self._times.check_of(stage, after))

    async def _run_stage(self, stage: Stage[Any, Any], inbox: Channel[Any], outbox: Channel[Any]) -> None:
        turn = self._turn
        with joined(stage.name, inbox, outbox):
            if stage._obeys:  # what it runs for others, it reports by their names
                await stage.run(inbox, outbox, turn)
            else:
                with turn.working(stage.name):
                    report = turn.session.emit
                    await run_abandonably(stage.run, inbox, outbox, turn, name=stage.name, report=report)
        self._at_work.remove(stage)
        if not self._at_work:
            self._watch.cancel()
        elif stage is self._stages[-1]:
            self._tasks.cancel_scope.deadline = loop_time() + NO_PROGRESS_S  # for those that do not end with the reply
        elif self._before and stage is self._before[-1]:
            self._tasks.start_soon(self._watch_progress)

    async def _watch_progress(self) -> None:
        """Fail the reply if a stage behind the model keeps the text to itself, now that it is complete."""
        speech, last = self._turn.speech, self._stages[-1]
        with self._watch:
            while last in self._at_work:
                await speech.wait_silent()
                with anyio.move_on_after(NO_PROGRESS_S) as limit:
                    await speech.wait_expected()
                if limit.cancelled_caught and last in self._at_work:
                    part = next(stage.name for stage in self._behind if stage in self._at_work)
                    raise StageError(
                        f"{part} handed on nothing for {NO_PROGRESS_S:g} s after the text had ended", part=part
                    )
