"""The description of a function for a language model, from its signature and its docstring."""

from __future__ import annotations

import math
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import Field
from typing_extensions import TypeAliasType

from tests.helpers.orders import Shop, Urgency, anything, ping
from voicepipe.errors import ConfigurationError
from voicepipe.tools.signature import read_signature
from voicepipe.tools.tool import Tool, ToolContext, tool

if TYPE_CHECKING:
    from decimal import Decimal


@tool
async def get_order(order_id: Annotated[str, Field(pattern=r"^ORD-\d{5}$")], urgency: Urgency, notes: str = "") -> str:
    """Look up an order.

    Only orders of this year are found.

    Args:
        order_id: The order's number,
            as printed on the invoice.
        urgency (Urgency): How soon: at once, or later.
        notes:

    Returns:
        The status.

    Raises:
        ToolError: There is no such order.
    """
    return f"{order_id} {urgency} {notes}"


# --- what the model sees ----------------------------------------------------------------------------------------------


def test_the_definition_is_the_entry_of_a_request() -> None:
    """Signature and docstring become the whole `tools` entry, without titles and the docstring's sections."""
    assert get_order.definition == {
        "type": "function",
        "function": {
            "name": "get_order",
            "description": "Look up an order.\n\nOnly orders of this year are found.",
            "parameters": {
                "type": "object",
                "properties": {
                    "order_id": {
                        "type": "string",
                        "pattern": r"^ORD-\d{5}$",
                        "description": "The order's number, as printed on the invoice.",
                    },
                    "urgency": {"$ref": "#/$defs/Urgency", "description": "How soon: at once, or later."},
                    "notes": {"type": "string", "default": ""},
                },
                "required": ["order_id", "urgency"],
                "additionalProperties": False,
                "$defs": {"Urgency": {"type": "string", "enum": ["low", "high"]}},
            },
        },
    }


def test_a_tool_without_parameters_has_an_empty_schema() -> None:
    """The schema of a tool without parameters is an object that allows no fields."""
    assert ping.parameters == {"type": "object", "properties": {}, "additionalProperties": False}


def test_inner_objects_refuse_other_fields_in_the_schema_too() -> None:
    """The schema refuses other fields of inner objects, as validation does, and keeps a field with the name title."""
    inner = anything.parameters["$defs"]

    assert inner["Loose"]["properties"] == {"title": {"type": "integer"}}
    assert inner["Loose"]["additionalProperties"] is inner["Address"]["additionalProperties"] is False
    assert inner["Address"]["description"] == "Where to send it."


def test_a_parameter_may_have_the_name_of_a_keyword() -> None:
    """Parameters with the names of JSON schema keywords are described like any others."""

    @tool
    def find(default: list[str], properties: int, title: str) -> None:
        """Find."""

    assert find.parameters["properties"] == {
        "default": {"type": "array", "items": {"type": "string"}},
        "properties": {"type": "integer"},
        "title": {"type": "string"},
    }


def test_a_field_description_wins_over_the_docstring() -> None:
    """The description in `Field` replaces the one in the docstring."""

    @tool
    def find(article: Annotated[str, Field(description="from the field")]) -> str:
        """Find.

        Args:
            article: from the docstring
        """
        return article

    assert find.parameters["properties"]["article"]["description"] == "from the field"


def underlined(article: str, count: Annotated[int, Field(ge=1)] = 1) -> None:
    """Find.

    Parameters
    ----------
    article : str
        What to find.
    count : int, optional
        How many.

    Notes
    -----
    Takes a while.
    """


def with_fields(article: str, count: Annotated[int, Field(ge=1)] = 1) -> None:
    """Find.

    Notes
    -----
    Takes a while.

    :param article: What to find.
    :param int count: How many.
    """


@pytest.mark.parametrize("function", [underlined, with_fields])
def test_other_notations_are_read_too(function: Any) -> None:
    """Docstrings in the notations of NumPy and Sphinx are read as well as those in Google's."""
    find = tool(function)

    assert find.description == "Find.\n\nNotes\n-----\nTakes a while."
    assert find.parameters["properties"] == {
        "article": {"type": "string", "description": "What to find."},
        "count": {"type": "integer", "minimum": 1, "default": 1, "description": "How many."},
    }


