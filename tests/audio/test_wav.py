"""WAV files as caller and as loudspeaker, in real time."""

from __future__ import annotations

import resource
import struct
import tracemalloc
import wave
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from voicepipe import Pipeline, SentenceChunker, STTStage
from voicepipe.audio.wav import WavOutput, WavSource, read_wav, write_wav
from voicepipe.errors import AudioError
from voicepipe.session.session import Session
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice

pytestmark = pytest.mark.anyio

RATE = 8_000
TONE = b"\x00\x10"


def write_file(path: Path, *, seconds: float = 1.0, width: int = 2, channels: int = 1, rate: int = RATE) -> Path:
    with wave.open(str(path), "wb") as wav:
        wav.setnchannels(channels)
        wav.setsampwidth(width)
        wav.setframerate(rate)
        wav.writeframes(bytes(width * channels * round(seconds * rate)))
    return path


def agent(*, source: WavSource | None = None, model: ScriptedModel | None = None) -> Pipeline:
    hearing = [source, STTStage(ScriptedRecogniser(RATE).says("Hello?", at_s=0.5))] if source else []
    voice = ScriptedVoice(sample_rate=RATE)
    return Pipeline(*hearing, model or ScriptedModel([Says("Yes, hello.")]), SentenceChunker(), voice)


# --- reading and writing ----------------------------------------------------------------------------------------------


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """Samples and rate are read back as they were written."""
    write_wav(tmp_path / "a.wav", TONE * 100, RATE)
    assert read_wav(tmp_path / "a.wav") == (TONE * 100, RATE)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """The message names the missing file."""
    with pytest.raises(AudioError, match=r"nobody\.wav: no such file"):
        read_wav(tmp_path / "nobody.wav")


def test_a_folder_is_told(tmp_path: Path) -> None:
    """A path that cannot be read is an audio error with the system's reason."""
    with pytest.raises(AudioError, match="cannot be read: Is a directory"):
        read_wav(tmp_path)


@pytest.mark.parametrize(
    ("width", "channels", "rate", "found"),
    [
        (1, 1, RATE, r"found 8-bit with 1 channel\(s\)"),
        (3, 1, RATE, r"found 24-bit with 1 channel\(s\)"),
        (2, 2, RATE, r"found 16-bit with 2 channel\(s\)"),
        (2, 1, 4_000, "expected a sample rate of 8000 to 192000 Hz, found 4000"),
    ],
)
def test_another_format_is_told(tmp_path: Path, width: int, channels: int, rate: int, found: str) -> None:
    """The message says what the file holds instead of 16-bit mono."""
    with pytest.raises(AudioError, match=found):
        read_wav(write_file(tmp_path / "other.wav", width=width, channels=channels, rate=rate))


def test_another_format_comes_with_the_command_that_converts_it(tmp_path: Path) -> None:
    """The error for a stereo file says how to make a mono one."""
    with pytest.raises(AudioError, match=r"ffmpeg -i stereo\.wav -ac 1 -c:a pcm_s16le mono\.wav"):
        read_wav(write_file(tmp_path / "stereo.wav", channels=2))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "it ends within the header"),
        (b"RIFF", "it ends within the header"),
        (b"ID3\x04" + bytes(100), "file does not start with RIFF id"),
        (b"RIFF\x24\x00\x00\x00AVI " + bytes(100), "not a WAVE file"),
    ],
)
def test_what_is_no_wav_is_told(tmp_path: Path, content: bytes, found: str) -> None:
    """Empty and unsupported files are refused, with what was found."""
    path = tmp_path / "call.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=f"expected a WAV file with 16-bit mono PCM, found something else .{found}"):
        read_wav(path)


def riff(
    fields: bytes, pcm: bytes, size: int | None = None, *, kind: bytes = b"RIFF", whole: int | None = None
) -> bytes:
    """A WAV file with these format fields, whose header promises `size` bytes of audio and `whole` bytes in all."""
    chunks = b"fmt " + len(fields).to_bytes(4, "little") + fields
    chunks += b"data" + (len(pcm) if size is None else size).to_bytes(4, "little") + pcm
    return kind + (4 + len(chunks) if whole is None else whole).to_bytes(4, "little") + b"WAVE" + chunks


