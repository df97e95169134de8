"""The detectors of packages: what they take for speech, in noise too, and what they say where they cannot work."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest

import voicepipe as vp
from voicepipe.audio.pcm import FRAME_S, frames_of
from voicepipe.hearing.detecting import Detecting
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedVoice

pytestmark = pytest.mark.anyio

RATE = 16_000

SILERO = os.environ.get("VOICEPIPE_SILERO", "")
"""The file of a Silero model, which nothing installs."""


def needs(*packages: str) -> pytest.MarkDecorator:
    absent = [package for package in packages if importlib.util.find_spec(package) is None]
    reason = f"not installed: {', '.join(absent)}"
    return pytest.mark.skipif(bool(absent) and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason=reason)


needs_scenes = needs("numpy", "soxr", "espeakng_loader")

DETECTORS = [
    pytest.param(vp.EarshotDetector, marks=needs("earshot", "numpy"), id="Earshot"),
    pytest.param(vp.WebRTCDetector, marks=needs("pocketsphinx"), id="WebRTC"),
    pytest.param(
        lambda: vp.SileroDetector(SILERO),
        marks=pytest.mark.skipif(not SILERO, reason="VOICEPIPE_SILERO names no file of a Silero model"),
        id="Silero",
    ),
]
STRONG = [one for one in DETECTORS if one.id != "WebRTC"]


async def found(detector: vp.Detector, pcm: bytes) -> list[vp.SpeechStarted | vp.SpeechEnded]:
    """Return what a detector finds in a recording that begins at 0."""
    async with detector.open(), detector.attach(None):
        detecting = Detecting(detector, RATE)
        for number, frame in enumerate(frames_of(pcm, RATE)):
            detecting.feed(vp.AudioFrame(pcm=frame, sample_rate=RATE, start_s=number * FRAME_S))
        detecting.check()
    return detecting.take()


@needs_scenes
@pytest.mark.parametrize("make", DETECTORS)
async def test_an_utterance_is_found_where_it_is(make: Any) -> None:
    """Twelve synthetic voices on a quiet line: started and ended within 0.25 s of the truth, and nothing else."""
    from benchmarks.scenes import scene, utterances

    for number, utterance in enumerate(one for one in utterances() if not one.is_human):
        one = scene(utterance, None, 60.0, seed=number)
        events = await found(make(), one.pcm)
        assert abs(events[0].at_s - one.starts_s) < 0.25, utterance.name
        assert abs(events[-1].at_s - one.ends_s) < 0.25, utterance.name
        assert len(events) % 2 == 0


@needs_scenes
@pytest.mark.parametrize("make", DETECTORS)
async def test_people_are_found_where_they_speak(make: Any) -> None:
    """Ten telephone prompts and four other speakers, who pause within sentences: started, ended, and nothing else."""
    from benchmarks.scenes import missing, scene, utterances

    if absent := missing():
        pytest.skip(f"not installed (packages of Debian): {', '.join(absent)}")
    people = [one for one in utterances() if one.is_human]
    assert len(people) == 14
    for number, utterance in enumerate(people):
        one = scene(utterance, None, 60.0, seed=number)
        events = await found(make(), one.pcm)
        assert abs(events[0].at_s - one.starts_s) < 0.25, utterance.name
        assert abs(events[-1].at_s - one.ends_s) < 0.25, utterance.name
        assert len(events) % 2 == 0


@needs_scenes
@pytest.mark.parametrize("make", STRONG)
@pytest.mark.parametrize("noise", ["white", "pink"])
async def test_noise_as_loud_as_the_voice_starts_nothing(make: Any, noise: str) -> None:
    """Eight seconds of it."""
    from benchmarks import scenes

    np = pytest.importorskip("numpy")
    samples = getattr(scenes, noise)(8 * RATE, 7)
    pcm = (samples / samples.std() * 0.05 * 32_768).astype("<i2").tobytes()
    assert np.frombuffer(pcm, "<i2").std() > 1_000
    assert await found(make(), pcm) == []


@needs_scenes
@pytest.mark.parametrize("make", STRONG)
async def test_a_voice_is_found_in_noise_as_loud(make: Any) -> None:
    """A sentence of 3 s at 0 dB: it starts, and it has ended 1 s later."""
    from benchmarks.scenes import pink, scene, utterances

    utterance = next(one for one in utterances() if one.name == "en-us+m3")
    one = scene(utterance, pink, 0.0, seed=1)
    events = await found(make(), one.pcm)
    assert one.starts_s - 0.1 < events[0].at_s < one.starts_s + 0.5
    assert isinstance(events[-1], vp.SpeechEnded)
    assert events[-1].at_s < one.ends_s + 0.8


@pytest.mark.parametrize("make", DETECTORS)
async def test_two_calls_do_not_share_a_memory(make: Any) -> None:
    """Copies of an opened detector answer as one that is alone, whatever the other hears."""
    detector = make()
    tone = bytes(range(0, 160, 2)) * 8
    frames = [tone[:640], bytes(640), tone[:640]] * 5
    async with detector.open():
        first, second, alone = detector._copied(), detector._copied(), detector._copied()
        async with first.attach(None), second.attach(None), alone.attach(None):
            expected = [alone.speech(frame) for frame in frames]
            answers = []
            for frame in frames:
                answers.append(first.speech(frame))
                second.speech(frame[::-1])
    assert answers == expected
    assert all(0.0 <= answer <= 1.0 for answer in answers)


@needs("earshot", "numpy")
async def test_a_call_listens_with_earshot_by_default() -> None:
    """Where the package is there, a recogniser that reports nothing gets it."""
    parts = (vp.STTStage(vp.AssemblyAIRecogniser(api_key="key")), ScriptedModel([Says("Yes.")]))
    pipeline = vp.Pipeline(*parts, vp.SentenceChunker(), ScriptedVoice(), output=RecordingOutput())
    assert isinstance(pipeline._detector, vp.EarshotDetector)


# --- what they refuse -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "package", "extra"),
    [(vp.EarshotDetector, "earshot", "detector"), (vp.WebRTCDetector, "pocketsphinx", "local")],
)
async def test_a_missing_package_is_named_with_its_extra(
    make: Any, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the host opens, with the command that installs it."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(vp.MissingExtra, match=rf"needs the package {package}, .*'voicepipe.{extra}.'") as raised:
        async with make().open():
            pass
    assert (raised.value.package, raised.value.extra) == (package, extra)


async def test_silero_names_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its extra is one of its own."""
    pytest.importorskip("numpy")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "silero_vad.onnx").write_bytes(b"")
    with pytest.raises(vp.MissingExtra, match=r"needs the package onnxruntime, .*'voicepipe.silero.'"):
        async with vp.SileroDetector(tmp_path / "silero_vad.onnx").open():
            pass


