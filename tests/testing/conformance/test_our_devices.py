"""Every source and output of ours passes the kit that transports of others run."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

import voicepipe as vp
from tests.helpers.virtual_card import CardMic, CardSpeaker, VirtualCard
from voicepipe.audio.wav import write_wav
from voicepipe.testing import RecordingOutput
from voicepipe.testing.conformance import check_output, check_source


async def push(source: vp.PushSource) -> None:
    """Push audio as a transport does."""
    while True:
        source.push(bytes(640))
        await anyio.sleep(0.02)


async def read(output: vp.PullOutput) -> None:
    """Read audio as a callback of a device does."""
    due_s = anyio.current_time()
    while True:
        output.read_nowait()
        due_s += 0.02
        await anyio.sleep_until(due_s)


class Clocked(vp.PacedOutput):
    """A peer that plays what it gets, and says nothing."""

    sample_rate = 8_000

    async def send(self, pcm: bytes) -> None:
        await anyio.lowlevel.checkpoint()


class Leading(Clocked):
    """A peer that can drop what it was sent."""

    lead_s = 0.5

    async def clear(self) -> None:
        await anyio.lowlevel.checkpoint()


class Marking(Clocked):
    """A peer that reports at once what it has played."""

    async def mark(self, name: str) -> None:
        self.marked(name)


def test_sources(tmp_path: Path) -> None:
    """Pushed audio, files and microphones conform."""
    write_wav(tmp_path / "caller.wav", b"\1\0" * 16_000, 16_000)
    check_source(vp.PushSource, feed=push, refuses=[lambda: vp.PushSource(1)])
    check_source(lambda: vp.WavSource(tmp_path / "caller.wav"))
    check_source(lambda: CardMic(VirtualCard()))


@pytest.mark.slow
def test_outputs(tmp_path: Path) -> None:
    """Recordings, files, outputs that are read, remote peers and loudspeakers conform."""
    check_output(RecordingOutput, refuses=[lambda: RecordingOutput(1)])
    check_output(lambda: vp.WavOutput(tmp_path / "agent.wav"))
    check_output(vp.PullOutput, listen=read, refuses=[lambda: vp.PullOutput(1)])
    for paced in (Clocked, Leading, Marking):
        check_output(paced)
    check_output(lambda: CardSpeaker(VirtualCard()))
