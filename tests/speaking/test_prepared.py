"""Prepared audio: played in place of the voice, exactly as it is, and in history as heard."""

from __future__ import annotations

import sys
from array import array
from typing import TYPE_CHECKING

import anyio
import pytest

import voicepipe as vp
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedUser, ScriptedVoice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.anyio

RATE = 24_000
WELCOME = array("h", (1 + at % 9_000 for at in range(RATE))).tobytes()  # 1 s in which no sample is silent
TEXT = "One two three four."


def agent(output: RecordingOutput, *, user: ScriptedUser | None = None) -> tuple[vp.Pipeline, ScriptedVoice]:
    """Return an agent and its voice."""
    voice = ScriptedVoice()
    parts = [*([user] if user else []), ScriptedModel([Says("Hello.")] * 3), vp.SentenceChunker(), voice]
    return vp.Pipeline(*parts, output=output, fallback="Sorry."), voice


async def said(output: RecordingOutput, audio: vp.PreparedAudio | str | Path, **options: ScriptedUser) -> vp.Said:
    """Return what became of audio in a session of its own, in which the voice is never asked."""
    pipeline, voice = agent(output, **options)
    async with pipeline.session(output=output) as session:
        result = await session.say(TEXT, audio=audio)
    assert voice.sentences == []
    return result


def played(output: RecordingOutput) -> bytes:
    """Return what was played, without the silence around it."""
    return bytes(output.played).strip(b"\0")


async def test_the_samples_are_played_as_they_are() -> None:
    """At the output's rate each sample arrives unchanged, the voice is not asked, and history holds the text."""
    output = RecordingOutput(RATE)
    result = await said(output, vp.PreparedAudio(WELCOME, RATE))
    assert (result.heard, result.is_whole) == (TEXT, True)
    assert anyio.current_time() == pytest.approx(1.0)
    assert output.played[: len(WELCOME)] == WELCOME


@pytest.mark.parametrize("form", ["path", "string", "bytes"])
async def test_a_wav_file_is_played(form: str, tmp_path: Path) -> None:
    """A file by its path, or its bytes."""
    path, output = tmp_path / "welcome.wav", RecordingOutput(RATE)
    vp.write_wav(path, WELCOME, RATE)
    audio = {"path": path, "string": str(path), "bytes": vp.PreparedAudio.wav(path.read_bytes())}[form]
    assert (await said(output, audio)).is_whole
    assert output.played[: len(WELCOME)] == WELCOME


async def pieces_as_they_come() -> AsyncIterator[bytes]:
    for at in range(0, len(WELCOME), 1_001):
        await anyio.sleep(0.001)
        yield WELCOME[at : at + 1_001]


@pytest.mark.parametrize("kind", ["list", "generator", "async generator", "bytearray"])
async def test_pieces_of_any_size_are_played(kind: str) -> None:
    """An iterable or async iterable of pieces is one piece of audio, also where a piece ends within a sample."""
    output = RecordingOutput(RATE)
    cut = [WELCOME[at : at + 1_001] for at in range(0, len(WELCOME), 1_001)]
    pcm = {
        "list": cut,
        "generator": (piece for piece in cut),
        "async generator": pieces_as_they_come(),
        "bytearray": bytearray(WELCOME),
    }[kind]
    assert (await said(output, vp.PreparedAudio(pcm, RATE))).is_whole
    assert played(output) == WELCOME.strip(b"\0")


async def test_another_rate_is_resampled() -> None:
    """A recording at another rate takes as long as it is."""
    output = RecordingOutput(16_000)
    result = await said(output, vp.PreparedAudio(WELCOME, RATE))
    assert result.is_whole
    assert output.spans()[-1][1] == pytest.approx(1.0, abs=0.001)
    assert len(output.played) / 2 / 16_000 == pytest.approx(1.0, abs=0.001)


