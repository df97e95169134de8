"""Recordings as FLAC: the same samples, and readable at any time."""

from __future__ import annotations

import os
import wave
from array import array
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

import voicepipe as vp
from tests.watching.recording.calls import Line, Reports, agent, recorded
from voicepipe.testing import Says
from voicepipe.watching.recording import Recording, flac
from voicepipe.watching.recording.flac import FlacFile, flac_frames, read_flac

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        find_spec("soundfile") is None and os.environ.get("VOICEPIPE_TEST_ALL") != "1",
        reason="not installed: soundfile",
    ),
]


def test_what_was_put_can_be_read_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also samples that came late, and before the encoder has written its blocks; nothing but the file is left."""
    monkeypatch.setattr(flac, "KEPT_S", 1.5)
    path = tmp_path / "audio.flac"
    file, expected = FlacFile(path, 8_000, 2), bytearray()
    tails = set[str]()
    for number in range(60):
        pcm = array("h", (number * 500 + n % 97 for n in range(1_600))).tobytes()
        file.put(len(expected) // 4, pcm)
        expected += pcm
        late = len(expected) // 4 - 5_000
        if late > 0:
            file.put(late, b"\x07\x00" * 200)
            expected[4 * late : 4 * late + 400] = b"\x07\x00" * 200
        assert (flac_frames(path, 2), read_flac(path, 2, 0, None)) == (len(expected) // 4, bytes(expected))
        assert read_flac(path, 2, 300, 400) == bytes(expected[1_200:2_800])
        assert read_flac(path, 2, late + 10**6, 5) == b""
        tails |= {tail.name for tail in tmp_path.glob("audio.tail-*")}
    assert len(tails) > 2
    file.close()
    assert [one.name for one in tmp_path.iterdir()] == ["audio.flac"]
    assert (flac_frames(path, 2), read_flac(path, 2, 0, None)) == (len(expected) // 4, bytes(expected))


async def test_a_call_as_flac_is_the_call_as_wav(tmp_path: Path) -> None:
    """Sample by sample, the audio of both sides and what the voice gave; and it is smaller."""
    recogniser = Reports().says("hello", at_s=2.0, speech_s=0.7, silence_s=0.3)
    recorders = [vp.Recorder(tmp_path / kind, audio=kind) for kind in ("wav", "flac")]
    pipeline = agent(recogniser, [Says("Thank you.")], observers=recorders)
    async with pipeline.session(source=Line((1.0, 1.7), seconds=4.0)) as session:
        await session.ended.wait()
    both = {kind: next((tmp_path / kind).iterdir()) for kind in ("wav", "flac")}
    read = {kind: Recording.read(path) for kind, path in both.items()}
    for channel in ("caller", "agent"):
        assert read["flac"].audio(channel) == read["wav"].audio(channel)
        assert any(read["flac"].audio(channel))
    with wave.open(str(both["wav"] / "voice.wav")) as voice:
        assert read["flac"].voice(0, voice.getnframes()) == voice.readframes(voice.getnframes())
    assert sorted(file.name for file in both["flac"].glob("*.[fw]*")) == ["audio.flac", "voice.flac"]
    assert (both["flac"] / "audio.flac").stat().st_size < (both["wav"] / "audio.wav").stat().st_size / 2


async def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """One sentence says which."""
    pipeline = agent(Reports(), [], observers=[vp.Recorder(tmp_path, audio="flac")])
    recording = await recorded(tmp_path, pipeline, source=Line((0.1, 0.5), seconds=1.0))
    for content in (b"RIFF" * 20, (recording.path / "audio.flac").read_bytes()[:200]):
        (recording.path / "audio.flac").write_bytes(content)
        with pytest.raises(vp.RecordingError, match=r"audio\.flac is damaged"):
            recording.audio("caller")
