"""What one of our recognisers understands of a session's audio, in Deepgram's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from voicepipe.audio.output import PullOutput
from voicepipe.audio.pcm import frames_of
from voicepipe.core.channel import Channel
from voicepipe.flow import AudioFrame, EarlyTranscript, Hearing, SpeechStarted, Transcript
from voicepipe.testing.simulators._deepgram_messages import results, started, turn_info
from voicepipe.testing.simulators._stt_turns import Spoken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from voicepipe.session.pipeline import Host
    from voicepipe.testing.simulators._deepgram_rules import Asked
    from voicepipe.testing.simulators._stt_turns import Message, SpokenWord

__all__ = ["HostedEar"]

FRAMES: Final = 100
"""Two seconds of audio: another message of it may come while a turn ends."""


class HostedEar:
    """Hears with a recogniser: each turn that the client ends is a call of its own, since a hang-up ends turns.

    The recogniser decides how soon a turn ends; silences and thresholds that a client asks for do not reach it.

    Args:
        host: The recogniser, from `hosted`.
        sample_rate: The rate that it hears.
        asked: The settings.
        say: Sends messages to the client.
    """

    def __init__(self, host: Host, sample_rate: int, asked: Asked, say: Callable[[Iterable[Message]], None]) -> None:
        self.asked = asked
        self._host = host
        self._rate = sample_rate
        self._say = say
        self._frames = Channel[AudioFrame](FRAMES)
        self._ended = anyio.Event()
        self._began_s = self._heard_s = 0.0
        self._is_open = False
        self._index = 0

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            heard = Channel[Hearing](FRAMES)
            async with self._host.session(output=PullOutput(), deps=(self._frames, heard)):
                async for hearing in heard:
                    self._say(self._messages(hearing))
                self._frames, ended = Channel[AudioFrame](FRAMES), self._ended
                self._ended = anyio.Event()
                ended.set()

    async def hear(self, pcm: bytes, until_s: float) -> list[Message]:
        """See `DeepgramEar.hear`."""
        start_s, self._heard_s = until_s - len(pcm) / 2 / self._rate, until_s
        for frame in frames_of(pcm, self._rate):
            await self._frames.send(AudioFrame(pcm=frame, sample_rate=self._rate, start_s=start_s))
            start_s += len(frame) / 2 / self._rate
        return []

    async def force(self) -> list[Message]:
        """Hang up, and wait for the last words, which are sent as they come."""
        ended = self._ended
        self._frames.close()
        await ended.wait()
        return []

    async def close(self) -> list[Message]:
        """See `force`."""
        return await self.force()

    def _messages(self, hearing: Hearing) -> list[Message]:
        match hearing:
            case SpeechStarted(at_s=at_s) if not self._is_open:
                self._is_open, self._began_s = True, max(0.0, at_s)
                return [self._info("StartOfTurn")] if self.asked.is_flux else [started(self._began_s)]
            case EarlyTranscript(text=text):
                words = self._words(text, self._heard_s)
                if self.asked.is_flux:
                    return [self._info("Update", words)]
                return [results(self.asked, words, self._began_s, self._heard_s)]
            case Transcript(text=text, speech_ended_s=end_s):
                words, self._is_open = self._words(text, end_s), False
                if self.asked.is_flux:
                    self._index += 1
                    return [self._info("EndOfTurn", words, index=self._index - 1) | {"trigger": "model"}]
                return [results(self.asked, words, self._began_s, self._heard_s, is_final=True, speech_final=True)]
            case _:
                return []

    def _info(self, event: str, words: Sequence[SpokenWord] = (), *, index: int | None = None) -> Message:
        index = self._index if index is None else index
        sure = 1.0 if event == "EndOfTurn" else 0.0
        return turn_info(event, index, words, self._began_s, self._heard_s, sure)

    def _words(self, text: str, end_s: float) -> Sequence[SpokenWord]:
        """Spread the text over the time it took."""
        return Spoken(text, self._began_s, max(end_s, self._began_s + 0.01)).words