async def test_an_interruption_is_exact_and_history_goes_by_what_was_played() -> None:
    """Interrupted at 0.5 s of 1 s, half of the characters count as heard, in whole words: the length is known."""
    output = RecordingOutput(RATE)
    user = ScriptedUser().guesses("stop", at_s=0.5, stable=False)
    result = await said(output, vp.PreparedAudio(WELCOME, RATE), user=user)
    assert (result.heard, result.is_whole) == ("One two", False)
    assert output.played_s == 0.5
    assert played(output) == WELCOME[:RATE]
    assert output.written_after(0.5) == []


async def test_word_marks_make_it_exact() -> None:
    """Marks among the pieces say what was heard by when, whatever the length of the text says."""
    output = RecordingOutput(RATE)
    marks = [vp.WordMark(char_end=3, end_s=0.1), vp.WordMark(char_end=13, end_s=0.45)]
    audio = vp.PreparedAudio([*marks, WELCOME], RATE)
    result = await said(output, audio, user=ScriptedUser().guesses("stop", at_s=0.5, stable=False))
    assert result.heard == "One two three"


async def test_it_takes_its_place_among_other_words() -> None:
    """It waits for the current reply, and what is said after it follows it; one `PreparedAudio` may be said twice."""
    output = RecordingOutput(RATE)
    pipeline, voice = agent(output)
    audio = vp.PreparedAudio(WELCOME, RATE)
    async with pipeline.session(output=output, greeting="Hi.") as session:
        session.say("Welcome.", audio=audio)
        session.say("Welcome again.", audio=audio)
        await session.say("Bye.")
    assert [message.text for message in session.history] == ["Hi.", "Welcome.", "Welcome again.", "Bye."]
    assert [text for _, text in voice.sentences] == ["Hi.", "Bye."]
    assert output.spans() == [(0.0, 2.35)]


@pytest.mark.slow
async def test_it_may_be_much_longer_than_its_title() -> None:
    """A text may be a title: no limit for the length of a spoken sentence applies."""
    output = RecordingOutput(8_000)
    pipeline, _ = agent(output)
    async with pipeline.session(output=output) as session:
        music = session.say("Music.", audio=vp.PreparedAudio(bytes(2 * 8_000 * 90), 8_000))
        assert (await music).is_whole
    assert anyio.current_time() == pytest.approx(90)


async def test_a_stream_that_stalls_fails_its_turn_and_is_closed() -> None:
    """A stream without audio for 5 s is an error of `PreparedAudio`, the fallback follows, and the call goes on."""
    closed: list[float] = []

    async def stalls() -> AsyncIterator[bytes]:
        try:
            yield WELCOME[:RATE]
            await anyio.sleep_forever()
        finally:
            closed.append(anyio.current_time())

    output = RecordingOutput(RATE)
    pipeline, voice = agent(output)
    async with pipeline.session(output=output) as session:
        result = await session.say(TEXT, audio=vp.PreparedAudio(stalls(), RATE))
    assert closed == [5.0]
    assert result.turn is not None
    assert isinstance(result.turn.failure, vp.AudioError)
    assert str(result.turn.failure) == "PreparedAudio sent no audio for 5 s"
    assert [text for _, text in voice.sentences] == ["Sorry."]  # the fallback


async def test_an_interrupted_stream_is_closed() -> None:
    """An async generator is closed in the step in which its turn is cancelled."""
    closed: list[float] = []

    async def stream() -> AsyncIterator[bytes]:
        try:
            while True:
                yield WELCOME[:4_800]
                await anyio.sleep(0.1)
        finally:
            closed.append(anyio.current_time())

    output = RecordingOutput(RATE)
    pipeline, _ = agent(output)
    async with pipeline.session(output=output) as session:
        saying = session.say("Hold music.", audio=vp.PreparedAudio(stream(), RATE))
        await anyio.sleep(60)
        session.interrupt()
        await saying
        await anyio.sleep(0.001)
    assert closed == [60.0]


async def test_a_stream_that_raises_is_named() -> None:
    """An exception of the application's stream is wrapped under the name of `PreparedAudio`."""

    async def broken() -> AsyncIterator[bytes]:
        raise OSError("no such recording")
        yield b""

    output = RecordingOutput(RATE)
    result = await said_or_failed(output, vp.PreparedAudio(broken(), RATE))
    assert isinstance(result, vp.StageError)
    assert result.part == "PreparedAudio"


