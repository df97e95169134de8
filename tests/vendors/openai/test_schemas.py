"""How tools and formats of answers are written."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from voicepipe.errors import ConfigurationError
from voicepipe.vendors.openai.schemas import KEPT_SETS, SchemaForm, SchemaTexts

SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Order",
    "properties": {"city": {"type": "string"}, "when": {"$ref": "#/$defs/Day", "default": "today"}},
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"Day": {"type": "string", "enum": ["today", "tomorrow"]}},
}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "order", "description": "Order it.", "parameters": SCHEMA},
}
FORMAT: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "order", "strict": True, "schema": SCHEMA}}


def written(form: SchemaForm, tools: tuple[Any, ...] = (), wanted: Any = None) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(f'{{"a":1{SchemaTexts(form).text(tools, wanted)}}}')
    return fields


@pytest.mark.parametrize("form", ["plain", "strict", "reduced"])
def test_nothing_to_offer_is_nothing_to_send(form: SchemaForm) -> None:
    """A request without tools and format has no fields for them."""
    assert written(form) == {"a": 1}


def test_plain_is_as_it_stands() -> None:
    """The plain form changes nothing."""
    assert written("plain", (TOOL,), FORMAT) == {"a": 1, "tools": [TOOL], "response_format": FORMAT}


def test_strict_says_so() -> None:
    """A strict tool and a strict format require every field, and are marked as strict."""
    sent = written("strict", (TOOL,), FORMAT)
    for one in (sent["tools"][0]["function"], sent["response_format"]["json_schema"]):
        assert one["strict"] is True
    for schema in (sent["tools"][0]["function"]["parameters"], sent["response_format"]["json_schema"]["schema"]):
        assert (schema["required"], schema["additionalProperties"]) == (["city", "when"], False)


def test_reduced_leaves_out_what_is_refused() -> None:
    """Reduced tools and formats have no references and are not marked as strict."""
    sent = written("reduced", (TOOL,), FORMAT)
    for one in (sent["tools"][0]["function"], sent["response_format"]["json_schema"]):
        assert "strict" not in one
        assert "$" not in json.dumps(one)
        assert "additionalProperties" not in json.dumps(one)


@pytest.mark.parametrize("form", ["strict", "reduced"])
def test_what_has_its_form_keeps_it(form: SchemaForm) -> None:
    """A schema that is already strict, as structured output sends it, keeps its meaning."""
    once = written("strict", (), FORMAT)["response_format"]
    again = written(form, (), once)["response_format"]["json_schema"]["schema"]
    assert again["required"] == ["city", "when"]
    assert again["properties"]["city"] == {"type": "string"}


@pytest.mark.parametrize("form", ["plain", "strict", "reduced"])
@pytest.mark.parametrize("wanted", [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "x"}}])
def test_a_format_without_a_schema_is_left_alone(form: SchemaForm, wanted: dict[str, Any]) -> None:
    """Tools and formats without a schema are sent unchanged; the service decides whether it accepts them."""
    assert written(form, (), wanted)["response_format"] == wanted


@pytest.mark.parametrize("form", ["strict", "reduced"])
def test_what_is_given_stays_as_it_is(form: SchemaForm) -> None:
    """Neither tools nor formats are changed in place."""
    tool, wanted = copy.deepcopy(TOOL), copy.deepcopy(FORMAT)
    written(form, (tool,), wanted)
    assert (tool, wanted) == (TOOL, FORMAT)


def test_a_set_of_tools_is_written_once() -> None:
    """The same tools give the identical text; other tools give another."""
    texts, other = SchemaTexts("strict"), copy.deepcopy(TOOL)
    other["function"]["name"] = "cancel"
    first = texts.text((TOOL,), None)

    assert texts.text((TOOL, other), None) != first != texts.text((other,), None)
    assert texts.text((TOOL,), None) is first


def test_sets_of_tools_do_not_pile_up() -> None:
    """An application that makes new tools for each request does not fill the memory."""
    texts = SchemaTexts()
    for _ in range(3 * KEPT_SETS):
        texts.text((copy.deepcopy(TOOL),), None)
    assert len(texts._known) <= KEPT_SETS


def test_what_cannot_be_strict_is_named() -> None:
    """A tool that accepts fields of any name cannot be strict; the error names it."""
    anything = {"type": "object", "properties": {"data": {"type": "object"}}}
    tool: dict[str, Any] = {"type": "function", "function": {"name": "store", "parameters": anything}}
    with pytest.raises(ConfigurationError, match=r"the tool 'store' cannot be sent with schemas='strict': .*data"):
        SchemaTexts("strict").text((tool,), None)


def test_an_unknown_form_is_refused() -> None:
    """The error for a misspelt form lists the known ones."""
    form: Any = "stict"
    with pytest.raises(ConfigurationError, match="schemas must be one of 'plain', 'strict', 'reduced', not 'stict'"):
        SchemaTexts(form)
