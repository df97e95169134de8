"""JSON schemas in the forms that language models accept.

Rule 1: a form is a list of the keywords that a vendor reads. The meaning of any other keyword moves into the
        description, because a vendor refuses the whole request for one keyword that it does not know.
Rule 2: a form refuses nothing that the schema allows, except that the strict one requires every field. The schema's own
        validator checks what the form only describes.
Rule 3: pure: a function reads nothing but the schema, and does not change it.
"""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, TypeAlias, cast

from voicepipe.errors import ConfigurationError

__all__ = ["reduced", "strict"]

Schema: TypeAlias = Mapping[str, Any]

_SILENT: Final = frozenset({"$schema", "$id", "$comment", "$defs", "title", "discriminator"})
"""Keywords that mean nothing to a model, or that the form expresses elsewhere."""

_SAID: Final = {
    "default": "Default: {}.",
    "exclusiveMaximum": "Less than {}.",
    "exclusiveMinimum": "More than {}.",
    "format": "Format: {}.",
    "maxItems": "At most {} items.",
    "maxLength": "At most {} characters.",
    "maximum": "At most {}.",
    "minItems": "At least {} items.",
    "minLength": "At least {} characters.",
    "minimum": "At least {}.",
    "multipleOf": "A multiple of {}.",
    "pattern": "Pattern: {}.",
}

_TYPES: Final = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
    list: "array",
    dict: "object",
}

_DEFINITIONS: Final = "#/$defs/"


def strict(schema: Schema) -> dict[str, Any]:
    """Return the form for structured outputs that a service enforces while it writes a reply (`"strict": true`).

    Every field is required, and no other is allowed. An optional field does not become nullable: its default stands in
    the description for the model to write, so the schema's own validator accepts the answer.

    Args:
        schema: Schema of an object, from pydantic.

    Raises:
        ConfigurationError: A part of the schema allows fields of any name, or anything; the message names its path.

    Source: OpenAI's guide "Structured model outputs", section "Supported schemas". Neither lengths of text nor
    `uniqueItems` are on its list, and its regular expressions have no look-around.
    """
    form = _Strict(schema)
    root = form.root(schema)
    written = form.write(root, "")
    if written.get("type") != "object":
        raise ConfigurationError(
            f"a strict schema describes an object, found {_kind(written)}; put it into a model with one field"
        )
    if form.definitions:
        written["$defs"] = {name: form.write(inner, name) for name, inner in form.definitions.items()}
    return written


def reduced(schema: Schema) -> dict[str, Any]:
    """Return the form for vendors that know few keywords and no references, such as Gemini.

    Optional fields stay optional. Definitions are written out where they are used.

    Raises:
        ConfigurationError: A type contains itself and cannot be written out; the message names its path.

    Source: the keywords that the gateway's own client removes for Gemini, and those of Gemini's `Schema` object, whose
    `enum` holds text and whose `format` is only ever a date with a time.
    """
    return _Reduced(schema).write(schema, "")


class _Form(ABC):
    """Writes a schema in one form."""

    kept: ClassVar[frozenset[str]]
    formats: ClassVar[frozenset[str]]

    def __init__(self, schema: Schema) -> None:
        self.definitions: dict[str, Schema] = schema.get("$defs", {})

    def write(self, schema: Schema, path: str) -> dict[str, Any]:
        """Return a schema in this form; the path is for error messages."""
        schema = _plain(schema, path)
        if "$ref" in schema:
            return self.reference(schema, path)
        kept = {key: value for key, value in schema.items() if self.keeps(key, value)}
        written = {key: self.inner(key, value, path) for key, value in kept.items()}
        return self.described(self.finished(written, path), schema)

    def keeps(self, key: str, value: object) -> bool:
        """Return whether a keyword stays a keyword."""
        return value in self.formats if key == "format" else key in self.kept

    def inner(self, key: str, value: Any, path: str) -> Any:  # noqa: ANN401 - any JSON
        """Return the value of a keyword, with the schemas in it written in this form."""
        match key:
            case "properties":
                return {name: self.write(one, f"{path}.{name}" if path else name) for name, one in value.items()}
            case "items":
                return self.write(value, f"{path}[]")
            case "anyOf":
                return [self.write(one, path) for one in value]
            case _:
                return copy.deepcopy(value)

    def described(self, written: dict[str, Any], schema: Schema) -> dict[str, Any]:
        """Add the meaning of the missing keywords to the description."""
        said = [_said(key, value) for key, value in schema.items() if key not in written and key not in _SILENT]
        if words := " ".join(filter(None, [written.pop("description", ""), *said])):
            written["description"] = words
        return written

    def definition(self, schema: Schema, path: str) -> tuple[str, Schema]:
        """Return the name and the schema to which a reference points."""
        name = str(schema["$ref"]).removeprefix(_DEFINITIONS)
        if name not in self.definitions:
            raise ConfigurationError(
                f"{_at(path)} refers to {schema['$ref']!r}; references point to {_DEFINITIONS}<name>"
            )
        return name, self.definitions[name]

    @abstractmethod
    def reference(self, schema: Schema, path: str) -> dict[str, Any]:
        """Return a schema with a reference in this form; it may have a description of its own."""

    def finished(self, written: dict[str, Any], path: str) -> dict[str, Any]:  # noqa: ARG002 - the strict form uses it
        """Return a written schema with what the form requires in addition."""
        return written


