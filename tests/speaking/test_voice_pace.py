"""A voice at about the pace of speech: no silence inside a word, and an event that says what is wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import voicepipe as vp
from voicepipe.speaking.voice_pace import ClipPace, VoicePace
from voicepipe.testing import RecordingOutput, Says, ScriptedModel

pytestmark = pytest.mark.anyio

SENTENCE = "Your parcel is on the road to you."  # 34 characters
THREE = "One two three four five six. One two three four five six. One two three four five six."


class Voice(vp.TTSSink):
    """Gives the audio of a sentence in pieces, each later than the one before.

    Args:
        pieces: How many a sentence has.
        piece_s: Seconds of audio in each.
        every_s: Seconds between two.
    """

    sample_rate = 24_000

    def __init__(self, pieces: int = 10, *, piece_s: float = 0.1, every_s: float = 0.105) -> None:
        self.pieces = pieces
        self.piece_s = piece_s
        self.every_s = every_s

    async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes]:
        for number in range(self.pieces):
            if number:
                await anyio.sleep(self.every_s)
            yield b"\x00\x10" * round(self.piece_s * self.sample_rate)


def voice(start_buffer_s: Any = 0.0, **how: Any) -> Voice:
    made = Voice(**how)
    made.start_buffer_s = start_buffer_s
    return made


async def speak(made: vp.TTSSink, output: vp.Output, *texts: str) -> list[vp.Event]:
    row = vp.Pipeline(ScriptedModel([Says(text) for text in texts]), vp.SentenceChunker(first_words=False), made)
    async with row.session(output=output) as session:
        for _ in texts:
            await session.user_says("Well?")
        session.end()
        return [event async for event in session]


class Line(vp.PacedOutput):
    """A remote peer that keeps what it is sent, with the times."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.frames: list[tuple[float, bytes]] = []

    async def send(self, pcm: bytes) -> None:
        self.frames.append((anyio.current_time(), pcm))


def slow(events: list[vp.Event]) -> list[vp.VoiceTooSlow]:
    return [event for event in events if isinstance(event, vp.VoiceTooSlow)]


@pytest.mark.parametrize("rate", [24_000, 16_000, 8_000, 48_000])
async def test_a_start_buffer_leaves_no_gap(rate: int) -> None:
    """Pieces of 100 ms every 105 ms, resampled or not: what the voice falls behind by is waited for at the start."""
    if rate != 24_000:
        pytest.importorskip("soxr")
    output = RecordingOutput(rate)
    events = await speak(voice(0.05), output, SENTENCE)
    ((began_s, ended_s),) = output.spans()
    assert ended_s - began_s == pytest.approx(1.0, abs=0.001)
    assert began_s == pytest.approx(0.05) if rate == 24_000 else 0.05 < began_s < 0.05 + 0.1
    (event,) = slow(events)
    assert (event.text, event.behind_s, event.silent_s) == (SENTENCE, pytest.approx(0.045), 0.0)


@pytest.mark.parametrize("rate", [16_000, 8_000, 48_000])
@pytest.mark.parametrize("every_s", [0.0, 0.01, 0.05, 0.1])
async def test_resampling_alone_makes_no_gap(rate: int, every_s: float) -> None:
    """What a resampler holds back of a voice that keeps up with speech is waited for, although nothing was learned."""
    pytest.importorskip("soxr")
    output = RecordingOutput(rate)
    events = await speak(voice("learned", every_s=every_s, pieces=30), output, SENTENCE)
    ((began_s, ended_s),) = output.spans()
    assert ended_s - began_s == pytest.approx(3.0, abs=0.001)
    assert began_s < 0.1
    assert slow(events) == []


async def test_without_a_start_buffer_the_gaps_are_reported() -> None:
    """What there is, is played at once; the caller hears nine gaps of 5 ms, which an event adds up."""
    output = RecordingOutput()
    (event,) = slow(await speak(voice(), output, SENTENCE))
    gaps_s = [after - before for (_, before), (after, _) in pairwise(output.spans())]
    assert gaps_s == [pytest.approx(0.005)] * 9
    assert (event.turn_id, event.behind_s) == (1, pytest.approx(0.045))
    assert event.silent_s == pytest.approx(0.045, abs=1e-4)


@pytest.mark.parametrize("rate", [24_000, 16_000, 8_000])
async def test_no_zero_is_sent_inside_a_word(rate: int) -> None:
    """However far a voice falls behind, a peer gets whole frames of speech: only the last one is filled up."""
    if rate != 24_000:
        pytest.importorskip("soxr")
    output = Line(rate)
    await speak(voice(pieces=20, piece_s=0.0537, every_s=0.07), output, SENTENCE)
    sounding = [any(pcm[at : at + 2] == b"\0\0" for at in range(0, len(pcm), 2)) for _, pcm in output.frames]
    assert not any(sounding[:-1])
    assert len(output.frames) == 54  # 1.074 s


