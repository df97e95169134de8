"""What a refused call lacks, read from the schema of its tool."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

import voicepipe as vp
from voicepipe.tools.lacking import lacked_by

Order = Annotated[str, Field(pattern=r"^ORD-\d{5}$")]
ORDER = vp.Pattern(r"^ORD-\d{5}$")


@vp.tool
def find(order_id: Order, count: int = 1, note: Order | None = None) -> None:
    """Find an order."""


@vp.tool
def book(name: str, day: date, order_id: Order) -> None:
    """Book a day."""


class Address(BaseModel):
    mail: Annotated[str, Field(json_schema_extra={"format": "email"})]


@vp.tool
def write(mail: Annotated[str, Field(json_schema_extra={"format": "email"})], address: Address | None = None) -> None:
    """Write a letter."""


@vp.tool
def either(value: Annotated[str, Field(pattern="^a1$")] | Annotated[str, Field(pattern="^b2$")]) -> None:
    """Take one of two forms."""


@vp.tool
def posix(value: Annotated[str, Field(pattern=r"^\p{Lu}{3}$")]) -> None:
    """Take a form that Python's expressions do not know."""


@vp.tool
def slow(value: Annotated[str, Field(pattern="^(a+)+$")]) -> None:
    """Take a form that Python's engine would check for ever."""


@pytest.mark.parametrize(
    ("tool", "arguments", "lacked"),
    [
        (find, "", ORDER),
        (find, "{}", ORDER),
        (find, '{"order_id": ""}', ORDER),
        (find, '{"order_id": null}', ORDER),
        (find, '{"order_id": "12"}', ORDER),
        (find, '{"order_id": 12345}', ORDER),
        (find, '{"order_id": "ORD-12345", "count": "many"}', None),
        (find, '{"order_id": "ORD-12345", "note": "x"}', ORDER),
        (find, "not JSON", None),
        (find, "[]", ORDER),
        (book, "{}", None),  # the name comes first, and has no form
        (book, '{"name": "Ada"}', vp.Date()),
        (book, '{"name": "Ada", "day": "Friday"}', vp.Date()),
        (book, '{"name": "Ada", "day": "2027-05-03"}', ORDER),
        (write, "{}", vp.Email()),
        (write, '{"mail": "ada at example"}', vp.Email()),
        (write, '{"mail": "ada@example.org", "address": {}}', None),  # inner fields are nobody's next words
        (either, "{}", None),
        (posix, "{}", None),
        (posix, '{"value": "abc"}', None),
        (slow, f'{{"value": "{"a" * 5000}b"}}', vp.Pattern("^(a+)+$")),
    ],
)
def test_what_a_call_lacks(tool: vp.Tool[..., Any], arguments: str, lacked: vp.Expectation | None) -> None:
    """The first argument that is missing or wrong is expected, if its schema has a pattern or a known format."""
    assert lacked_by(arguments, tool.parameters) == lacked
