"""One sentence and its audio, on the way from a voice to playback.

Rule 1: the audio leaves in whole frames at the output's rate; only the last one may be shorter. A voice may give its
        pieces at any length: an output that fills up a frame with silence must not do so in the middle of a word.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.audio.pcm import FRAME_S, frames_of
from voicepipe.core.channel import Channel
from voicepipe.core.clock import loop_time
from voicepipe.flow import Sentence, WordMark
from voicepipe.speaking.voice_pace import ClipPace

if TYPE_CHECKING:
    from voicepipe.core.context import Resampling

__all__ = ["Clip"]

CLIP_FRAMES: Final = 50
"""One sentence's audio ahead of playback: 1 s. A faster vendor waits."""


class Clip:
    """A sentence and its audio as it comes.

    Args:
        sentence: What is spoken.
        rate: Samples per second of the output.
        resampler: From the voice's rate to the output's; None if they agree.
        start_buffer_s: How long after its first audio it is played.
        is_filler: Whether it only fills a silence, and answers nothing.

    Attributes:
        audio: The frames and marks that wait to be played.
        began_s: When the first audio came.
        pace: How fast the voice gives it.
        error: Why the audio is incomplete, if it is.
    """

    def __init__(
        self,
        sentence: Sentence,
        *,
        rate: int,
        resampler: Resampling | None = None,
        start_buffer_s: float = 0.0,
        is_filler: bool = False,
    ) -> None:
        self.sentence = sentence
        self.is_filler = is_filler
        self.start_buffer_s = start_buffer_s
        self.pace = ClipPace()
        self.error: Exception | None = None
        self._room = CLIP_FRAMES + math.ceil(start_buffer_s / FRAME_S)
        self.audio = Channel[bytes | WordMark](self._room)
        self._rate = rate
        self._resampler = resampler
        self._frame_bytes = 2 * math.floor(FRAME_S * rate)
        self._rest = b""
        self.began_s = math.inf
        self._is_closed = False
        self._news = anyio.Event()

    async def put(self, pcm: bytes) -> None:
        """Add audio of the voice, waiting for room."""
        if self._resampler is not None:
            pcm = self._resampler.feed(pcm)
        frames = frames_of(self._rest + pcm, self._rate)
        self._rest = frames.pop() if frames and len(frames[-1]) < self._frame_bytes else b""
        await self._send(frames)

    async def finish(self) -> None:
        """Add what is left of the audio."""
        rest = self._rest + (self._resampler.flush() if self._resampler is not None else b"")
        self._rest = b""
        await self._send(frames_of(rest, self._rate))

    async def put_mark(self, mark: WordMark) -> None:
        """Add a mark, waiting for room."""
        self._news.set()
        await self.audio.send(mark)

    def close(self) -> None:
        """Nothing more comes."""
        self._is_closed = True
        self.audio.close()
        self._news.set()

    async def wait_start(self) -> None:
        """Wait until the sentence can be played."""
        await self.wait_ahead(self.began_s + self.start_buffer_s)

    async def wait_ahead(self, at_s: float) -> None:
        """Wait until a time, or until all audio is there, or so much that there is no room for more."""
        if at_s <= loop_time():
            return  # as nearly always; a scope that is over when it is entered costs 0.1 ms
        with anyio.CancelScope(deadline=at_s):
            while not self._is_closed and self.audio.queued < self._room and loop_time() < at_s:
                self._news = anyio.Event()
                await self._news.wait()

    async def _send(self, frames: list[bytes]) -> None:
        if frames:
            self.began_s = min(self.began_s, loop_time())
            self._news.set()
            await self.audio.send_all(frames)
