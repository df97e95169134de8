"""Events and exchanges as JSON: whatever was recorded is read back equal."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import voicepipe as vp
from voicepipe import observed
from voicepipe.flow import Stamped
from voicepipe.timeline import Timeline
from voicepipe.watching.recording import RecordedResult, RecordedValue
from voicepipe.watching.recording.records import CLASSES, ERRORS, FOR_TYPES, from_json, named, to_json

EVENTS = [kind for kind in CLASSES.values() if issubclass(kind, Stamped)]
EXCHANGES = list(get_args(observed.Exchange))

MICROSECONDS = st.integers(0, 10**10).map(lambda us: us / 1e6)
"""Times are written to the microsecond."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


def timelines() -> st.SearchStrategy[Timeline]:
    def made(marks: dict[str, float]) -> Timeline:
        timeline = Timeline()
        for name, at_s in marks.items():
            timeline.mark(name, at_s)
        return timeline

    return st.dictionaries(st.sampled_from(["speech_ended", "endpoint", "first_frame", "own"]), MICROSECONDS).map(made)


ERROR = st.one_of(
    st.builds(vp.ConfigurationError, st.text()),
    st.builds(vp.VendorError, st.text(), vendor=st.text(), retryable=st.booleans()),
    st.builds(vp.RateLimited, st.text(), vendor=st.text(), retry_after_s=MICROSECONDS),
    st.builds(vp.StageError, st.text(), part=st.text()),
    st.builds(vp.MissingExtra, st.text(), st.text(), st.text()),
)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Return values of a type, whichever way it is written."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Timeline:
        return timelines()
    if hint is vp.VoicepipeError:
        return ERROR
    if hint is BaseModel:
        return st.builds(RecordedResult, model=st.text(), fields=st.dictionaries(st.text(), JSON, max_size=2))
    if hint is float:
        return MICROSECONDS
    if hint is bytes:
        return st.nothing()  # audio is in files of its own
    if hint in (object, Any):
        return st.text() | st.booleans() | st.integers() | st.builds(vp.Digits, st.integers(1, 9)) | st.none()
    if origin in (Union, types.UnionType):
        return st.one_of(*map(values, inner))
    if origin is tuple:
        return st.lists(values(inner[0]), max_size=2).map(tuple)
    if origin is list:
        return st.lists(values(inner[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(st.text(), JSON, max_size=2)
    if origin is Mapping:
        return st.dictionaries(st.text(), values(inner[1]), max_size=2)
    if origin is Literal:
        return st.sampled_from(inner)
    if dataclasses.is_dataclass(hint):
        return objects(hint)
    return st.from_type(hint)


def objects(kind: Any) -> st.SearchStrategy[Any]:
    if kind is vp.Digits:
        return st.builds(vp.Digits, st.integers(1, 100))
    hints = get_type_hints(kind, localns={**CLASSES, **FOR_TYPES})
    written = [field.name for field in dataclasses.fields(kind) if field.init and field.name != "session_id"]
    return st.builds(kind, **{name: values(hints[name]) for name in written})


def comparable(value: Any) -> Any:
    """Return what two equal things have in common: errors and timelines compare by identity."""
    if isinstance(value, vp.VoicepipeError):
        return type(value), str(value), vars(value)
    if isinstance(value, Timeline):
        return value.marks, value.contributions_us
    if isinstance(value, (list, tuple)):
        return type(value), [comparable(inner) for inner in value]
    if dataclasses.is_dataclass(value):
        return type(value), [comparable(getattr(value, field.name)) for field in dataclasses.fields(value)]
    return value


@given(st.data())
def test_what_was_recorded_is_read_back_equal(data: st.DataObject) -> None:
    """Each event and exchange, with whatever is in it, is the same after it was JSON text."""
    kind = data.draw(st.sampled_from([*EVENTS, *EXCHANGES]))
    value = data.draw(objects(kind))
    text = json.dumps(to_json(value, 0.0), allow_nan=False)
    assert comparable(from_json(named(kind), json.loads(text))) == comparable(value)


def test_times_count_from_the_beginning_and_durations_stay() -> None:
    """What is a time on the loop's clock is shifted, in whatever depth; what is a length of time is not."""
    words = (vp.Word("hi", 101.0, 101.25, 1.0),)
    heard = observed.Heard(at_s=102.0, hearing=vp.Transcript("hi", 101.5, 101.75, words))
    assert from_json("Heard", to_json(heard, 100.0)) == observed.Heard(
        at_s=2.0, hearing=vp.Transcript("hi", 1.5, 1.75, (vp.Word("hi", 1.0, 1.25, 1.0),))
    )
    assert to_json(vp.Idle(step=1, silent_s=101.0, text="", is_last=False), 100.0)["silent_s"] == 101.0


def test_every_field_in_seconds_is_either_a_time_or_a_duration() -> None:
    """A new field has to say which: this list, and the tables of `records`, are all that there are."""
    durations = {
        ("AgentRestored", "after_s"), ("AudioDropped", "seconds"), ("AudioResumed", "after_s"),
        ("BudgetExceeded", "budget_s"), ("RecogniserBehind", "late_s"),
        ("BudgetExceeded", "took_s"), ("CallLimit", "left_s"),
        ("CleanupOverran", "after_s"), ("Idle", "silent_s"), ("Monologue", "speech_s"), ("MonologueCut", "speech_s"),
        ("Paused", "heard_s"), ("RateLimitNear", "reset_s"), ("Resumed", "from_s"), ("TurnCompleted", "heard_s"),
        ("TurnEmpty", "heard_s"), ("TurnEnded", "heard_s"), ("TurnFailed", "heard_s"), ("TurnInterrupted", "heard_s"),
        ("ToolOffered", "say_after_s"), ("ToolOffered", "timeout_s"), ("VoiceAsked", "start_buffer_s"),
        ("VoiceTooSlow", "behind_s"), ("VoiceTooSlow", "silent_s"), ("WordMark", "end_s"),
    }  # fmt: skip
    moments = {("Word", "start_s"), ("Word", "end_s"), ("AudioFrame", "start_s")}
    found = {
        (kind.__name__, field.name)
        for kind in CLASSES.values()
        for field in dataclasses.fields(kind)
        if "float" in str(field.type) and field.name not in ("at_s", "until_s", "speech_ended_s", "endpoint_s")
    }
    assert found - {("Word", "confidence")} == durations | moments


class Booking(BaseModel):
    day: str


def asked(**arguments: object) -> observed.ApplicationAsked:
    return observed.ApplicationAsked(at_s=0, by="turn", method="say", arguments=arguments)


class Own(vp.Backchannel):
    """An event of an application, which derives it from one of ours."""


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (
            vp.StructuredDone(turn_id=1, result=Booking(day="Monday")),
            RecordedResult(model="Booking", fields={"day": "Monday"}),
        ),
        (asked(result=object()), {"result": RecordedValue("object")}),
        (asked(result={"type": "x"}), {"result": {"type": "x"}}),
        (asked(audio=Path("a.wav")), {"audio": "a.wav"}),
        (Own("mhm"), "mhm"),
    ],
)
def test_what_belongs_to_the_application_is_read_as_plain_data(value: Any, read: Any) -> None:
    """Its models are read as their fields, its objects as the names of their classes, its events as ours."""
    found = from_json(named(type(value)), json.loads(json.dumps(to_json(value, 0.0))))
    assert read in (getattr(found, name, None) for name in ("result", "arguments", "text"))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("Nobody", {}),
        ("Digit", {}),
        ("Digit", {"key": 3}),
        ("Digit", {"key": None}),
        ("ModelGave", {"at_s": 0.0, "request_id": 1, "part": "text"}),
        ("ModelGave", {"at_s": 0.0, "request_id": 1, "part": {"type": "Nobody"}}),
        ("ModelGave", {"at_s": 0.0, "request_id": 1, "part": {"text": "no type"}}),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, fields: dict[str, Any]) -> None:
    """An unknown kind, a missing field and one of another type are errors, and no object comes of them."""
    with pytest.raises(ValueError, match=r"."):
        from_json(kind, fields)


def test_every_event_of_ours_can_be_read() -> None:
    """An event that has no name in a recording would be lost there."""
    assert {kind for kind in get_args(vp.Event) if CLASSES.get(kind.__name__) is not kind} == set()


def test_every_error_of_ours_can_be_read() -> None:
    """The classes of errors are found by their names."""
    assert set(ERRORS) >= {"VendorError", "RecordingError", "VoicepipeError"}
