"""voicepipe in the side-by-side harness: one pipeline, opened once, and a session for each conversation.

Built as an application would build it; only the ends are the harness's: it provides the transcripts, simulates the
vendor of speech, and its clock is the loudspeaker. It runs inside the harness, which provides `common` and `base`.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
from common import OUT_RATE, SYSTEM, TOOL_RESULT, Pacer

import voicepipe as vp

from .base import AdapterBase, SessionBase


@vp.tool(effect="read")
async def get_order(order_id: str) -> str:
    """Look up an order."""
    del order_id
    return TOOL_RESULT


class HarnessSTT(vp.SessionStage[vp.AudioFrame, vp.Hearing]):
    """Takes the audio and ignores it: the harness provides the transcripts."""

    async def run(self, inbox, outbox, session):
        session.deps.hear = outbox.send
        session.deps.listens.set()
        async for _ in inbox:
            pass


class HarnessTTS(vp.TTSSink):
    sample_rate = OUT_RATE

    @asynccontextmanager
    async def attach(self, session):
        self.probe, self.sid = session.deps.probe, session.deps.sid
        yield

    async def synthesize(self, sentence):
        async for frame in self.probe.tts_frames(self.sid, sentence.text):
            yield frame


class HarnessOutput(vp.Output):
    """A device without a buffer: it takes a frame when the frame begins to play, and returns when it has played."""

    sample_rate = OUT_RATE

    def __init__(self, probe, sid):
        self.probe, self.sid = probe, sid
        self.pacer = Pacer()
        self._played_s = 0.0

    async def write(self, pcm):
        self.probe.sink_audio(self.sid, len(pcm))
        self.probe.frame_out(self.sid)
        duration_s = len(pcm) / 2 / OUT_RATE
        await self.pacer.wait(duration_s)
        self._played_s += duration_s

    def flush(self):
        self.pacer.next = 0.0

    @property
    def played_s(self):
        return self._played_s


class Session(SessionBase):
    def __init__(self, adapter: Adapter, sid: int):
        self.probe, self.sid = adapter.probe, sid
        self.host = adapter.host
        self.source = vp.PushSource()
        self.hear = None
        self.listens = asyncio.Event()  # set by the stage that listens, with `hear`
        self.call = asyncio.create_task(self.hold())  # noqa: TID251 - the harness has no task group to offer

    async def hold(self):
        output = HarnessOutput(self.probe, self.sid)
        async with self.host.session(source=self.source, output=output, deps=self) as session:
            await session.ended.wait()

    async def feed_mic(self, pcm):
        self.source.push(pcm)

    async def speech_started(self, interim=None):
        await self.hear(vp.SpeechStarted(at_s=anyio.current_time()))
        if interim:
            await self.hear(vp.EarlyTranscript(interim))

    async def final_transcript(self, text):
        now = anyio.current_time()
        await self.hear(vp.Transcript(text, now, now))

    async def close(self):
        self.source.end()
        await self.call


class Adapter(AdapterBase):
    name = "voicepipe"
    dists = ("voicepipe", "anyio", "httpx", "httpx-sse", "pydantic")

    async def setup(self):
        agent = vp.Pipeline(
            HarnessSTT(),
            vp.LLMStreamStage(SYSTEM, base_url=self.cfg.base_url, model="sim"),
            vp.ToolRouter([get_order]),
            vp.SentenceChunker(),
            HarnessTTS(),
        )
        self.life = AsyncExitStack()
        self.host = await self.life.enter_async_context(agent.open())

    async def open(self, sid):
        session = Session(self, sid)
        await session.listens.wait()
        return session
