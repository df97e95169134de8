"""One model for all calls: when it is loaded and given up, how loud it is, and what its errors become."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import anyio
import pytest

from tests.vendors.piper.test_voice_file import put_voice
from voicepipe.errors import ConfigurationError, MissingExtra, VendorError
from voicepipe.flow import Sentence, WordMark
from voicepipe.vendors.piper.engine import Manner, engine_of
from voicepipe.vendors.piper.tts import PiperTTS
from voicepipe.vendors.piper.voice_file import find_voice

np = pytest.importorskip("numpy")
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The engine runs on a thread, which knows no virtual time."""
    return "asyncio"


@dataclass
class SynthesisConfig:
    """As Piper's."""

    speaker_id: int | None = None
    length_scale: float | None = None
    normalize_audio: bool = True
    volume: float = 1.0


@dataclass
class PiperVoice:
    """A package that speaks a character in 100 samples with a peak of 0.4, and says when its characters end."""

    loads: ClassVar[list[Path]] = []
    asked: ClassVar[list[tuple[str, SynthesisConfig]]] = []
    error: ClassVar[Exception | None] = None

    aligns: bool
    config: Any = field(default_factory=lambda: SimpleNamespace(length_scale=1.2))

    @staticmethod
    def load(model: Path, config: Path, *, include_alignments: bool) -> PiperVoice:
        PiperVoice.loads.append(model)
        return PiperVoice(include_alignments)

    def phonemize(self, text: str) -> list[list[str]]:
        return [list(text)] if text.strip() else []

    def synthesize(self, text: str, config: SynthesisConfig, *, include_alignments: bool) -> Iterator[Any]:
        PiperVoice.asked.append((text, config))
        if PiperVoice.error is not None:
            raise PiperVoice.error
        for phonemes in self.phonemize(text):
            alignments = [SimpleNamespace(phoneme=one, num_samples=100) for one in phonemes] if self.aligns else None
            audio = np.full(100 * len(phonemes), 0.4 * config.volume, np.float32)
            pcm = (audio * 32767).astype(np.int16).tobytes()
            yield SimpleNamespace(audio_float_array=audio, audio_int16_bytes=pcm, phoneme_alignments=alignments)


@pytest.fixture
def voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A voice for that package, which is there, and so is onnx."""
    monkeypatch.setitem(sys.modules, "piper", SimpleNamespace(PiperVoice=PiperVoice, SynthesisConfig=SynthesisConfig))
    monkeypatch.setitem(sys.modules, "onnx", SimpleNamespace(__spec__=object()))
    monkeypatch.setattr(PiperVoice, "loads", [])
    monkeypatch.setattr(PiperVoice, "asked", [])
    monkeypatch.setattr(PiperVoice, "error", None)
    model = put_voice(tmp_path)
    model.write_bytes(b"model")
    return model


def workers() -> int:
    """Return how many threads speak. Those that load end when they like."""
    names = [thread.name for thread in threading.enumerate()]
    return sum(name.startswith("voicepipe-piper") and not name.endswith("-load") for name in names)


async def spoken(tts: PiperTTS, text: str) -> tuple[bytes, list[WordMark]]:
    pieces = [piece async for piece in tts.synthesize(Sentence(text))]
    return b"".join(one for one in pieces if isinstance(one, bytes)), [p for p in pieces if isinstance(p, WordMark)]


async def test_a_model_is_loaded_once_and_given_up_with_its_last_host(voice: Path) -> None:
    """Two hosts, and calls at once, share one model and one thread; afterwards neither is left."""
    one, other = PiperTTS(voice), PiperTTS(str(voice), speaker="bernd", speed=1.5)
    async with one.open():
        async with other.open(), anyio.create_task_group() as tasks:
            assert workers() == 1
            for tts in (one, other):
                tasks.start_soon(spoken, tts, "One two.")
        await spoken(one, "Three.")
        assert PiperVoice.loads == [voice]
    assert workers() == 0
    async with one.open():
        assert PiperVoice.loads == [voice, voice]

    trial, *asked = PiperVoice.asked[:-1]
    assert trial[1].volume == 1.0
    # The peak of the trial becomes 0.7, and every text has the same gain.
    assert {(text, one.speaker_id, round(one.length_scale or 0, 3), round(one.volume, 3)) for text, one in asked} == {
        ("One two.", None, 1.2, 1.75),
        ("One two.", 2, 0.8, 1.75),
        ("Three.", None, 1.2, 1.75),
    }
    assert not any(config.normalize_audio for _, config in asked)


async def test_audio_comes_with_the_ends_of_words(voice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words are timed by their phonemes; without onnx, whose absence Piper would warn of, only the whole is."""
    tts = PiperTTS(voice)
    async with tts.open():
        pcm, marks = await spoken(tts, "One two.")
    assert len(pcm) == 2 * 800
    assert marks == [WordMark(char_end=3, end_s=300 / 16_000), WordMark(char_end=8, end_s=700 / 16_000)]

    monkeypatch.setitem(sys.modules, "onnx", None)
    async with tts.open():
        assert (await spoken(tts, "One two."))[1] == [WordMark(char_end=8, end_s=800 / 16_000)]


async def test_errors_say_who_has_to_act(voice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that fails is a service that failed; a file that is no model, or a missing package, is configuration."""
    tts = PiperTTS(voice)
    async with tts.open():
        PiperVoice.error = RuntimeError("out of range")
        with pytest.raises(VendorError, match=r"^Piper failed: RuntimeError: out of range$"):
            await spoken(tts, "One two.")
        PiperVoice.error = None
        assert (await spoken(tts, "One."))[0]

    PiperVoice.error = ValueError("model is empty\nsecond line")
    said = r"is not a Piper voice that can be used \(ValueError: model is empty\); get it again"
    with pytest.raises(ConfigurationError, match=said):
        async with tts.open():
            pass
    monkeypatch.setitem(sys.modules, "piper", None)
    with pytest.raises(MissingExtra, match=r"PiperTTS needs the package piper.* pip install 'voicepipe\[piper\]'"):
        async with tts.open():
            pass


async def test_a_host_that_gives_up_while_it_loads_leaves_nothing(voice: Path) -> None:
    """A cancelled open releases its share of the engine and starts no thread, and the next one loads again."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with PiperTTS(voice).open():
            pass
    async with engine_of(find_voice(voice)) as engine:
        assert engine.users == 1
        assert len(PiperVoice.loads) == 2
        assert (await anyio.to_thread.run_sync(engine.speak("call", "One.", Manner()).result)).pcm
    assert workers() == 0
