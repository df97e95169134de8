"""What a refused call lacks, as an expectation of the caller's next words. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

from voicepipe.errors import ConfigurationError
from voicepipe.tools.validation import resolved
from voicepipe.turntaking.expectation import Date, Email, Pattern, Phone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from voicepipe.turntaking.expectation import Expectation

__all__ = ["lacked_by"]

FORMATS: Final[dict[str, tuple[Callable[[], Expectation], str]]] = {
    "email": (Email, r"[^@\s]+@[^@\s]+\.[^@\s]+"),
    "phone": (Phone, r"\+?[\d\s()./-]{7,}"),
    "date": (Date, r"\d{4}-\d\d-\d\d"),
}
"""The formats of JSON schemas that people say in a known form, and a rough form of a value that is not the fault."""


def lacked_by(arguments: str, schema: Mapping[str, Any]) -> Expectation | None:
    """Return what the caller is asked for when a tool refuses arguments: the form of the first one that it lacks.

    Args:
        arguments: The JSON that the model wrote.
        schema: The parameters of the tool.

    Returns:
        None if no argument is lacking, or the first one that is has no form: neither a pattern nor a known format.
    """
    try:
        found = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return None
    given = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    for name, parameter in schema.get("properties", {}).items():
        is_required = name in schema.get("required", ())
        forms = list(_forms(parameter, schema.get("$defs", {})))
        if name not in given or given[name] in (None, ""):
            if is_required:
                return _expectation(forms)
        elif forms and not any(_fits(given[name], form) for form in forms):
            return _expectation(forms)
    return None


def _forms(parameter: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas of text with a form that a parameter may have."""
    parameter = resolved(parameter, definitions)
    for one in parameter.get("anyOf") or parameter.get("oneOf") or ():
        yield from _forms(one, definitions)
    if parameter.get("type") == "string" and ("pattern" in parameter or parameter.get("format") in FORMATS):
        yield parameter


def _fits(value: object, form: Mapping[str, Any]) -> bool:
    if not isinstance(value, str):
        return False
    from pydantic_core import SchemaError, SchemaValidator, core_schema  # noqa: PLC0415 - a schema has loaded it before

    pattern = form.get("pattern") or f"^{FORMATS[form['format']][1]}$"
    try:
        # Pydantic's engine takes linear time, whatever the model wrote; Python's does not.
        return SchemaValidator(core_schema.str_schema(pattern=pattern)).isinstance_python(value)
    except SchemaError:
        return True  # a model of the application has chosen Python's engine for it


def _expectation(forms: list[Mapping[str, Any]]) -> Expectation | None:
    if len(forms) != 1:
        return None  # nobody knows which one is meant
    if "pattern" not in forms[0]:
        return FORMATS[forms[0]["format"]][0]()
    try:
        return Pattern(forms[0]["pattern"])
    except ConfigurationError:
        return None
