"""Two who report speech, the recogniser and a detector: one account of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.flow import EarlyTranscript, Hearing, SpeechEnded, SpeechStarted, Transcript
from voicepipe.hearing.merged_speech import MergedSpeech


def s(at_s: float) -> SpeechStarted:
    return SpeechStarted(at_s=at_s)


def e(at_s: float) -> SpeechEnded:
    return SpeechEnded(at_s=at_s)


def final(ended_s: float) -> Transcript:
    return Transcript("Hello.", ended_s, ended_s + 0.3)


Report = tuple[str, Hearing]


def merged(reports: list[Report]) -> list[Hearing]:
    """Feed reports of the detector ("d") and the recogniser ("r")."""
    speech = MergedSpeech()
    return [
        event
        for who, report in reports
        for event in (
            speech.detected(report)
            if who == "d" and isinstance(report, (SpeechStarted, SpeechEnded))
            else speech.reported(report)
        )
    ]


TABLE: list[tuple[str, list[Report], list[Hearing]]] = [
    ("the detector alone", [("d", s(1.0)), ("d", e(2.0))], [s(1.0), e(2.0)]),
    ("the recogniser alone", [("r", s(1.0)), ("r", e(2.0))], [s(1.0), e(2.0)]),
    ("the recogniser is late", [("d", s(1.0)), ("r", s(1.1)), ("d", e(2.0)), ("r", e(2.1))], [s(1.0), e(2.0)]),
    ("the recogniser is later than the end", [("d", s(1.0)), ("d", e(1.4)), ("r", s(1.1))], [s(1.0), e(1.4)]),
    ("it dates the start after the end", [("d", s(1.0)), ("d", e(1.4)), ("r", s(1.6))], [s(1.0), e(1.4)]),
    ("it means other speech", [("d", s(1.0)), ("d", e(1.4)), ("r", s(1.7))], [s(1.0), e(1.4), s(1.7)]),
    ("the recogniser is first", [("r", s(0.9)), ("d", s(1.0)), ("r", e(1.9)), ("d", e(2.0))], [s(0.9), e(2.0)]),
    ("an end of speech before", [("d", s(1.0)), ("d", e(2.0)), ("d", s(2.5)), ("r", e(2.1))], [s(1.0), e(2.0), s(2.5)]),
    ("a transcript while one speaks", [("d", s(1.0)), ("r", final(1.5)), ("d", e(2.0))], [s(1.0), final(1.5), e(2.0)]),
    ("a transcript ends what it alone reported", [("r", s(1.0)), ("r", final(1.5))], [s(1.0), e(1.5), final(1.5)]),
    (
        "a transcript of speech that ended",
        [("d", s(1.0)), ("d", e(2.0)), ("r", final(2.0))],
        [s(1.0), e(2.0), final(2.0)],
    ),
    ("words pass", [("r", EarlyTranscript("Hel"))], [EarlyTranscript("Hel")]),
    ("an end of nothing", [("r", e(1.0)), ("d", e(1.0))], []),
    (
        "speech that goes on",
        [("r", s(1.0)), ("r", e(1.5)), ("d", s(1.2)), ("d", e(2.0))],
        [s(1.0), e(1.5), s(1.5), e(2.0)],
    ),
]


@pytest.mark.parametrize(("reports", "heard"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_two_reports_are_one_stretch(reports: list[Report], heard: list[Hearing]) -> None:
    """The earlier start wins, and the detector decides about the end of what it hears."""
    assert merged(reports) == heard


def test_an_end_is_sure_where_somebody_reports_it() -> None:
    """A recogniser that has never reported an end may never do so; a detector does."""
    speech = MergedSpeech()
    speech.reported(s(1.0))
    assert not speech.will_end
    speech.detected(s(1.1))
    assert speech.will_end
    speech.detected(e(2.0))
    speech.reported(e(2.1))
    speech.reported(s(5.0))
    assert speech.will_end


def test_a_forgotten_stretch_is_over() -> None:
    """Audio that stopped has ended it: the next start is a new one."""
    speech = MergedSpeech()
    speech.reported(s(1.0))
    speech.forget(1.5)
    assert speech.detected(s(2.0)) == [s(2.0)]


times = st.floats(0.0, 20.0).map(lambda at_s: round(at_s, 2))
reports = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("dr"), st.one_of(times.map(s), times.map(e))),
        st.tuples(st.just("r"), times.map(final)),
    )
)


@given(reports)
def test_stretches_never_overlap(reports: list[Report]) -> None:
    """Whatever the two report, in whatever order: starts and ends alternate, no stretch begins before one has ended."""
    found = [event for event in merged(reports) if isinstance(event, (SpeechStarted, SpeechEnded))]
    assert [isinstance(event, SpeechStarted) for event in found] == [not number % 2 for number in range(len(found))]
    assert [event.at_s for event in found] == sorted(event.at_s for event in found)


@given(reports)
def test_words_are_never_lost(reports: list[Report]) -> None:
    """Every transcript comes out, in order."""
    assert [one for one in merged(reports) if isinstance(one, Transcript)] == [
        one for _, one in reports if isinstance(one, Transcript)
    ]
