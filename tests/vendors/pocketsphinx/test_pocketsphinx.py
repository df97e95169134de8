"""PocketsphinxRecogniser: what it hears, when, and what it refuses."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import anyio
import pytest

from voicepipe.audio.resample import Resampler
from voicepipe.core.channel import Channel
from voicepipe.errors import AudioError, ConfigurationError, MissingExtra
from voicepipe.flow import AudioFrame, EarlyTranscript, Hearing, Sentence, SpeechEnded, SpeechStarted, Transcript
from voicepipe.vendors.espeak.tts import EspeakTTS
from voicepipe.vendors.pocketsphinx.recogniser import PocketsphinxRecogniser

if TYPE_CHECKING:
    from pathlib import Path

    from voicepipe.session.session import Session

MISSING = [name for name in ("pocketsphinx", "espeakng_loader", "soxr") if importlib.util.find_spec(name) is None]
needs_local = pytest.mark.skipif(
    bool(MISSING) and os.environ.get("VOICEPIPE_TEST_ALL") != "1",
    reason=f"not installed (extra local): {', '.join(MISSING)}",
)
pytestmark = [pytest.mark.anyio, needs_local]

RATE = 16_000
NO_SESSION = cast("Session", None)  # the recogniser keeps nothing in it and asks it nothing
GRAMMAR = """#JSGF V1.0;
grammar shop;
public <request> = where is my order [<digits>] | cancel my order <digits> | i want a refund for order <digits>
    | what is the weather in (paris | london) | what time is it; // and nothing else
<digits> = <digit> <digit> <digit> <digit> <digit>;
<digit> = zero | one | two | three | four | five | six | seven | eight | nine;
"""


@pytest.fixture
def anyio_backend() -> str:
    """Engines run on threads, which know no virtual time."""
    return "asyncio"


async def say(*sentences: str, pause_s: float = 0.6, lead_s: float = 0.5) -> bytes:
    """Speak sentences with pauses around and between them, at the recogniser's rate."""
    tts = EspeakTTS(words_per_minute=150)
    pcm = silence(lead_s)
    async with tts.open():
        for sentence in sentences:
            spoken = Resampler(tts.sample_rate, RATE)
            async for piece in tts.synthesize(Sentence(sentence)):
                pcm += spoken.feed(piece) if isinstance(piece, bytes) else b""
            pcm += spoken.flush() + silence(pause_s)
    return pcm


def silence(seconds: float) -> bytes:
    return bytes(2 * round(seconds * RATE))


async def listen(
    recogniser: PocketsphinxRecogniser, pcm: bytes, *, start_s: float = 0.0, frame_bytes: int = 640
) -> list[Hearing]:
    """Push a call's audio into an attached recogniser, faster than real time, and return what it heard."""
    inbox, outbox = Channel[AudioFrame](25), Channel[Hearing](1_000)

    async def push() -> None:
        for at in range(0, len(pcm), frame_bytes):
            await inbox.send(
                AudioFrame(pcm=pcm[at : at + frame_bytes], sample_rate=RATE, start_s=start_s + at / 2 / RATE)
            )
        inbox.close()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(push)
        await recogniser.recognise(inbox, outbox, NO_SESSION)
    outbox.close()
    return [event async for event in outbox]


async def hear(recogniser: PocketsphinxRecogniser, pcm: bytes, **how: float) -> list[Hearing]:
    async with recogniser.open(), recogniser.attach(NO_SESSION):
        return await listen(recogniser, pcm, **how)  # type: ignore[arg-type]


def texts(events: list[Hearing]) -> list[str]:
    return [event.text for event in events if isinstance(event, Transcript)]


@pytest.mark.parametrize(
    "sentence",
    [
        "where is my order",
        "what is the weather in paris",
        "what time is it",
        "i want a refund for order two two three four five",
    ],
)
async def test_understands(sentence: str) -> None:
    """A sentence of the grammar is understood to the word."""
    assert texts(await hear(PocketsphinxRecogniser(GRAMMAR), await say(sentence))) == [sentence]


async def test_order_of_events() -> None:
    """A turn is: speech started, early texts that change, speech ended, one transcript."""
    events = await hear(PocketsphinxRecogniser(GRAMMAR), await say("what is the weather in paris"))

    early = [event.text for event in events if isinstance(event, EarlyTranscript)]
    assert isinstance(events[0], SpeechStarted)
    assert [type(e) for e in events if not isinstance(e, EarlyTranscript)] == [SpeechStarted, SpeechEnded, Transcript]
    assert isinstance(events[-1], Transcript)
    assert len(early) >= 3
    assert all(a != b for a, b in pairwise(early))
    assert not any(event.stable for event in events if isinstance(event, EarlyTranscript))