class Orders:
    @staticmethod
    def context_first(call: ToolContext[Shop], article: str) -> None:
        """Find.

        Args:
            call: Not for the model.
            article: What to find.
        """

    @staticmethod
    def context_in_the_middle(count: int, call: Annotated[ToolContext[Shop], "of this call"], article: str) -> None:
        """Find."""

    @staticmethod
    def context_by_name(article: str, *, call: ToolContext, count: int) -> None:  # type: ignore[type-arg]
        """Find."""

    def with_self(self, article: str, call: ToolContext[Shop]) -> None:
        """Find."""

    def no_self() -> None:  # type: ignore[misc]
        """Find."""

    def self_by_name(*, self) -> None:  # type: ignore[no-untyped-def, misc]
        """Find."""


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (Orders.context_first, ("article",)),
        (Orders.context_in_the_middle, ("count", "article")),
        (Orders.context_by_name, ("article", "count")),
    ],
)
def test_the_context_may_stand_anywhere(function: Any, names: tuple[str, ...]) -> None:
    """The context is found at any position and hidden from the model, with a description or without."""
    signature = read_signature(function, ToolContext)

    assert signature.context == "call"
    assert signature.names == tuple(signature.parameters["properties"]) == names


def test_the_context_may_have_an_alias() -> None:
    """An alias of the context with its dependencies counts as the context."""
    Call = TypeAliasType("Call", ToolContext[Shop])  # noqa: N806 - a type

    def find(article: str, call: Call) -> None:
        """Find."""

    assert read_signature(find, ToolContext).names == ("article",)


def test_a_result_is_no_parameter() -> None:
    """A context in the result does not count as a parameter for it."""

    def find(article: str) -> list[ToolContext[Any]] | None:
        """Find."""

    with pytest.raises(ConfigurationError, match="the result of tool find cannot be written as JSON"):
        read_signature(find, ToolContext)


def test_a_method_has_no_parameter_for_its_object() -> None:
    """The first parameter of a method needs no annotation and is not an argument."""
    signature = read_signature(Orders.with_self, ToolContext, is_method=True)

    assert (signature.names, signature.context) == (("article",), "call")
    assert signature.parameters["properties"] == {"article": {"type": "string"}}


@pytest.mark.parametrize("method", [Orders.no_self, Orders.self_by_name])
def test_a_method_needs_a_place_for_its_object(method: Any) -> None:
    """A method without a positional parameter is refused: it could not be called on an object."""
    with pytest.raises(ConfigurationError, match="without a parameter for the instance; add self"):
        read_signature(method, ToolContext, is_method=True)


def test_names_of_the_class_are_found() -> None:
    """A method can use classes from the body of its class, even though annotations are text."""

    class Shelf:
        class Kind(StrEnum):
            GIFT = "gift"

        def find(self, kind: Kind) -> None:
            """Find."""

        signature = read_signature(find, ToolContext, is_method=True)

    assert Shelf.signature.parameters["$defs"] == {"Kind": {"type": "string", "enum": ["gift"]}}


@pytest.mark.parametrize("default", [math.isnan, math.nan, [math.inf], b"\xff", {1: object()}])
def test_a_default_that_is_not_json_is_left_out(default: Any) -> None:
    """A parameter with a default that JSON cannot hold is optional, and the schema does not name the default."""

    @tool
    def find(article: Any = default) -> None:
        """Find."""

    assert find.parameters["properties"] == {"article": {}}
    assert "required" not in find.parameters


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
def test_annotations_may_be_text_or_types(future: str) -> None:
    """A tool is the same with and without `from __future__ import annotations` in its module."""
    source = '''
from typing import Annotated
from pydantic import Field
from voicepipe.tools.tool import ToolContext, tool

class Order:
    pass

@tool(effect="read")
def find(count: Annotated[int, Field(ge=1)], call: ToolContext[Order], names: "list[str]" = []) -> "str":
    """Find."""
    return ""
'''
    module: dict[str, Any] = {"__name__": "somewhere"}
    exec(compile(future + source, "somewhere.py", "exec", dont_inherit=True), module)

    assert module["find"].parameters["properties"] == {
        "count": {"type": "integer", "minimum": 1},
        "names": {"type": "array", "items": {"type": "string"}, "default": []},
    }


def test_local_classes_are_found() -> None:
    """A tool that is made inside a function can use classes of that function, which can use each other."""

    @dataclass
    class Line:
        article: str

    @dataclass
    class Order:
        lines: list[Line]

    def make() -> Tool[..., Any]:
        @tool
        def count(order: Order, call: ToolContext[Line]) -> Order:
            """Count the lines."""
            return order

        return count

    count = make()
    values = count.validate('{"order": {"lines": [{"article": "tea"}]}}')

    assert values == {"order": Order([Line("tea")])}
    assert count.render(values["order"]) == '{"lines":[{"article":"tea"}]}'


