"""The arguments of a tool call: valid or refused, never repaired."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NamedTuple, NewType, Required
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field
from typing_extensions import TypeAliasType, TypedDict

from tests.helpers.orders import Address, Urgency, anything, ping
from voicepipe.errors import ToolError
from voicepipe.tools.tool import MAX_ARGUMENT_BYTES, Tool, ToolContext, tool


@tool
async def get_order(order_id: Annotated[str, Field(pattern=r"^ORD-\d{5}$")], urgency: Urgency, notes: str = "") -> str:
    """Look up an order."""
    return f"{order_id} {urgency} {notes}"


def refused(arguments: str, by: Tool[..., Any] = get_order) -> str:
    with pytest.raises(ToolError) as caught:
        by.validate(arguments)
    return str(caught.value)


def test_valid_arguments_become_values() -> None:
    """JSON becomes the annotated types, and omitted arguments are left to the function's defaults."""
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
        ('{"order_id": "ORD-12345", "urgency": "low"', "the arguments: not JSON: Expecting ',' delimiter"),
        ('{"order_id": "ORD-12345", "urgency": "low"}}', "the arguments: not JSON: Extra data"),
        ("", "the arguments: not JSON: Expecting value"),
        ("null", "the arguments: must be one JSON object"),
        ('["ORD-12345"]', "the arguments: must be one JSON object"),
        ('{"notes": NaN}', "NaN is not JSON"),
        ('{"notes": -Infinity}', "-Infinity is not JSON"),
        ('{"notes": 1e999}', "a number is out of range"),
        ('{"notes": ' + "1" * 5000 + "}", "the arguments: a number is too long"),
        ('{"notes": "\\ud800"}', "the arguments: Invalid JSON"),
        ('{"notes": "\ud800"}', "the arguments: Input should be a valid string"),
    ],
)
def test_invalid_arguments_are_refused(arguments: str, message: str) -> None:
    """Arguments that do not fit are refused with the field and the reason."""
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
        ("", "the arguments: not JSON: Expecting value"),
    ],
)
def test_inner_objects_are_checked_as_strictly(arguments: str, message: str) -> None:
    """Inner objects are neither converted nor stripped of fields, whatever their classes allow elsewhere."""
    assert refused(arguments, anything).startswith(message)


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Mixed(Enum):
    ONE = 1
    TWO = "two"


@dataclass
class Point:
    x: float
    y: float = 0.0


class Options(TypedDict, total=False):
    loud: Required[bool]
    note: str


class Pair(NamedTuple):
    left: str
    right: int = 3


class Node(BaseModel):
    value: int
    below: list["Node"] = []  # noqa: UP037 - a class that names itself


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


OrderId = NewType("OrderId", str)
Days = TypeAliasType("Days", list[date])
Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
Short = Annotated[str, Field(min_length=2, pattern="^a")]
LEAP_DAY = date(2024, 2, 29)
AN_ID = UUID("12345678-1234-5678-1234-567812345678")


