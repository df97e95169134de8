"""One tool of a server, as the `ToolRouter` calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from voicepipe.tools.tool import Tool, ToolContext
from voicepipe.vendors.mcp.arguments import ArgumentSchema, UnreadableSchema
from voicepipe.vendors.mcp.result import text_of
from voicepipe.vendors.mcp.rules import NAME_LENGTH, Hints, Rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mcp_types import CallToolResult
    from mcp_types import Tool as ListedTool

__all__ = ["Calling", "MCPTool", "offered"]

MAX_TOOLS: Final = 128
"""Tools of one server that a model is offered; services refuse more."""

MAX_DESCRIPTION: Final = 1024
"""Characters of a description; services refuse longer ones, and a server should not write the prompt."""


class Calling(Protocol):
    """The connection of a server, as its tools see it; see `Link`."""

    @property
    def name(self) -> str:
        """What errors call the server."""
        ...

    async def call(self, listed: str, arguments: dict[str, Any]) -> CallToolResult: ...  # noqa: D102


class MCPTool(Tool[..., str]):
    """A tool of a server. What it does is up to the server; when and how often it runs is up to the `ToolRouter`.

    Args:
        listed: As the server lists it.
        rules: The application's word.
        link: The connection, over which calls go.

    Attributes:
        link: The connection.

    Raises:
        UnreadableSchema: Its schema cannot be used.
    """

    def __init__(self, listed: ListedTool, rules: Rules, link: Calling) -> None:
        self.link = link
        self._listed = listed
        self._arguments = ArgumentSchema(listed.input_schema)
        said = listed.annotations
        hints = Hints(reads_only=said.read_only_hint, destroys=said.destructive_hint) if said else Hints()
        self.is_unbound = False
        self.name = rules.name(listed.name)
        self.description = (listed.description or listed.title or listed.name)[:MAX_DESCRIPTION]
        self.parameters = listed.input_schema
        self.effect = rules.effect(listed.name, hints)
        self.confirm = rules.asks_first(listed.name, hints)
        self.timeout_s = rules.timeout_s
        self.say = rules.say
        self.reply = True

    @property
    def origin(self) -> str:
        """Where the tool is defined: at its server."""
        return f"{self._listed.name} of {self.link.name}"

    def is_still(self, listed: ListedTool) -> bool:
        """Return whether the server still describes it just so."""
        return self._listed == listed

    def validate(self, arguments: str) -> dict[str, Any]:
        """Return the arguments, if they fit the server's schema. See `ArgumentSchema.read`."""
        return self._arguments.read(arguments)

    def with_defaults(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values with the schema's defaults, so that two ways to write one call are equal."""
        return self._arguments.with_defaults(values)

    async def call(self, values: Mapping[str, Any], context: ToolContext[Any]) -> str:
        """Send the call to the server, once, and return its result as text.

        Raises:
            ToolError: The server reports an error, or the connection breaks; the message says whether the call may
                have happened.

        Cancelling sends the server a notice; what it makes of it is up to the server.
        """
        del context  # what the application knows of the caller is nothing for a server
        return text_of(await self.link.call(self._listed.name, dict(values)), self.link.name)


def offered(
    listing: Iterable[ListedTool], rules: Rules, link: Calling, known: Mapping[str, MCPTool]
) -> tuple[dict[str, MCPTool], dict[str, str]]:
    """Return the tools of a listing that the model is offered, and why others are left out, both by name.

    Args:
        listing: What the server lists.
        rules: The application's word.
        link: The connection.
        known: The tools so far; one that has not changed stays the same object.
    """
    tools: dict[str, MCPTool] = {}
    left_out: dict[str, str] = {}
    for listed in listing:
        if not rules.offers(listed.name):
            continue
        name = rules.name(listed.name)
        if len(tools) == MAX_TOOLS:
            left_out[name] = f"the server has more than {MAX_TOOLS} tools; name some in allow"
        elif not 0 < len(name) <= NAME_LENGTH:
            left_out[name] = f"its name has not 1 to {NAME_LENGTH} characters"
        elif name in tools:
            left_out[name] = "the server has two tools of this name"
        elif (same := known.get(name)) is not None and same.is_still(listed):
            tools[name] = same
        else:
            try:
                tools[name] = MCPTool(listed, rules, link)
            except UnreadableSchema as error:
                left_out[name] = str(error)
    return tools, left_out