def test_silero_needs_a_file(tmp_path: Path) -> None:
    """The message says which one."""
    with pytest.raises(vp.ConfigurationError, match=r"there is no file .*vad.onnx; give the path of silero_vad.onnx"):
        vp.SileroDetector(tmp_path / "vad.onnx")


async def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """When the host opens."""
    pytest.importorskip("onnxruntime")
    (tmp_path / "text.onnx").write_bytes(b"no model")
    with pytest.raises(vp.ConfigurationError, match=r"text.onnx is not a model that onnxruntime can load"):
        async with vp.SileroDetector(tmp_path / "text.onnx").open():
            pass


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": 4}, "mode must be 0, 1, 2 or 3, not 4"),
        ({"sample_rate": 44_100}, "sample_rate must be one of 8000, 16000, 32000, 48000, not 44100"),
    ],
)
def test_webrtc_refuses_what_it_does_not_know(settings: dict[str, int], message: str) -> None:
    """Its detector knows four modes and four rates."""
    with pytest.raises(vp.ConfigurationError, match=message):
        vp.WebRTCDetector(**settings)


def test_settings_are_shown(tmp_path: Path) -> None:
    """By the repr of each detector that has some."""
    (tmp_path / "vad.onnx").write_bytes(b"")
    assert repr(vp.SileroDetector(tmp_path / "vad.onnx")) == "<SileroDetector vad.onnx>"
    assert repr(vp.WebRTCDetector(mode=2)) == "<WebRTCDetector mode=2>"
    assert repr(vp.EarshotDetector()) == "<EarshotDetector>"
