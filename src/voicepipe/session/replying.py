"""The reply turn: what happens between a transcript and its sound, on one screen.

    transcript ─▶ [stages] ─▶ model and tools ─▶ sentence chunker ─▶ [stages] ─▶ TTS and playback

Every arrow is a bounded channel, every stage a task, everything inside one cancel scope. An interruption is
`output.flush()`, then `turn.scope.cancel()`; nothing here has to know about it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.core.channel import Channel
from voicepipe.core.failures import joined, single_error
from voicepipe.core.stage import flow_of
from voicepipe.flow import Sentence, TextDelta

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voicepipe.conversation.turn import Turn
    from voicepipe.core.stage import Stage

__all__ = ["run_reply"]

CAPACITY: Final[dict[Any, int]] = {
    # A whole reply, at most 16 KiB of text: the response is read at the speed of the network, not of speech.
    TextDelta: 16 * 1024,
    # Back-pressure begins here: one sentence waits while another is synthesised ahead and a third is played.
    Sentence: 1,
}


async def run_reply(stages: Sequence[Stage[Any, Any]], first: object, turn: Turn) -> None:
    """Send one item through a row of stages and return when the last stage is done.

    Raises:
        VoicepipeError: A stage failed; any other exception is wrapped in `StageError` with the stage's name.
    """
    inbox = Channel[Any](1)
    await inbox.send(first)
    inbox.close()
    with single_error():
        async with anyio.create_task_group() as tasks:
            for stage in stages:
                outbox = Channel[Any](CAPACITY.get(flow_of(stage)[1], 8))
                tasks.start_soon(_run_stage, stage, inbox, outbox, turn, name=f"voicepipe {stage.name}")
                inbox = outbox


async def _run_stage(stage: Stage[Any, Any], inbox: Channel[Any], outbox: Channel[Any], turn: Turn) -> None:
    with joined(stage.name, inbox, outbox), turn.working(stage.name):
        await stage.run(inbox, outbox, turn)
