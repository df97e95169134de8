"""Arguments that a model wrote for a server's tool, checked against the server's own JSON schema. Pure.

Rule 1: the arguments are exactly what the schema describes, or the call does not run: nothing is repaired or guessed.
Rule 2: a refusal names fields and what the schema wants, and no values (see `tools/strict_json.py`).
Rule 3: a schema comes from outside. It is of limited size, fetches nothing, and its patterns take linear time,
        and the references that it follows are counted.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import jsonschema
from jsonschema.validators import extend, validator_for
from pydantic_core import SchemaError, SchemaValidator, core_schema
from referencing import Registry
from referencing.exceptions import Unresolvable

from voicepipe.errors import ToolError
from voicepipe.tools.strict_json import read_object
from voicepipe.tools.tool import MAX_ARGUMENT_BYTES
from voicepipe.tools.validation import without_idle_nulls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["ArgumentSchema", "UnreadableSchema"]

MAX_SCHEMA_BYTES: Final = 64 * 1024
"""The longest schema of one tool; a model reads all of it with every request."""

MAX_REFERENCES: Final = 2_000
"""References that are followed to check one call: a few definitions that refer to each other twice double the work with
each of them, and the loop stands still."""

MAX_COMPLAINTS: Final = 8
SHOWN_CHARACTERS: Final = 120
"""How much of a path, and how much of what the schema wants, a refusal quotes."""

NAMES_BY_PATTERN: Final = ("patternProperties", "additionalProperties", "unevaluatedProperties")
"""Keywords that the library checks with Python's own regular expressions once a schema has the first of them."""

REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")

COMBINED: Final = (
    "$ref",
    "allOf",
    "anyOf",
    "oneOf",
    "patternProperties",
    "additionalProperties",
    "unevaluatedProperties",
)
"""Keywords by which a schema may know more fields than it names."""


class UnreadableSchema(Exception):  # noqa: N818 - names what is wrong with the schema
    """A schema that describes no arguments; the message says why."""


class TooManyReferences(Exception):  # noqa: N818 - names what happened
    """The check of a call is given up."""


