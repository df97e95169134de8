"""Plays one reply of a hosted agent: its audio as it comes, and its words where they are spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicepipe.audio.pcm import FRAME_S, frames_of
from voicepipe.errors import VendorError
from voicepipe.flow import Sentence, WordMark
from voicepipe.hosted.spoken_words import Piece, joined

if TYPE_CHECKING:
    from voicepipe.conversation.turn import Turn
    from voicepipe.core.context import Resampling
    from voicepipe.hosted.spoken_reply import SpokenReply
    from voicepipe.speaking.playback import Playback

__all__ = ["ReplyPlayer"]


class ReplyPlayer:
    """Plays one reply as it comes.

    Args:
        reply: The reply.
        turn: The turn that speaks.
        playback: The turn's.
        segment: Which part of the turn's reply the words belong to.
        rate: Samples per second of the reply.
    """

    def __init__(self, reply: SpokenReply, turn: Turn, playback: Playback, segment: int, rate: int) -> None:
        self._reply = reply
        self._turn = turn
        self._playback = playback
        self._segment = segment
        self._resampler: Resampling | None = turn.session.resampler_to_output(rate)
        self._frame_bytes = 2 * int(FRAME_S * rate)
        self._output_rate = turn.session.output_rate
        self._rest = b""
        self._has_begun = False

    async def play(self) -> None:
        """Play the reply to its end.

        Raises:
            VendorError: There are words, but no audio.
        """
        reply = self._reply
        while True:
            # The newest frame waits for another one, because the last words need something to be heard with.
            room = 2 * self._frame_bytes if reply.taken_s else self._frame_bytes
            while not reply.has_audio(room) and not reply.is_over:
                await reply.wait_news()
            if not reply.is_audio_left:
                break
            await self._play_frame()
        if self._has_begun:
            await self._write(self._resampler.flush() if self._resampler is not None else b"", ends=True)
            self._playback.finish_sentence()
            reply.is_played = True
        elif not reply.words.is_empty and not reply.is_unwanted:
            raise VendorError(f"{reply.agent} sent words without audio", vendor=reply.agent, retryable=True)

    async def _play_frame(self) -> None:
        reply, at_s = self._reply, self._reply.taken_s
        self._turn.timeline.mark_speech("tts_first_audio", is_filler=False)
        is_last = reply.is_over and not reply.has_audio(self._frame_bytes + 1)
        pcm = reply.take(self._frame_bytes)
        pieces = list[Piece]()
        while (piece := reply.words.due(at_s, reply.audio_s, is_whole=reply.is_over)) is not None:
            pieces.append(piece)
        if is_last and (rest := reply.words.rest()) is not None:
            pieces.append(rest)
        if pieces or not self._has_begun:  # without a piece, sound has come before its words
            await self._begin(joined(pieces))
        await self._write(self._resampler.feed(pcm) if self._resampler is not None else pcm)

    async def _begin(self, piece: Piece) -> None:
        """Begin the next words; "" stands for audio whose words have not come."""
        turn, is_filler = self._turn, self._segment in self._turn.speech.fillers
        turn.timeline.mark_speech("first_sentence", is_filler=is_filler)
        turn.speech.expect()
        if self._has_begun:
            self._playback.finish_sentence()
        else:
            self._reply.began_at_s = turn.speech.written_s
        self._has_begun = True
        await self._playback.begin_sentence(Sentence(piece.text, self._segment), is_filler=is_filler)
        for char_end, end_s in piece.marks:
            self._playback.mark(WordMark(char_end=char_end, end_s=end_s))

    async def _write(self, pcm: bytes, *, ends: bool = False) -> None:
        """Write whole frames; the rest of one waits for more."""
        frames = frames_of(self._rest + pcm, self._output_rate)
        self._rest = b""
        if frames and not ends and len(frames[-1]) < 2 * int(FRAME_S * self._output_rate):
            self._rest = frames.pop()
        for frame in frames:
            await self._playback.play(frame)
