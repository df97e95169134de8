"""Audio on its way to a recogniser: what is late, what is lag, and what a gap becomes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedVoice

pytestmark = pytest.mark.anyio

RATE = 16_000
LOUD = b"\x00\x10"


def sound(seconds: float) -> bytes:
    return LOUD * round(seconds * RATE)


@dataclass
class Ear(vp.Recogniser):
    """A recogniser of the application's: notes each frame, and reports what the test wants at a time of its audio.

    Attributes:
        pace: Seconds that it takes for a second of audio.
        script: What it reports when so much audio has been heard.
        frames: When each frame came, the time of its first sample, and whether there is sound in it.
    """

    pace: float = 0.0
    script: dict[float, Callable[[float], vp.Hearing]] = field(default_factory=dict)
    frames: list[tuple[float, float, bool]] = field(default_factory=list)

    async def recognise(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: Any) -> None:
        heard_s = 0.0
        async for frame in inbox:
            now = round(anyio.current_time(), 6)
            self.frames.append((now, round(frame.start_s, 6), any(frame.pcm)))
            heard_s = round(heard_s + frame.duration_s, 6)
            if heard_s in self.script:
                await outbox.send(self.script[heard_s](frame.start_s + frame.duration_s))
            if self.pace:
                await anyio.sleep(frame.duration_s * self.pace)

    @property
    def sounds(self) -> list[tuple[float, float]]:
        return [(now, start_s) for now, start_s, is_loud in self.frames if is_loud]


def row(ear: vp.Recogniser) -> vp.Pipeline:
    parts = (vp.STTStage(ear), ScriptedModel([Says("Yes.")] * 9), vp.SentenceChunker(), ScriptedVoice())
    return vp.Pipeline(*parts, detector=None)  # what is installed must not matter


Pushed = list[tuple[float, float, int]]
"""When, how long a piece, and how many of them one after the other."""


async def hold(ear: vp.Recogniser, pushed: Pushed, until_s: float, **session: Any) -> list[tuple[float, vp.Event]]:
    """Push audio into a call, and return the events with their times."""
    source, events = vp.PushSource(RATE), list[tuple[float, vp.Event]]()
    async with row(ear).session(source=source, output=RecordingOutput(), **session) as call:
        async with anyio.create_task_group() as tasks:

            async def listen() -> None:
                events.extend([(round(anyio.current_time(), 6), event) async for event in call])

            tasks.start_soon(listen)
            for at_s, piece_s, pieces in pushed:
                await anyio.sleep_until(at_s)
                for number in range(pieces):
                    if number and piece_s < 0.1:
                        await anyio.sleep_until(at_s + number * piece_s)
                    source.push(sound(piece_s))
            await anyio.sleep_until(until_s)
            call.end()
    return events


def of(events: list[tuple[float, vp.Event]], *kinds: type) -> list[tuple[float, vp.Event]]:
    return [(at_s, event) for at_s, event in events if isinstance(event, kinds)]


# --- late audio -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [1, 48])
async def test_what_comes_together_is_taken_whole(pieces: int) -> None:
    """0.96 s at once and then live audio: a recogniser that is quicker than speech hears all of it."""
    source, ear = vp.PushSource(RATE), Ear(pace=0.5)
    async with row(ear).session(source=source, output=RecordingOutput()) as session:
        for _ in range(pieces):
            source.push(sound(0.96 / pieces))
        for tick in range(1, 151):
            await anyio.sleep_until(tick * 0.02)
            source.push(sound(0.02))
        source.end()
        await session.ended.wait()
        assert [event async for event in session if isinstance(event, vp.AudioDropped)] == []
    assert len(ear.sounds) == 48 + 150
    assert all(now - start_s <= 1.0 for now, start_s in ear.sounds)


async def test_audio_after_a_gap_of_ten_seconds_is_late_news() -> None:
    """What a network held back for 10 s is heard whole, with the times at which it was spoken."""
    ear = Ear(pace=0.4)
    events = await hold(ear, [(0.0, 0.02, 50), (11.0, 10.0, 1), (11.0, 0.02, 600)], until_s=30.0)
    assert of(events, vp.AudioDropped) == []
    late = [start_s for now, start_s in ear.sounds if now >= 11.0]
    assert len(late) == 500 + 600
    assert late[:501] == [round(1.0 + 0.02 * number, 6) for number in range(501)]


async def test_a_source_that_knows_the_times_is_believed() -> None:
    """Late pieces have the time when they were spoken, one by one; after a gap in their times the rest is later."""
    source, ear = vp.PushSource(RATE), Ear()
    stamps = [number * 0.02 for number in range(50)] + [2.0 + number * 0.02 for number in range(50)]
    async with row(ear).session(source=source, output=RecordingOutput()) as session:
        for arrives_s, at_s in zip([*(0.02 * n for n in range(1, 26)), *[0.9] * 20, *[1.0] * 5], stamps, strict=False):
            await anyio.sleep_until(arrives_s)
            source.push(sound(0.02), at_s)
        for number, at_s in enumerate(stamps[50:]):
            await anyio.sleep_until(2.4 + number * 0.02)  # 0.38 s on its way
            source.push(sound(0.02), at_s)
        source.push(sound(0.02), 99.0)  # cannot be: it counts as now
        source.end()
        await session.ended.wait()
    now = 2.4 + 49 * 0.02
    assert [start_s for _, start_s in ear.sounds] == [round(at_s, 6) for at_s in [*stamps, now]]


async def test_times_of_late_audio_after_a_long_gap() -> None:
    """Audio that comes when silence has been given already still gets the time when it was spoken."""
    source, ear = vp.PushSource(RATE), Ear()
    async with row(ear).session(source=source, output=RecordingOutput()) as session:
        source.push(sound(0.5), 0.0)
        await anyio.sleep_until(4.0)
        source.push(sound(0.5), 3.2)
        source.push(sound(0.5), 3.7)
        source.end()
        await session.ended.wait()
    assert [start_s for _, start_s in ear.sounds][25:] == [round(3.2 + 0.02 * number, 6) for number in range(50)]


@pytest.mark.parametrize("pieces", [[0.5], [0.02] * 25, [0.3, 0.2]])
async def test_late_audio_is_heard_as_if_it_had_come_in_time(pieces: list[float]) -> None:
    """A gap of half a second that is made up for at once leaves no trace: no silence, and every time as spoken."""
    source, ear = vp.PushSource(RATE), Ear()
    async with row(ear).session(source=source, output=RecordingOutput()) as session:
        for tick in range(1, 51):
            await anyio.sleep_until(tick * 0.02)
            source.push(sound(0.02))
        await anyio.sleep_until(1.5)
        for piece_s in pieces:
            source.push(sound(piece_s))
        source.end()
        await session.ended.wait()
    assert [start_s for _, start_s, _ in ear.frames] == [round(0.02 * number, 6) for number in range(75)]
    assert {now for now, start_s, _ in ear.frames if start_s >= 1.0} == {1.5}


async def test_audio_that_was_lost_is_not_taken_for_late() -> None:
    """After a gap that nothing makes up for, the time of a frame is when it came."""
    ear = Ear()
    await hold(ear, [(0.02, 0.02, 50), (2.02, 0.02, 50)], until_s=4.0)
    assert all(now == pytest.approx(start_s + 0.02) for now, start_s in ear.sounds)
    assert len(ear.sounds) == 100


async def test_a_reader_that_stands_still_loses_audio_and_it_is_counted() -> None:
    """Half a second may wait; beyond it the oldest goes, frame by frame, and everything is either heard or counted."""

    class Stuck(Ear):
        async def recognise(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: Any) -> None:
            await anyio.sleep_until(3.01)
            await super().recognise(inbox, outbox, session)

    ear = Stuck()
    events = await hold(ear, [(0.02, 0.02, 200)], until_s=4.5)
    dropped_s = sum(event.seconds for _, event in of(events, vp.AudioDropped) if isinstance(event, vp.AudioDropped))
    assert len(ear.sounds) == 26 + 50
    assert dropped_s == pytest.approx(0.02 * (200 - len(ear.sounds)), abs=0.1)
    assert ear.sounds[0] == (3.01, 2.48)


async def test_a_reader_slower_than_speech_loses_the_difference() -> None:
    """At nine tenths of the pace of speech one frame in ten goes, once half a second waits."""
    ear = Ear(pace=1 / 0.9)
    events = await hold(ear, [(0.02, 0.02, 1_000)], until_s=20.02)
    dropped_s = sum(event.seconds for _, event in of(events, vp.AudioDropped) if isinstance(event, vp.AudioDropped))
    assert 1.3 <= dropped_s <= 1.5  # 2 s are too much, 0.5 s wait


async def test_late_audio_is_bounded() -> None:
    """Of a minute that comes at once, the newest ten seconds and a half are heard; the rest is counted."""
    ear = Ear()
    events = await hold(ear, [(1.0, 60.0, 1)], until_s=2.0)
    assert len(ear.sounds) == 525
    assert sum(event.seconds for _, event in of(events, vp.AudioDropped) if isinstance(event, vp.AudioDropped)) == (
        pytest.approx(49.5)
    )


# --- audio that stops -------------------------------------------------------------------------------------------------


def starts(at_s: float) -> vp.Hearing:
    return vp.SpeechStarted(at_s=at_s - 0.12)


def ends(at_s: float) -> vp.Hearing:
    return vp.SpeechEnded(at_s=at_s)


GREETING = "This is a long greeting, which the caller hears to its end unless somebody cuts in."  # 4.15 s


@pytest.mark.parametrize("reports_end", [True, False])
async def test_a_noise_before_the_source_is_muted_does_not_interrupt(reports_end: bool) -> None:
    """A click on the mute button: 0.16 s of noise, then no frames at all. The greeting is heard to its end."""
    ear = Ear(script={0.12: starts} | ({0.3: ends} if reports_end else {}))
    events = await hold(ear, [(1.02, 0.02, 8)], until_s=6.0, greeting=GREETING)
    assert [type(event) for _, event in of(events, vp.TurnEnded)] == [vp.TurnCompleted]
    assert of(events, vp.SpeechStarted, vp.SpeechEnded, vp.AudioStopped)[:3] == [
        (1.12, vp.SpeechStarted(at_s=1.0)),
        (1.26, vp.SpeechEnded(at_s=pytest.approx(1.16))),  # type: ignore[arg-type]
        (3.16, vp.AudioStopped(at_s=pytest.approx(1.16))),  # type: ignore[arg-type]
    ]


async def test_a_late_report_of_speech_that_is_over_does_not_interrupt() -> None:
    """A service that reports 0.4 s late, when the source has been muted: what counts is how long the speech lasted."""

    class Service(Ear):
        async def recognise(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: Any) -> None:
            await anyio.sleep_until(1.6)
            await outbox.send(vp.SpeechStarted(at_s=1.0))
            await super().recognise(inbox, outbox, session)

    short = await hold(Service(), [(1.02, 0.02, 8)], until_s=6.0, greeting=GREETING)
    assert [type(event) for _, event in of(short, vp.TurnEnded)] == [vp.TurnCompleted]
    assert of(short, vp.SpeechStarted, vp.SpeechEnded) == [
        (1.6, vp.SpeechStarted(at_s=1.0, until_s=pytest.approx(1.16))),  # type: ignore[arg-type]
        (1.6, vp.SpeechEnded(at_s=pytest.approx(1.16))),  # type: ignore[arg-type]
    ]


async def test_a_late_report_of_long_speech_pauses() -> None:
    """The same service, when the caller had spoken for half a second before the source was muted."""

    class Service(Ear):
        async def recognise(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: Any) -> None:
            await anyio.sleep_until(1.8)
            await outbox.send(vp.SpeechStarted(at_s=1.0))
            await super().recognise(inbox, outbox, session)

    events = await hold(Service(), [(1.02, 0.02, 25)], until_s=6.0, greeting=GREETING)
    assert [at_s for at_s, _ in of(events, vp.Paused)] == [1.8]


@pytest.mark.parametrize("late_s", [0.5, 0.0])
async def test_speech_that_goes_on_after_a_gap_pauses(late_s: float) -> None:
    """A hiccup of 0.5 s in the middle of speech ends it; once audio comes again it goes on, and pauses the agent."""
    ear = Ear(script={0.12: starts, 0.14: ends, 0.32: starts})
    pushed: Pushed = [(0.02, 0.02, 10), (1.22, 0.02, 7)]
    pushed += [(1.82, late_s, 1)] if late_s else []
    events = await hold(ear, [*pushed, (1.82, 0.02, 100)], until_s=5.0, greeting=GREETING)
    assert [at_s for at_s, _ in of(events, vp.Paused)] == [2.12]
    assert [at_s for at_s, _ in of(events, vp.SpeechStarted)] == [0.12, 1.32, 1.82]


async def test_a_source_that_gives_a_second_at_a_time_does_not_stop() -> None:
    """Between two pieces nothing is missing: speech goes on, and no gap is reported."""
    ear = Ear(script={2.12: starts})
    events = await hold(ear, [(float(second), 1.0, 1) for second in range(1, 9)], until_s=8.5)
    assert of(events, vp.SpeechEnded, vp.AudioStopped) == []
    assert len(of(events, vp.SpeechStarted)) == 1


async def test_a_recogniser_gets_silence_after_two_seconds() -> None:
    """Nothing for 2 s, then the silence that the gap was, in time from there on; events say so, and when it is over."""
    ear = Ear()
    events = await hold(ear, [(0.02, 0.02, 50), (5.0, 0.02, 50)], until_s=6.5)
    silence = [(now, start_s) for now, start_s, is_loud in ear.frames if not is_loud]
    assert [start_s for now, start_s in silence if now == 3.0] == [round(1.0 + 0.02 * n, 6) for n in range(100)]
    assert [start_s for _, start_s in silence] == [round(1.0 + 0.02 * n, 6) for n in range(len(silence))]
    assert sorted({now for now, _ in silence}) == [round(3.0 + 0.1 * n, 6) for n in range(20)]
    assert of(events, vp.AudioStopped, vp.AudioResumed) == [
        (3.0, vp.AudioStopped(at_s=pytest.approx(1.0))),  # type: ignore[arg-type]
        (5.0, vp.AudioResumed(after_s=pytest.approx(4.0))),  # type: ignore[arg-type]
    ]


@pytest.mark.slow
async def test_a_call_that_is_held_costs_nothing() -> None:
    """Of a gap of an hour the recogniser hears ten seconds; then nothing moves until audio comes again."""
    ear = Ear()
    await hold(ear, [(0.02, 0.02, 50), (3_600.02, 0.02, 50)], until_s=3_602.0)
    silence = [start_s for _, start_s, is_loud in ear.frames if not is_loud]
    assert silence == [round(1.0 + 0.02 * number, 6) for number in range(len(silence))]
    assert silence[-1] == pytest.approx(10.88)
    assert [start_s for _, start_s in ear.sounds][50:] == [
        pytest.approx(3_600.0 + 0.02 * number) for number in range(50)
    ]


async def test_a_turn_comes_when_frames_stop_after_speech() -> None:
    """A recogniser that waits for silence gets it: the caller's turn ends, and is answered."""

    class Patient(Ear):
        async def recognise(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: Any) -> None:
            quiet_s, has_spoken = 0.0, False
            async for frame in inbox:
                quiet_s = 0.0 if any(frame.pcm) else quiet_s + frame.duration_s
                has_spoken |= not quiet_s
                if has_spoken and quiet_s > 0.7:
                    has_spoken = False
                    await outbox.send(vp.Transcript("Where is my order?", frame.start_s - quiet_s, frame.start_s))

    events = await hold(Patient(), [(0.02, 0.02, 50)], until_s=6.0)
    assert [at_s for at_s, _ in of(events, vp.Transcript)] == [3.0]
    assert [type(event) for _, event in of(events, vp.TurnEnded)] == [vp.TurnCompleted]


