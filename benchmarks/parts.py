"""The ends of a measured conversation: a scripted caller, a voice that costs nothing, a loudspeaker that notes times.

The minimal loop and voicepipe get the same voice and the same loudspeaker.
"""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio

import voicepipe as vp

__all__ = ["FRAME", "Call", "Ears", "Loudspeaker", "Voice", "agent", "called", "spoken"]

RATE = 24_000
FRAME = b"\x00\x10" * (RATE // 50)
MICROPHONE_FRAME = b"\x00\x00" * (16_000 // 50)
SYSTEM = "You are a helpful voice agent. Keep answers short."


async def spoken(first_audio_s: float, frames: int):
    """Yield the audio of one sentence, in one burst after `first_audio_s`."""
    if first_audio_s:
        await anyio.sleep(first_audio_s)
    for _ in range(frames):
        yield FRAME


class Ears(vp.SessionStage[vp.AudioFrame, vp.Hearing]):
    """Takes the audio and ignores it; the benchmark reports transcripts through `Call.hear`."""

    async def run(self, inbox, outbox, session):
        session.deps.hear = outbox.send
        session.deps.listens.set()
        async for _ in inbox:
            pass


class Voice(vp.TTSSink):
    """Speech that costs nothing: a burst of frames, some time after the text."""

    sample_rate = RATE

    def __init__(self, first_audio_s: float = 0.06, frames: int = 5) -> None:
        self._first_audio_s = first_audio_s
        self._frames = frames

    async def synthesize(self, sentence):
        del sentence
        async for frame in spoken(self._first_audio_s, self._frames):
            yield frame


class Loudspeaker(vp.Output):
    """Plays in real time (or immediately), and notes when frames are handed over."""

    sample_rate = RATE

    def __init__(self, *, real_time: bool = True) -> None:
        self.first_frame_s: float | None = None
        self.frames = 0
        self.last_s = 0.0
        self._real_time = real_time
        self._free_s = 0.0
        self._played_s = 0.0
        self._spoke = anyio.Event()

    def expect(self) -> None:
        """Forget what was played; the next frame is the first one of a reply."""
        self.first_frame_s = None
        self._spoke = anyio.Event()

    async def wait_first_frame(self) -> float:
        """Return when the reply's first frame was handed over."""
        await self._spoke.wait()
        assert self.first_frame_s is not None
        return self.first_frame_s

    async def write(self, pcm: bytes) -> None:
        now = anyio.current_time()
        self.frames += 1
        self.last_s = now
        if self.first_frame_s is None:
            self.first_frame_s = now
            self._spoke.set()
        duration_s = len(pcm) / 2 / RATE
        if self._real_time:
            self._free_s = max(self._free_s, now) + duration_s
            await anyio.sleep_until(self._free_s)
        self._played_s += duration_s

    def flush(self) -> None:
        self._free_s = 0.0

    @property
    def played_s(self) -> float:
        return self._played_s


class Call:
    """One conversation with a voicepipe agent."""

    def __init__(self, host: vp.Host, *, real_time: bool = True, history=()) -> None:
        self.host = host
        self.history = history
        self.source = vp.PushSource()
        self.output = Loudspeaker(real_time=real_time)
        self.listens = anyio.Event()
        self.hear = None  # set by `Ears`
        self.session: vp.Session

    async def hold(self, *, task_status) -> None:
        """Stay on the line until cancelled."""
        async with self.host.session(
            source=self.source, output=self.output, deps=self, history=self.history
        ) as self.session:
            await self.listens.wait()
            task_status.started()
            await self.session.ended.wait()

    async def ask(self, text: str) -> float:
        """Report a final transcript, and return its time."""
        now = anyio.current_time()
        self.output.expect()
        await self.hear(vp.Transcript(text, now, now))
        return now

    async def wait_done(self) -> None:
        """Wait until the reply has ended, according to the events."""
        async for event in self.session:
            if isinstance(event, vp.TurnEnded):
                return


def agent(base_url: str, voice: Voice | None = None, tools=()) -> vp.Pipeline:
    """Return an agent as an application would build it, with a model over HTTP."""
    model = vp.LLMStreamStage(SYSTEM, base_url=base_url, model="scripted")
    return vp.Pipeline(Ears(), model, vp.ToolRouter(tools), vp.SentenceChunker(), voice or Voice())


@asynccontextmanager
async def called(host: vp.Host, count: int, **settings):
    """Hold `count` calls while the block lasts."""
    calls = [Call(host, **settings) for _ in range(count)]
    async with anyio.create_task_group() as tasks:
        for call in calls:
            await tasks.start(call.hold)
        yield calls
        for call in calls:
            call.session.end()
