"""Tools that belong together, and the tools of one session."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import voicepipe as vp
from tests.helpers.tool_rows import calls_of, scripted
from voicepipe.errors import ConfigurationError
from voicepipe.testing import Calls, Says
from voicepipe.tools.tool import ToolContext, tool
from voicepipe.tools.toolbox import Toolbox, Toolset

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio


class Shelf(Toolbox):
    """A shelf of one warehouse."""

    def __init__(self, where: str) -> None:
        self.where = where

    @tool(effect="read")
    async def find(self, article: str) -> str:
        """Look for an article.

        Args:
            article: Its name.
        """
        return f"{article} in {self.where}"

    @tool(effect="read", name="who_asks")
    async def caller(self, call: ToolContext[str]) -> str:
        """Return who asks."""
        return f"{call.deps} in {self.where}"


@tool
async def ping(times: int = 1) -> str:
    """Answer."""
    return "pong" * times


class Loose:
    @tool
    async def find(self, article: str) -> str:
        """Look for an article."""
        return article

    def plain(self) -> None:
        """Do nothing."""


# --- toolboxes --------------------------------------------------------------------------------------------------------


async def test_a_method_is_a_tool_of_its_object() -> None:
    """The tools of two objects share only the schema, and the model does not see `self`."""
    oslo, rome = Shelf("Oslo"), Shelf("Rome")

    assert await oslo.find("tea") == "tea in Oslo"
    assert await rome.find("tea") == "tea in Rome"
    assert list(oslo.find.parameters["properties"]) == ["article"]
    assert oslo.find.parameters["properties"]["article"]["description"] == "Its name."
    assert [one.name for one in oslo.tools()] == ["find", "who_asks"]


def test_subclasses_inherit_override_and_drop_tools() -> None:
    """A toolbox has the tools of its base classes; a subclass can override one, or replace it by None."""

    class Small(Shelf):
        caller = None  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

        @tool(effect="read")
        async def find(  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
            self, article: str, size: int
        ) -> str:
            """Look for a small article."""
            return f"{article} {size}"

        @tool
        async def throw_out(self) -> None:
            """Throw everything out."""

    tools = Small("Oslo").tools()

    assert [one.name for one in tools] == ["find", "throw_out"]
    assert list(tools[0].parameters["properties"]) == ["article", "size"]


async def test_a_router_calls_the_tools_of_its_toolboxes() -> None:
    """A router accepts a toolbox among its tools; methods receive the context as functions do."""
    row, _ = scripted(
        [(Calls("find", {"article": "tea"}), Calls("who_asks", {}), Calls("ping", {})), Says("Done.")],
        Shelf("Oslo"),
        ping,
    )
    async with row.session(deps="Ada") as session:
        await session.user_says("Where is the tea?")

    assert [call.result for call in calls_of(session)] == ["tea in Oslo", "Ada in Oslo", "pong"]


async def test_a_toolbox_lives_as_long_as_the_host_and_the_call() -> None:
    """`open` is entered for a host, `attach` for each session; the tools see what they set, the original does not."""
    lived: list[str] = []

    class Desk(Toolbox):
        def __init__(self) -> None:
            self.pool = self.caller = "unset"

        @asynccontextmanager
        async def open(self) -> AsyncGenerator[None]:
            self.pool = "pool"
            lived.append("open")
            yield
            lived.append("close")

        @asynccontextmanager
        async def attach(self, session: vp.Session) -> AsyncGenerator[None]:
            self.caller = str(session.deps)
            lived.append(f"attach {self.caller}")
            yield
            lived.append(f"leave {self.caller}")

        @tool
        async def look(self) -> str:
            """Look."""
            return f"{self.pool} {self.caller}"

    desk = Desk()
    row, _ = scripted(lambda request: Says("Done.") if request.tool_results else Calls("look", {}), desk)
    async with row.pipeline().open() as host:
        for caller in ("Ada", "Bo"):
            async with host.session(deps=caller) as session:
                await session.user_says("Look")
            assert [call.result for call in calls_of(session)] == [f"pool {caller}"]

    assert lived == ["open", "attach Ada", "leave Ada", "attach Bo", "leave Bo", "close"]
    assert desk.pool == desk.caller == "unset"


# --- sets of tools ----------------------------------------------------------------------------------------------------


def test_a_toolset_finds_tools_by_name() -> None:
    """A toolset is a mapping of names to tools, in the order they were given."""
    shelf = Shelf("Oslo")
    tools = Toolset([ping, shelf])

    assert list(tools) == ["ping", "find", "who_asks"]
    assert tools["ping"] is ping
    assert tools.get("canary") is None
    assert len(tools) == 3
    assert tools.definitions == (ping.definition, shelf.find.definition, shelf.caller.definition)
    assert repr(tools) == "<Toolset ping find who_asks>"


def test_two_tools_of_one_name_are_refused() -> None:
    """Two tools with one name are refused, with the names of both functions."""
    other = tool(Loose().plain, name="find")

    with pytest.raises(ConfigurationError) as caught:
        Toolset([other, Shelf("Oslo")])

    assert f"{__name__}.Loose.plain and {__name__}.Shelf.find" in str(caught.value)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Loose().plain, "plain is a function and not a tool; decorate it with @tool"),
        (7, "found int"),
        (Shelf, r"Shelf is a class; write Shelf\(\.\.\.\) to make an object of it"),
        (Shelf.find, r"Shelf.find is a method without its object; .* ToolRouter\(\[Shelf\(\.\.\.\)\]\)"),
        (Loose(), "found Loose"),
    ],
)
def test_what_is_no_tool_is_refused(found: Any, words: str) -> None:
    """A toolset accepts only decorated functions and toolboxes, and its errors say what to write."""
    with pytest.raises(ConfigurationError, match=words):
        Toolset([found])


def test_a_tool_cannot_take_the_place_of_what_a_toolbox_has() -> None:
    """A method `open` that is a tool would replace the toolbox's own; only the model's name for it can be `open`."""
    with pytest.raises(ConfigurationError, match=r'Door.open has the name .* @tool\(name="open"\)'):

        class Door(Toolbox):
            @tool
            async def open(self) -> str:  # type: ignore[override]
                """Open the door."""
                return "open"


def test_a_toolbox_without_tools_is_refused() -> None:
    """A toolbox whose methods are not decorated."""

    class Bare(Toolbox):
        async def find(self) -> str:
            """Find it."""
            return ""

    with pytest.raises(ConfigurationError, match="Bare has no tools; decorate"):
        vp.ToolRouter([Bare()])


@pytest.mark.parametrize("alone", [ping, Shelf("Oslo")])
def test_a_router_takes_a_list(alone: Any) -> None:
    """A single tool that is not in a list is refused with what to write."""
    with pytest.raises(ConfigurationError, match=r"takes a list of tools; write ToolRouter\(\["):
        vp.ToolRouter(alone)


def test_a_toolset_changes_as_a_whole_or_not_at_all() -> None:
    """If one of several tools cannot be added or removed, nothing changes."""
    tools = Toolset([ping])

    with pytest.raises(ConfigurationError, match="two tools have the name ping"):
        tools.add(Shelf("Oslo").find, ping)
    with pytest.raises(ConfigurationError, match="there is no tool pong to remove; there are: ping"):
        tools.remove("ping", "pong")
    with pytest.raises(ConfigurationError, match=r"Shelf is a toolbox; write add\(\*toolbox.tools\(\)\)"):
        tools.add(Shelf("Oslo"))  # type: ignore[arg-type]

    assert list(tools) == ["ping"]
    assert tools.definitions == (ping.definition,)


async def test_a_session_adds_and_removes_tools() -> None:
    """A session's changes to its tools take effect with the next request, in this session only."""
    row, model = scripted(
        [
            Says("Hello."),
            Calls("find", {"article": "tea"}),
            Says("Found."),
            Calls("find", {"article": "tea"}),
            Says("Gone."),
        ],
        ping,
    )
    async with row.pipeline().open() as host:
        async with host.session() as session:
            await session.user_says("Hello")
            session.tools.add(*Shelf("Oslo").tools())
            await session.user_says("Tea?")
            session.tools.remove("find", "ping")
            await session.user_says("Tea again?")
        async with host.session() as other:
            assert list(other.tools) == ["ping"]

    assert [request.tools for request in model.requests] == [
        ("ping",),
        ("ping", "find", "who_asks"),
        ("ping", "find", "who_asks"),
        ("who_asks",),
        ("who_asks",),
    ]
    assert [call.status for call in calls_of(session)] == ["done", "failed"]