def fields(codec: int = 1, *, bits: int = 16, channels: int = 1, extensible: bool = False) -> bytes:
    size = channels * bits // 8
    plain = struct.pack("<HHIIHH", 0xFFFE if extensible else codec, channels, RATE, RATE * size, size, bits)
    guid = bytes.fromhex("000000001000800000aa00389b71")
    return plain + struct.pack("<HHIH", 22, bits, 4, codec) + guid if extensible else plain


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(riff(fields(extensible=True), TONE * 9), id="extensible"),
        pytest.param(riff(fields() + b"\0\0", TONE * 9), id="fields of 18 bytes"),
        pytest.param(riff(fields(), TONE * 9, 0, whole=0), id="streamed, size 0"),
        pytest.param(riff(fields(), TONE * 9, 0, whole=36), id="streamed, size 0 and never completed"),
        pytest.param(riff(fields(), TONE * 9, 0xFFFFFFFF, whole=0xFFFFFFFF), id="streamed, the largest size"),
        pytest.param(riff(fields(), TONE * 9, 0x7FFFF000, whole=0x7FFFF024), id="streamed, two gigabytes"),
        pytest.param(riff(fields(), TONE * 9 + b"\1", 0xFFFFFFFF), id="streamed, cut within a sample"),
        pytest.param(riff(fields(), TONE * 9 + b"LIST\2\0\0\0ab", 18), id="something behind the audio"),
        pytest.param(riff(fields(), TONE * 9, whole=7), id="a wrong size of the whole"),
    ],
)
def test_what_every_player_plays_is_read(tmp_path: Path, content: bytes) -> None:
    """Extensible headers, and those of a writer that did not know the length, are read like any other."""
    path = tmp_path / "call.wav"
    path.write_bytes(content)
    assert read_wav(path) == (TONE * 9, RATE)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (riff(fields(3, bits=32), bytes(36)), r"found 32-bit float with 1 channel\(s\)"),
        (riff(fields(3, bits=32, extensible=True), bytes(36)), r"found 32-bit float with 1 channel\(s\)"),
        (riff(fields(7, bits=8), bytes(9)), r"found 8-bit mu-law with 1 channel\(s\)"),
        (riff(fields(bits=24), bytes(27)), r"found 24-bit with 1 channel\(s\)"),
        (riff(fields(channels=2, extensible=True), bytes(36)), r"found 16-bit with 2 channel\(s\)"),
        (riff(fields(0x1234), bytes(9)), r"found 16-bit of the format 0x1234 with 1 channel\(s\)"),
        (riff(fields(), bytes(18), kind=b"RF64"), "found RF64"),
        (riff(fields(), bytes(18), kind=b"RIFX"), "found RIFX"),
        (b"ID3\x04" + bytes(100), "file does not start with RIFF id"),
    ],
)
def test_each_refused_format_comes_with_the_command_that_converts_it(
    tmp_path: Path, content: bytes, found: str
) -> None:
    """The error says what the file holds and how to convert it; the name is quoted for the shell."""
    path = tmp_path / "my call.wav"
    path.write_bytes(content)
    command = r"ffmpeg -i 'my call\.wav' -ac 1 -c:a pcm_s16le mono\.wav"
    with pytest.raises(AudioError, match=f"{found}.*; convert it, for example: {command}"):
        read_wav(path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (riff(fields(), TONE * 9, 0x7FFE0000), "truncated: its header promises 1073676288 samples, found 9"),
        (riff(fields(), b"LIST\2\0\0\0ab", 0), "found no samples in it"),
        (b"RIFF\0\0\0\0WAVELIST\xff\xff\xff\xff" + bytes(9), "it ends within the header"),
        (b"RIFF\0\0\0\0WAVEdata\x02\0\0\0\0\0", "found samples without their format"),
    ],
)
def test_a_promised_size_is_not_trusted(tmp_path: Path, content: bytes, found: str) -> None:
    """A size is compared with what is there before anything is allocated."""
    path = tmp_path / "call.wav"
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(AudioError, match=found):
            read_wav(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_file_without_samples_is_told(tmp_path: Path) -> None:
    """A header without samples is refused."""
    with pytest.raises(AudioError, match="found no samples in it"):
        read_wav(write_file(tmp_path / "empty.wav", seconds=0.0))


def test_a_truncated_file_is_told(tmp_path: Path) -> None:
    """A file that is shorter than its header says is refused."""
    path = write_file(tmp_path / "cut.wav")
    path.write_bytes(path.read_bytes()[:-1_000])
    with pytest.raises(AudioError, match="truncated: its header promises 8000 samples, found 7500"):
        read_wav(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 60), byte=st.integers(0, 255), cut=st.integers(0, 60))
