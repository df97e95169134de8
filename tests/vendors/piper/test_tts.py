"""PiperTTS without a model: what it asks of the engine, and when, on virtual time."""

from __future__ import annotations

import concurrent.futures
import re
from collections.abc import AsyncGenerator, Hashable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import cast

import anyio
import pytest

import voicepipe as vp
from tests.vendors.piper.test_voice_file import put_voice
from voicepipe.testing import RecordingOutput, Says, ScriptedModel
from voicepipe.vendors.piper.engine import Engine
from voicepipe.vendors.piper.model import Manner, Spoken
from voicepipe.vendors.piper.tts import PiperTTS

pytestmark = pytest.mark.anyio

RATE = 16_000
CHARACTER = 800  # samples of a character: 50 ms
LONG = "Your order has shipped, and it will arrive tomorrow morning, between nine and twelve."
FIRST, REST = "Your order has shipped,", " and it will arrive tomorrow morning, between nine and twelve."


class ScriptedEngine:
    """Speaks a character in 50 ms of audio, made in a tenth of that, a text at a time; words end where they do."""

    def __init__(self, tasks: anyio.abc.TaskGroup, *, knows_words: bool = True) -> None:
        self._tasks = tasks
        self._knows_words = knows_words
        self._lock = anyio.Lock()
        self.asked: list[tuple[float, str]] = []
        self.begun: list[str] = []
        self.calls: list[Hashable] = []

    def speak(self, call: Hashable, text: str, manner: Manner) -> concurrent.futures.Future[Spoken]:
        future: concurrent.futures.Future[Spoken] = concurrent.futures.Future()
        self.asked.append((round(anyio.current_time(), 3), text))
        self.calls.append(call)
        self._tasks.start_soon(self._speak, future, text)
        return future

    async def _speak(self, future: concurrent.futures.Future[Spoken], text: str) -> None:
        async with self._lock:
            if not future.set_running_or_notify_cancel():
                return
            self.begun.append(text)
            await anyio.sleep(0.005 * len(text))
            words = re.finditer(r"\S+", text) if self._knows_words else ()
            ends = [(word.end(), word.end() * CHARACTER) for word in words]
            future.set_result(Spoken(b"\1\1" * CHARACTER * len(text), ends))


class ScriptedPiper(PiperTTS):
    """The voice with such an engine."""

    def __init__(self, voice: Path, *, knows_words: bool = True) -> None:
        super().__init__(voice)
        self._knows_words = knows_words
        self.engines: list[ScriptedEngine] = []

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        async with anyio.create_task_group() as tasks:
            engine = ScriptedEngine(tasks, knows_words=self._knows_words)
            self.engines.append(engine)
            self._engines = {self._file: cast("Engine", engine)}
            yield


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    return put_voice(tmp_path)


async def test_the_next_chunk_is_made_while_one_is_taken(voice: Path) -> None:
    """The first audio waits for the first chunk alone; the second is asked for before the first is handed on."""
    tts = ScriptedPiper(voice)
    async with tts.open():
        pieces = [(round(anyio.current_time(), 3), piece) async for piece in tts.synthesize(vp.Sentence(LONG))]

    assert tts.engines[0].asked == [(0.0, FIRST), (0.115, REST)]
    assert [at_s for at_s, piece in pieces if isinstance(piece, bytes)] == [0.115] * 4 + [0.425] * 10
    marks = [piece for _, piece in pieces if isinstance(piece, vp.WordMark)]
    assert marks == [vp.WordMark(char_end=word.end(), end_s=word.end() / 20) for word in re.finditer(r"\S+", LONG)]
    assert sum(len(piece) for _, piece in pieces if isinstance(piece, bytes)) == 2 * CHARACTER * len(LONG)


async def test_without_word_times_a_chunk_is_marked_as_a_whole(voice: Path) -> None:
    """A voice that does not know when words end is exact where it was cut, and at the end."""
    tts = ScriptedPiper(voice, knows_words=False)
    async with tts.open():
        marks = [piece async for piece in tts.synthesize(vp.Sentence(LONG)) if isinstance(piece, vp.WordMark)]
        assert [piece async for piece in tts.synthesize(vp.Sentence(" \n"))] == []

    assert marks == [vp.WordMark(char_end=23, end_s=1.15), vp.WordMark(char_end=85, end_s=4.25)]


async def test_closed_early_the_chunk_that_waits_is_dropped(voice: Path) -> None:
    """After a barge-in nothing more of the sentence is begun, whether it waits for its first chunk or its second."""
    tts = ScriptedPiper(voice)
    async with tts.open():
        other = tts.engines[0].speak("other", "x" * 100, Manner())
        with anyio.move_on_after(0.2):
            async with aclosing(tts.synthesize(vp.Sentence(LONG))) as pieces:
                await anext(pieces)
        await anyio.sleep(1)
        assert tts.engines[0].begun == ["x" * 100]

        async with aclosing(tts.synthesize(vp.Sentence(LONG))) as pieces:
            await anext(pieces)
            busy = tts.engines[0].speak("other", "y", Manner())
        await anyio.sleep(1)
        assert tts.engines[0].begun[1:] == [FIRST, "y"]
    assert other.done()
    assert busy.done()


@pytest.mark.parametrize(
    ("after_s", "heard"), [(1.16, "shipped,"), (1.74, "it"), (1.76, "will"), (2.08, "will"), (2.12, "arrive")]
)
async def test_after_an_interruption_the_history_has_the_words_that_were_heard(
    voice: Path, after_s: float, heard: str
) -> None:
    """The words of each chunk are counted exactly, at another rate than the voice's; a cut word was not heard."""
    agent = vp.Pipeline(
        ScriptedModel(lambda _: Says(LONG)),
        vp.SentenceChunker(first_words=False),
        ScriptedPiper(voice),
        output=RecordingOutput(8_000),
    )
    async with agent.open() as host, host.session() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Where is it?")
        async for event in session:
            if isinstance(event, vp.SentenceStarted):
                await anyio.sleep(after_s)
                session.interrupt()
            if isinstance(event, vp.TurnEnded):
                assert isinstance(event, vp.TurnInterrupted)
                assert event.heard == LONG[: LONG.index(heard) + len(heard)]
                session.end()
