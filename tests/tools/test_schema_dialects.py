"""JSON schemas in the forms that language models accept."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from datetime import date
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NamedTuple, Optional

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from voicepipe.errors import ConfigurationError
from voicepipe.tools.schema_dialects import reduced, strict

LISTED = {  # what some vendor refuses, wherever it stands
    "$comment", "$id", "$schema", "additionalItems", "allOf", "const", "contains", "default", "discriminator",
    "examples", "maxProperties", "minProperties", "not", "oneOf", "patternProperties", "prefixItems", "propertyNames",
    "title", "unevaluatedProperties", "uniqueItems",
}  # fmt: skip
REFUSED = {
    strict: LISTED | {"maxLength", "minLength"},
    reduced: LISTED | {"$defs", "$ref", "additionalProperties", "exclusiveMaximum", "exclusiveMinimum", "multipleOf"},
}


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Line(BaseModel):
    """One article."""

    article: str
    count: int = Field(1, ge=1)


class Pair(NamedTuple):
    left: str
    right: int


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Node(BaseModel):
    value: int
    inside: Optional[Node] = None  # noqa: UP045 - a class that names itself
    below: Annotated[list[Node], Field(description="Deeper ones.")] = []


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str


class Empty(BaseModel):
    pass


def schema_of(kind: Any) -> dict[str, Any]:
    """Return the schema of a model with one field of a type."""
    return create_model("Holder", field=(kind, ...)).model_json_schema()


def keywords(schema: Any) -> set[str]:
    """Return all keywords in a schema, without the names of fields and definitions."""
    if isinstance(schema, list):
        return set().union(*map(keywords, schema))
    if not isinstance(schema, dict):
        return set()
    found = set(schema)
    for key, value in schema.items():
        if key not in ("enum", "required"):
            inner = list(value.values()) if key in ("properties", "$defs") else value
            found |= keywords(inner)
    return found


LINE = {
    "type": "object",
    "description": "One article.",
    "properties": {
        "article": {"type": "string"},
        "count": {"type": "integer", "minimum": 1, "description": "Default: 1."},
    },
}
STRICT_LINE = {**LINE, "required": ["article", "count"], "additionalProperties": False}
REDUCED_LINE = {**LINE, "required": ["article"]}
RED_OR_BLUE = {"type": "string", "enum": ["red", "blue"]}
CAT = {"type": "object", "properties": {"kind": {"type": "string", "enum": ["cat"]}}, "required": ["kind"]}
DOG = {"type": "object", "properties": {"kind": {"type": "string", "enum": ["dog"]}}, "required": ["kind"]}

Short = Annotated[str, Field(min_length=2, max_length=9, pattern="^a")]
Tenths = Annotated[float, Field(gt=0, lt=1, multiple_of=0.1)]
Described = Annotated[Colour, Field(description="Of the car.", examples=["red"])]
Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


@pytest.mark.parametrize(
    ("kind", "in_strict", "in_reduced"),
    [
        (int, {"type": "integer"}, {"type": "integer"}),
        (
            Short,
            {"type": "string", "pattern": "^a", "description": "At most 9 characters. At least 2 characters."},
            {"type": "string", "pattern": "^a", "minLength": 2, "maxLength": 9},
        ),
        (
            Tenths,
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "multipleOf": 0.1},
            {"type": "number", "description": "Less than 1. More than 0. A multiple of 0.1."},
        ),
        (date, {"type": "string", "format": "date"}, {"type": "string", "description": "Format: date."}),
        (
            bytes,
            {"type": "string", "description": "Format: binary."},
            {"type": "string", "description": "Format: binary."},
        ),
        (Literal["a"], {"type": "string", "enum": ["a"]}, {"type": "string", "enum": ["a"]}),
        (Literal[1], {"type": "integer", "enum": [1]}, {"type": "integer", "description": "One of: 1."}),
        (
            Literal["a", 1],
            {"type": ["string", "integer"], "enum": ["a", 1]},
            {"description": 'One of: "a", 1. type: ["string", "integer"].'},
        ),
        (Colour, {"$ref": "#/$defs/Colour"}, RED_OR_BLUE),
        (Size, {"$ref": "#/$defs/Size"}, {"type": "integer", "description": "One of: 1, 2."}),
        (
            Described,
            {"anyOf": [{"$ref": "#/$defs/Colour"}], "description": 'Of the car. Examples: "red".'},
            {**RED_OR_BLUE, "description": 'Of the car. Examples: "red".'},
        ),
        (
            set[int],
            {"type": "array", "items": {"type": "integer"}, "description": "No item twice."},
            {"type": "array", "items": {"type": "integer"}, "description": "No item twice."},
        ),
        (
            tuple[int, int],
            {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
            | {"description": "Items in this order: integer, integer."},
            {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
            | {"description": "Items in this order: integer, integer."},
        ),
        (
            tuple[Colour, bool | None],
            {
                "type": "array",
                "items": {"anyOf": [{"$ref": "#/$defs/Colour"}, {"anyOf": [{"type": "boolean"}, {"type": "null"}]}]},
                "minItems": 2,
                "maxItems": 2,
                "description": "Items in this order: Colour, one of several types.",
            },
            {
                "type": "array",
                "items": {"anyOf": [RED_OR_BLUE, {"anyOf": [{"type": "boolean"}, {"type": "null"}]}]},
                "minItems": 2,
                "maxItems": 2,
                "description": "Items in this order: Colour, one of several types.",
            },
        ),
        (
            int | None,
            {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        ),
        (Pet, {"anyOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]}, {"anyOf": [CAT, DOG]}),
        (Line, {"$ref": "#/$defs/Line"}, REDUCED_LINE),
        (list[Line], {"type": "array", "items": {"$ref": "#/$defs/Line"}}, {"type": "array", "items": REDUCED_LINE}),
    ],
)
def test_each_type_in_both_forms(kind: Any, in_strict: dict[str, Any], in_reduced: dict[str, Any]) -> None:
    """Each type is written with the keywords of the form; what they cannot express is in the description."""
    assert strict(schema_of(kind))["properties"]["field"] == in_strict
    assert reduced(schema_of(kind))["properties"]["field"] == in_reduced


def test_a_strict_object_requires_every_field() -> None:
    """A field with a default is required, not nullable and described with its default; no other field is allowed."""
    assert strict(Line.model_json_schema()) == STRICT_LINE
    assert strict(schema_of(Line))["$defs"] == {"Line": STRICT_LINE}


def test_a_strict_object_may_be_empty_or_have_been_open() -> None:
    """A model without fields, and one that allows more, have exactly the named fields."""
    empty = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}

    assert strict(Empty.model_json_schema()) == empty
    assert strict(Open.model_json_schema()) == empty | {
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
    }


def test_a_strict_schema_may_hold_itself() -> None:
    """A recursive model keeps its references, except the outermost, which must be the object itself."""
    inner = {
        "type": "object",
        "properties": {
            "value": {"type": "integer"},
            "inside": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}], "description": "Default: null."},
            "below": {
                "type": "array",
                "items": {"$ref": "#/$defs/Node"},
                "description": "Deeper ones. Default: [].",
            },
        },
        "required": ["value", "inside", "below"],
        "additionalProperties": False,
    }

    assert strict(Node.model_json_schema()) == {**inner, "$defs": {"Node": inner}}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (dict[str, Any], "Fields of any name."),
        (dict[str, int], 'Fields of any name, with values like {"type": "integer"}.'),
        (dict[str, Colour], 'Fields of any name, with values like {"enum": ["red", "blue"], "type": "string"}.'),
    ],
)
def test_a_reduced_dict_is_an_object_with_words(kind: Any, said: str) -> None:
    """The description names the values of a dict, without references: the reduced form has no keyword for them."""
    assert reduced(schema_of(kind))["properties"]["field"] == {"type": "object", "description": said}


@pytest.mark.parametrize(
    ("schema", "written"),
    [
        ({"allOf": [{"type": "string"}], "description": "A name."}, {"type": "string", "description": "A name."}),
        ({"oneOf": [{"type": "null"}, {"const": 1}]}, {"anyOf": [{"type": "null"}, {"type": "integer", "enum": [1]}]}),
        ({"type": "string", "pattern": "^(?!x)"}, {"type": "string", "description": "Pattern: ^(?!x)."}),
        ({"type": "string", "x-unit": "kg"}, {"type": "string", "description": 'x-unit: "kg".'}),
        (
            {"type": "array", "items": {"type": "null"}, "uniqueItems": False},
            {"type": "array", "items": {"type": "null"}},
        ),
    ],
)
def test_unusual_keywords_are_rewritten_or_said(schema: dict[str, Any], written: dict[str, Any]) -> None:
    """Keywords that pydantic writes rarely, or an application by hand, are removed as well."""
    assert strict({"type": "object", "properties": {"field": schema}})["properties"]["field"] == written


@pytest.mark.parametrize(
    ("form", "schema", "words"),
    [
        (strict, schema_of(dict[str, int]), "field is an object whose fields may have any name"),
        (strict, schema_of(list[dict[str, int]]), "field[] is an object whose fields may have any name"),
        (strict, schema_of(Any), "field may hold anything"),
        (strict, schema_of(list), "field[] may hold anything"),
        (strict, schema_of(tuple[()]), "field may hold anything"),
        (strict, schema_of(list[Line] | list[Any]), "field[] may hold anything"),
        (strict, TypeAdapter(list[int]).json_schema(), "describes an object, found array"),
        (strict, TypeAdapter(Cat | Dog).json_schema(), "describes an object, found one of several types"),
        (strict, {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, "the schema refers to itself"),
        (strict, {"type": "object", "properties": {"a": {"$ref": "#/x"}}}, "a refers to '#/x'"),
        (strict, {"type": "object", "properties": {"a": {"allOf": [{}, {}]}}}, "a must fit several schemas at once"),
        (reduced, Node.model_json_schema(), "inside has Node inside Node"),
        (reduced, schema_of(list[Node]), "field[].inside has Node inside Node"),
        (reduced, {"type": "object", "properties": {"a": {"$ref": "#/x"}}}, "a refers to '#/x'"),
    ],
)
def test_what_a_form_cannot_say_is_refused(form: Any, schema: dict[str, Any], words: str) -> None:
    """A schema without such a form is refused with the path of the part that cannot be written."""
    with pytest.raises(ConfigurationError) as caught:
        form(schema)

    assert words in str(caught.value)


def test_a_form_shares_nothing_with_its_schema() -> None:
    """A change to a form does not change the schema."""
    schema = schema_of(Literal["a", "b"])
    strict(schema)["properties"]["field"]["enum"].clear()

    assert schema["properties"]["field"]["enum"] == ["a", "b"]


def test_a_definition_may_be_used_twice() -> None:
    """A definition that is used twice, but not inside itself, is written out in both places."""
    written = reduced(schema_of(tuple[Line, list[Line]]))

    assert written["properties"]["field"]["items"] == {
        "anyOf": [REDUCED_LINE, {"type": "array", "items": REDUCED_LINE}]
    }


# --- any schema that pydantic writes ----------------------------------------------------------------------------------


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Return whether JSON fits a schema, with the keywords of the two forms."""
    if "$ref" in schema:
        return fits(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    if "anyOf" in schema and not any(fits(value, one, root) for one in schema["anyOf"]):
        return False
    if "enum" in schema and not any(value == one and type(value) is type(one) for one in schema["enum"]):
        return False
    types = schema.get("type", [])
    kinds = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
    kinds |= {"array": list, "object": dict}
    for kind in [types] if isinstance(types, str) else types:
        if isinstance(value, kinds[kind]) and not (isinstance(value, bool) and kind != "boolean"):
            break
    else:
        return not types
    match value:
        case str():
            low, high = schema.get("minLength", 0), schema.get("maxLength", 1e9)
            return low <= len(value) <= high and bool(re.search(schema.get("pattern", ""), value))
        case bool() | None:
            return True
        case int() | float():
            return schema.get("minimum", value) <= value <= schema.get("maximum", value)
        case list():
            enough = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 1e9)
            return enough and all(fits(item, schema["items"], root) for item in value)
        case _:
            fields = schema.get("properties", {})
            closed = schema.get("additionalProperties") is False and value.keys() - fields.keys()
            missing = set(schema.get("required", [])) - value.keys()
            inner = (fits(value[name], one, root) for name, one in fields.items() if name in value)
            return not closed and not missing and all(inner)


