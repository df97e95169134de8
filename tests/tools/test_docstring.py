"""Docstrings in each of the three notations."""

from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicepipe.tools.docstring import Documentation, read_docstring

ENTRIES = {"order_id": "The number of the order, as printed.", "soon": "How soon: at once.", "bare": ""}

COLONS = """
    Look up an order.

    Args:
        order_id: The number of the order,
            as printed.
        soon (dict[str, tuple[int, int]], optional): How soon: at once.
        bare:

    Returns:
        The state.

    Raises:
        ToolError: There is none.

    Never call this twice.
    """

UNDERLINES = """
    Look up an order.

    Parameters
    ----------
    order_id : str
        The number of the order,
        as printed.
    soon : {'yes', 'no'}, optional
        How soon: at once.
    bare

    Returns
    -------
    str
        The state.

    Raises
    ------
    ToolError
        There is none.
    """

FIELDS = """
    Look up an order.

    :param order_id: The number of the order,
        as printed.
    :type order_id: str
    :param list[str] soon: How soon:
    at once.
    :param bare:
    :returns: The state.
    :rtype: str
    :raises ToolError: There is none.

    Never call this twice.
    """


@pytest.mark.parametrize(
    ("text", "description"),
    [
        (COLONS, "Look up an order.\n\nNever call this twice."),
        (UNDERLINES, "Look up an order."),
        (FIELDS, "Look up an order.\n\nNever call this twice."),
    ],
)
def test_each_notation_says_the_same(text: str, description: str) -> None:
    """A docstring in any of the three notations gives the description and the text on each parameter."""
    assert read_docstring(inspect.cleandoc(text)) == Documentation(description, ENTRIES)


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("Find.\nArgs:\n  x: What.", {"x": "What."}),
        ("Find.\n\nArgs:\n\n    x: What.\n\n    y: How.", {"x": "What.", "y": "How."}),
        ("Find.\n\nArguments:\n    *x: What.\n    **y: How.", {"x": "What.", "y": "How."}),
        ("Find.\n\nArgs:\n    x: What\n    and why.\n      url: no entry", {"x": "What and why. url: no entry"}),
        ("Find.\n\nKeyword Args:\n    x: What.", {"x": "What."}),
        ("Find.\n\nParameters:\n    x (range(1, 9), optional): (x): What.", {"x": "(x): What."}),
        ("Find.\n\nParameters\n---\nx, y: int\n  Both.\nz:\n  Last.", {"x": "Both.", "y": "Both.", "z": "Last."}),
        ("Find.\n\nOther Parameters\n================\nx : int\n\n    What.", {"x": "What."}),
        ("Find.\n\n:param x: What.", {"x": "What."}),
        ("Find.\n\n:arg str x: What.\n\n    And why.\n:keyword y: How.", {"x": "What. And why.", "y": "How."}),
        ("Find.\n\nArgs:\n    x: What.\n\n:param y: How.", {"x": "What.", "y": "How."}),
    ],
)
def test_entries_are_read_as_people_write_them(text: str, parameters: dict[str, str]) -> None:
    """Blank lines, odd margins, several names and notations in one docstring are read."""
    assert read_docstring(text) == Documentation("Find.", parameters)


@pytest.mark.parametrize(
    "text",
    [
        "Find.\n\nNote:\n    Takes a while.\n\nExample:\n    >>> find(1)\n    2",
        "Find.\n\nWarnings:\n    Never at night.\n\nRules:\n    - never twice",
        "Find.\n\nNotes\n-----\nTakes a while.\n\nExamples\n--------\n>>> find(1)",
        "Find these:\n\n    1. tea\n    2. milk",
        "Find.\n\n:class:`Shop` has it. See :ref:`there`.\n\n:meta private:",
        "Find.\n\nReturns: the price, if there is one.",
        "Find.\n\nArgs:\nnone",
        "Find.\n\nArgs:\n    None, at this time.",
        "Find.\n\nparameters\nare not needed",
        "Find.\n\n.. note:: Takes a while.",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    """Sections about something else, and text that only looks like a section, stay in the description unchanged."""
    assert read_docstring(text) == Documentation(text, {})


def test_what_follows_parameters_stays_too() -> None:
    """Notes between and after the removed sections are kept in their order."""
    taken_out = "Parameters\n----------\nx : int\n    What.\nAlways needed, this.\n\n"
    text = f"Find.\n\n{taken_out}Notes\n-----\nTakes a while.\n\nYields\n------\nint"

    assert read_docstring(text) == Documentation(
        "Find.\n\nAlways needed, this.\n\nNotes\n-----\nTakes a while.", {"x": "What."}
    )


def test_nothing_says_nothing() -> None:
    """An empty docstring has neither a description nor parameters."""
    assert read_docstring("") == Documentation("", {})


words = st.lists(st.sampled_from(["tea", "Args:", "x: y", ":param x: y", "Returns:", "---", "Raises", "    deep", ""]))


@given(words)
def test_no_word_is_lost(lines: list[str]) -> None:
    """Text before the first section begins the description, whatever lines follow."""
    assert read_docstring("\n".join(["Find everything.", "", *lines])).description.startswith("Find everything.")


@given(st.text("aA:- \n*(),`"))
def test_any_text_can_be_read(text: str) -> None:
    """No text is an error, and a text without the names of sections stays whole, except for blanks."""
    assert read_docstring(text).description.split() == text.split()