def test_a_damaged_file_is_told_or_read(tmp_path: Path, at: int, byte: int, cut: int) -> None:
    """With any byte of a file wrong or missing, it is read or refused, and no other error escapes."""
    path = write_file(tmp_path / "damaged.wav", seconds=0.001)
    content = bytearray(path.read_bytes())
    content[at % len(content)] = byte
    path.write_bytes(content[: len(content) - cut])
    try:
        pcm, rate = read_wav(path)
    except AudioError as error:
        assert "damaged.wav" in str(error)  # noqa: PT017 - which of the two it is depends on the damage
    else:
        assert len(pcm) % 2 == 0
        assert 8_000 <= rate <= 192_000


@pytest.mark.parametrize("folder", ["missing", "a_file.txt"])
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, folder: str) -> None:
    """A missing folder, or a path that is not a folder, is an audio error with the path."""
    (tmp_path / "a_file.txt").touch()
    with pytest.raises(AudioError, match=r"a\.wav: cannot be written"):
        write_wav(tmp_path / folder / "a.wav", TONE, RATE)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file can grow beyond 64 KiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    """When the disk is full, the error says so, and no file is left, not even a partial one."""
    with pytest.raises(AudioError, match="cannot be written: File too large"):
        write_wav(tmp_path / "a.wav", TONE * 100_000, RATE)
    assert list(tmp_path.iterdir()) == []


def test_channels_are_written_interleaved(tmp_path: Path) -> None:
    """A file can hold caller and agent as two channels."""
    write_wav(tmp_path / "two.wav", TONE * 200, RATE, channels=2)
    with wave.open(str(tmp_path / "two.wav")) as wav:
        assert (wav.getnchannels(), wav.getnframes()) == (2, 100)


# --- a caller ---------------------------------------------------------------------------------------------------------


def test_a_caller_without_a_file_is_refused_at_once(tmp_path: Path) -> None:
    """An unusable file is refused when the source is created, not during the session."""
    with pytest.raises(AudioError):
        WavSource(tmp_path / "nobody.wav")


async def test_a_caller_speaks_in_real_time(tmp_path: Path) -> None:
    """Each 20 ms frame comes when its last sample has been spoken; after one second of silence the caller hangs up."""
    source = WavSource(write_file(tmp_path / "caller.wav", seconds=0.05))
    times: list[float] = []
    async with agent().session(output=RecordingOutput(RATE)) as session:
        async with source.attach(session):
            async for piece in source.frames():
                times.append(round(anyio.current_time(), 6))
                assert len(piece) <= 320
    assert (times[:4], times[-1], len(times)) == ([0.02, 0.04, 0.05, 0.07], 1.05, 53)


async def test_a_caller_waits_for_the_reply(tmp_path: Path) -> None:
    """The caller hangs up one second after the end of the reply, not one second after the question."""
    source = WavSource(write_file(tmp_path / "caller.wav", seconds=0.6))
    output = RecordingOutput(RATE)
    async with agent(source=source).session(output=output) as session:
        await session.ended.wait()
        hung_up_s = anyio.current_time()
    [(_, reply_ended_s)] = output.spans()
    assert (reply_ended_s, hung_up_s) == (1.05, 2.04)