async def test_times() -> None:
    """Times lie where the speech is, on the clock of the frames, and the transcript tells the time of the last end."""
    pcm = await say("where is my order", lead_s=0.5, pause_s=0.6)
    start_s, end_s = 100.0 + 0.5, 100.0 + len(pcm) / 2 / RATE - 0.6

    before_s = anyio.current_time()
    events = await hear(PocketsphinxRecogniser(GRAMMAR), pcm, start_s=100.0)
    after_s = anyio.current_time()

    started = next(event for event in events if isinstance(event, SpeechStarted))
    ended = [event for event in events if isinstance(event, SpeechEnded)][-1]
    (transcript,) = (event for event in events if isinstance(event, Transcript))
    assert abs(started.at_s - start_s) < 0.12  # audio of known length: what the detector can be off by
    assert abs(ended.at_s - end_s) < 0.12
    assert transcript.speech_ended_s == ended.at_s
    assert before_s < transcript.endpoint_s < after_s


@pytest.mark.parametrize("frame_bytes", [2, 320, 966, 4_096])
@pytest.mark.slow
async def test_frames_of_any_length(frame_bytes: int) -> None:
    """The length of the frames changes nothing in what is heard or when."""
    pcm = await say("what time is it", lead_s=0.3)

    def facts(events: list[Hearing]) -> list[object]:
        return [e.text if isinstance(e, EarlyTranscript | Transcript) else round(e.at_s, 6) for e in events]

    recogniser = PocketsphinxRecogniser(GRAMMAR)
    expected = facts(await hear(recogniser, pcm))
    assert facts(await hear(recogniser, pcm, frame_bytes=frame_bytes)) == expected


async def test_times_go_on_after_dropped_audio() -> None:
    """After a gap in the audio, times are those of the frames, not a count of samples."""
    pcm = await say("what time is it", lead_s=0.6)
    whole = await hear(PocketsphinxRecogniser(GRAMMAR), pcm, start_s=10.0)
    recogniser = PocketsphinxRecogniser(GRAMMAR)
    cut = 2 * 4_800  # the first 0.3 s never arrive
    late = await hear(recogniser, pcm[cut:], start_s=10.3)

    assert abs(late[0].at_s - whole[0].at_s) < 0.031  # type: ignore[union-attr]


async def test_two_turns() -> None:
    """Each turn of a call has its own transcript."""
    pcm = await say("what time is it", "where is my order")
    assert texts(await hear(PocketsphinxRecogniser(GRAMMAR), pcm)) == ["what time is it", "where is my order"]


async def test_a_hang_up_finishes_the_turn() -> None:
    """When the audio ends with the last word, what was said is still heard."""
    pcm = await say("what time is it", pause_s=0.0)
    events = await hear(PocketsphinxRecogniser(GRAMMAR), pcm)

    assert texts(events) == ["what time is it"]
    assert isinstance(events[-2], SpeechEnded)


async def test_silence_is_silent() -> None:
    """Digital silence and a click give no event at all."""
    click = b"\x00\x30" * 32
    assert await hear(PocketsphinxRecogniser(GRAMMAR), silence(1.0) + click + silence(1.0)) == []


