"""What goes wrong while a call is recorded: it costs a part of the recording, and never the call."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
import wave
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

import voicepipe as vp
from tests.watching.recording.calls import Line, Reports, agent, only_in, recorded, spans
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedRecogniser, ScriptedUser, ScriptedVoice
from voicepipe.watching.recording import Recording
from voicepipe.watching.recording.batch import Batch, Piece
from voicepipe.watching.recording.collector import Collector
from voicepipe.watching.recording.directory import today
from voicepipe.watching.recording.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.anyio

resource = pytest.importorskip("resource", reason="limits of POSIX")

KILLED = """
import sys, anyio
import voicepipe as vp
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice
from voicepipe.core.clock import loop_time

async def main():
    source = vp.PushSource(16_000)
    recogniser = ScriptedRecogniser().says("hello", at_s=0.3)
    row = vp.STTStage(recogniser), ScriptedModel([Says("Hello, hello, hello.")]), vp.SentenceChunker()
    pipeline = vp.Pipeline(*row, ScriptedVoice(sample_rate=16_000), output=vp.ClockedOutput(16_000), detector=None)
    async with pipeline.session(source=source, observers=[vp.Recorder(sys.argv[1])]):
        began_s = loop_time()
        while True:
            await anyio.sleep(0.02)
            source.push(b"\\x00\\x20" * 320)
            if loop_time() > began_s + 1.8:
                print(loop_time() - began_s, flush=True)

anyio.run(main)
"""


@pytest.mark.slow
def test_a_killed_process_loses_the_last_second_at_most(tmp_path: Path) -> None:
    """After SIGKILL the files play and can be read, and what is missing is less than a second."""
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lasted_s = float(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    recording = only_in(tmp_path)
    assert recording.is_cut
    assert recording.duration_s > lasted_s - 1.0
    with wave.open(str(recording.path / "audio.wav")) as sound:  # as any player reads it
        assert sound.getnframes() / sound.getframerate() > lasted_s - 1.0
    heard = spans(recording.audio("caller"), 16_000)
    assert (heard[0][0] < 0.2, heard[-1][1] > lasted_s - 1.0) == (True, True)
    assert [one.event.text for one in recording.events if isinstance(one.event, vp.Transcript)] == ["hello"]
    assert list(recording.exchanges)


@contextmanager
def files_of_at_most(size: int) -> Generator[None]:
    """Let the system refuse to make files larger, as it refuses to write to a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_ends_the_recording_and_not_the_call(tmp_path: Path) -> None:
    """An event says so once, the call goes on to its end, and what was written is readable."""
    recogniser = Reports().says("hello", at_s=2.0, speech_s=0.7, silence_s=0.3)
    pipeline = agent(recogniser, [Says("Thank you.")], observers=[vp.Recorder(tmp_path)])
    with files_of_at_most(200_000):
        async with pipeline.session(source=Line((1.0, 1.7), seconds=8.0)) as session:
            events = [event async for event in session]
    (failed,) = (event for event in events if isinstance(event, vp.ObserverFailed))
    assert isinstance(failed.error, vp.RecordingError)
    assert "the recording has stopped: File too large; what was written is readable" in str(failed.error)
    assert any(isinstance(event, vp.TurnCompleted) for event in events)
    recording = only_in(tmp_path)
    assert (recording.is_cut, spans(recording.audio("caller"), 16_000)) == (True, [(1.0, 1.7)])
    assert 2.5 < recording.duration_s < 4.0
    assert vp.Transcript("hello", 1.7, 2.0) in [one.event for one in recording.events]


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_disk_that_does_not_answer_holds_nothing_up(tmp_path: Path) -> None:
    """While the thread that writes is stuck, the loop goes on; what waits is limited, and an event says so."""
    stuck = threading.Event()

    def redact(text: str, kind: str) -> str:
        stuck.wait()
        return text

    source = vp.PushSource(16_000)
    row = vp.STTStage(ScriptedRecogniser()), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice(sample_rate=16_000)
    pipeline = vp.Pipeline(*row, output=RecordingOutput(16_000), detector=None)
    try:
        async with pipeline.session(source=source, observers=[vp.Recorder(tmp_path, redact=redact)]) as session:
            session.say("Hello.")
            await anyio.sleep(0.6)  # the thread has begun to write
            for _ in range(300):
                source.push(bytes(32_000))
            session.end()
            failures = [event async for event in session if isinstance(event, vp.ObserverFailed)]
            stuck.set()
    finally:
        stuck.set()
    assert ["the disk is too slow" in str(failed.error) for failed in failures] == [True]


