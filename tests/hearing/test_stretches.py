"""Stretches of speech that audio cuts: each begins and ends once for those who take turns by them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.flow import EarlyTranscript, Hearing, SpeechEnded, SpeechStarted, Transcript
from voicepipe.hearing.stretches import SpeechStretches

STARTED, ENDED = SpeechStarted(at_s=1.0), SpeechEnded(at_s=2.0)
WORDS = Transcript("Hello?", 2.0, 2.3)


def test_while_audio_comes_reports_pass_as_they_are() -> None:
    """Nothing is added, left out or changed."""
    stretches, reports = SpeechStretches(), [STARTED, EarlyTranscript("Hel"), ENDED, WORDS, ENDED, STARTED, STARTED]
    assert [event for report in reports for event in stretches.reported(report, None)] == reports
    assert stretches.resumed(9.0) == []


def test_audio_that_stops_ends_speech_once() -> None:
    """The recogniser's own end of the stretch, once it gets silence, is not a second one."""
    stretches = SpeechStretches()
    stretches.reported(STARTED, None)
    assert [*stretches.stopped(1.5), *stretches.stopped(1.5)] == [SpeechEnded(at_s=1.5)]
    stretches.silenced()
    assert [*stretches.reported(ENDED, 1.5), *stretches.reported(WORDS, 1.5)] == [WORDS]


def test_a_report_that_comes_after_the_audio_has_stopped_is_a_whole_stretch() -> None:
    """It says how long the speech lasted, and ends at once; never before it began."""
    assert SpeechStretches().reported(STARTED, 1.4) == [SpeechStarted(at_s=1.0, until_s=1.4), SpeechEnded(at_s=1.4)]
    assert SpeechStretches().reported(STARTED, 0.5) == [SpeechStarted(at_s=1.0, until_s=1.0), SpeechEnded(at_s=1.0)]


@pytest.mark.parametrize(("reports_ends", "again"), [(True, [SpeechStarted(at_s=1.9)]), (False, [])])
def test_speech_goes_on_when_audio_comes_back(reports_ends: bool, again: list[Hearing]) -> None:
    """Only with a recogniser that says when speech ends: another's stretch may have ended long ago."""
    stretches = SpeechStretches()
    for event in (STARTED, ENDED, STARTED) if reports_ends else (STARTED,):
        stretches.reported(event, None)
    stretches.stopped(1.5)
    assert stretches.resumed(1.9) == again
    assert stretches.resumed(1.9) == []
    assert stretches.reported(ENDED, None) == ([ENDED] if again else [])


def test_after_silence_only_new_speech_counts() -> None:
    """A recogniser that was given silence has ended the stretch, or will say so."""
    stretches = SpeechStretches()
    for event in (STARTED, ENDED, STARTED):
        stretches.reported(event, None)
    stretches.stopped(1.5)
    stretches.silenced()
    assert stretches.resumed(4.0) == []
    assert stretches.reported(STARTED, None) == [STARTED]


PROPER = st.lists(st.sampled_from(["start", "end", "words", "stop", "resume", "silence"]), max_size=40)


@given(steps=PROPER, reports_late=st.booleans())
def test_starts_and_ends_alternate(steps: list[str], reports_late: bool) -> None:
    """Whatever audio does, those who listen to a recogniser whose reports alternate hear alternating ones."""
    stretches, heard = SpeechStretches(), list[Hearing]()
    is_speaking, stopped_s = False, None
    for step in steps:
        if step in ("start", "end"):
            if is_speaking == (step == "start"):
                continue
            is_speaking = not is_speaking
            heard += stretches.reported(STARTED if is_speaking else ENDED, stopped_s if reports_late else None)
        elif step == "words" and not is_speaking:
            heard += stretches.reported(WORDS, stopped_s)
        elif step == "stop":
            stopped_s = 1.5
            heard += stretches.stopped(1.5)
        elif step == "resume":
            stopped_s = None
            heard += stretches.resumed(1.9)
        elif step == "silence" and stopped_s is not None:
            stretches.silenced()
    marks = [isinstance(event, SpeechStarted) for event in heard if isinstance(event, SpeechStarted | SpeechEnded)]
    assert marks == [number % 2 == 0 for number in range(len(marks))]
