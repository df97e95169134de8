"""The agent in somebody's page: their page at one origin, the agent's frame at another."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.helpers.browser import chromium, looked_at, shop, with_browser
from voicepipe.serving import Limits, Page, Serve

pytestmark = with_browser


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def free_port() -> int:
    """Return a port that is free: origins have to be named before the server listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@asynccontextmanager
async def their_site(port: int, agent: str) -> AsyncGenerator[None]:
    """Serve somebody's page with the script, under a policy that allows nothing but the agent."""
    script = f'<script src="{agent}/embed.js" data-label="Talk to the shop" defer></script>'
    page = f'<!doctype html><title>Shop</title><link rel="icon" href="data:,"><h1>Shop</h1>{script}'
    policy = f"default-src 'none'; script-src {agent}; frame-src {agent}; img-src data:"
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Security-Policy: {policy}\r\nConnection: close\r\n"
    answer = f"{head}Content-Length: {len(page)}\r\n\r\n{page}".encode()

    async def take(client: anyio.abc.SocketStream) -> None:
        async with client:
            asked = b""
            while b"\r\n\r\n" not in asked:
                try:
                    asked += await client.receive()
                except anyio.EndOfStream:  # a browser connects ahead of its requests
                    return
            await client.send(answer)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=port)
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, take)
        yield
        tasks.cancel_scope.cancel()


async def test_the_agent_in_a_page_of_another_origin() -> None:
    """One script puts a button into a page, whose frame calls by microphone; a page that is not named has no frame."""
    own, theirs = free_port(), free_port()
    agent, shop_page = f"http://127.0.0.1:{own}", f"http://localhost:{theirs}"  # both secure, as a microphone needs
    stranger = f"http://127.0.0.1:{theirs}"
    limits = Limits(lag_s=10, stall_s=10)
    serve = Serve(shop(), [Page()], origins=[agent, shop_page], greeting="Hello!", limits=limits)
    async with serve.listening(port=own), their_site(theirs, agent), chromium() as context:
        page = await context.new_page()
        page.set_default_timeout(15_000)
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)

        await page.goto(shop_page)
        talk = page.get_by_role("button", name="Talk to the shop")
        await talk.wait_for()
        assert len(page.frames) == 1  # nothing of the agent before the click
        await talk.click()
        frame = page.frame_locator("iframe[title='Voice agent']")
        await frame.get_by_role("button", name="Start the call").click()
        await frame.locator(".agent .words").wait_for()
        await looked_at(page, "embedded")
        assert await frame.locator("#error").is_hidden()
        await page.get_by_role("button", name="Close").click()
        await serve.desk.wait_empty()  # the call ends with its frame
        assert len(page.frames) == 1
        assert complaints == []

        await page.goto(stranger)
        await talk.click()
        with anyio.fail_after(15):
            while not complaints:
                await page.wait_for_timeout(20)
        assert "frame-ancestors" in complaints[0]