class _Strict(_Form):
    kept = frozenset(
        {"additionalProperties", "anyOf", "description", "enum", "exclusiveMaximum", "exclusiveMinimum"}
        | {"items", "maximum", "maxItems", "minimum", "minItems", "multipleOf", "pattern", "properties", "required"}
        | {"type"}
    )
    formats = frozenset({"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"})

    def root(self, schema: Schema) -> Schema:
        """Return the outermost schema itself, which must not be a reference."""
        seen: set[str] = set()
        while "$ref" in schema:
            name, target = self.definition(schema, "")
            if name in seen:
                raise ConfigurationError(f"{_at('')} refers to itself and to nothing else")
            seen.add(name)
            schema = {**target, **{key: value for key, value in schema.items() if key not in ("$ref", "$defs")}}
        return schema

    def keeps(self, key: str, value: object) -> bool:
        if key == "pattern" and "(?" in str(value):
            return False
        return super().keeps(key, value)

    def reference(self, schema: Schema, path: str) -> dict[str, Any]:
        """Return the reference alone, because other keywords next to it are refused; the description goes around it."""
        self.definition(schema, path)
        alone = {"$ref": schema["$ref"]}
        others = {key: value for key, value in schema.items() if key != "$ref"}
        words = self.described({"description": others.pop("description", "")}, others)
        return {"anyOf": [alone], **words} if words else alone

    def finished(self, written: dict[str, Any], path: str) -> dict[str, Any]:
        """Require every field, and refuse an object without named fields."""
        if "properties" in written:
            written["required"] = list(written["properties"])
            written["additionalProperties"] = False
        elif written.get("type") == "object":
            raise ConfigurationError(
                f"{_at(path)} is an object whose fields may have any name, which strict mode refuses; "
                f"use a model, or a list of models with a field for the name"
            )
        if not written.keys() & {"type", "anyOf"} or (written.get("type") == "array" and "items" not in written):
            raise ConfigurationError(f"{_at(path)} may hold anything, which strict mode refuses; give it a type")
        return written


class _Reduced(_Form):
    kept = frozenset(
        {"anyOf", "description", "enum", "items", "maximum", "maxItems", "maxLength", "minimum", "minItems"}
        | {"minLength", "pattern", "properties", "required", "type"}
    )
    formats = frozenset({"date-time"})

    def __init__(self, schema: Schema) -> None:
        super().__init__(schema)
        self.open: list[str] = []
        """Names of the definitions that are being written out."""

    def write(self, schema: Schema, path: str) -> dict[str, Any]:
        """Return a schema in this form, without references even in the description of fields of any name."""
        schema = _plain(schema, path)
        if isinstance(values := schema.get("additionalProperties"), Mapping):
            schema["additionalProperties"] = self.write(cast("Schema", values), f"{path}.*".lstrip("."))
        return super().write(schema, path)

    def keeps(self, key: str, value: object) -> bool:
        match key:
            case "enum":
                return all(isinstance(one, str) for one in cast("list[Any]", value))
            case "type":
                return isinstance(value, str)
            case _:
                return super().keeps(key, value)

    def reference(self, schema: Schema, path: str) -> dict[str, Any]:
        """Write out the definition; a description next to the reference replaces its own."""
        name, target = self.definition(schema, path)
        if name in self.open:
            raise ConfigurationError(
                f"{_at(path)} has {name} inside {name}, but a reduced schema is written out and would never end; "
                f"use a list of models that name their parents, or another vendor"
            )
        self.open.append(name)
        written = self.write({**target, **{key: value for key, value in schema.items() if key != "$ref"}}, path)
        self.open.pop()
        return written


def _plain(schema: Schema, path: str) -> dict[str, Any]:
    """Return an equal schema with fewer keywords; the order in a tuple moves into the description."""
    plain = dict(schema) if isinstance(cast("object", schema), Mapping) else {}  # `true`: anything
    if "allOf" in plain:
        first, *more = plain.pop("allOf")
        if more or first.keys() & plain.keys() - {"description", "title", "default"}:
            raise ConfigurationError(f"{_at(path)} must fit several schemas at once (allOf); use one model instead")
        plain = {**first, **plain}
    if "oneOf" in plain and "anyOf" not in plain:
        plain["anyOf"] = plain.pop("oneOf")
    if "const" in plain:
        plain["enum"] = [plain.pop("const")]
    if "enum" in plain and "type" not in plain:
        kinds = list(dict.fromkeys(_TYPES[type(value)] for value in plain["enum"]))
        plain["type"] = kinds[0] if len(kinds) == 1 else kinds
    if "prefixItems" in plain:
        places = plain.pop("prefixItems")
        different = [place for at, place in enumerate(places) if place not in places[:at]]
        plain["items"] = different[0] if len(different) == 1 else {"anyOf": different}
        order = f"Items in this order: {', '.join(map(_kind, places))}."
        plain["description"] = f"{plain.get('description', '')} {order}".strip()
    if plain.get("additionalProperties") is False:
        del plain["additionalProperties"]  # the strict form always has it, the reduced one never
    return plain


def _said(keyword: str, value: Any) -> str:  # noqa: ANN401
    """Return a keyword as a sentence."""
    match keyword:
        case "enum":
            return f"One of: {', '.join(map(_json, value))}."
        case "examples":
            return f"Examples: {', '.join(map(_json, value))}."
        case "uniqueItems":
            return "No item twice." if value else ""
        case "additionalProperties":
            return "Fields of any name" + ("." if value is True else f", with values like {_json(value)}.")
        case _:
            shown = value if keyword in ("format", "pattern") else _json(value)
            return _SAID.get(keyword, f"{keyword}: {{}}.").format(shown)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _kind(schema: Schema) -> str:
    """Return what a schema describes, in a word or two."""
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_DEFINITIONS)
    return str(schema.get("type", "one of several types" if "anyOf" in schema else "anything"))


def _at(path: str) -> str:
    return path or "the schema"
