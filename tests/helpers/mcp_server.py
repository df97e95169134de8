"""MCP servers made with the SDK: one in memory, whose connection can break, and this file, which is a program."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import pytest

MISSING = [name for name in ("mcp", "mcp_types") if find_spec(name) is None]
needs_mcp = pytest.mark.skipif(
    bool(MISSING) and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason=f"not installed: {', '.join(MISSING)}"
)

Handler = Callable[[dict[str, Any]], Awaitable[Any]]

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
NOTHING = {"type": "object", "properties": {}}


@dataclass
class MemoryServer:
    """A server in this loop, made with the SDK; its tools are functions that return text or a result of the SDK.

    Attributes:
        calls: The calls that arrived: name and arguments.
        connections: How many there have been.
        listings: How often it has listed its tools.
        refuses: How many connections it refuses from now on.
        is_silent: Whether it never answers.
    """

    tools: dict[str, tuple[Any, Handler]] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    connections: int = 0
    listings: int = 0
    refuses: int = 0
    is_silent: bool = False
    _alive: list[anyio.CancelScope] = field(default_factory=list)
    _bus: Any = None

    def add(
        self,
        name: str,
        handler: Handler,
        schema: dict[str, Any] = NOTHING,
        description: str = "Does it.",
        **hints: bool,
    ) -> None:
        from mcp_types import Tool, ToolAnnotations

        annotations = ToolAnnotations(**hints) if hints else None
        self.tools[name] = (
            Tool(name=name, description=description, input_schema=schema, annotations=annotations),
            handler,
        )

    @property
    def server(self) -> Any:
        """The server as an object of the SDK."""
        from mcp.server import Server
        from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler
        from mcp_types import CallToolResult, ListToolsResult, TextContent

        async def listed(context: Any, params: Any) -> ListToolsResult:
            self.listings += 1
            return ListToolsResult(tools=[tool for tool, _ in self.tools.values()])

        async def called(context: Any, params: Any) -> CallToolResult:
            self.calls.append((params.name, params.arguments or {}))
            result = await self.tools[params.name][1](params.arguments or {})
            if isinstance(result, str):
                return CallToolResult(content=[TextContent(type="text", text=result)])
            return result

        self._bus = InMemorySubscriptionBus()
        return Server(
            "memory", on_list_tools=listed, on_call_tool=called, on_subscriptions_listen=ListenHandler(self._bus)
        )

    async def changed(self) -> None:
        """Tell those who listen that the tools have changed."""
        from mcp.shared.subscriptions import ToolsListChanged

        await self._bus.publish(ToolsListChanged())

    @asynccontextmanager
    async def transport(self) -> AsyncGenerator[Any]:
        """A connection that `die` breaks."""
        from mcp.shared.memory import create_client_server_memory_streams

        if self.refuses:
            self.refuses -= 1
            raise ConnectionRefusedError("the server is not there")
        self.connections += 1
        server = self.server
        async with create_client_server_memory_streams() as (ours, theirs):

            async def serve() -> None:
                with anyio.CancelScope() as alive:
                    self._alive.append(alive)
                    if self.is_silent:
                        await anyio.sleep_forever()
                    await server.run(*theirs, server.create_initialization_options())
                for stream in theirs:
                    await stream.aclose()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(serve)
                try:
                    yield ours
                finally:
                    tasks.cancel_scope.cancel()

    def die(self) -> None:
        """Break every connection."""
        for alive in self._alive:
            alive.cancel()
        self._alive.clear()


def before_2026(app: Any) -> Any:
    """Return an application that does not know the protocol of 2026, so that clients begin a session as before."""

    async def older(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] != "POST":
            await app(scope, receive, send)
            return
        message = await receive()
        while message["more_body"]:
            rest = await receive()
            message = {**rest, "body": message["body"] + rest["body"]}
        request = json.loads(message["body"])
        if request["method"] == "server/discover":
            refusal = {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "Method not found"}}
            kind = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 200, "headers": kind})
            await send({"type": "http.response.body", "body": json.dumps(refusal).encode()})
            return
        given = [message]
        await app(scope, lambda: _next(given, receive), send)

    return older


async def _next(given: list[Any], receive: Any) -> Any:
    return given.pop() if given else await receive()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what somebody outside of this loop brings about, for as long as the test allows."""
    while not condition():  # noqa: ASYNC110 - nothing sets an event for it
        await anyio.sleep(0.01)


def program() -> list[str]:
    """Return the command of a server that is a program, made with the SDK."""
    return [sys.executable, str(Path(__file__))]


def old_program(manner: str = "") -> list[str]:
    """Return the command of a server of the older protocol, which starts at once."""
    return [sys.executable, "-I", str(Path(__file__).with_name("old_mcp_server.py")), manner]


def _serve() -> None:
    from mcp.server import MCPServer
    from mcp_types import ToolAnnotations

    server = MCPServer("shop", log_level="CRITICAL")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    async def echo(text: str) -> str:
        """Say it again."""
        return text

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    async def hang() -> str:
        """Never return."""
        await anyio.sleep_forever()
        return ""

    server.run("stdio")


if __name__ == "__main__":
    _serve()