class ArgumentSchema:
    """Reads the arguments of one tool.

    Args:
        schema: The JSON schema of the server. Not changed.

    Raises:
        UnreadableSchema: It is no schema of an object, or too long.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        written = json.dumps(schema)
        if len(written) > MAX_SCHEMA_BYTES:
            raise UnreadableSchema(f"its schema has more than {MAX_SCHEMA_BYTES} bytes")
        if schema.get("type") != "object" or not all(isinstance(one, dict) for one in _fields(schema).values()):
            raise UnreadableSchema("its schema does not describe an object with named fields")
        base: Any = validator_for(schema, default=jsonschema.Draft202012Validator)
        try:
            base.check_schema(schema)
        except (jsonschema.SchemaError, RecursionError) as error:
            raise UnreadableSchema("its schema is not a valid JSON schema") from error
        ignored = NAMES_BY_PATTERN if '"patternProperties"' in written else ()
        linear: Any = extend(
            base,
            {
                "pattern": _pattern,
                **dict.fromkeys(ignored, _unchecked),
                **{name: self._counted(base.VALIDATORS[name]) for name in REFERENCES if name in base.VALIDATORS},
            },
        )
        # An empty registry: the library's own one fetches what a reference names from the network.
        self._validator = linear(schema, registry=Registry())
        self._schema = schema
        self._references = 0
        self._names_all = not any(keyword in schema for keyword in COMBINED)

    def read(self, arguments: str) -> dict[str, Any]:
        """Return the arguments in a model's JSON text. Empty text counts as `{}` for a tool without required fields.

        A null of a field that may be left out and is never null counts as left out. A field that the schema does not
        name is refused, unless the schema says that there are others: a server would ignore it, whatever it meant.

        Raises:
            ToolError: They do not fit.
        """
        self._references = 0
        try:
            found = self._without_idle_nulls(read_object(arguments or "{}", "the arguments", MAX_ARGUMENT_BYTES))
            complaints = list(dict.fromkeys(islice(self._complaints(found), MAX_COMPLAINTS)))
        except RecursionError as error:
            raise ToolError("the arguments: nested too deeply") from error
        except Unresolvable as error:
            raise ToolError("the arguments cannot be checked: the schema refers to what it does not hold") from error
        except TooManyReferences as error:
            why = f"the schema needs more than {MAX_REFERENCES} references for them"
            raise ToolError(f"the arguments cannot be checked: {why}; write shorter ones") from error
        if complaints:
            raise ToolError("; ".join(complaints))
        return found

    def with_defaults(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values with the defaults of the fields that were left out."""
        defaults = {name: one["default"] for name, one in _fields(self._schema).items() if "default" in one}
        return {**defaults, **values}

    def _without_idle_nulls(self, found: dict[str, Any]) -> dict[str, Any]:
        try:
            return without_idle_nulls(found, self._schema)  # type: ignore[no-any-return]
        except (AttributeError, KeyError, TypeError):  # a form that pydantic does not write
            return found

    def _counted(self, follow: Callable[..., Any]) -> Callable[..., Any]:
        """Return a check of a reference that gives up when there are too many."""

        def counted(*arguments: Any) -> Any:  # noqa: ANN401 - as the library calls it
            self._references += 1
            if self._references > MAX_REFERENCES:
                raise TooManyReferences
            return follow(*arguments)

        return counted

    def _complaints(self, found: dict[str, Any]) -> Iterator[str]:
        if self._names_all:
            for name in found:
                if name not in _fields(self._schema):
                    yield f"{name[:SHOWN_CHARACTERS]}: there is no such field"
        for error in self._validator.iter_errors(found):
            path = ".".join(map(str, error.absolute_path))[:SHOWN_CHARACTERS] or "the arguments"
            yield from (f"{path}: {words}" for words in _worded(error))


def _fields(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    named = schema.get("properties", {})
    return named if isinstance(named, dict) else {"": named}


def _worded(error: Any) -> Iterator[str]:  # noqa: ANN401 - the library has no types
    """Yield what the schema wants at one place, without the value that is there."""
    wanted = error.validator_value
    match error.validator:
        case "required":
            yield from (f"{name} is missing" for name in wanted if name not in error.instance)
        case "type":
            yield f"must be of the type {wanted if isinstance(wanted, str) else ' or '.join(wanted)}"
        case "enum":
            yield f"must be one of {_quoted(wanted)}"
        case "const":
            yield f"must be {_quoted(wanted)}"
        case "additionalProperties" | "unevaluatedProperties" if wanted is False:
            known = _fields(error.schema)
            others = [str(name)[:SHOWN_CHARACTERS] for name in error.instance if name not in known]
            yield f"there is no such field: {', '.join(others[:MAX_COMPLAINTS])}"
        case "anyOf" | "oneOf" | "not" | "if" | "dependentRequired" | "contains":
            yield f"does not fit the schema ({error.validator})"
        case keyword:
            yield f"does not fit {keyword} {_quoted(wanted)}"


def _quoted(wanted: object) -> str:
    written = json.dumps(wanted, ensure_ascii=False)
    return written if len(written) <= SHOWN_CHARACTERS else f"{written[:SHOWN_CHARACTERS]} ..."


def _unchecked(validator: Any, wanted: object, instance: object, schema: object) -> tuple[()]:  # noqa: ANN401, ARG001
    """Leave a keyword to the server."""
    return ()


def _pattern(validator: Any, pattern: str, instance: object, schema: object) -> Iterator[Any]:  # noqa: ANN401, ARG001
    """Check a pattern with an engine of linear time; one that it cannot read is left to the server."""
    if not isinstance(instance, str):
        return
    try:
        fits = SchemaValidator(core_schema.str_schema(pattern=pattern)).isinstance_python(instance)
    except SchemaError:
        return
    if not fits:
        yield jsonschema.ValidationError("does not match")
