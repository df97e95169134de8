"""A caller who types, for a simulated recogniser: silence on the line, and words that come from the keyboard.

Rule 1: a typed line is heard as if it had been spoken in no time; from there it takes the way of all speech.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

import voicepipe as vp
from voicepipe.core.channel import Channel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

__all__ = ["Silence", "TypedSpeech"]

FRAME_S: Final = 0.02

LINES: Final = 100
"""Lines that may wait while the recogniser is between two turns; a further one would push out the oldest."""


class Silence(vp.Source):
    """A caller's line without a sound, in real time.

    Args:
        sample_rate: Samples per second.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate

    async def frames(self) -> AsyncGenerator[bytes]:
        """Yield silence until cancelled. See `Source.frames`."""
        due_s = anyio.current_time()
        while True:
            due_s += FRAME_S
            await anyio.sleep_until(due_s)
            yield bytes(2 * round(FRAME_S * self.sample_rate))


class TypedSpeech(vp.Recogniser):
    """Hears what is typed, whatever the audio. All copies hear the same keyboard.

    Args:
        sample_rate: Samples per second that the application's recogniser sends.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._lines = Channel[str](LINES)

    def say(self, text: str) -> None:
        """Let the caller say a line; never waits."""
        self._lines.send_latest(text)

    async def recognise(
        self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session
    ) -> None:
        """Report each line at the end of the audio so far. See `Recogniser.recognise`."""
        del session
        heard_s = 0.0

        async def hear() -> None:
            while True:
                text = await self._lines.receive()
                await outbox.send(vp.SpeechStarted(at_s=heard_s))
                await outbox.send(vp.Transcript(text, heard_s, anyio.current_time()))

        async with anyio.create_task_group() as tasks:
            async for frame in inbox:
                if not heard_s:
                    tasks.start_soon(hear)  # nothing is said before there is a line
                heard_s = frame.start_s + frame.duration_s
            tasks.cancel_scope.cancel()
