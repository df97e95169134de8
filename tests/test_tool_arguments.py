"""The arguments of a call: valid or refused, never mended."""

from __future__ import annotations

import json
from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from voicepipe.errors import ToolError
from voicepipe.tools import MAX_ARGUMENT_BYTES, Tool, tool


class Urgency(StrEnum):
    LOW = "low"
    HIGH = "high"


class Address(BaseModel):
    """Where to send it."""

    street: str
    number: int = 1


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow", strict=False)

    title: int


@tool
async def get_order(order_id: Annotated[str, Field(pattern=r"^ORD-\d{5}$")], urgency: Urgency, notes: str = "") -> str:
    """Look up an order."""
    return f"{order_id} {urgency} {notes}"


@tool
def ping() -> None:
    """Do nothing."""


@tool
def anything(
    json: Address | None = None, copy: list[Loose] | None = None, _id: float = 0.0, day: date | None = None
) -> Any:
    """Take fields whose names mean something to pydantic."""
    return json, copy, _id, day


def refused(arguments: str, by: Tool[..., Any] = get_order) -> str:
    with pytest.raises(ToolError) as caught:
        by.validate(arguments)
    return str(caught.value)


def test_valid_arguments_become_values() -> None:
    """JSON becomes the annotated types, and what was left out is left to the function's defaults."""
    assert get_order.validate('{"order_id": "ORD-12345", "urgency": "high"}') == {
        "order_id": "ORD-12345",
        "urgency": Urgency.HIGH,
    }
    assert anything.validate('{"json": {"street": "Elm"}, "_id": 2, "day": "2024-02-29"}') == {
        "json": Address(street="Elm"),
        "_id": 2.0,
        "day": date(2024, 2, 29),
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            '{"order_id": "12345"}',
            r"order_id: String should match pattern '^ORD-\d{5}$'; urgency: Field required",
        ),
        ('{"order_id": 12345, "urgency": "low"}', "order_id: Input should be a valid string"),
        ('{"order_id": "ORD-12345", "urgency": "soon"}', "urgency: Input should be 'low' or 'high'"),
        ('{"order_id": "ORD-12345", "urgency": "low", "vip": 1}', "vip: there is no such field"),
        ('{"order_id": "ORD-12345", "order_id": "ORD-12346", "urgency": "low"}', "order_id: given twice"),
        ('{"order_id": "ORD-12345", "urgency": "low"', "the arguments are not JSON: Expecting ',' delimiter"),
        ('{"order_id": "ORD-12345", "urgency": "low"}}', "the arguments are not JSON: Extra data"),
        ("", "the arguments are not JSON: Expecting value"),
        ("null", "the arguments must be one JSON object"),
        ('["ORD-12345"]', "the arguments must be one JSON object"),
        ('{"notes": NaN}', "NaN is not JSON"),
        ('{"notes": -Infinity}', "-Infinity is not JSON"),
        ('{"notes": 1e999}', "the arguments hold a number that is out of range"),
        ('{"notes": ' + "1" * 5000 + "}", "the arguments hold a number that is too long"),
        ('{"notes": "\\ud800"}', "arguments: Invalid JSON"),
        ('{"notes": "\ud800"}', "arguments: Input should be a valid string"),
    ],
)
def test_invalid_arguments_are_refused(arguments: str, message: str) -> None:
    """Arguments that do not fit are refused with the field and the rule."""
    assert refused(arguments).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ('{"_id": "2"}', "_id: Input should be a valid number"),
        ('{"_id": true}', "_id: Input should be a valid number"),
        ('{"day": 1709164800}', "day: Input should be a valid date"),
        ('{"copy": [{"title": "1"}]}', "copy.0.title: Input should be a valid integer"),
        ('{"copy": [{"title": 1.0}]}', "copy.0.title: Input should be a valid integer"),
        ('{"copy": [{"title": 1, "more": 2}]}', "copy.0.more: there is no such field"),
        ('{"json": {"street": "Elm", "city": "Lyon"}}', "json.city: there is no such field"),
        ('{"json": {"street": "Elm", "street": "Oak"}}', "street: given twice"),
        ("", "the arguments are not JSON: Expecting value"),
    ],
)
def test_inner_objects_are_checked_as_strictly(arguments: str, message: str) -> None:
    """Nothing is converted or ignored inside objects either, whatever their classes allow elsewhere."""
    assert refused(arguments, anything).startswith(message)