async def test_the_pace_of_a_voice_is_learned() -> None:
    """Of a slow voice the first sentence has one gap; from then on each begins when it can be played to its end."""
    output = RecordingOutput()
    events = await speak(voice("learned", pieces=20), output, SENTENCE, SENTENCE, SENTENCE)
    spans = output.spans()
    assert [round(after - before, 3) for before, after in spans][2:] == [2.0, 2.0]
    assert [event.silent_s for event in slow(events)] == [pytest.approx(0.205, abs=0.001), 0.0, 0.0]
    assert [event.behind_s for event in slow(events)] == [pytest.approx(0.095)] * 3


async def test_what_was_learned_is_shared_by_the_calls_of_a_host() -> None:
    """The second caller profits from what the first one heard; the application's own object knows nothing."""
    made = voice("learned")
    row = vp.Pipeline(ScriptedModel([Says(SENTENCE)] * 2), vp.SentenceChunker(), made)
    spans = list[list[tuple[float, float]]]()
    async with row.open() as host:
        for _ in range(2):
            output = RecordingOutput()
            async with host.session(output=output) as session:
                await session.user_says("Well?")
            spans.append(output.spans())
    assert [len(one) for one in spans] == [2, 1]
    assert made._pace is None


async def test_a_buffer_costs_nothing_while_the_sentence_before_is_played() -> None:
    """Three sentences of a voice that is fast enough: one stretch of sound, which begins after the first buffer."""
    output = RecordingOutput()
    events = await speak(voice(0.3, pieces=10, every_s=0.05), output, THREE)
    assert output.spans() == [(pytest.approx(0.3), pytest.approx(3.3))]
    assert slow(events) == []


async def test_a_sentence_shorter_than_the_buffer_is_played_when_it_is_whole() -> None:
    """A short answer does not wait for audio that will never come."""
    output = RecordingOutput()
    await speak(voice(2.0, pieces=3), output, "Yes.")
    assert output.spans() == [(pytest.approx(0.21), pytest.approx(0.51))]


@pytest.mark.parametrize("start_buffer_s", [-0.1, 5.1, float("nan"), "auto", True, None])
def test_a_start_buffer_that_cannot_work_is_refused(start_buffer_s: Any) -> None:
    """What is neither a few seconds nor "learned" is an error when the pipeline is built."""
    with pytest.raises(vp.ConfigurationError, match="start_buffer_s must be 0 to 5 seconds or 'learned', not"):
        vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), voice(start_buffer_s))


async def test_many_marks_do_not_hold_up_a_sentence_with_a_buffer() -> None:
    """A voice that gives more marks than there is room for is played, although its buffer is not full."""

    class Marking(vp.TTSSink):
        async def synthesize(self, sentence: vp.Sentence) -> AsyncIterator[bytes | vp.WordMark]:
            for number in range(500):
                yield vp.WordMark(char_end=1, end_s=number / 1_000)
            yield b"\x00\x10" * self.sample_rate

    made = Marking()
    made.start_buffer_s = 0.5
    output = RecordingOutput()
    await speak(made, output, SENTENCE)
    assert sum(end_s - start_s for start_s, end_s in output.spans()) == pytest.approx(1.0)


@given(pieces=st.lists(st.tuples(st.floats(0.001, 1.0), st.floats(0.0, 2.0)), min_size=1, max_size=30))
def test_the_buffer_that_was_needed_is_enough(pieces: list[tuple[float, float]]) -> None:
    """A sentence that begins `behind_s` after its first audio never runs dry, and with any less it does."""
    pace, at_s, came = ClipPace(), 0.0, list[tuple[float, float]]()
    for audio_s, waited_s in pieces:
        at_s += waited_s if came else 0.0
        came.append((at_s, audio_s))
        pace.came(audio_s, waited_s)

    def is_dry(begins_s: float) -> bool:
        there_s = 0.0
        for arrived_s, audio_s in came:
            if there_s and arrived_s > begins_s + there_s + 1e-9:
                return True
            there_s += audio_s
        return False

    assert not is_dry(pace.behind_s)
    assert pace.behind_s < 1e-6 or is_dry(pace.behind_s - 1e-6)


def test_a_slow_voice_needs_more_for_a_longer_sentence() -> None:
    """What was needed is scaled up with the text, never down, bounded, and forgotten after eight sentences."""
    voice_pace = VoicePace()

    def learn(behind_s: float) -> None:
        clip = ClipPace()
        clip.audio_s = 1.0
        clip.behind_s = behind_s
        voice_pace.learn(20, clip)

    assert voice_pace.start_buffer_s(100) == 0.0
    learn(0.1)
    learn(0.0)
    assert [voice_pace.start_buffer_s(length) for length in (5, 20, 60)] == [
        pytest.approx(0.12),
        pytest.approx(0.12),
        pytest.approx(0.32),
    ]
    assert voice_pace.start_buffer_s(10_000) == 2.0
    for _ in range(8):
        learn(0.0)
    assert voice_pace.start_buffer_s(60) == 0.0