async def test_speech_without_words() -> None:
    """Sound that fits no phrase starts and ends, but makes no transcript."""
    import numpy as np

    noise = np.random.default_rng(1).normal(0, 4_000, RATE // 2).clip(-32_768, 32_767).astype("<i2").tobytes()
    events = await hear(PocketsphinxRecogniser(GRAMMAR), silence(1.0) + noise + silence(1.0))

    assert [type(event) for event in events if not isinstance(event, EarlyTranscript)] == [SpeechStarted, SpeechEnded]


async def test_two_calls_at_once() -> None:
    """Two calls of one host, heard at once, have decoders of their own."""
    host = PocketsphinxRecogniser(GRAMMAR)
    heard: dict[str, list[str]] = {}

    async def call(sentence: str, pcm: bytes) -> None:
        recogniser = host._copied()
        async with recogniser.attach(NO_SESSION):
            heard[sentence] = texts(await listen(recogniser, pcm))

    sentences = ["what time is it", "what is the weather in paris"]
    recordings = [await say(sentence) for sentence in sentences]
    async with host.open(), anyio.create_task_group() as tasks:
        for sentence, pcm in zip(sentences, recordings, strict=True):
            tasks.start_soon(call, sentence, pcm)

    assert heard == {sentence: [sentence] for sentence in sentences}


async def test_cancelled_in_a_call_nothing_is_left() -> None:
    """A call that is cancelled in mid-speech leaves no thread when its host closes."""
    pcm = await say("what is the weather in paris")
    before = threading.active_count()
    recogniser = PocketsphinxRecogniser(GRAMMAR)
    inbox, outbox = Channel[AudioFrame](1_000), Channel[Hearing](1_000)
    async with recogniser.open(), recogniser.attach(NO_SESSION):
        assert threading.active_count() == before + 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(recogniser.recognise, inbox, outbox, NO_SESSION)
            await inbox.send(AudioFrame(pcm=pcm[: len(pcm) // 4 * 2], sample_rate=RATE, start_s=0.0))
            assert isinstance(await outbox.receive(), SpeechStarted)
            tasks.cancel_scope.cancel()
    assert threading.active_count() == before


async def test_the_loop_is_not_held_by_decoding() -> None:
    """While a call is decoded, other tasks of the loop get their turns between its blocks."""
    recogniser = PocketsphinxRecogniser(GRAMMAR)
    pcm = await say("what is the weather in paris")
    inbox, outbox = Channel[AudioFrame](1), Channel[Hearing](1_000)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await anyio.lowlevel.checkpoint()

    async with recogniser.open(), recogniser.attach(NO_SESSION), anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        # One frame: nothing but the decoding itself can let the other task run.
        await inbox.send(AudioFrame(pcm=pcm, sample_rate=RATE, start_s=0.0))
        inbox.close()
        await recogniser.recognise(inbox, outbox, NO_SESSION)
        tasks.cancel_scope.cancel()

    assert turns > len(pcm) // 960 // 2  # a turn for at least every other block


@pytest.mark.parametrize(
    ("grammar", "told"),
    [
        ("where is my order", "begins with the line"),
        ("", "begins with the line"),
        ("#JSGF V1.0; grammar g; public <a> = hello", "not valid JSGF"),
        ("#JSGF V1.0; grammar g; <a> = hello;", "one is `public`"),
        ("#JSGF V1.0; grammar g; public <a> = hello <name>;", "does not define: <name>"),
        ("#JSGF V1.0; grammar g; public <a> = hello Bob | xyzzy | plugh;", "lacks: Bob, plugh, xyzzy;"),
        ("#JSGF V1.0; grammar g; public <a> = café;", "lacks: café;"),
    ],
)
async def test_a_wrong_grammar_is_refused_when_opened(
    grammar: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with a grammar is told before any audio, and only in the error."""
    with pytest.raises(ConfigurationError, match=told):
        async with PocketsphinxRecogniser(grammar).open():
            pass
    assert capfd.readouterr() == ("", "")


async def test_comments_and_built_in_rules_are_no_mistakes() -> None:
    """A rule named in a comment, and <NULL>, need not be made."""
    grammar = "#JSGF V1.0; grammar g; /* <old> */ public <a> = hello (<NULL> | world); // <b>\n"
    async with PocketsphinxRecogniser(grammar).open():
        pass


async def test_no_file_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dictionary that is written for a decoder is gone when the decoder is loaded."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    recogniser = PocketsphinxRecogniser(GRAMMAR)
    async with recogniser.open(), recogniser.attach(NO_SESSION):
        assert os.listdir(tmp_path) == []  # noqa: PTH208 - the loop may be blocked in a test


@pytest.mark.parametrize("frame", [(b"\0\0\0", RATE), (b"\0\0", 8_000)])
async def test_refuses_damaged_audio(frame: tuple[bytes, int]) -> None:
    """Half a sample, or another rate, is told instead of being heard as noise."""
    recogniser = PocketsphinxRecogniser(GRAMMAR)
    inbox, outbox = Channel[AudioFrame](1), Channel[Hearing](1)
    await inbox.send(AudioFrame(pcm=frame[0], sample_rate=frame[1], start_s=0.0))
    async with recogniser.open(), recogniser.attach(NO_SESSION):
        with pytest.raises(AudioError, match="expected 16-bit audio at 16000 Hz"):
            await recogniser.recognise(inbox, outbox, NO_SESSION)


def test_refuses_wrong_numbers() -> None:
    """Numbers out of range are told when they are written."""
    with pytest.raises(ConfigurationError, match=r"silence_s must be at least 0\.12"):
        PocketsphinxRecogniser(GRAMMAR, silence_s=0.1)
    with pytest.raises(ConfigurationError, match="dither must not be negative"):
        PocketsphinxRecogniser(GRAMMAR, dither=-1.0)


@pytest.mark.parametrize("package", ["pocketsphinx", "numpy"])
async def test_names_the_extra_that_is_missing(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a package the error says which, and what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "voicepipe.vendors.pocketsphinx.grammar", raising=False)
    with pytest.raises(MissingExtra, match=r"voicepipe\[local\]") as caught:
        async with PocketsphinxRecogniser(GRAMMAR).open():
            pass
    assert caught.value.package == package


def test_repr_shows_the_settings() -> None:
    """The settings are visible, the grammar is not repeated."""
    assert repr(PocketsphinxRecogniser(GRAMMAR)) == "<PocketsphinxRecogniser silence_s=0.28 dither=30>"