def array(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


def ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


STRING, INTEGER, NUMBER, NULL = ({"type": kind} for kind in ("string", "integer", "number", "null"))
DATE = {"type": "string", "format": "date"}


@pytest.mark.parametrize(
    ("kind", "schema", "valid", "invalid"),
    [
        (bool, {"type": "boolean"}, {"true": True}, ["1", "0", '"true"', "null"]),
        (int, INTEGER, {"1": 1, "-0": 0}, ["1.0", "1e3", "true", '"1"']),
        (float, NUMBER, {"1": 1.0, "1.5": 1.5}, ["true", '"1.5"']),
        (str, STRING, {'"1"': "1"}, ["1", "true", "null", '["a"]']),
        (Literal["a", 2], {"enum": ["a", 2]}, {'"a"': "a", "2": 2}, ['"b"', '"2"', "3"]),
        (Urgency, ref("Urgency"), {'"low"': Urgency.LOW}, ['"LOW"', "0", "null"]),
        (Size, ref("Size"), {"2": Size.LARGE}, ["3", '"2"', '"LARGE"']),
        (Mixed, ref("Mixed"), {"1": Mixed.ONE, '"two"': Mixed.TWO}, ['"1"', '"ONE"']),
        (date, DATE, {'"2024-02-29"': LEAP_DAY}, ['"2023-02-29"', "20240229", '"2024-02-29T10:00:00"', '"20240229"']),
        (time, {"type": "string", "format": "time"}, {'"10:30"': time(10, 30)}, ["37800", '"25:00"', '"37800"']),
        (
            datetime,
            {"type": "string", "format": "date-time"},
            {'"2024-02-29T10:30:00Z"': datetime(2024, 2, 29, 10, 30, tzinfo=UTC)},
            ["1709164800", '"2024-02-29"', '"noon"'],
        ),
        (
            timedelta,
            {"type": "string", "format": "duration"},
            {'"PT90M"': timedelta(minutes=90)},
            ["60", '"60"', '"1h"'],
        ),
        (UUID, {"type": "string", "format": "uuid"}, {f'"{AN_ID}"': AN_ID}, ['"12345678"', "12345678"]),
        (
            Decimal,
            {"anyOf": [NUMBER, STRING]},
            {'"1.50"': Decimal("1.50"), "0.1": Decimal("0.1")},
            ["true", '"x"', '"NaN"', '"Infinity"'],
        ),
        (Address, ref("Address"), {'{"street": "Elm"}': Address(street="Elm")}, ['{"number": 1}', '"Elm"']),
        (Point, ref("Point"), {'{"x": 1}': Point(1.0)}, ["[1, 2]", '{"x": "1"}', '{"x": 1, "z": 1}']),
        (Options, ref("Options"), {'{"loud": true}': {"loud": True}}, ["{}", '{"loud": 1}', '{"loud": true, "z": 1}']),
        (Pair, ref("Pair"), {'["a"]': Pair("a"), '["a", 2]': Pair("a", 2)}, ["[]", '["a", "2"]', '["a", 1, 2]']),
        (Node, ref("Node"), {'{"value": 1, "below": [{"value": 2}]}': Node(value=1, below=[Node(value=2)])}, ["{}"]),
        (list[date], array(DATE), {'["2024-02-29"]': [LEAP_DAY]}, ['"2024-02-29"', "[20240229]", "{}"]),
        (set[Size], array(ref("Size"), uniqueItems=True), {"[1, 1]": {Size.SMALL}}, ["[3]"]),
        (frozenset[int], array(INTEGER, uniqueItems=True), {"[1]": frozenset({1})}, ["[true]"]),
        (tuple[int, ...], array(INTEGER), {"[]": (), "[1, 2]": (1, 2)}, ['["1"]']),
        (
            tuple[int, date],
            {"type": "array", "prefixItems": [INTEGER, DATE], "minItems": 2, "maxItems": 2},
            {'[1, "2024-02-29"]': (1, LEAP_DAY)},
            ["[1]", '["2024-02-29", 1]', '[1, "2024-02-29", 2]'],
        ),
        (
            dict[str, list[Point]],
            {"type": "object", "additionalProperties": array(ref("Point"))},
            {'{"a": [{"x": 1}]}': {"a": [Point(1.0)]}},
            ['{"a": {"x": 1}}', "[]"],
        ),
        (
            dict[Urgency, int],
            {"type": "object", "propertyNames": ref("Urgency"), "additionalProperties": INTEGER},
            {'{"low": 1}': {Urgency.LOW: 1}},
            ['{"soon": 1}', '{"low": "1"}'],
        ),
        (
            dict[datetime, int],
            {"type": "object", "propertyNames": {"format": "date-time"}, "additionalProperties": INTEGER},
            {'{"2024-02-29T10:30:00Z": 1}': {datetime(2024, 2, 29, 10, 30, tzinfo=UTC): 1}},
            ['{"1709164800": 1}', '{"noon": 1}'],
        ),
        (Annotated[int, Field(ge=1, le=8)], {**INTEGER, "minimum": 1, "maximum": 8}, {"8": 8}, ["0", "9", "true"]),
        (Short, {**STRING, "minLength": 2, "pattern": "^a"}, {'"ab"': "ab"}, ['"a"', '"bb"']),
        (
            Annotated[list[Short], Field(max_length=1)],
            array({**STRING, "minLength": 2, "pattern": "^a"}, maxItems=1),
            {'["ab"]': ["ab"]},
            ['["a"]', '["ab", "ab"]'],
        ),
        (date | None, {"anyOf": [DATE, NULL]}, {"null": None, '"2024-02-29"': LEAP_DAY}, ['""', "0"]),
        (int | str, {"anyOf": [INTEGER, STRING]}, {"1": 1, '"1"': "1"}, ["true", "1.0"]),
        (int | float, {"anyOf": [INTEGER, NUMBER]}, {"1": 1, "1.5": 1.5}, ["true", '"1"']),
        (Cat | Dog, {"anyOf": [ref("Cat"), ref("Dog")]}, {'{"kind": "dog"}': Dog(kind="dog")}, ['{"kind": "cow"}']),
        (
            Pet,
            {"oneOf": [ref("Cat"), ref("Dog")]}
            | {"discriminator": {"propertyName": "kind", "mapping": {"cat": "#/$defs/Cat", "dog": "#/$defs/Dog"}}},
            {'{"kind": "cat"}': Cat(kind="cat")},
            ['{"kind": "cow"}', "{}"],
        ),
        (OrderId, STRING, {'"a"': "a"}, ["1"]),
        (Days, ref("Days"), {'["2024-02-29"]': [LEAP_DAY]}, ["[1]"]),
        (None, NULL, {"null": None}, ["0", '""']),
    ],
)
def test_types_are_described_and_checked(
    kind: Any, schema: dict[str, Any], valid: dict[str, Any], invalid: list[str]
) -> None:
    """Each type has its schema, and accepts only the JSON that this describes, not JSON that merely resembles it."""

    def find(value: Any) -> None:
        """Find."""

    find.__annotations__["value"] = kind
    taking = tool(find)

    assert taking.parameters["properties"]["value"] == schema
    for text, value in valid.items():
        found = taking.validate(f'{{"value": {text}}}')["value"]
        assert (found, type(found)) == (value, type(value))
    for text in invalid:
        assert refused(f'{{"value": {text}}}', taking).startswith("value")


@pytest.mark.parametrize(
    ("default", "described"),
    [
        (None, None),
        (Urgency.HIGH, "high"),
        (Size.LARGE, 2),
        (LEAP_DAY, "2024-02-29"),
        (timedelta(minutes=90), "PT1H30M"),
        (AN_ID, str(AN_ID)),
        (Decimal("1.50"), "1.50"),
        ([Address(street="Elm")], [{"street": "Elm", "number": 1}]),
        ({3}, [3]),
        (Pair("a"), ["a", 3]),
    ],
)
def test_defaults_are_described_as_json(default: Any, described: Any) -> None:
    """A default is described as the JSON that would give it, and an omitted argument is left to the function."""

    def find(value: Any = default) -> None:
        """Find."""

    find.__annotations__["value"] = type(default)
    optional = tool(find)

    assert optional.parameters["properties"]["value"]["default"] == described
    assert "required" not in optional.parameters
    assert optional.validate("{}") == {}
    json.dumps(optional.parameters, allow_nan=False)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the statement is of Python 3.12")
def test_aliases_of_the_language_are_types() -> None:
    """The name of a `type` statement is described and checked as the type that it stands for."""
    module: dict[str, Any] = {"__name__": "somewhere", "tool": tool, "ToolContext": ToolContext}
    source = '''
type Count = int
type Call = ToolContext[str]

@tool
def find(count: Count, call: Call) -> None:
    """Find."""
'''
    exec(compile(source, "somewhere.py", "exec", dont_inherit=True), module)
    find = module["find"]

    assert list(find.parameters["properties"]) == ["count"]
    assert find.validate('{"count": 1}') == {"count": 1}
    assert refused('{"count": "1"}', find).startswith("count")


class Stop(BaseModel):
    city: str
    nights: int = 1
    hotel: str | None = "any"


@tool
def plan(
    seats: int = 2,
    day: date = date(2024, 2, 29),
    note: str | None = "none",
    stop: Stop | None = None,
    stops: list[Stop] = [],  # noqa: B006 - the tool does not change it
    by_name: dict[str, Stop] = {},  # noqa: B006
) -> str:
    """Plan a journey."""
    return f"{seats} {day} {note} {stop} {stops} {by_name}"


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        pytest.param({"seats": None}, {}, id="int"),
        pytest.param({"day": None, "seats": 3}, {"seats": 3}, id="date"),
        pytest.param({"note": None}, {"note": None}, id="null is a value"),
        pytest.param({"stop": None}, {"stop": None}, id="null is the default"),
        pytest.param({"stop": {"city": "Oslo", "nights": None}}, {"stop": Stop(city="Oslo")}, id="inner"),
        pytest.param(
            {"stop": {"city": "Oslo", "hotel": None}}, {"stop": Stop(city="Oslo", hotel=None)}, id="inner value"
        ),
        pytest.param({"stops": [{"city": "Oslo", "nights": None}]}, {"stops": [Stop(city="Oslo")]}, id="in a list"),
        pytest.param({"stops": None}, {}, id="list"),
        pytest.param(
            {"by_name": {"a": {"city": "Oslo", "nights": None}}}, {"by_name": {"a": Stop(city="Oslo")}}, id="in a dict"
        ),
    ],
)
def test_null_leaves_a_defaulted_parameter_out(arguments: dict[str, Any], values: dict[str, Any]) -> None:
    """A null counts as left out where a default can serve, at every depth; where null is a value, it is that value."""
    assert plan.validate(json.dumps(arguments)) == values


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stop": {"city": None}}, "stop.city: Input should be a valid string"),
        ({"by_name": {"a": None}}, "by_name.a: "),
        ({"stops": [None]}, "stops.0: "),
        ({"unknown": None}, "unknown: there is no such field"),
    ],
)
def test_null_is_refused_without_a_default(arguments: dict[str, Any], message: str) -> None:
    """Where there is no default, a null that the type does not take is refused."""
    assert refused(json.dumps(arguments), plan).startswith(message)


