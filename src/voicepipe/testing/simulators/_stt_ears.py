"""What hears a session's audio: a script that is played on the audio clock, or one of our recognisers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Never, cast

import anyio

from voicepipe.audio.output import PullOutput
from voicepipe.audio.pcm import frames_of
from voicepipe.core.channel import Channel
from voicepipe.core.stage import SessionStage
from voicepipe.flow import AudioFrame, EarlyTranscript, Hearing, SpeechEnded, SpeechStarted, Transcript
from voicepipe.session.pipeline import Pipeline
from voicepipe.testing.scripted import ScriptedModel, ScriptedVoice
from voicepipe.testing.simulators._stt_parameters import Refusal
from voicepipe.testing.simulators._stt_turns import SILENCE_STEP_S, TERMINAL, Listener, Spoken
from voicepipe.text.chunker import SentenceChunker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

    from voicepipe.core.channel import Inbox, Outbox
    from voicepipe.hearing.recogniser import Recogniser
    from voicepipe.session.pipeline import Host
    from voicepipe.session.session import Session
    from voicepipe.testing.simulators._stt_parameters import Parameters
    from voicepipe.testing.simulators._stt_turns import Message, SpokenWord, TurnWriter

__all__ = ["Listening", "RecogniserEar", "ScriptedEar", "hosted"]

FRAMES: Final = 100
"""Two seconds of audio: a frame of the protocol may be one second, and another may come while a turn ends."""


class ScriptedEar:
    """Hears what a script says, whatever the audio.

    Args:
        script: Called when the first audio comes.
        writer: Writes the messages.
    """

    def __init__(self, script: Callable[[], Iterable[Spoken]], writer: TurnWriter) -> None:
        self._script = script
        self._writer = writer
        self._listener: Listener | None = None

    @property
    def spoke_until_s(self) -> float:
        """See `Ear.spoke_until_s`."""
        return self._listener.spoke_until_s if self._listener is not None else 0.0

    async def hear(self, pcm: bytes, until_s: float, parameters: Parameters) -> list[Message]:
        """See `Ear.hear`."""
        del pcm
        if self._listener is None:
            self._listener = Listener(self._script(), self._writer, parameters)
        self._listener.parameters = parameters
        return self._listener.hear(until_s)

    async def end_turn(self) -> list[Message]:
        """See `Ear.end_turn`."""
        return self._listener.end_turn() if self._listener is not None else []


class Listening(SessionStage[Never, Hearing]):
    """A recogniser in a row of its own, so that it has real lifetimes; each session's `deps` are its two channels.

    Args:
        recogniser: The recogniser.
    """

    def __init__(self, recogniser: Recogniser) -> None:
        self.recogniser = recogniser

    async def run(self, inbox: Inbox[Never], outbox: Outbox[Hearing], session: Session) -> None:
        """Let the recogniser listen until the audio ends; its events do not reach the row's turns."""
        del inbox, outbox
        frames, heard = cast("tuple[Channel[AudioFrame], Channel[Hearing]]", session.deps)
        await self.recogniser.recognise(frames, heard, session)
        heard.close()


@asynccontextmanager
async def hosted(recogniser: Recogniser) -> AsyncGenerator[Host]:
    """Open a recogniser for any number of sessions."""
    row = Listening(recogniser), ScriptedModel([]), SentenceChunker(), ScriptedVoice()
    async with Pipeline(*row).open() as host:
        yield host


class RecogniserEar:
    """Hears with a recogniser: each turn that the client ends is a call of its own, since a hang-up ends turns.

    The recogniser decides how soon a turn ends; the silences that a client asks for do not reach it.

    Args:
        host: The recogniser, from `hosted`.
        sample_rate: The rate that it hears.
        writer: Writes the messages.
        say: Sends messages to the client.
    """

    def __init__(
        self, host: Host, sample_rate: int, writer: TurnWriter, say: Callable[[Iterable[Message]], None]
    ) -> None:
        self.spoke_until_s = 0.0
        self._host = host
        self._rate = sample_rate
        self._writer = writer
        self._say = say
        self._frames = Channel[AudioFrame](FRAMES)
        self._ended = anyio.Event()
        self._parameters: Parameters
        self._began_s: float | None = None
        self._heard_s = 0.0
        self._silent_since_s = 0.0

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

    async def hear(self, pcm: bytes, until_s: float, parameters: Parameters) -> list[Message]:
        """See `Ear.hear`."""
        if parameters.encoding != "pcm_s16le" or parameters.sample_rate != self._rate:
            raise Refusal(3006, f"Invalid parameter: the recogniser behind this hears pcm_s16le at {self._rate} Hz")
        self._parameters = parameters
        start_s, self._heard_s = until_s - len(pcm) / 2 / self._rate, until_s
        for frame in frames_of(pcm, self._rate):
            await self._frames.send(AudioFrame(pcm=frame, sample_rate=self._rate, start_s=start_s))
            start_s += len(frame) / 2 / self._rate
        return list(self._acknowledged())

    async def end_turn(self) -> list[Message]:
        """Hang up, and wait for the last words, which are sent as they come."""
        ended = self._ended
        self._frames.close()
        await ended.wait()
        return []

    def _acknowledged(self) -> Iterable[Message]:
        """Yield a message for each second in which nobody spoke, if the client asked for them."""
        if self._began_s is not None:
            self._silent_since_s = self._heard_s
        while self._parameters.acknowledge_silence and self._heard_s >= self._silent_since_s + SILENCE_STEP_S:
            start_s, self._silent_since_s = self._silent_since_s, self._silent_since_s + SILENCE_STEP_S
            yield {"type": "Silence", "start_ms": round(start_s * 1e3), "end_ms": round(self._silent_since_s * 1e3)}

    def _messages(self, hearing: Hearing) -> Iterable[Message]:
        match hearing:
            case SpeechStarted(at_s=at_s):
                self.spoke_until_s = self._heard_s
                if self._began_s is not None:
                    return []
                self._began_s = max(0.0, at_s)
                return [self._writer.started(self._began_s)]
            case SpeechEnded(at_s=at_s):
                self.spoke_until_s = at_s
                return []
            case EarlyTranscript(text=text):
                words = self._words(text, self._heard_s)
                return [self._writer.partial(words, self._parameters)] if self._parameters.sends_partials else []
            case Transcript(text=text, speech_ended_s=end_s):
                words = self._words(text if text.endswith(TERMINAL) else f"{text}.", end_s)
                self._began_s, self._silent_since_s = None, end_s
                return self._writer.final(words, self._parameters)
            case _:
                return []  # the service knows nothing of keys

    def _words(self, text: str, end_s: float) -> Sequence[SpokenWord]:
        """Spread the text over the time it took, with a capital at its start, as the service writes."""
        began_s = self._began_s if self._began_s is not None else 0.0
        return Spoken(text[:1].upper() + text[1:], began_s, max(end_s, began_s + 0.01)).words
