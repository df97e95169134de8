"""A detector in a call: what it adds to the recogniser's reports, and when; what it costs; what it refuses."""

from __future__ import annotations

import math
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.hearing.detecting import Detecting, is_silent
from voicepipe.hearing.detector import MissingDetector
from voicepipe.session import detectors
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedRecogniser, ScriptedUser, ScriptedVoice

pytestmark = pytest.mark.anyio

RATE = 16_000
LOUD, QUIET, SILENT = b"\x00\x10", b"\x40\x00", b"\x00\x00"
"""Samples of speech, of a room in which nobody speaks, and of a line that is switched off."""


class Loudness(vp.Detector):
    """A detector of the application's: what is loud is speech.

    Attributes:
        made: Each copy that was attached, which counts what it was asked.
    """

    def __init__(self, sample_rate: int = RATE) -> None:
        self.sample_rate = sample_rate
        self.made: list[Loudness] = []
        self.lengths: list[int] = []

    @asynccontextmanager
    async def attach(self, session: Any) -> AsyncGenerator[None]:
        self.lengths = []
        self.made.append(self)
        yield

    def speech(self, frame: bytes) -> float:
        self.lengths.append(len(frame))
        return 0.9 if max(frame[1::2]) in range(8, 128) else 0.1


@dataclass
class Ear(vp.Recogniser):
    """A recogniser of the application's: reports what the test wants at a time of its audio.

    Attributes:
        script: What it reports when so much audio has been heard.
    """

    script: dict[float, vp.Hearing] = field(default_factory=dict)

    async def recognise(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: Any) -> None:
        heard_s = 0.0
        async for frame in inbox:
            heard_s = round(heard_s + frame.duration_s, 6)
            if heard_s in self.script:
                await outbox.send(self.script[heard_s])


def row(ear: vp.Recogniser, **settings: Any) -> vp.Pipeline:
    parts = (vp.STTStage(ear), ScriptedModel([Says("Yes.")] * 9), vp.SentenceChunker(), ScriptedVoice())
    return vp.Pipeline(*parts, **settings)


Stretch = tuple[float, bytes | None]
"""For how long, and which samples; None for no audio at all."""


async def hold(pipeline: vp.Pipeline, audio: list[Stretch], rate: int = RATE) -> list[tuple[float, vp.Event]]:
    """Push live audio into a call, hang up at its end, and return the events with their times."""
    source, events = vp.PushSource(rate), list[tuple[float, vp.Event]]()
    async with pipeline.session(source=source, output=RecordingOutput()) as call:
        async with anyio.create_task_group() as tasks:

            async def listen() -> None:
                events.extend([(round(anyio.current_time(), 6), event) async for event in call])

            tasks.start_soon(listen)
            tick = 0
            for seconds, sample in audio:
                for _ in range(round(seconds / 0.02)):
                    tick += 1
                    await anyio.sleep_until(tick * 0.02)
                    if sample is not None:
                        source.push(sample * round(0.02 * rate))
            source.end()
            await call.ended.wait()
    return events


SPEECH = (vp.SpeechStarted, vp.SpeechEnded, vp.Transcript)


def heard(events: list[tuple[float, vp.Event]]) -> list[tuple[float, vp.Event]]:
    return [(at_s, event) for at_s, event in events if isinstance(event, SPEECH)]


def near(at_s: float) -> Any:
    return pytest.approx(at_s, abs=1e-6)


# --- what it reports --------------------------------------------------------------------------------------------------


async def test_speech_is_reported_before_the_recogniser_knows() -> None:
    """It begins three frames after its first sample and ends 0.2 s after its last one, whatever the recogniser does."""
    late = Ear({2.2: vp.SpeechStarted(at_s=1.02), 2.6: vp.Transcript("Hello.", 2.0, 2.6)})
    events = await hold(row(late, detector=Loudness()), [(1.0, QUIET), (1.0, LOUD), (1.0, QUIET)])
    assert heard(events) == [
        (1.06, vp.SpeechStarted(at_s=near(1.0))),
        (2.2, vp.SpeechEnded(at_s=near(2.0))),
        (2.6, vp.Transcript("Hello.", 2.0, 2.6)),
    ]


