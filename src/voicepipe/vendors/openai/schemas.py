"""Tools and answer formats as services accept them: each takes its own part of JSON Schema.

Rule 1: a set of tools is converted once, not for each request.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from voicepipe.errors import ConfigurationError
from voicepipe.tools.schema_dialects import reduced, strict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["SchemaForm", "SchemaTexts"]

SchemaForm: TypeAlias = Literal["plain", "strict", "reduced"]
"""Unchanged; in the form that a service can enforce; or without the keywords that some services refuse."""

KEPT_SETS: Final = 64
"""Sets of tools whose text is kept, so that an application with ever new tools does not fill the memory."""


class SchemaTexts:
    """Tools and answer formats as JSON text.

    Args:
        form: The form of the schemas.
        part: The part that has this setting; errors name it.
    """

    def __init__(self, form: SchemaForm = "plain", part: str = "SchemaTexts") -> None:
        if form not in get_args(SchemaForm):
            known = ", ".join(map(repr, get_args(SchemaForm)))
            raise ConfigurationError(f"{part}: schemas must be one of {known}, not {form!r}")
        self.form: SchemaForm = form
        self._known: dict[tuple[int, ...], tuple[object, str]] = {}  # with the objects, so that no id is reused

    def text(self, tools: Sequence[Mapping[str, Any]], response_format: Mapping[str, Any] | None) -> str:
        """Return the fields `tools` and `response_format` of a request, each after a comma; "" without both.

        Raises:
            ConfigurationError: A schema cannot be written in this form.
        """
        key = (*map(id, tools), id(response_format))
        if (known := self._known.get(key)) is None:
            if len(self._known) >= KEPT_SETS:
                self._known.clear()
            known = self._known[key] = (tuple(tools), response_format), self._written(tools, response_format)
        return known[1]

    def _written(self, tools: Sequence[Mapping[str, Any]], response_format: Mapping[str, Any] | None) -> str:
        fields: dict[str, Any] = {}
        if tools:
            fields["tools"] = [self._tool(tool) for tool in tools]
        if response_format is not None:
            fields["response_format"] = self._format(response_format)
        return f",{json.dumps(fields, ensure_ascii=False, separators=(',', ':'))[1:-1]}" if fields else ""

    def _tool(self, tool: Mapping[str, Any]) -> Mapping[str, Any]:
        function = tool.get("function")
        if self.form == "plain" or not isinstance(function, dict) or "parameters" not in function:
            return tool
        converted = self._converted(function["parameters"], f"the tool {function.get('name')!r}")
        return {**tool, "function": {**function, "parameters": converted, **self._strictness()}}

    def _format(self, response_format: Mapping[str, Any]) -> Mapping[str, Any]:
        wanted = response_format.get("json_schema")
        if self.form == "plain" or not isinstance(wanted, dict) or "schema" not in wanted:
            return response_format
        converted = self._converted(wanted["schema"], f"the response_format {wanted.get('name')!r}")
        named = {name: value for name, value in wanted.items() if name != "strict"}
        return {**response_format, "json_schema": {**named, "schema": converted, **self._strictness()}}

    def _strictness(self) -> dict[str, bool]:
        return {"strict": True} if self.form == "strict" else {}

    def _converted(self, schema: Mapping[str, Any], of: str) -> dict[str, Any]:
        try:
            return strict(schema) if self.form == "strict" else reduced(schema)
        except ConfigurationError as error:
            raise ConfigurationError(f"{of} cannot be sent with schemas={self.form!r}: {error}") from error