def test_deep_nesting_is_refused() -> None:
    """Arguments nested deeper than a parser goes are refused in few words, whichever parser notices."""
    assert len(refused('{"notes": ' + "[" * 8000 + "]" * 8000 + "}")) < 100


def test_empty_text_is_an_object_without_fields() -> None:
    """A tool without parameters accepts no text and an empty object, but no blanks and no field."""
    assert ping.validate("") == ping.validate("{}") == ping.validate(" { } ") == {}
    assert refused(" ", ping).startswith("the arguments are not JSON")
    assert refused('{"force": true}', ping) == "force: there is no such field"


@pytest.mark.parametrize("character", ["x", "é"])
def test_long_arguments_are_refused(character: str) -> None:
    """Arguments may be 16 KiB of UTF-8 long and not a byte longer."""

    @tool
    def note(text: str) -> None:
        """Note."""

    longest = character * ((MAX_ARGUMENT_BYTES - len('{"text":""}')) // len(character.encode()))

    assert note.validate(f'{{"text":"{longest}"}}') == {"text": longest}
    assert refused(f'{{"text":"{longest}{character}"}}', note).startswith("the arguments are longer than 16384 bytes")


def test_many_complaints_stay_short() -> None:
    """Of many mistakes the first eight are told and the others counted; a long name is cut."""
    message = refused(json.dumps({f"{number}{'x' * 1000}": 0 for number in range(10)}), ping)

    assert message.count("there is no such field") == 8
    assert message.endswith("; and 2 more")
    assert len(message) < 1000


def even(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def not_blocked(name: str) -> str:
    if name == "Mallory":
        raise ToolError("ask for another name")
    return name


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


@tool
def adopt(
    pet: Annotated[Cat | Dog, Field(discriminator="kind")],
    seats: Annotated[int, AfterValidator(even)] = 2,
    name: Annotated[str, AfterValidator(not_blocked)] = "",
) -> None:
    """Adopt a pet."""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pet": {"kind": "cat"}, "seats": 4711}, "seats: refused by its validator"),
        ({"pet": {"kind": "canary4711"}}, "pet: the tag must be one of 'cat', 'dog'"),
        ({"pet": {"kind": "cat"}, "name": "Mallory"}, "ask for another name"),
    ],
)
def test_messages_of_validators_stay_inside(arguments: dict[str, Any], message: str) -> None:
    """What a validator says may quote a value, so only a ToolError from it is told."""
    assert refused(json.dumps(arguments), adopt) == message


def test_a_broken_validator_is_an_error_too() -> None:
    """A validator that fails in another way than by refusing is a ToolError, with the failure as its cause."""

    @tool
    def find(count: Annotated[int, Field(pattern="x")]) -> None:
        """Find."""

    with pytest.raises(ToolError, match="TypeError in a validator") as caught:
        find.validate('{"count": 1}')

    assert isinstance(caught.value.__cause__, TypeError)


def test_a_refusal_has_no_cause() -> None:
    """The traceback of a refusal does not show the values either."""
    with pytest.raises(ToolError) as caught:
        get_order.validate('{"order_id": "canary"}')

    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


texts = st.text('aé0-.\0"\\/ \n\u2028😀{}[]:,')
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)  # the machine may be busy
@given(st.dictionaries(st.sampled_from(["order_id", "urgency", "notes", "canary"]), json_values))
def test_whatever_comes_is_either_valid_or_refused(arguments: dict[str, Any]) -> None:
    """Any JSON object gives either exactly the values it holds or a ToolError."""
    try:
        values = get_order.validate(json.dumps(arguments))
    except ToolError:
        return

    assert values == arguments


@settings(deadline=None)  # the machine may be busy
@given(texts)
def test_whatever_text_comes_no_other_error_is_raised(arguments: str) -> None:
    """Text that is no object of arguments is a ToolError, whatever it is."""
    with pytest.raises(ToolError):
        get_order.validate(arguments)
