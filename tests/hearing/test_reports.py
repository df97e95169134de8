"""Reports of recogniser and detector on a line whose audio stops and comes back: what those who take turns hear."""

from __future__ import annotations

import math
from collections.abc import Coroutine
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

from voicepipe.flow import Hearing, SpeechEnded, SpeechStarted, Transcript
from voicepipe.hearing.reports import Reports

Step = Literal["d", "s", "e", "f", "stop", "resume"]
"""The detector changes its mind; the recogniser reports a start, an end, a final; the audio stops, or comes again."""


class Heard:
    """An outbox that never waits."""

    def __init__(self) -> None:
        self.events: list[Hearing] = []

    async def send(self, event: Hearing, /) -> None:
        self.events.append(event)

    def close(self) -> None:
        pass


def at_once(work: Coroutine[Any, Any, None]) -> None:
    """Run what has nothing to wait for."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


class Line:
    """A line as the intake plays it: once audio has stopped for 2 s, the detector hears silence."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.reports = Reports(self.heard, is_detected=True)
        self.now = 0.0
        self.stopped_s = math.nan
        self.detects = False
        self.reports.listen_to(lambda: None if math.isnan(self.stopped_s) else self.stopped_s, lambda: None)

    def play(self, step: Step, seconds: float) -> None:
        self.now = round(self.now + seconds, 3)
        if not math.isnan(self.stopped_s) and self.now - self.stopped_s >= 2.0:
            self.reports.silenced()
            if self.detects:
                self.detect()
        match step:
            case "d" if math.isnan(self.stopped_s):
                self.detect()
            case "s":
                at_once(self.reports.send(SpeechStarted(at_s=self.now - 0.5)))
            case "e":
                at_once(self.reports.send(SpeechEnded(at_s=self.now - 0.2)))
            case "f":
                at_once(self.reports.send(Transcript("Hello.", self.now - 0.4, self.now)))
            case "stop" if math.isnan(self.stopped_s):
                self.stopped_s = self.now
                at_once(self.reports.audio_stopped(self.now))
            case "resume" if not math.isnan(self.stopped_s):
                self.stopped_s = math.nan
                at_once(self.reports.audio_resumed(self.now))
            case _:
                pass

    def detect(self) -> None:
        self.detects = not self.detects
        event = SpeechStarted(at_s=self.now) if self.detects else SpeechEnded(at_s=self.now)
        at_once(self.reports.detected([event]))


steps = st.lists(
    st.tuples(st.sampled_from(["d", "d", "d", "s", "e", "f", "stop", "resume"]), st.sampled_from([0.1, 0.5, 2.5])),
    max_size=40,
)


@given(steps)
def test_each_stretch_starts_once_and_ends_once(played: list[tuple[Step, float]]) -> None:
    """Whatever is reported and whenever the audio stops: starts and ends alternate."""
    line = Line()
    for step, seconds in played:
        line.play(step, seconds)
    kinds = [type(one) for one in line.heard.events if isinstance(one, (SpeechStarted, SpeechEnded))]
    assert kinds == [(SpeechStarted, SpeechEnded)[number % 2] for number in range(len(kinds))]


@given(steps)
def test_nobody_speaks_once_all_is_quiet(played: list[tuple[Step, float]]) -> None:
    """After audio that stopped for good nothing is open; and speech that the detector hears then is reported."""
    line = Line()
    for step, seconds in played:
        line.play(step, seconds)
    line.play("stop", 0.1)
    line.play("e", 2.5)
    assert not line.reports.is_speech
    line.play("resume", 0.5)
    before = len(line.heard.events)
    line.play("d", 0.5)
    assert line.heard.events[before:] == [SpeechStarted(at_s=line.now)]
