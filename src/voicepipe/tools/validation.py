"""What a schema says of JSON and pydantic does not ask: exact types, and nulls that mean "nothing given". Pure.

Pydantic's strict mode still guesses in two places: `true` and `1.0` count as 1 where a literal or an enum has 1, and a
string of digits counts as a date or a time, in seconds since 1970. A model that writes these has misunderstood the
question, and has to hear so.

The check reads the JSON schema. Validators put into pydantic's own schema would not reach models inside models:
pydantic validates those with the validator that it built when their class was defined.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["guessed", "resolved", "without_idle_nulls"]

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
    """Return the path of the first value that pydantic would guess, e.g. "guests.0.day", or None.

    Args:
        value: Parsed JSON.
        schema: JSON schema from pydantic. What it does not describe is left to pydantic.
    """
    return _Search(schema).path(value, schema)


def without_idle_nulls(value: Any, schema: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Return the value without each null of a field that may be left out and is never null, so its default applies.

    Models write null for "nothing given" where a schema has a default, and there it can mean nothing else.

    Args:
        value: Parsed JSON. It is not changed; without such a null it is returned itself.
        schema: JSON schema from pydantic.
    """
    return _Pruning(schema).pruned(value, schema)


class _Pruning:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._definitions: Mapping[str, Mapping[str, Any]] = root.get("$defs", {})

    def pruned(self, value: Any, schema: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
        if not isinstance(value, (dict, list)):
            return value
        schema = self._only(value, resolved(schema, self._definitions))
        if isinstance(value, list):
            return self._each(value, schema)
        return self._fields(cast("dict[str, Any]", value), schema)

    def _fields(self, value: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
        named, others = schema.get("properties", {}), schema.get("additionalProperties")
        kept: dict[str, Any] = {}
        for name, inner in value.items():
            kind = named.get(name, others)
            if not isinstance(kind, dict):
                kept[name] = inner
                continue
            kind = cast("dict[str, Any]", kind)
            may_be_left_out = name in named and name not in schema.get("required", ())
            if not (inner is None and may_be_left_out and not self._may_be_null(kind)):
                kept[name] = self.pruned(inner, kind)
        return value if _same(kept.values(), value.values()) else kept

    def _each(self, value: list[Any], schema: Mapping[str, Any]) -> list[Any]:
        kinds: list[Any] = [*schema.get("prefixItems", ()), *[schema.get("items")] * len(value)]
        kept = [self.pruned(one, kind) if isinstance(kind, dict) else one for one, kind in zip(value, kinds)]  # noqa: B905
        return value if _same(kept, value) else kept

    def _only(self, value: object, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the one alternative of a schema that may describe an object or an array; {} if there are several."""
        if not (alternatives := schema.get("anyOf") or schema.get("oneOf")):
            return schema
        wanted = "object" if isinstance(value, dict) else "array"
        found = [
            one for one in (resolved(each, self._definitions) for each in alternatives) if one.get("type") == wanted
        ]
        return found[0] if len(found) == 1 else {}

    def _may_be_null(self, schema: Mapping[str, Any]) -> bool:
        schema = resolved(schema, self._definitions)
        if alternatives := schema.get("anyOf") or schema.get("oneOf"):
            return any(map(self._may_be_null, alternatives))
        if named := _named(schema):
            return None in named
        kinds = schema.get("type")
        return kinds is None or "null" in ([kinds] if isinstance(kinds, str) else kinds)


def _same(some: Iterable[object], others: Iterable[object]) -> bool:
    some, others = list(some), list(others)
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))


class _Search:
    """Looks at each value once for each schema, even if schemas refer to each other."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._definitions: Mapping[str, Mapping[str, Any]] = root.get("$defs", {})
        self._known: dict[tuple[int, int], str | None] = {}

    def path(self, value: object, schema: Mapping[str, Any]) -> str | None:
        """Return the path of the first guess inside a value; "" is the value itself."""
        key = id(value), id(schema)
        if key not in self._known:
            self._known[key] = None  # until the answer is known: a schema may refer to itself
            self._known[key] = self._first(value, resolved(schema, self._definitions))
        return self._known[key]

    def _first(self, value: object, schema: Mapping[str, Any]) -> str | None:
        alternatives = schema.get("anyOf") or schema.get("oneOf") or ()
        found = [self.path(value, one) for one in alternatives if self._may_be(value, one)]
        if found and None not in found:
            return found[0]
        named = _named(schema)
        if value in named and not any(type(value) is type(one) and value == one for one in named):
            return ""
        if isinstance(value, str) and schema.get("format") in DATES and NUMBER.fullmatch(value):
            return ""
        for part in schema.get("allOf", ()):
            if (path := self.path(value, part)) is not None:
                return path
        for name, inner, kind in _inner(value, schema):
            if (path := self.path(inner, kind)) is not None:
                return f"{name}.{path}".rstrip(".")
        return None

    def _may_be(self, value: object, schema: Mapping[str, Any]) -> bool:
        """Return whether a value may be one of several kinds: by its type, and by the tags of an object."""
        schema = resolved(schema, self._definitions)
        kinds = schema.get("type", [])
        if kinds and not any(isinstance(value, TYPES[one]) for one in ([kinds] if isinstance(kinds, str) else kinds)):
            return False
        if not isinstance(value, dict):
            return True
        tags = ((value.get(name), _named(inner)) for name, inner in schema.get("properties", {}).items())
        return all(tag in named for tag, named in tags if named)


def resolved(schema: Mapping[str, Any], definitions: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the schema that a reference points to; next to a reference pydantic writes only descriptions."""
    while reference := schema.get("$ref"):
        schema = definitions[reference.rpartition("/")[2]]
    return schema


def _named(schema: Mapping[str, Any]) -> list[object]:
    return [schema["const"]] if "const" in schema else schema.get("enum", [])


def _inner(value: object, schema: Mapping[str, Any]) -> Iterator[tuple[str, object, Mapping[str, Any]]]:
    """Yield path, value and schema of everything in an object or an array, including the keys."""
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        if names := schema.get("propertyNames"):
            yield from ((name, name, names) for name in fields)
        named, others = schema.get("properties", {}), schema.get("additionalProperties")
        for name, inner in fields.items():
            if isinstance(kind := named.get(name, others), dict):
                yield name, inner, cast("dict[str, Any]", kind)
    elif isinstance(value, list):
        first = schema.get("prefixItems", ())
        for index, inner in enumerate(cast("list[object]", value)):
            kind = first[index] if index < len(first) else schema.get("items")
            if isinstance(kind, dict):
                yield str(index), inner, cast("dict[str, Any]", kind)