def test_deep_nesting_is_refused() -> None:
    """Arguments that are nested too deeply for a parser are refused in a short message."""
    assert len(refused('{"notes": ' + "[" * 8000 + "]" * 8000 + "}")) < 100


def test_empty_text_is_an_object_without_fields() -> None:
    """A tool without parameters accepts empty text and an empty object, but neither blanks nor a field."""
    assert ping.validate("") == ping.validate("{}") == ping.validate(" { } ") == {}
    assert refused(" ", ping).startswith("the arguments: not JSON")
    assert refused('{"force": true}', ping) == "force: there is no such field"


@pytest.mark.parametrize("character", ["x", "é"])
def test_long_arguments_are_refused(character: str) -> None:
    """Arguments can have up to 16 KiB of UTF-8, and not a byte more."""

    @tool
    def note(text: str) -> None:
        """Note."""

    longest = character * ((MAX_ARGUMENT_BYTES - len('{"text":""}')) // len(character.encode()))

    assert note.validate(f'{{"text":"{longest}"}}') == {"text": longest}
    assert refused(f'{{"text":"{longest}{character}"}}', note).startswith("the arguments: longer than 16384 bytes")


def test_many_complaints_stay_short() -> None:
    """A refusal names the first eight mistakes and counts the others, and cuts long names."""
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


@tool
def adopt(
    pet: Pet,
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
    """A validator's message may quote a value, so the model sees only that of a ToolError."""
    assert refused(json.dumps(arguments), adopt) == message


def test_a_broken_validator_is_an_error_too() -> None:
    """An exception of a validator that is not a refusal becomes a ToolError, with the exception as its cause."""

    @tool
    def find(count: Annotated[int, Field(pattern="x")]) -> None:
        """Find."""

    with pytest.raises(ToolError, match="TypeError in a validator") as caught:
        find.validate('{"count": 1}')

    assert isinstance(caught.value.__cause__, TypeError)


def test_a_refusal_has_no_cause() -> None:
    """The traceback of a refusal shows no values either."""
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


@given(st.dictionaries(st.sampled_from(["order_id", "urgency", "notes", "canary"]), json_values))
def test_whatever_comes_is_either_valid_or_refused(arguments: dict[str, Any]) -> None:
    """Any JSON object gives either exactly the values it holds or a ToolError."""
    try:
        values = get_order.validate(json.dumps(arguments))
    except ToolError:
        return

    assert values == arguments


@given(texts)
def test_whatever_text_comes_no_other_error_is_raised(arguments: str) -> None:
    """Any text that is not an object of arguments is a ToolError."""
    with pytest.raises(ToolError):
        get_order.validate(arguments)
