"""Calls that are recorded in tests: a caller whose words have a sound, and an agent with a tool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

import voicepipe as vp
from voicepipe.testing import RecordingOutput, ScriptedModel, ScriptedRecogniser, ScriptedVoice
from voicepipe.watching.recording import Recording

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path

LOUD = b"\x00\x20"


class Line(vp.Source):
    """A caller's line: a tone in some spans of time, and silence else, for so many seconds."""

    def __init__(self, *spans: tuple[float, float], seconds: float, sample_rate: int = 16_000) -> None:
        self.sample_rate = sample_rate
        self._spans = spans
        self._seconds = seconds

    async def frames(self) -> AsyncGenerator[bytes]:
        began_s, frame = anyio.current_time(), self.sample_rate // 50
        for number in range(round(self._seconds * 50)):
            await anyio.sleep_until(began_s + (number + 1) / 50)
            at_s = number / 50
            yield (LOUD if any(first <= at_s < last for first, last in self._spans) else bytes(2)) * frame


class Reports(ScriptedRecogniser):
    """A recogniser that reports words with their times."""

    def words(self, *words: tuple[str, float, float], at_s: float) -> Reports:
        """Report a transcript of words, each with its beginning and its end, `at_s` seconds after the beginning."""
        text = " ".join(word for word, _, _ in words)

        def made(now: float) -> vp.Transcript:
            began_s = now - at_s
            each = tuple(vp.Word(word, began_s + first, began_s + last, 1.0) for word, first, last in words)
            return vp.Transcript(text, each[-1].end_s, now, each)

        self._script.append((at_s, made))
        return self


def agent(
    recogniser: vp.Recogniser,
    replies: Sequence[Any] | Callable[[Any], Any],
    tools: Sequence[Any] = (),
    **options: Any,
) -> vp.Pipeline:
    """Return an agent that hears, with every rate the same, so that samples are where they were."""
    row = (
        vp.STTStage(recogniser),
        ScriptedModel(replies),
        vp.ToolRouter(list(tools)),
        vp.SentenceChunker(),
        ScriptedVoice(sample_rate=16_000),
    )
    return vp.Pipeline(*row, **{"output": RecordingOutput(16_000), "detector": None, **options})


def only_in(directory: Path) -> Recording:
    """Return the only recording in a directory."""
    (path,) = directory.glob("*.vprec")
    return Recording.read(path)


def all_in(directory: Path) -> dict[str, Recording]:
    """Return the recordings in a directory, by the ids of their sessions."""
    return {one.manifest.id: one for one in map(Recording.read, directory.glob("*.vprec"))}


async def recorded(directory: Path, pipeline: vp.Pipeline, **options: Any) -> Recording:
    """Hold a call to its end, and return its recording."""
    async with pipeline.session(**options) as session:
        await session.ended.wait()
    return only_in(directory)


def spans(pcm: bytes, rate: int) -> list[tuple[float, float]]:
    """Return from when to when there is sound, to the millisecond."""
    found: list[tuple[float, float]] = []
    size = 2 * rate // 1000
    for number in range(len(pcm) // size):
        if any(pcm[number * size : (number + 1) * size]):
            if found and found[-1][1] == number / 1000:
                found[-1] = (found[-1][0], (number + 1) / 1000)
            else:
                found.append((number / 1000, (number + 1) / 1000))
    return found


def everything(path: Path) -> bytes:
    """Return all bytes of a recording."""
    return b"".join(file.read_bytes() for file in sorted(path.iterdir()))
