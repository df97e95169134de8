"""Whether JSON has the very types that a schema names. Pure.

Pydantic's strict mode still guesses in two places: `true` and `1.0` count as 1 where a literal or an enum has 1, and a
string of digits as a date, as seconds since 1970. A model that writes these has misunderstood; it is told.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["guessed"]

DATES: Final = {"date", "date-time", "time", "duration"}
TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "string": str,
    "integer": (int, float),
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
    "object": dict,
    "array": list,
}
NUMBER: Final = re.compile(r"\s*[+-]?[\d.]+\s*")


def guessed(value: object, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> str | None:
    """Return the path of the first value that would have to be guessed, e.g. "guests.0.day"; None if there is none.

    Args:
        value: Parsed JSON.
        schema: What it should be, as pydantic describes it. What it does not describe is left to pydantic.
        root: Where its `$ref`s point into; the schema itself unless told otherwise.
    """
    return next(_paths(value, schema, schema if root is None else root), None)


def _paths(value: object, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[str]:
    """Yield the path of each value that would have to be guessed; "" is the value itself."""
    schema = _resolved(schema, root)
    alternatives = [_resolved(one, root) for key in ("anyOf", "oneOf") for one in schema.get(key, ())]
    found = [next(_paths(value, one, root), None) for one in alternatives if _may_be(value, one)]
    if found and None not in found:
        yield found[0] or ""
    named = _named(schema)
    if value in named and not any(_same(value, one) for one in named):
        yield ""
    if isinstance(value, str) and schema.get("format") in DATES and NUMBER.fullmatch(value):
        yield ""
    for part in schema.get("allOf", ()):
        yield from _paths(value, part, root)
    for name, inner, kind in _inner(value, schema):
        for path in _paths(inner, kind, root):
            yield f"{name}.{path}".rstrip(".")


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    if reference := schema.get("$ref"):
        return {**root["$defs"][reference.rpartition("/")[2]], **schema}
    return schema


def _may_be(value: object, schema: Mapping[str, Any]) -> bool:
    """Return whether a value may be of one kind among several: by its type, and by the tags of an object."""
    if not isinstance(value, TYPES.get(schema.get("type", ""), object)):
        return False
    if not isinstance(value, dict):
        return True
    tags = ((value.get(name), _named(inner)) for name, inner in schema.get("properties", {}).items())
    return all(tag in named for tag, named in tags if named)


def _named(schema: Mapping[str, Any]) -> list[object]:
    return [schema["const"]] if "const" in schema else schema.get("enum", [])


def _same(value: object, named: object) -> bool:
    return type(value) is type(named) and value == named


def _inner(value: object, schema: Mapping[str, Any]) -> Iterator[tuple[str, object, Mapping[str, Any]]]:
    """Yield name, value and schema of what is in an object or an array."""
    if isinstance(value, dict):
        others = schema.get("additionalProperties")
        for name, inner in cast("dict[str, object]", value).items():
            kind = schema.get("properties", {}).get(name, others)
            if isinstance(kind, dict):
                yield name, inner, cast("dict[str, Any]", kind)
    elif isinstance(value, list):
        first = schema.get("prefixItems", ())
        for index, inner in enumerate(cast("list[object]", value)):
            kind = first[index] if index < len(first) else schema.get("items")
            if isinstance(kind, dict):
                yield str(index), inner, cast("dict[str, Any]", kind)
