"""The caller's recorded audio, at the pace at which it was spoken, for a recogniser at work."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio

from voicepipe.audio.pcm import FRAME_S, frames_of
from voicepipe.audio.source import Source
from voicepipe.errors import ConfigurationError
from voicepipe.flow import Digit, Transcript
from voicepipe.watching.replay.playhead import LONGER_S

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from voicepipe.session.session import Session
    from voicepipe.watching.replay.playhead import Playhead
    from voicepipe.watching.replay.recorded_call import RecordedCall

__all__ = ["HeardAudio", "type_and_press"]


class HeardAudio(Source):
    """Says again what the caller said, from when the session listened to the end of the call.

    Args:
        call: The recording.
        playhead: Where its replay stands.
    """

    def __init__(self, call: RecordedCall, playhead: Playhead) -> None:
        assert call.caller_audio is not None  # noqa: S101 - `Replay` refuses a recording without it
        self._pcm, self.sample_rate = call.caller_audio()
        self._playhead = playhead
        self._listens_s = call.began.at_s
        self._hangs_up = call.hung_up

    async def frames(self) -> AsyncGenerator[bytes]:
        """Yield frames as they come due. See `Source.frames`."""
        at = 2 * round(self._listens_s * self.sample_rate)
        for frame in frames_of(self._pcm[at:], self.sample_rate):
            at += len(frame)
            await self._playhead.until(at / 2 / self.sample_rate)
            yield frame
        silence = bytes(2 * round(FRAME_S * self.sample_rate))
        for _ in range(0 if self._hangs_up else round(LONGER_S / FRAME_S)):  # until the agent ends the call, as it did
            at += len(silence)
            await self._playhead.until(at / 2 / self.sample_rate)
            yield silence


async def type_and_press(session: Session[Any], call: RecordedCall, playhead: Playhead) -> None:
    """Type what the caller typed, and press the keys that they pressed: nobody can hear those."""
    async with anyio.create_task_group() as tasks:
        for heard in call.heard:
            if isinstance(heard.hearing, Digit):
                await playhead.until(heard.at_s)
                session.press(heard.hearing.key)
            elif heard.is_typed and isinstance(heard.hearing, Transcript):
                await playhead.until(heard.at_s)
                tasks.start_soon(type_in, session, heard.hearing.text)


async def type_in(session: Session[Any], text: str) -> None:
    """Type a text, unless the call ends with its present reply."""
    with suppress(ConfigurationError):
        await session.user_says(text)