@dataclass(frozen=True)
class Kind:
    """A type, and JSON that is valid for it."""

    type: Any
    values: st.SearchStrategy[Any]


leaves = st.sampled_from(
    [
        Kind(str, st.text()),
        Kind(bool, st.booleans()),
        Kind(float, st.integers(-9, 9) | st.just(0.5)),
        Kind(Annotated[int, Field(ge=1, le=8)], st.integers(1, 8)),
        Kind(Annotated[int, Field(gt=1, lt=8)], st.integers(2, 7)),
        Kind(Short, st.sampled_from(["ab", "a12345678"])),
        Kind(date, st.dates().map(str)),
        Kind(Colour, st.sampled_from(["red", "blue"])),
        Kind(Size, st.sampled_from([1, 2])),
        Kind(Literal["a", 1], st.sampled_from(["a", 1])),
        Kind(Pair, st.tuples(st.text(), st.integers()).map(list)),
        Kind(Pet, st.sampled_from([{"kind": "cat"}, {"kind": "dog"}])),
        Kind(Line, st.fixed_dictionaries({"article": st.text(), "count": st.integers(1, 9)})),
    ]
)


def model(kinds: list[Kind]) -> Kind:
    """Return a model with these fields, of which every other has a default."""
    defaults = [... if at % 2 else None for at in range(len(kinds))]
    fields: dict[str, Any] = {f"f{at}": (one.type, defaults[at]) for at, one in enumerate(kinds)}
    values = st.fixed_dictionaries({f"f{at}": one.values for at, one in enumerate(kinds)})
    return Kind(create_model("Inner", **fields), values)