async def test_a_recogniser_that_is_earlier_wins() -> None:
    """The stretch begins with its report, and ends with the detector's."""
    early = Ear({1.04: vp.SpeechStarted(at_s=1.0), 1.8: vp.SpeechEnded(at_s=1.7)})
    events = await hold(row(early, detector=Loudness()), [(1.0, QUIET), (1.0, LOUD), (1.0, QUIET)])
    assert heard(events) == [(1.04, vp.SpeechStarted(at_s=1.0)), (2.2, vp.SpeechEnded(at_s=near(2.0)))]


async def test_the_agent_is_silent_once_speech_has_lasted() -> None:
    """With a service that reports speech a second late, the caller is obeyed `min_speech_s` after the first sound."""
    asks = Ear({0.5: vp.Transcript("Hello?", 0.5, 0.5), 2.0: vp.SpeechStarted(at_s=1.0)})
    pipeline = row(asks, detector=Loudness(), turns=vp.TurnRules(min_speech_s=0.3))
    pipeline = pipeline.replace({ScriptedModel: ScriptedModel([Says("One two three four five six seven eight nine.")])})
    events = await hold(pipeline, [(1.0, QUIET), (1.0, LOUD), (1.0, QUIET)])
    assert [at_s for at_s, event in events if isinstance(event, vp.Paused)] == [1.3]


async def test_a_stage_that_sends_only_transcripts_gets_no_company() -> None:
    """What a stage of the application promises to send holds with a detector, too."""

    class Words(vp.SessionStage[vp.AudioFrame, vp.Transcript]):
        async def run(self, inbox: Any, outbox: Any, session: Any) -> None:
            async for _ in inbox:
                pass

    detector = Loudness()
    parts = (Words(), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice())
    events = await hold(vp.Pipeline(*parts, detector=detector), [(0.2, QUIET), (0.5, LOUD)])
    assert heard(events) == []


async def test_a_hang_up_ends_speech() -> None:
    """In the middle of a word: the stretch ends with the audio."""
    events = await hold(row(Ear(), detector=Loudness()), [(1.0, QUIET), (0.5, LOUD)])
    assert heard(events) == [(1.06, vp.SpeechStarted(at_s=near(1.0))), (1.5, vp.SpeechEnded(at_s=near(1.5)))]


# --- audio that stops -------------------------------------------------------------------------------------------------


async def test_audio_that_stops_ends_speech() -> None:
    """After 0.1 s, and when it comes back within 2 s speech goes on."""
    audio: list[Stretch] = [(1.0, QUIET), (0.5, LOUD), (1.0, None), (0.5, LOUD), (0.5, QUIET)]
    assert heard(await hold(row(Ear(), detector=Loudness()), audio)) == [
        (1.06, vp.SpeechStarted(at_s=near(1.0))),
        (1.6, vp.SpeechEnded(at_s=near(1.5))),
        (2.52, vp.SpeechStarted(at_s=near(2.52))),
        (3.2, vp.SpeechEnded(at_s=near(3.0))),
    ]


async def test_a_stretch_that_may_never_end_does_not_go_on() -> None:
    """A service that reports no ends has reported a start in the gap: after it only what the detector hears counts."""
    late = Ear({1.06: vp.SpeechStarted(at_s=1.0)})
    audio: list[Stretch] = [
        (1.0, QUIET),
        (0.04, LOUD),
        (0.02, QUIET),
        (1.0, None),
        (0.5, QUIET),
        (0.5, LOUD),
        (0.5, QUIET),
    ]
    assert heard(await hold(row(late, detector=Loudness()), audio)) == [
        (1.06, vp.SpeechStarted(at_s=1.0)),
        (1.16, vp.SpeechEnded(at_s=near(1.06))),
        (2.62, vp.SpeechStarted(at_s=near(2.56))),
        (3.26, vp.SpeechEnded(at_s=near(3.06))),
    ]


