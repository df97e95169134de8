"""The description of a function for a language model, read from its signature and its docstring.

Rule 1: everything is read once, when the function is decorated; what cannot be read is a `ConfigurationError`.
Rule 2: this module only reads. `tool.py` checks the arguments of a call and runs it.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import re
import sys
import typing
from collections import ChainMap
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, cast, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticSerializationError, to_jsonable_python

from voicepipe.errors import ConfigurationError
from voicepipe.tools.docstring import read_docstring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic.json_schema import JsonSchemaMode
    from pydantic_core import core_schema

__all__ = ["NOT_GIVEN", "ExactSchema", "ToolSignature", "read_signature"]

NOT_GIVEN: Final = object()
"""Value of an argument that the model left out, so that the function's own default applies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSignature:
    """What a tool knows about its function.

    Attributes:
        description: The docstring without its sections on arguments, results and errors.
        parameters: JSON schema of the object that holds the arguments.
        names: The parameters that the model sees, in order.
        context: The parameter that takes the call's context, or None.
        arguments: Turns the arguments into an object with one attribute for each name.
        returns: Writes the result as JSON.
    """

    description: str
    parameters: dict[str, Any]
    names: tuple[str, ...]
    context: str | None
    arguments: TypeAdapter[Any]
    returns: TypeAdapter[Any]


class ExactSchema(GenerateJsonSchema):
    """Writes JSON schemas without titles, in which an object with named fields refuses all others.

    Validation refuses the others anyway, whatever the class of the object allows.
    """

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - pydantic declares it so

    def generate(self, schema: core_schema.CoreSchema, mode: JsonSchemaMode = "validation") -> dict[str, Any]:
        """Write the schema."""
        written = super().generate(schema, mode)
        for one in (written, *written.get("$defs", {}).values()):
            one.pop("title", None)
            if "properties" in one:
                one["additionalProperties"] = False
        return written

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401, ARG002, D102 - the base class says it
        return False

    def encode_default(self, dft: Any) -> Any:  # noqa: ANN401
        """Return a default as JSON, which has no NaN and no infinity."""
        try:
            encoded = to_jsonable_python(dft)
            json.dumps(encoded, allow_nan=False)
        except ValueError as error:
            raise PydanticSerializationError("not JSON") from error
        return encoded

    def generator_schema(self, schema: core_schema.GeneratorSchema) -> dict[str, Any]:  # noqa: ARG002
        """Refuse a type whose items pydantic validates only when they are used, and then not strictly."""
        raise ConfigurationError("an Iterable is validated too late, after the function has begun; use list")


def read_signature(function: Callable[..., Any], context_class: type, *, is_method: bool = False) -> ToolSignature:
    """Read a function.

    Args:
        function: A function or a bound method; all its parameters and its result have annotations.
        context_class: Parameters of this class are hidden from the model.
        is_method: Whether the function is defined in a class, so that its first parameter is the instance.

    Raises:
        ConfigurationError: The function lacks a docstring or an annotation, the docstring describes a parameter that
            does not exist, or a model could not call the function.
    """
    name = _checked_name(function)
    parameters = _checked_parameters(function, name, is_method=is_method)
    described = read_docstring(inspect.getdoc(function) or "")
    if not described.description:
        raise ConfigurationError(
            f"tool {name} has no description, by which the model decides when to call it; "
            f'write a docstring, e.g. """Look up the status of a customer order."""'
        )
    _check_documented(name, described.parameters, [parameter.name for parameter in parameters])
    local_names = _enclosing_locals(function)
    hints = _annotations(function, name, local_names)
    context = _context_parameter({one.name: hints[one.name] for one in parameters}, name, context_class)
    visible = [parameter for parameter in parameters if parameter.name != context]
    arguments = _arguments_adapter(name, visible, hints, local_names)
    return ToolSignature(
        description=described.description,
        parameters=_parameters_schema(name, arguments, visible, described.parameters),
        names=tuple(parameter.name for parameter in visible),
        context=context,
        arguments=arguments,
        returns=_returns_adapter(name, hints["return"], local_names),
    )


