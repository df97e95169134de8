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


def guessed(value: object, schema: Mapping[str, Any]) -> str | None:
    """Return the path of the first value that would have to be guessed, e.g. "guests.0.day"; None if there is none.

    Args:
        value: Parsed JSON.
        schema: What it should be, as pydantic describes it. What it does not describe is left to pydantic.
    """
    return _Search(schema).path(value, schema)


class _Search:
    """Looks through a value once: what has been looked at is remembered, also where kinds refer to each other."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._known: dict[tuple[int, int], str | None] = {}

    def path(self, value: object, schema: Mapping[str, Any]) -> str | None:
        """Return the path of the first value that would have to be guessed; "" is the value itself."""
        key = id(value), id(schema)
        if key not in self._known:
            self._known[key] = None  # as long as it is looked at: a kind may refer to itself
            self._known[key] = next(self._paths(value, self._resolved(schema)), None)
        return self._known[key]

    def _paths(self, value: object, schema: Mapping[str, Any]) -> Iterator[str]:
        alternatives = [one for key in ("anyOf", "oneOf") for one in schema.get(key, ()) if self._may_be(value, one)]
        found = [self.path(value, one) for one in alternatives]
        if found and None not in found:
            yield found[0] or ""
        named = _named(schema)
        if value in named and not any(_same(value, one) for one in named):
            yield ""
        if isinstance(value, str) and schema.get("format") in DATES and NUMBER.fullmatch(value):
            yield ""
        for part in schema.get("allOf", ()):
            if (path := self.path(value, part)) is not None:
                yield path
        for name, inner, kind in _inner(value, schema):
            if (path := self.path(inner, kind)) is not None:
                yield f"{name}.{path}".rstrip(".")

    def _may_be(self, value: object, schema: Mapping[str, Any]) -> bool:
        """Return whether a value may be of one kind among several: by its type, and by the tags of an object."""
        schema = self._resolved(schema)
        kinds = schema.get("type", [])
        if kinds and not any(isinstance(value, TYPES[one]) for one in ([kinds] if isinstance(kinds, str) else kinds)):
            return False
        if not isinstance(value, dict):
            return True
        tags = ((value.get(name), _named(inner)) for name, inner in schema.get("properties", {}).items())
        return all(tag in named for tag, named in tags if named)

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        if reference := schema.get("$ref"):
            return {**self._root["$defs"][reference.rpartition("/")[2]], **schema}
        return schema


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