async def test_after_two_seconds_speech_is_over() -> None:
    """The silence that a gap is given is silence for the detector as well: its end of the stretch is no second one."""
    audio: list[Stretch] = [(1.0, QUIET), (0.5, LOUD), (3.0, None), (0.5, LOUD), (0.5, QUIET)]
    assert heard(await hold(row(Ear(), detector=Loudness()), audio)) == [
        (1.06, vp.SpeechStarted(at_s=near(1.0))),
        (1.6, vp.SpeechEnded(at_s=near(1.5))),
        (4.56, vp.SpeechStarted(at_s=near(4.5))),
        (5.2, vp.SpeechEnded(at_s=near(5.0))),
    ]


# --- which one, and what it costs -------------------------------------------------------------------------------------


async def test_each_call_has_a_detector_of_its_own() -> None:
    """What one call's detector has heard is nothing to another's."""
    detector = Loudness()
    async with row(Ear(), detector=detector).open() as host:
        for seconds in (0.1, 0.2):
            source = vp.PushSource(RATE)
            async with host.session(source=source, output=RecordingOutput()):
                source.push(LOUD * round(seconds * RATE))
                await anyio.sleep(0.1)
    assert [len(one.lengths) for one in detector.made] == [5, 10]
    assert len(set(map(id, [detector, *detector.made]))) == 3


async def test_silence_is_not_looked_at() -> None:
    """The detector hears 0.2 s of it, and nothing until there is sound; a quiet room is looked at."""
    detector = Loudness()
    await hold(row(Ear(), detector=detector), [(1.0, SILENT), (0.1, LOUD), (5.0, SILENT), (0.4, QUIET)])
    assert [len(one.lengths) for one in detector.made] == [10 + 5 + 10 + 20]


@pytest.mark.parametrize(
    ("samples", "silent"),
    [([0], True), ([31, -32], True), ([32], False), ([-33], False), ([0, 300], False), ([-300], False)],
)
def test_silence_is_below_minus_sixty_decibels(samples: list[int], silent: bool) -> None:
    """That is 32 of 32,768: the noise of a line, not of a voice."""
    pcm = b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples * 100)
    assert is_silent(pcm) is silent