async def test_all_that_waits_for_the_disk_is_counted() -> None:
    """Also messages of services and requests with a long conversation, until they are taken to be written."""
    waiting: list[int] = []
    collector = Collector(vp.History(), waiting.append)
    wire = vp.WireMessage(at_s=0.0, peer="shop", connection=1, direction="sent", data="x" * 1_000_000)
    for _ in range(3):
        collector.wire(wire)
    assert waiting[-1] > 3_000_000
    collector.take()
    collector.wire(wire)
    assert 1_000_000 < waiting[-1] < 1_001_000


@pytest.mark.slow
async def test_a_long_silence_takes_no_memory(tmp_path: Path) -> None:
    """Where no audio comes for ten minutes, silence is written piece by piece; a sound stands where it was heard."""
    good = await recorded(tmp_path, agent(Reports(), [], observers=[vp.Recorder(tmp_path)]), source=Line(seconds=0.1))
    (tmp_path / "long.vprec").mkdir()
    writer = Writer(tmp_path / "long.vprec", good.manifest)
    tracemalloc.start()
    try:
        writer.write(Batch(until_s=600.1, audio=[Piece("caller", 600.0, b"\x00\x20" * 1_600, 16_000)]))
        writer.write(Batch(until_s=1_200.0))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        writer.close()
    assert peak < 20_000_000
    with wave.open(str(tmp_path / "long.vprec" / "audio.wav")) as sound:
        assert sound.getnframes() == 1_200 * 16_000
        sound.setpos(600 * 16_000 - 2)
        assert sound.readframes(4) == bytes(8) + b"\x00\x20\x00\x00" * 2


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.slow
async def test_a_disk_that_does_not_answer_lets_calls_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call whose recording cannot begin in time begins without it, and an event says why."""
    monkeypatch.setattr("voicepipe.watching.recording.recorder.BEGIN_S", 0.05)
    stuck, is_stuck = threading.Event(), threading.Event()

    def redact(text: str, kind: str) -> str:
        is_stuck.set()
        stuck.wait()
        return text

    user = ScriptedUser().says("hello", at_s=0.0).hangs_up(at_s=0.3)
    row = user, ScriptedModel([Says("Hello.")]), vp.SentenceChunker(), ScriptedVoice()
    pipeline = vp.Pipeline(*row, output=RecordingOutput(), observers=[vp.Recorder(tmp_path, redact=redact)])
    try:
        async with pipeline.open() as host, host.session() as stopped:
            assert await anyio.to_thread.run_sync(is_stuck.wait, 10)
            async with host.session() as session:
                events = [event async for event in session]
            stuck.set()
            await stopped.ended.wait()
    finally:
        stuck.set()
    (failed,) = (event for event in events if isinstance(event, vp.ObserverFailed))
    assert "the call cannot be recorded: the disk has not answered for 0.05 s; make room" in str(failed.error)
    assert any(isinstance(event, vp.Transcript) for event in events)


@pytest.mark.parametrize("where", ["file", "under a file", "read-only"])
async def test_a_directory_that_cannot_be_written_is_refused_before_the_call(where: str, tmp_path: Path) -> None:
    """One sentence says what is wrong with it; nothing is left there."""
    (tmp_path / "file").write_text("x")
    place = {"file": tmp_path / "file", "under a file": tmp_path / "file" / "x", "read-only": tmp_path / "kept"}[where]
    if where == "read-only":
        place.mkdir()
        with (
            files_of_at_most(0),
            pytest.raises(vp.ConfigurationError, match="cannot be written"),
        ):  # root may do all else
            await recorded(tmp_path, agent(Reports(), [], observers=[vp.Recorder(place)]))
        assert list(place.iterdir()) == []
    else:
        with pytest.raises(vp.ConfigurationError, match="is a file; name a directory for the recordings"):
            await recorded(tmp_path, agent(Reports(), [], observers=[vp.Recorder(place)]))


async def test_a_hook_that_fails_ends_the_recording_before_anything_of_it_is_written(tmp_path: Path) -> None:
    """What could not be redacted is not on the disk."""

    def redact(text: str, kind: str) -> str:
        raise ValueError("no rule for this")

    recogniser = Reports().says("hello", at_s=2.0)
    pipeline = agent(recogniser, [Says("Thank you.")], observers=[vp.Recorder(tmp_path, redact=redact)])
    async with pipeline.session(source=Line(seconds=5.0)) as session:
        events = [event async for event in session]
    assert [type(event.error) for event in events if isinstance(event, vp.ObserverFailed)] == [vp.StageError]
    assert [file.name for file in only_in(tmp_path).path.iterdir()] == ["manifest.json"]


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_text_that_has_no_utf_8_is_recorded(tmp_path: Path) -> None:
    """Half of a surrogate pair, from a broken message, costs that character at most, and not the recording."""
    half = "caf\u00e9 \ud83d."
    user = ScriptedUser().says(half, at_s=1.0).hangs_up(at_s=5.0)
    row = user, ScriptedModel([Says(half)]), vp.SentenceChunker(), ScriptedVoice()
    pipeline = vp.Pipeline(*row, output=RecordingOutput(), observers=[vp.Recorder(tmp_path)])
    recording = await recorded(tmp_path, pipeline, facts={"note": half, "score": math.nan})
    assert not recording.is_cut
    assert recording.manifest.facts == {"note": half, "score": None}
    assert [one.event.user_text for one in recording.events if isinstance(one.event, vp.TurnEnded)] == [half]
    assert next(iter(recording.history)).text == "caf\u00e9 ?."
    assert "caf\u00e9 \\ud83d." in (recording.path / "turns.csv").read_text("utf-8")
    assert "NaN" not in (recording.path / "manifest.json").read_text("utf-8")


async def test_a_recording_that_becomes_too_large_stops_and_says_so_once(tmp_path: Path) -> None:
    """It is whole up to there; the call goes on."""
    recogniser = Reports().says("hello", at_s=4.0)
    recorder = vp.Recorder(tmp_path, max_call_bytes=100_000)
    pipeline = agent(recogniser, [Says("Thank you.")], observers=[recorder])
    async with pipeline.session(source=Line((0.5, 1.0), seconds=8.0)) as session:
        events = [event async for event in session]
    assert [type(event) for event in events if isinstance(event, (vp.RecordingStopped, vp.ObserverFailed))] == [
        vp.RecordingStopped
    ]
    assert any(isinstance(event, vp.TurnCompleted) for event in events)
    recording = only_in(tmp_path)
    assert recording.is_cut
    assert recording.manifest.stopped is not None
    assert "more than max_call_bytes=100000" in recording.manifest.stopped.reason
    assert spans(recording.audio("caller"), 16_000) == [(0.5, 1.0)]


def old(directory: Path, name: str, *, days: float, size: int = 1000) -> Path:
    """Make what a recording of some days ago has left."""
    path = directory / f"{name}.vprec"
    path.mkdir(parents=True)
    for file, content in {"manifest.json": b"{}", "audio.wav": bytes(size)}.items():
        (path / file).write_bytes(content)
        os.utime(path / file, (today().timestamp() - 86_400 * days,) * 2)
    return path


async def test_old_recordings_make_room_for_new_ones(tmp_path: Path) -> None:
    """By age and by size, the oldest first; what is no recording, or may still be written, stays."""
    ages = {name: old(tmp_path, name, days=days) for name, days in {"a": 9, "b": 8, "c": 3, "d": 2, "e": 0}.items()}
    (tmp_path / "notes.txt").write_text("keep")
    (ages["b"] / "mine.txt").write_text("keep")
    os.utime(ages["b"] / "mine.txt", (0, 0))
    await recorded_beside(tmp_path, vp.Recorder(tmp_path, max_age_s=7 * 86_400, max_bytes=2_500))
    assert {name for name, path in ages.items() if path.exists()} == {"b", "d", "e"}
    assert ((tmp_path / "notes.txt").read_text(), (ages["b"] / "mine.txt").read_text()) == ("keep", "keep")


async def recorded_beside(directory: Path, recorder: vp.Recorder) -> None:
    async with agent(Reports(), [], observers=[recorder]).session():
        pass


# --- arguments, and what cannot be read -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"sides": "left"},
        {"cover": "noise"},
        {"redact": "card"},
        {"max_age_s": 0},
        {"max_bytes": -1},
        {"max_call_bytes": 0},
    ],
)
def test_invalid_arguments_are_refused(arguments: dict[str, Any], tmp_path: Path) -> None:
    """The error names the argument."""
    with pytest.raises(vp.ConfigurationError, match=next(iter(arguments))):
        vp.Recorder(tmp_path, **arguments)


async def test_what_is_no_recording_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """Each is one sentence, and says where: missing, a file, another directory, damaged, newer."""
    pipeline = agent(Reports(), [], observers=[vp.Recorder(tmp_path)])
    good = await recorded(tmp_path, pipeline, source=Line(seconds=1.0))
    manifest = good.path / "manifest.json"
    text = manifest.read_text()

    def says(part: str, content: str = text, path: Path = good.path) -> None:
        manifest.write_text(content)
        with pytest.raises(vp.RecordingError, match=part) as raised:
            Recording.read(path)
        assert "\n" not in str(raised.value)

    says("does not exist", path=tmp_path / "nobody.vprec")
    says("is a file, not a recording", path=manifest)
    says("has no manifest.json, so it is not a recording", path=tmp_path)
    says("manifest.json is damaged", text[:100])
    says("manifest.json is damaged: agent.parts: Field required", text.replace('"parts"', '"party"'))
    says(
        "written by voicepipe 0.1.0 in the form 2, and this one reads 1; upgrade voicepipe",
        text.replace('"format": 1', '"format": 2'),
    )
    for file in ("../../keys", "/etc/passwd", "events.jsonl"):
        says("manifest.json is damaged: audio.file: String should match", text.replace("audio.wav", file))
    says("manifest.json is damaged: audio.rate: Input should be greater", text.replace('"rate": 16000', '"rate": 0'))
    manifest.write_text(text)
    events = good.path / "events.jsonl"
    whole = events.read_bytes()
    events.write_bytes(whole + b'{"t_s": 1.0, "event": "Digi')
    assert len(list(Recording.read(good.path).events)) == whole.count(b"\n")  # its writer was cut off
    for line, part in ((b"no json", "line"), (b'{"t_s": 1.0, "event": "Nobody"}', "unknown kind 'Nobody'")):
        events.write_bytes(whole + line + b"\n")
        with pytest.raises(vp.RecordingError, match=f"events.jsonl is damaged: .*{part}"):
            list(Recording.read(good.path).events)
    events.write_bytes(whole + b"[" * 100_000 + b"\n")
    with pytest.raises(vp.RecordingError, match="is damaged: line"):
        list(Recording.read(good.path).events)
    for name in ("events.jsonl", "history.json", "audio.wav"):
        (good.path / name).unlink(missing_ok=True)
        (good.path / name).mkdir()
    found = Recording.read(good.path)
    for read in (lambda: list(found.events), lambda: found.history, lambda: found.audio("caller")):
        with pytest.raises(vp.RecordingError, match="cannot be read: Is a directory"):
            read()