def grown(inner: st.SearchStrategy[Kind]) -> st.SearchStrategy[Kind]:
    return st.one_of(
        inner.map(lambda one: Kind(list[one.type], st.lists(one.values, max_size=2))),  # type: ignore[name-defined]
        inner.map(lambda one: Kind(one.type | None, st.none() | one.values)),
        st.tuples(inner, inner).map(lambda two: Kind(two[0].type | two[1].type, two[0].values | two[1].values)),
        st.tuples(inner, inner).map(
            lambda two: Kind(tuple[two[0].type, two[1].type], st.tuples(two[0].values, two[1].values).map(list))  # type: ignore[misc]
        ),
        st.lists(inner, min_size=1, max_size=3).map(model),
    )


@pytest.mark.parametrize("form", [strict, reduced])
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])  # pydantic makes classes slowly
@given(data=st.data(), kind=st.recursive(leaves, grown, max_leaves=5))
@pytest.mark.slow
def test_any_schema_has_both_forms(form: Any, data: st.DataObject, kind: Kind) -> None:
    """No refused keyword is left, the given schema is unchanged, and complete valid JSON stays valid."""
    holder = create_model("Holder", field=(kind.type, ...))
    schema = holder.model_json_schema()
    before = copy.deepcopy(schema)
    value = {"field": data.draw(kind.values)}

    written = form(schema)

    holder.model_validate_json(json.dumps(value))
    assert keywords(written) & REFUSED[form] == set()
    assert schema == before
    assert fits(value, written, written)
