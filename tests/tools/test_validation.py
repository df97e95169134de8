"""JSON has exactly the types that a schema names."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta
from enum import IntEnum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, TypeAdapter

from voicepipe.tools.validation import guessed


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Guest(BaseModel):
    level: Level
    born: date | None = None


class Node(BaseModel):
    day: date
    inner: list[Node] = []


class Left(BaseModel):
    side: Literal["left"]
    count: Literal[1, 2]


class Right(BaseModel):
    side: Literal["right"]
    at: datetime


class This(BaseModel):
    inner: This | That | None = None


class That(BaseModel):
    inner: This | That | None = None


def test_kinds_that_refer_to_each_other_cost_no_more_than_others() -> None:
    """Each part of a value is looked at once for each schema, however many combinations there are."""
    value: object = None
    for _ in range(50):
        value = {"inner": value}

    assert guessed(value, This.model_json_schema()) is None


@pytest.mark.parametrize("kinds", [["integer", "null"], "integer"])
def test_a_kind_may_have_several_types(kinds: object) -> None:
    """A list of types, which an application can write by hand, is understood."""
    assert guessed("x", {"anyOf": [{"type": kinds}, {"type": "string", "format": "date"}]}) is None
    assert guessed("5", {"anyOf": [{"type": kinds}, {"type": "string", "format": "date"}]}) == ""


@pytest.mark.parametrize(
    ("kind", "text", "path"),
    [
        (Literal[1, 2], "1", None),
        (Literal[1, 2], "true", ""),
        (Literal[1, 2], "1.0", ""),
        (Literal[1, 2], "3", None),  # wrong, but nobody would guess: pydantic refuses it
        (Literal[True], "true", None),
        (Literal[True], "1", ""),
        (Literal[1, True], "true", None),
        (Level, "2", None),
        (Level, "2.0", ""),
        (date, '"2027-05-04"', None),
        (date, '"20270504"', ""),
        (datetime, '"1700000000"', ""),
        (datetime, '" 1700000000.5 "', ""),
        (datetime, '"2027-05-04T12:00:00Z"', None),
        (time, '"3600"', ""),
        (time, '"12:30"', None),
        (timedelta, '"90"', ""),
        (timedelta, '"PT90S"', None),
        (str, '"1700000000"', None),
        (int, "true", None),  # pydantic refuses it by itself
        (Guest, '{"level": 1, "born": null}', None),
        (Guest, '{"level": true}', "level"),
        (Guest, '{"level": 1, "born": "0"}', "born"),
        (list[Guest], '[{"level": 1}, {"level": 2.0}]', "1.level"),
        (dict[str, Level], '{"ada": 1, "bo": true}', "bo"),
        (dict[date, int], '{"2027-05-04": 1, "0": 2}', "0"),
        (dict[str, dict[datetime, str]], '{"ada": {"5": "x"}}', "ada.5"),
        (tuple[int, date], '[1, "5"]', "1"),
        (Node, '{"day": "2027-05-04", "inner": [{"day": "7"}]}', "inner.0.day"),
        (Left | Right, '{"side": "left", "count": 1}', None),
        (Left | Right, '{"side": "right", "at": "5"}', "at"),
        (Left | Right, '{"side": "left", "count": true}', "count"),
        (Left | Right, '{"side": "top"}', None),
        (int | date, '"7"', ""),
        (int | str, '"7"', None),
        (Any, '{"day": "7"}', None),
    ],
)
def test_a_value_that_has_to_be_guessed_is_found(kind: Any, text: str, path: str | None) -> None:
    """The path of the first guess is found at any depth; a value with the schema's types has none."""
    assert guessed(json.loads(text), TypeAdapter(kind).json_schema()) == path