async def said_or_failed(output: RecordingOutput, audio: vp.PreparedAudio) -> vp.VoicepipeError | None:
    pipeline, _ = agent(output)
    async with pipeline.session(output=output) as session:
        result = await session.say(TEXT, audio=audio)
    assert result.turn is not None
    return result.turn.failure


def wrong_pieces() -> Iterator[bytes]:
    yield "text"  # type: ignore[misc]


async def test_wrong_pieces_of_a_stream_are_refused_when_they_come() -> None:
    """A piece that is no audio fails the turn, and says what is expected."""
    failure = await said_or_failed(RecordingOutput(RATE), vp.PreparedAudio(wrong_pieces(), RATE))
    assert isinstance(failure, vp.ConfigurationError)
    assert str(failure) == "PreparedAudio: its pieces must be bytes of 16-bit PCM or WordMark, not str"


@pytest.mark.parametrize(
    ("pcm", "rate", "error", "match"),
    [
        (WELCOME, 4_000, vp.ConfigurationError, "sample_rate must be 8000 to 192000 samples a second, not 4000"),
        (WELCOME, 16_000.0, vp.ConfigurationError, r"not 16000\.0"),
        (WELCOME, True, vp.ConfigurationError, "not True"),
        (b"", RATE, vp.AudioError, "expected whole 16-bit samples, .* found 0 bytes"),
        (WELCOME[:-1], RATE, vp.AudioError, "found 47999 bytes"),
        ([], RATE, vp.AudioError, "found 0 bytes"),
        ([WELCOME, b"\0"], RATE, vp.AudioError, "found 48001 bytes"),
        ("welcome.wav", RATE, vp.ConfigurationError, r"not str; for a file write PreparedAudio\.wav\(path\)"),
        (None, RATE, vp.ConfigurationError, "not NoneType"),
        ([WELCOME, 1.0], RATE, vp.ConfigurationError, "not float"),
    ],
)
def test_what_cannot_be_played_is_refused_when_it_is_made(
    pcm: object, rate: object, error: type[Exception], match: str
) -> None:
    """A wrong rate, half a sample, or something else is an error at once."""
    with pytest.raises(error, match=match):
        vp.PreparedAudio(pcm, rate)  # type: ignore[arg-type]


async def test_wrong_arguments_are_refused_when_say_is_called(tmp_path: Path) -> None:
    """A file that cannot be used, bare bytes and a text without words are errors of the call; nothing is said."""
    (tmp_path / "noise.wav").write_bytes(b"noise")
    pipeline, _ = agent(output := RecordingOutput(RATE))
    async with pipeline.session(output=output) as session:
        with pytest.raises(vp.AudioError, match="no such file"):
            session.say(TEXT, audio=tmp_path / "missing.wav")
        with pytest.raises(vp.AudioError, match="expected a WAV file with 16-bit mono PCM"):
            session.say(TEXT, audio=tmp_path / "noise.wav")
        with pytest.raises(vp.AudioError, match=r"data\.wav: expected a WAV file"):
            vp.PreparedAudio.wav(b"noise")
        with pytest.raises(vp.ConfigurationError, match=r"not bytes; write PreparedAudio\(pcm, sample_rate=\.\.\.\)"):
            session.say(TEXT, audio=WELCOME)  # type: ignore[arg-type]
        with pytest.raises(vp.ConfigurationError, match="needs the words of the audio, or a title"):
            session.say(" ", audio=vp.PreparedAudio(WELCOME, RATE))
        assert not session.is_busy


async def test_a_rate_that_nothing_can_convert_is_refused_when_say_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without soxr another rate is an error of the call, which names both sides."""
    monkeypatch.setitem(sys.modules, "soxr", None)
    pipeline, _ = agent(output := RecordingOutput(RATE))
    async with pipeline.session(output=output) as session:
        with pytest.raises(vp.ConfigurationError, match="PreparedAudio gives 16000 Hz, RecordingOutput takes 24000 Hz"):
            session.say(TEXT, audio=vp.PreparedAudio(WELCOME, 16_000))