async def test_a_source_that_never_gives_audio_is_reported() -> None:
    """A line without audio from the caller's side: the application learns it after 2 s, and when it is mended."""
    ear = Ear()
    events = await hold(ear, [(3.0, 0.02, 10)], until_s=4.0)
    assert of(events, vp.AudioStopped, vp.AudioResumed) == [
        (2.0, vp.AudioStopped(at_s=0.0)),
        (3.0, vp.AudioResumed(after_s=3.0)),
    ]
    assert len(ear.frames) == len(ear.sounds) == 10


async def test_gaps_of_a_source_of_the_application() -> None:
    """The rules hold for any `Source`; nothing of the audio before the gap is held back by a resampler."""
    pytest.importorskip("soxr")

    class Line(vp.Source):
        sample_rate = 8_000

        async def frames(self) -> AsyncIterator[bytes]:
            for tick in range(1, 51):
                await anyio.sleep_until(tick * 0.02)
                yield LOUD * 160
            await anyio.sleep_forever()

    ear = Ear()
    async with row(ear).session(source=Line(), output=RecordingOutput()):
        await anyio.sleep_until(4.0)
    assert sum(is_loud for _, _, is_loud in ear.frames) in (50, 51)  # the resampler's last samples are a frame too
    starts_s = [start_s for _, start_s, _ in ear.frames]
    assert max(after - before for before, after in pairwise(starts_s)) == pytest.approx(0.02)
    assert starts_s[-1] == pytest.approx(3.98, abs=0.02)