@pytest.mark.parametrize("rate", [8_000, 48_000])
async def test_audio_of_another_rate_is_resampled(rate: int) -> None:
    """The detector gets 20 ms at its own rate, and what it finds has the times of the call."""
    pytest.importorskip("soxr")
    detector = Loudness(rate)
    found = heard(await hold(row(Ear(), detector=detector), [(1.0, QUIET), (1.0, LOUD), (1.0, QUIET)]))
    assert set(detector.made[0].lengths) == {rate // 25}
    assert [type(event) for _, event in found] == [vp.SpeechStarted, vp.SpeechEnded]
    assert [round(event.at_s, 1) for _, event in found if not isinstance(event, vp.Transcript)] == [1.0, 2.0]


def missing(*packages: str) -> Callable[[str], bool]:
    return lambda package: package not in packages


@pytest.mark.parametrize(
    ("absent", "rate", "kind"),
    [
        ((), 16_000, vp.EarshotDetector),
        ((), 8_000, vp.EarshotDetector),
        (("soxr",), 8_000, vp.WebRTCDetector),
        (("earshot",), 16_000, vp.WebRTCDetector),
        (("numpy",), 16_000, vp.WebRTCDetector),
        (("numpy", "soxr"), 11_025, MissingDetector),
        (("earshot", "pocketsphinx"), 16_000, MissingDetector),
    ],
)
def test_the_best_installed_detector_is_chosen(
    absent: tuple[str, ...], rate: int, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earshot, else WebRTC, which knows some rates by itself, else none."""
    monkeypatch.setattr(detectors, "_has", missing(*absent))
    ear = Ear()
    ear.sample_rate = rate
    assert type(detectors.detector_for("auto", [vp.STTStage(ear)], rate)) is kind


@pytest.mark.parametrize("stages", [[], [ScriptedUser()], [vp.STTStage(ScriptedRecogniser())]])
def test_where_none_is_needed_none_is_chosen(stages: list[Any]) -> None:
    """For typed words, for a scripted caller, and with a recogniser that reports speech in time."""
    assert detectors.detector_for("auto", stages, RATE) is None


async def test_a_missing_detector_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a call with audio begins; and not if the application wants none, nor in a typed call."""
    monkeypatch.setattr(detectors, "_has", lambda _package: False)
    audio: list[Stretch] = [(0.5, LOUD)]
    events = await hold(row(Ear()), audio)
    assert [event for event in events if isinstance(event[1], vp.DetectorMissing)] == [
        (0.0, vp.DetectorMissing(extra="detector"))
    ]
    assert heard(events) == []
    assert not any(isinstance(event, vp.DetectorMissing) for _, event in await hold(row(Ear(), detector=None), audio))
    async with row(Ear()).session(output=RecordingOutput()) as typed:
        await typed.user_says("Hello.")
        typed.end()
        assert not any([isinstance(event, vp.DetectorMissing) async for event in typed])


async def test_a_detector_can_be_replaced() -> None:
    """By the one that was given or by a class, as other parts can; the rest of the pipeline stays."""
    first, second = Loudness(), Loudness()
    await hold(row(Ear(), detector=first).replace({Loudness: second}), [(0.2, LOUD)])
    assert (len(first.made), len(second.made)) == (0, 1)
    await hold(row(Ear(), detector=first).replace({ScriptedVoice: ScriptedVoice()}), [(0.2, LOUD)])
    assert len(first.made) == 1


# --- what it refuses --------------------------------------------------------------------------------------------------


class Half(Loudness):
    end_threshold = 0.8


class Slow(Loudness):
    hang_over_s = 2.0


@pytest.mark.parametrize(
    ("detector", "message"),
    [
        (Loudness, 'detector must be a Detector such as EarshotDetector\\(\\), "auto" or None, not the class Loudness'),
        ("earshot", "not 'earshot'"),
        (Loudness(4_000), "Loudness.sample_rate must be 8000 to 48000 samples per second, not 4000"),
        (Half(), "Half needs 0 < end_threshold <= start_threshold <= 1, not end_threshold=0.8 and start_threshold=0.7"),
        (Slow(), "Slow.hang_over_s must be 0 to 1 second, not 2"),
    ],
)
def test_a_detector_that_cannot_work_is_refused(detector: Any, message: str) -> None:
    """When the pipeline is built."""
    with pytest.raises(vp.ConfigurationError, match=message):
        row(Ear(), detector=detector)


def test_a_detector_is_no_part_of_the_row() -> None:
    """The message says where it belongs."""
    with pytest.raises(vp.ConfigurationError, match=r"Loudness is a detector; give it as Pipeline\(..., detector="):
        vp.Pipeline(Loudness(), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice())


def test_a_detector_of_another_rate_needs_soxr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package that resamples, the pipeline is refused when it is built."""
    monkeypatch.setitem(sys.modules, "soxr", None)  # as if it were not installed
    with pytest.raises(vp.ConfigurationError, match="the recogniser's audio gives 16000 Hz, Loudness takes 8000 Hz"):
        row(Ear(), detector=Loudness(8_000))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda: 1.5, "Wrong.speech must return a probability, 0 to 1, not 1.5"),
        (lambda: math.nan, "Wrong.speech must return a probability, 0 to 1, not nan"),
        (lambda: "yes", "Wrong raised TypeError"),
        (lambda: 1 / 0, "Wrong raised ZeroDivisionError"),
    ],
)
async def test_a_faulty_detector_ends_the_call_under_its_name(answer: Callable[[], Any], message: str) -> None:
    """The source that pushed the audio gets no error of the detector's."""

    class Wrong(vp.Detector):
        def speech(self, frame: bytes) -> float:
            return answer()  # type: ignore[no-any-return]

    source = vp.PushSource(RATE)
    with pytest.raises(vp.StageError, match=message) as raised:
        async with row(Ear(), detector=Wrong()).session(source=source, output=RecordingOutput()) as call:
            source.push(LOUD * 320)
            await call.ended.wait()
    assert raised.value.part == "Wrong"


def test_what_a_detector_found_is_taken_once() -> None:
    """`take` leaves nothing behind."""
    detecting = Detecting(Loudness(), RATE)
    for number in range(5):
        detecting.feed(vp.AudioFrame(pcm=LOUD * 320, sample_rate=RATE, start_s=number * 0.02))
    assert detecting.has_news
    assert detecting.take() == [vp.SpeechStarted(at_s=0.0)]
    assert not detecting.has_news
    assert detecting.take() == []
