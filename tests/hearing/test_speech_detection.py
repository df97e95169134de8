"""From a detector's probabilities to starts and ends of speech, as tables of frames and events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.audio.pcm import FRAME_S
from voicepipe.flow import SpeechEnded, SpeechStarted
from voicepipe.hearing.speech_detection import ENDS_AFTER_S, SpeechDetection

PROBABILITY = {"#": 0.9, "-": 0.6, ".": 0.1}
"""A frame that starts speech, one that keeps it up, and silence, with thresholds of 0.7 and 0.5."""

Found = tuple[float, SpeechStarted | SpeechEnded]


def heard(frames: str, *, hang_over_s: float = 0.0) -> list[Found]:
    """Return what is found in a picture of frames, with the time at which the frame has come."""
    detection = SpeechDetection(0.7, 0.5, hang_over_s)
    found = [(number, detection.feed(number * FRAME_S, PROBABILITY[one])) for number, one in enumerate(frames)]
    return [(round((number + 1) * FRAME_S, 6), event) for number, event in found if event is not None]


def started(now: float, at_s: float) -> Found:
    return now, SpeechStarted(at_s=pytest.approx(at_s))  # type: ignore[arg-type]


def ended(now: float, at_s: float) -> Found:
    return now, SpeechEnded(at_s=pytest.approx(at_s))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frames", "found"),
    [
        ("..###", [started(0.10, 0.04)]),  # three frames of speech, dated back to the first
        ("..#.#.#", [started(0.14, 0.04)]),  # three of five
        ("..#..#.#", []),  # two of five, and two of four
        ("..##........##", []),  # two clicks
        ("..----------", []),  # never sure enough to start
        ("..###--------", [started(0.10, 0.04)]),  # sure enough to go on
        ("###..........", [started(0.06, 0.0), ended(0.26, 0.06)]),  # dated back to the last frame of speech
        ("###.........#..........", [started(0.06, 0.0), ended(0.46, 0.26)]),  # 0.18 s are inside a word
        ("###..........###", [started(0.06, 0.0), ended(0.26, 0.06), started(0.32, 0.26)]),
        ("###..........##", [started(0.06, 0.0), ended(0.26, 0.06)]),  # what ended does not count for a new start
    ],
)
def test_frames_become_starts_and_ends(frames: str, found: list[Found]) -> None:
    """Three of five frames start speech, 0.2 s of silence end it, and both are dated to the sound."""
    assert heard(frames) == found


def test_the_end_is_corrected_by_the_detectors_hang_over() -> None:
    """A detector that reports speech 0.1 s too long is waited for that much less; no stretch ends before it began."""
    assert heard("######.....", hang_over_s=0.1) == [started(0.06, 0.0), ended(0.22, 0.02)]
    assert heard("###.....", hang_over_s=0.1) == [started(0.06, 0.0), ended(0.16, 0.0)]


def test_frames_that_are_missing_are_no_speech() -> None:
    """After a gap the frames before it do not count towards a start."""
    detection = SpeechDetection(0.7, 0.5)
    assert [detection.feed(at_s, 0.9) for at_s in (0.0, 0.02, 5.0, 5.02)] == [None] * 4
    assert detection.feed(5.04, 0.9) == SpeechStarted(at_s=5.0)


def test_a_hang_up_ends_speech() -> None:
    """With the last frame of speech, and only if somebody speaks."""
    detection = SpeechDetection(0.7, 0.5)
    assert detection.hang_up() is None
    for number in range(4):
        detection.feed(number * FRAME_S, 0.9)
    assert detection.is_speech
    assert detection.hang_up() == SpeechEnded(at_s=pytest.approx(0.08))  # type: ignore[arg-type]
    assert detection.hang_up() is None


@given(frames=st.text("#-.", max_size=300), hang_over_s=st.sampled_from([0.0, 0.09]))
def test_starts_and_ends_alternate(frames: str, hang_over_s: float) -> None:
    """Whatever the probabilities: stretches do not overlap, and none is reported before it has happened."""
    found = heard(frames, hang_over_s=hang_over_s)
    assert [type(event) for _, event in found] == [SpeechStarted, SpeechEnded] * (len(found) // 2) + (
        [SpeechStarted] if len(found) % 2 else []
    )
    times = [event.at_s for _, event in found]
    assert times == sorted(times)
    assert all(event.at_s <= now for now, event in found)


@given(frames=st.text("#-.", max_size=300))
def test_long_silence_leaves_nothing_open(frames: str) -> None:
    """After 0.2 s of silence nobody is taken to be speaking."""
    found = heard(frames + "." * round(ENDS_AFTER_S / FRAME_S))
    assert not found or isinstance(found[-1][1], SpeechEnded)