# --- a loudspeaker ----------------------------------------------------------------------------------------------------


async def record(path: Path, *, greeting_at_s: float = 0.5, cut_at_s: float | None = None) -> WavOutput:
    """Record a session of two seconds in which "Ten chars." is said, which takes half a second."""
    output = WavOutput(path, RATE)
    async with agent().session(output=output) as session:
        await anyio.sleep_until(greeting_at_s)
        session.say("Ten chars.")
        if cut_at_s is not None:
            await anyio.sleep_until(cut_at_s)
            session.interrupt()
        await anyio.sleep_until(2.0)
    return output


def sounding(pcm: bytes) -> tuple[float, float]:
    samples = [at // 2 for at in range(0, len(pcm), 2) if pcm[at : at + 2] != b"\x00\x00"]
    return samples[0] / RATE, (samples[-1] + 1) / RATE


@pytest.mark.parametrize(("cut_at_s", "until_s"), [(None, 1.0), (0.75, 0.75)])
async def test_a_recording_holds_what_was_heard_when_it_was_heard(
    tmp_path: Path, cut_at_s: float | None, until_s: float
) -> None:
    """The file is as long as the session, silent where nothing was said, and cut where the agent was interrupted."""
    output = await record(tmp_path / "agent.wav", cut_at_s=cut_at_s)
    pcm, rate = read_wav(tmp_path / "agent.wav")
    assert (sounding(pcm), len(pcm) / 2 / rate, output.error) == ((0.5, until_s), 2.0, None)


async def test_a_recording_appears_whole(tmp_path: Path) -> None:
    """During the session the file does not exist under its name; afterwards no other file does."""
    path = tmp_path / "agent.wav"
    async with agent().session(output=WavOutput(path, RATE)):
        during = [*tmp_path.iterdir()]  # noqa: ASYNC240 - a folder of one file
    assert (path in during, [*tmp_path.iterdir()]) == (False, [path])  # noqa: ASYNC240


async def test_a_call_that_fails_keeps_its_recording(tmp_path: Path) -> None:
    """When the block ends with an error, the complete recording so far is there."""
    path = tmp_path / "agent.wav"
    with pytest.raises(ZeroDivisionError):
        async with agent().session(output=WavOutput(path, RATE), greeting="Ten chars."):
            await anyio.sleep(1.0)
            _ = 1 / 0
    assert len(read_wav(path)[0]) == 2 * RATE


async def test_a_recording_that_cannot_begin_is_told(tmp_path: Path) -> None:
    """A missing folder ends the session before anything is said."""
    with pytest.raises(AudioError, match=r"agent\.wav: cannot be written: No such file or directory"):
        async with agent().session(output=WavOutput(tmp_path / "missing" / "agent.wav", RATE)):
            raise AssertionError("a session without its recording began")


@pytest.mark.usefixtures("full_disk")
async def test_a_full_disk_ends_the_recording_and_not_the_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The reply plays to its end, the failed recording is logged once with its reason, and no partial file is left."""
    turns = []

    async def ask(session: Session) -> None:
        turns.append(await session.user_says("Hello?"))

    output = WavOutput(tmp_path / "agent.wav", RATE)
    async with agent().session(output=output) as session:
        await ask(session)
        await anyio.sleep(10.0)
        heard = session.history[-1].text
    assert (turns[0].state.name, heard) == ("DONE", "Yes, hello.")
    assert output.error is not None
    said = f"{tmp_path / 'agent.wav'}: the recording has stopped, the session goes on: File too large"
    assert [record.message for record in caplog.records] == [f"session {session.id}: {said}"]
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240


def test_they_show_file_and_length(tmp_path: Path) -> None:
    """The reprs show the file's name without its folder."""
    path = write_file(tmp_path / "caller.wav", seconds=1.5)
    assert repr(WavSource(path)) == "<WavSource caller.wav 1.5 s>"
    assert repr(WavOutput(path, RATE)) == "<WavOutput caller.wav 8000 Hz>"
