"""MCP servers over streamable HTTP: the SDK's server, by uvicorn on loopback, on virtual time."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.asgi_server import needs_server, serving
from tests.helpers.mcp_server import MemoryServer, before_2026, needs_mcp, until
from tests.helpers.tool_rows import DONE, Row, calls_of, scripted
from voicepipe.testing import Calls

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

pytestmark = [pytest.mark.anyio, needs_mcp, needs_server]


def shop() -> MemoryServer:
    async def echo(arguments: dict[str, Any]) -> str:
        return "h\u00e9"

    async def huge(arguments: dict[str, Any]) -> str:
        return "x" * 5_000_000

    server = MemoryServer()
    server.add("echo", echo, read_only_hint=True)
    server.add("huge", huge, read_only_hint=True)
    return server


@asynccontextmanager
async def listening(memory: MemoryServer, requests: list[Any]) -> AsyncGenerator[str]:
    """Serve it while the block lasts, note what requests carry, and yield its URL."""
    server = memory.server
    app = server.streamable_http_app()

    async def noted(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        requests.append((scope["query_string"], headers.get(b"authorization"), headers.get(b"x-own")))
        await app(scope, receive, send)

    async with server.session_manager.run(), serving(noted, stop_s=1) as port:
        yield f"http://127.0.0.1:{port}/mcp"


async def changed(row: Row) -> list[str]:
    """Wait until the session has other tools, and return why."""
    await until(lambda: row.reported(vp.ToolsChanged))
    lost, changes = row.reported(vp.ToolServerLost), row.reported(vp.ToolsChanged)
    return [*(str(event.error) for event in lost), changes[0].changes]


@pytest.mark.slow
async def test_calls_go_over_http_with_their_key_and_show_it_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Each request carries the application's header, query and authentication; none stands in any log."""
    caplog.set_level(logging.DEBUG)
    import httpx2

    class Own(httpx2.Auth):
        def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response]:
            request.headers["x-own"] = "canary-3"
            yield request

    memory, requests = shop(), list[Any]()
    async with listening(memory, requests) as url:
        tools = vp.mcp_tools(url=f"{url}?key=canary-1", headers={"authorization": "Bearer canary-2"}, auth=Own())
        row, _ = scripted([(Calls("echo", {}), Calls("huge", {})), DONE], tools)
        async with row.session() as session:
            await session.user_says("Hi")
            echo, huge = calls_of(session)
            assert (echo.status, echo.result) == ("done", "h\u00e9")
            assert (huge.status, "the answer has more than 4194304 bytes" in huge.result) == ("failed", True)
            del memory.tools["huge"]
            await memory.changed()
            assert await changed(row) == ["-huge"]

    assert set(requests) == {(b"key=canary-1", b"Bearer canary-2", b"canary-3")}
    assert [record.name for record in caplog.records if "canary" in record.getMessage()] == []


async def test_a_server_that_goes_away_is_lost_without_a_call() -> None:
    """When the server is stopped, the session says that it cannot be reached, and its tools leave."""
    memory, requests = shop(), list[Any]()
    row, _ = scripted([Calls("echo", {}), DONE])
    async with anyio.create_task_group() as tasks:
        stop, url = anyio.Event(), list[str]()

        async def serve() -> None:
            async with listening(memory, requests) as where:
                url.append(where)
                await stop.wait()

        tasks.start_soon(serve)
        await until(lambda: url)
        row.tools = [vp.mcp_tools(url=url[0], name="shop")]
        async with row.session():
            stop.set()
            lost, gone = await changed(row)
            assert lost.startswith(f"cannot connect to {url[0]} (All connection attempts failed)")
            assert gone == "-echo -huge"


async def test_a_server_that_has_forgotten_the_session_gets_another() -> None:
    """With a protocol before 2026, a server that was restarted refuses one call; then there is another session."""
    first, second = shop().server, shop().server
    apps = [first.streamable_http_app(), second.streamable_http_app()]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await apps[0](scope, receive, send)

    row, _ = scripted([Calls("echo", {}), DONE] * 3)
    async with first.session_manager.run(), second.session_manager.run(), serving(before_2026(app), stop_s=1) as port:
        row.tools = [vp.mcp_tools(url=f"http://127.0.0.1:{port}/mcp", name="shop")]
        async with row.session() as session:
            await session.user_says("Hi")
            del apps[0]
            await session.user_says("Hi")
            await until(lambda: len(row.reported(vp.ToolsChanged)) > 1)
            await session.user_says("Hi")
            assert [call.status for call in calls_of(session)] == ["done", "failed", "done"]
    (lost,) = row.reported(vp.ToolServerLost)
    assert str(lost.error) == "shop has forgotten the session, as after a restart"


async def test_what_refuses_says_which_setting_to_look_at() -> None:
    """A wrong key, a wrong path, a page and a closed port are one sentence each, raised when the host opens."""
    answers = {"/401": (401, b"who are you?"), "/404": (404, b"nothing here"), "/page": (200, b"<html>")}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        status, body = answers[scope["path"]]
        headers = [(b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def opened(url: str) -> str:
        row, _ = scripted([DONE], vp.mcp_tools(url=url, name="shop"))
        with pytest.raises(vp.VendorError) as refused:
            async with row.pipeline().open():
                pass
        return f"{type(refused.value).__name__}: {refused.value}".replace(url, "URL")

    async with serving(app) as port:
        base = f"http://127.0.0.1:{port}"
        assert await opened(f"{base}/401") == (
            "AuthenticationError: shop answered HTTP 401 at URL: who are you?; check headers= or auth="
        )
        assert await opened(f"{base}/404") == (
            "VendorError: shop answered HTTP 404 at URL: nothing here; is the URL right? It often ends with /mcp"
        )
        assert await opened(f"{base}/page") == (
            'VendorError: shop refuses the connection: "Unexpected content type: text/html"; is it an MCP server?'
        )
    assert await opened(f"{base}/gone") == (
        "VendorError: cannot connect to URL (All connection attempts failed); is the server running, and the URL right?"
    )