def _checked_name(function: Callable[..., Any]) -> str:
    """Return the function's name, or refuse anything that is not a function with one result."""
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        raise ConfigurationError(
            f"@tool needs a function or a bound method, found {type(function).__name__}; write a function that calls it"
        )
    name: str = function.__name__
    unwrapped = inspect.unwrap(function)
    if inspect.isgeneratorfunction(unwrapped) or inspect.isasyncgenfunction(unwrapped):
        raise ConfigurationError(f"tool {name} yields, but the model gets one result; return a list")
    return name


def _checked_parameters(function: Callable[..., Any], name: str, *, is_method: bool) -> list[inspect.Parameter]:
    """Return the parameters of a function, or refuse one that cannot be called by their names."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if is_method:
        if not parameters or parameters[0].kind > inspect.Parameter.POSITIONAL_OR_KEYWORD:
            raise ConfigurationError(f"tool {name} is a method without a parameter for the instance; add self")
        del parameters[0]
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ConfigurationError(
                f"tool {name} takes {parameter}, which a schema cannot describe; write one parameter for each argument"
            )
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ConfigurationError(
                f"tool {name} takes {parameter.name} by position only, but a model gives names; remove the slash"
            )
        if parameter.annotation is parameter.empty:
            raise ConfigurationError(
                f"parameter {parameter.name} of tool {name} has no annotation; write {parameter.name}: str"
            )
        if isinstance(parameter.default, FieldInfo):
            raise ConfigurationError(
                f"parameter {parameter.name} of tool {name} has a Field as its default, which a call would receive; "
                f"write {parameter.name}: Annotated[type, Field(...)], followed by the default itself"
            )
    if signature.return_annotation is signature.empty:
        raise ConfigurationError(f"tool {name} has no return annotation; write -> str, or -> None without a result")
    return parameters


def _check_documented(name: str, documented: Iterable[str], names: list[str]) -> None:
    """Refuse a description of a parameter that does not exist: its name may be misspelt, and the text would be lost."""
    for unknown in documented:
        if unknown not in names:
            near = difflib.get_close_matches(unknown, names, n=1)
            hint = f"did you mean {near[0]}?" if near else "remove it, or indent the line if it continues another"
            raise ConfigurationError(
                f"the docstring of tool {name} describes {unknown}, but {name} has no such parameter; {hint}"
            )


def _enclosing_locals(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the names in the functions and class bodies around `function` that run now, to find local classes.

    The frames are found by qualified name and not by distance: a decorator or a helper may run in between.
    """
    unwrapped = inspect.unwrap(function)
    scopes: list[Mapping[str, Any]] = []
    frame = sys._getframe(1)
    while frame is not None:
        around = frame.f_code.co_qualname
        defined_here = unwrapped.__qualname__.startswith((f"{around}.<locals>.", f"{around}."))
        if frame.f_globals is unwrapped.__globals__ and defined_here:
            scopes.append(dict(frame.f_locals))
        frame = cast("Any", frame.f_back)
    return ChainMap(*cast("list[dict[str, Any]]", scopes))


def _annotations(function: Callable[..., Any], name: str, local_names: Mapping[str, Any]) -> dict[str, Any]:
    """Return the annotations as types, by parameter."""
    try:
        return typing.get_type_hints(function, localns=dict(local_names), include_extras=True)
    except Exception as error:
        raise ConfigurationError(
            f"the annotations of tool {name} cannot be read at run time: {error}; import the name outside of "
            f"`if TYPE_CHECKING:`, or move the class to the module"
        ) from error


def _context_parameter(hints: dict[str, Any], name: str, context_class: type) -> str | None:
    """Return the one parameter that takes the context."""
    found: list[str] = []
    for parameter, annotation in hints.items():
        kind = _bare(annotation)
        if _is_class(kind, context_class):
            found.append(parameter)
        elif _holds(kind, context_class):
            raise ConfigurationError(
                f"parameter {parameter} of tool {name} holds a {context_class.__name__} inside another type, "
                f"but the context is always there and never part of a value; "
                f"write {parameter}: {context_class.__name__}[YourDeps]"
            )
    if len(found) > 1:
        raise ConfigurationError(f"tool {name} takes the context twice, as {' and '.join(found)}; remove one")
    return found[0] if found else None


