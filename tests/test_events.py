"""Events and pieces of the flow: small frozen facts."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from voicepipe import events, flow
from voicepipe.events import Event, TurnEnded
from voicepipe.flow import AudioFrame, Hearing, Stamped

CLASSES = [
    value for module in (flow, events) for name in module.__all__ if isinstance(value := getattr(module, name), type)
]


@pytest.mark.parametrize("cls", CLASSES)
def test_a_fact_cannot_be_changed(cls: typing.Any) -> None:
    """Every event is a frozen dataclass with slots, so that a stage can pass it on without a copy."""
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen
    assert "__slots__" in vars(cls)


@pytest.mark.parametrize("cls", CLASSES)
def test_times_are_seconds(cls: type) -> None:
    """A float is a number of seconds, and its name says so."""
    floats = [field.name for field in dataclasses.fields(cls) if field.type == "float"]
    assert [name for name in floats if not name.endswith("_s") and name not in ("seconds", "confidence")] == []


@pytest.mark.parametrize("cls", CLASSES)
def test_each_event_belongs_somewhere(cls: type) -> None:
    """Every class is a piece of the flow between stages, or a session can report it."""
    flows = {"AudioFrame", "TextDelta", "ToolCallDelta", "ReplyState", "ReplyEnd", "Sentence", "Word", "WordMark"}
    flows |= {"Wording"}  # what a sentence was made of
    reported = {kind for union in (Event, Hearing) for kind in typing.get_args(union)}
    assert cls.__name__ in flows or issubclass(cls, tuple(reported)) or cls is Stamped


@pytest.mark.parametrize("name", ["TurnCompleted", "TurnInterrupted", "TurnFailed", "TurnEmpty"])
def test_a_turns_end_is_one_of_four(name: str) -> None:
    """The four ways a turn ends share a base, so that one `case` catches them all."""
    assert getattr(events, name).__bases__ == (TurnEnded,)


def test_there_is_no_fifth_end_of_a_turn() -> None:
    """Only the four classes derive from `TurnEnded`."""
    assert {cls.__name__ for cls in TurnEnded.__subclasses__()} == {
        "TurnCompleted",
        "TurnInterrupted",
        "TurnFailed",
        "TurnEmpty",
    }


@pytest.mark.parametrize(
    ("samples", "rate", "duration_s"),
    [(0, 16_000, 0.0), (320, 16_000, 0.02), (441, 22_050, 0.02), (1, 8_000, 0.000125)],
)
def test_a_frame_is_as_long_as_its_samples(samples: int, rate: int, duration_s: float) -> None:
    """A frame's duration follows from its bytes and its rate."""
    assert AudioFrame(pcm=bytes(2 * samples), sample_rate=rate, start_s=5.0).duration_s == duration_s


def test_equal_facts_are_equal() -> None:
    """Two events with the same fields are equal, so that tests can compare lists of them."""
    assert flow.TextDelta("Hel") == flow.TextDelta("Hel")
    assert flow.TextDelta("Hel") != flow.TextDelta("Hel", ends_segment=True)