async def test_silence_does_not_push_out_what_waits() -> None:
    """A recogniser that still works through late audio gets the silence when it has heard that."""
    ear = Ear(pace=0.5)
    events = await hold(ear, [(0.02, 0.02, 50), (2.5, 8.0, 1)], until_s=12.0)
    assert of(events, vp.AudioDropped) == []
    assert len(ear.sounds) == 450
    first_silence_s = next(now for now, start_s, is_loud in ear.frames if now > 2.5 and not is_loud)
    assert first_silence_s >= max(now for now, _ in ear.sounds)


async def test_audio_from_before_the_call_needs_no_more_to_be_heard() -> None:
    """What was pushed while the session opened is heard when it begins, and not only when the next audio comes."""
    ear, source = Ear(), vp.PushSource(RATE)
    source.push(sound(0.1))
    async with row(ear).session(source=source, output=RecordingOutput()):
        await anyio.sleep(0.01)
        assert [now for now, _ in ear.sounds] == [0.0] * 5


async def test_a_buffer_that_the_source_uses_again_is_copied() -> None:
    """Frames are bytes, and stay as they were when the source overwrites the buffer that it has given."""

    class Kinds(vp.Recogniser):
        frames: list[bytes] = []  # noqa: RUF012 - of all copies

        async def recognise(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: Any) -> None:
            async for frame in inbox:
                self.frames.append(frame.pcm)

    source, buffer = vp.PushSource(RATE), bytearray(sound(0.02))
    async with row(Kinds()).session(source=source, output=RecordingOutput()):
        for tick in range(1, 4):
            await anyio.sleep_until(tick * 0.02)
            buffer[:] = sound(0.02)
            source.push(buffer)  # type: ignore[arg-type]  # a bytearray will do, as transports have it
            buffer[:] = bytes(len(buffer))
        await anyio.sleep(0.01)
    assert Kinds.frames == [sound(0.02)] * 3
    assert all(type(pcm) is bytes for pcm in Kinds.frames)