def _bare(kind: Any) -> Any:  # noqa: ANN401 - a type at run time has no narrower type
    """Return the type inside `Annotated`, or behind an alias."""
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif type(kind).__name__ == "TypeAliasType":  # in typing since 3.12, and in typing_extensions
            kind = kind.__value__
        else:
            return kind


def _is_class(kind: Any, wanted: type) -> bool:  # noqa: ANN401
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, wanted)


def _holds(kind: Any, wanted: type) -> bool:  # noqa: ANN401
    return any(_is_class(_bare(part), wanted) or _holds(part, wanted) for part in get_args(kind))


def _arguments_adapter(
    name: str, visible: list[inspect.Parameter], hints: dict[str, Any], local_names: Mapping[str, Any]
) -> TypeAdapter[Any]:
    """Return the adapter that validates the arguments.

    It makes a dataclass and not a model, because the fields of a dataclass can have any name: `json`, `copy`, `_id`.
    """
    for parameter in visible:  # one by one, so that an error can name the parameter
        try:
            _adapter(hints[parameter.name], local_names).json_schema(schema_generator=ExactSchema)
        except Exception as error:
            raise ConfigurationError(
                f"parameter {parameter.name} of tool {name} cannot be described to a model: {_first_sentence(error)}; "
                f"use a type that JSON can hold: str, int, Literal, an Enum, a pydantic model, a list of these"
            ) from error
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
        (parameter.name, hints[parameter.name])
        if parameter.default is parameter.empty
        else (parameter.name, hints[parameter.name], dataclasses.field(default_factory=lambda: NOT_GIVEN))
        for parameter in visible
    ]
    return _adapter(dataclasses.make_dataclass(name, fields, kw_only=True), local_names)


def _returns_adapter(name: str, annotation: Any, local_names: Mapping[str, Any]) -> TypeAdapter[Any]:  # noqa: ANN401
    """Return the adapter that writes the result."""
    try:
        return _adapter(annotation, local_names)
    except Exception as error:
        raise ConfigurationError(
            f"the result of tool {name} cannot be written as JSON: {_first_sentence(error)}; "
            f"return a str, a pydantic model, a dataclass, or a list or dict of these"
        ) from error


def _adapter(kind: Any, local_names: Mapping[str, Any]) -> TypeAdapter[Any]:  # noqa: ANN401
    """Return a complete adapter: `rebuild` finds local classes, and raises the errors that the constructor defers."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    adapter.rebuild(_types_namespace=local_names)
    return adapter


def _first_sentence(error: Exception) -> str:
    """Return what pydantic found, without its advice, which is about models and would mislead here."""
    return " ".join(re.split(r"\n\n|\. ", str(error), maxsplit=1)[0].split()).rstrip(".")


def _parameters_schema(
    name: str, arguments: TypeAdapter[Any], visible: list[inspect.Parameter], documented: dict[str, str]
) -> dict[str, Any]:
    """Return the JSON schema of the arguments, with defaults and the docstring's descriptions."""
    schema = arguments.json_schema(schema_generator=ExactSchema)
    properties = schema["properties"]
    for parameter in visible:
        if parameter.name not in properties:
            raise ConfigurationError(
                f"parameter {parameter.name} of tool {name} has an alias, but a call uses the names of the function; "
                f"rename the parameter instead"
            )
        described = properties[parameter.name]
        if words := documented.get(parameter.name):
            described.setdefault("description", words)
        if parameter.default is not parameter.empty:
            # A default that JSON cannot hold is left out; the model still sees in "required" that there is one.
            with suppress(PydanticSerializationError):
                described["default"] = ExactSchema().encode_default(parameter.default)
    return schema
