"""One model for all calls: when it is loaded and given up, how loud it is, and what its errors become."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import anyio
import pytest

from tests.vendors.piper.test_voice_file import put_voice
from voicepipe.core.call_settings import CallSettings
from voicepipe.errors import ConfigurationError, MissingExtra, VendorError
from voicepipe.flow import Sentence, WordMark
from voicepipe.vendors.piper.engine import engine_of
from voicepipe.vendors.piper.model import Manner
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

    asked: ClassVar[list[tuple[str, SynthesisConfig]]] = []
    error: ClassVar[Exception | None] = None

    session: InferenceSession
    config: Any

    def phonemize(self, text: str) -> list[list[str]]:
        return [list(text)] if text.strip() else []

    def synthesize(self, text: str, config: SynthesisConfig, *, include_alignments: bool) -> Iterator[Any]:
        PiperVoice.asked.append((text, config))
        self.session.runs += 1
        if PiperVoice.error is not None:
            raise PiperVoice.error
        for phonemes in self.phonemize(text):
            alignments = [SimpleNamespace(phoneme=one, num_samples=100) for one in phonemes]
            audio = np.full(100 * len(phonemes), 0.4 * config.volume, np.float32)
            yield SimpleNamespace(
                audio_float_array=audio,
                audio_int16_bytes=(audio * 32767).astype(np.int16).tobytes(),
                phoneme_alignments=alignments if self.session.model.endswith(b" with times") else None,
            )


@dataclass
class InferenceSession:
    """As onnxruntime's: a model by its file, or by its bytes."""

    loads: ClassVar[list[InferenceSession]] = []

    given: str | bytes
    options: Any
    providers: Sequence[str]

    def __post_init__(self) -> None:
        self.runs = 0
        self.model = self.given if isinstance(self.given, bytes) else Path(self.given).read_bytes()
        InferenceSession.loads.append(self)


class SessionOptions:
    """As onnxruntime's."""

    intra_op_num_threads = 0

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}

    def add_session_config_entry(self, name: str, value: str) -> None:
        self.entries[name] = value


@dataclass
class OnnxModel:
    """As onnx's."""

    content: bytes

    def SerializeToString(self) -> bytes:  # noqa: N802 - its name
        return self.content


def add_alignment_output(model: OnnxModel) -> None:
    if model.content.endswith(b" with times"):
        raise ValueError("tensor is already marked as output")
    model.content += b" with times"


@pytest.fixture
def voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A voice for these packages, which are there."""
    config = SimpleNamespace(from_dict=lambda _: SimpleNamespace(length_scale=1.2))
    packages = {
        "piper": {"PiperVoice": PiperVoice, "PiperConfig": config, "SynthesisConfig": SynthesisConfig},
        "piper.patch_voice_with_alignment": {"add_alignment_output": add_alignment_output},
        "onnxruntime": {"InferenceSession": InferenceSession, "SessionOptions": SessionOptions},
        "onnx": {"load": lambda path: OnnxModel(Path(path).read_bytes()), "__spec__": object()},
    }
    for name, content in packages.items():
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**content))
    monkeypatch.setattr(InferenceSession, "loads", [])
    monkeypatch.setattr(PiperVoice, "asked", [])
    monkeypatch.setattr(PiperVoice, "error", None)
    model = put_voice(tmp_path)
    model.write_bytes(b"model")
    return model


def put(voice: Path, model: bytes) -> None:
    voice.write_bytes(model)


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
        (loaded,) = InferenceSession.loads
        assert loaded.options.entries == {"session.intra_op.allow_spinning": "0"}
        assert 1 <= loaded.options.intra_op_num_threads <= 4
    assert workers() == 0
    async with one.open():
        assert len(InferenceSession.loads) == 2

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
    """Words are timed by their phonemes, in a file that gives their times or is made to; without onnx the whole is."""
    tts = PiperTTS(voice)
    async with tts.open():
        pcm, marks = await spoken(tts, "One two.")
    assert len(pcm) == 2 * 800
    assert marks == [WordMark(char_end=3, end_s=300 / 16_000), WordMark(char_end=8, end_s=700 / 16_000)]

    put(voice, b"a model with times")  # as Piper can make a file
    async with tts.open():
        assert len((await spoken(tts, "One two."))[1]) == 2
    put(voice, b"a model")
    monkeypatch.setitem(sys.modules, "onnx", None)
    async with tts.open():
        assert (await spoken(tts, "One two."))[1] == [WordMark(char_end=8, end_s=800 / 16_000)]


async def test_a_call_speaks_with_the_model_of_its_voice(voice: Path) -> None:
    """All voices are loaded when the pipeline opens, each once, and a call's own voice is spoken by its own model."""
    english = put_voice(voice.parent / "b", "en_GB-y", espeak={"voice": "en-gb"}, speaker_id_map={})
    put(english, b"the english model")
    tts = PiperTTS(voice, voices={"alba": english, "same": english})
    async with tts.open():
        german, english_model = InferenceSession.loads
        call = tts._copied()
        call.adapt(CallSettings(language="en"))
        before = [german.runs, english_model.runs]
        await spoken(call, "One.")
        assert [german.runs, english_model.runs] == [before[0], before[1] + 1]
    assert workers() == 0


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
        assert len(InferenceSession.loads) == 2
        assert (await anyio.to_thread.run_sync(engine.speak("call", "One.", Manner()).result)).pcm
    assert workers() == 0