# --- what is refused when the tool is made ----------------------------------------------------------------------------


def no_docstring(article: str) -> str:
    return article


def only_sections(article: str) -> str:
    """
    Args:
        article: What to find.
    """
    return article


def no_annotation(article) -> str:
    """Find."""
    return article


def no_result_annotation(article: str):
    """Find."""
    return article


def any_number(*articles: str) -> str:
    """Find."""
    return "".join(articles)


def any_name(**articles: str) -> str:
    """Find."""
    return "".join(articles)


def by_position(article: str, /) -> str:
    """Find."""
    return article


def two_contexts(one: ToolContext[int], two: Annotated[ToolContext[str], "again"]) -> str:
    """Find."""
    return f"{one}{two}"


def maybe_context(article: str, call: ToolContext[int] | None = None) -> str:
    """Find."""
    return f"{article}{call}"


def inner_context(article: str, calls: list[dict[str, ToolContext[int]]]) -> str:
    """Find."""
    return f"{article}{calls}"


def misspelt(article: str) -> str:
    """Find.

    Args:
        artcle: What to find.
    """
    return article


def not_there(article: str) -> str:
    """Find.

    Args:
        article: What to find.
        Note: only names.
    """
    return article


def no_json(article: str, lock: threading.Barrier) -> str:
    """Find."""
    return f"{article}{lock}"


def no_schema(article: str, find: Callable[[], None]) -> str:
    """Find."""
    return f"{article}{find}"


def too_late(articles: Iterable[str] | None = None) -> str:
    """Find."""
    return "".join(articles or ())


def wrong_constraint(article: Annotated[str, Field(pattern="(?<=x)y")]) -> str:
    """Find."""
    return article


def no_json_result(article: str) -> threading.Barrier:
    """Find."""
    return threading.Barrier(len(article))


def only_for_checkers(price: Decimal) -> str:
    """Find."""
    return str(price)


def aliased(article: Annotated[str, Field(alias="item")]) -> str:
    """Find."""
    return article


def field_as_default(count: int = Field(default=3)) -> str:
    """Find."""
    return str(count)


def yielding(article: str) -> Iterator[str]:
    """Find."""
    yield article


async def yielding_async(article: str) -> AsyncIterator[str]:
    """Find."""
    yield article


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (no_docstring, ["no_docstring", "docstring"]),
        (only_sections, ["only_sections", "docstring"]),
        (no_annotation, ["no_annotation", "parameter article", "write article: str"]),
        (no_result_annotation, ["no_result_annotation", "-> None"]),
        (any_number, ["any_number", "*articles", "one parameter for each"]),
        (any_name, ["any_name", "**articles", "one parameter for each"]),
        (by_position, ["by_position", "article", "remove the slash"]),
        (two_contexts, ["two_contexts", "one and two", "remove one"]),
        (maybe_context, ["maybe_context", "parameter call", "write call: ToolContext[YourDeps]"]),
        (inner_context, ["inner_context", "parameter calls", "write calls: ToolContext[YourDeps]"]),
        (no_json, ["no_json", "parameter lock", "Barrier"]),
        (no_schema, ["no_schema", "parameter find", "use a type that JSON can hold"]),
        (too_late, ["too_late", "parameter articles", "Iterable is validated too late", "use list"]),
        (wrong_constraint, ["wrong_constraint", "parameter article", "look-behind"]),
        (no_json_result, ["no_json_result", "the result", "Barrier"]),
        (only_for_checkers, ["only_for_checkers", "'Decimal' is not defined", "TYPE_CHECKING"]),
        (aliased, ["aliased", "parameter article", "alias"]),
        (field_as_default, ["field_as_default", "parameter count", "Annotated"]),
        (yielding, ["yielding", "return a list"]),
        (yielding_async, ["yielding_async", "return a list"]),
        (misspelt, ["misspelt", "describes artcle", "did you mean article?"]),
        (not_there, ["not_there", "describes Note", "indent the line"]),
        (Shop, ["needs a function", "found type"]),
        (get_order, ["needs a function", "found Tool"]),
        (lambda: None, ["<lambda>", "no return annotation"]),
    ],
)
def test_what_a_model_could_not_call_is_refused(function: Any, words: list[str]) -> None:
    """The refusal of a function names it and the parameter, and says what to write."""
    with pytest.raises(ConfigurationError) as caught:
        tool(function)

    assert [word for word in words if word not in str(caught.value)] == []
