"""A server inside of another application, and under another ASGI server."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.exceptions import InvalidStatus

from tests.helpers.plain_transport import Plain, agent, calling
from voicepipe.serving import Serve

pytestmark = pytest.mark.anyio


class Plainly(uvicorn.Server):
    """uvicorn as others run it, without its handlers of signals."""

    def __init__(self, app: Any) -> None:
        super().__init__(uvicorn.Config(app, log_config=None, log_level="error", lifespan="on"))
        self.listens = anyio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listens.set()


@asynccontextmanager
async def run_by_others(app: Any) -> AsyncGenerator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        server = Plainly(app)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server._serve, [listener])
            await server.listens.wait()
            yield listener.getsockname()[1]
            server.should_exit = True


async def whole_call(port: int, path: str) -> None:
    async with calling(port, path) as caller:
        await caller.hello()
        await caller.speak(1.0)
        await caller.socket.send("bye")
        assert await caller.wait_closed() == 1000
        assert caller.heard_s > 0.1


async def test_alone_under_another_server() -> None:
    """`serve.app` brings its lifespan with it when a server runs it by itself."""
    serve = Serve(agent(), [Plain()])
    async with run_by_others(serve.app) as port:
        await whole_call(port, "/plain")
    assert not serve.desk.is_open


async def test_mounted_in_starlette() -> None:
    """The lifespan is given to the application around it; paths begin where it is mounted."""
    serve = Serve(agent(), [Plain()])
    app = Starlette(routes=[Mount("/voice", serve.app)], lifespan=serve.lifespan)
    async with run_by_others(app) as port:
        await whole_call(port, "/voice/plain")
        async with httpx.AsyncClient(trust_env=False) as client:
            reply = await client.get(f"http://127.0.0.1:{port}/voice/ready")
    assert (reply.status_code, reply.text) == (200, "ready")


async def test_mounted_in_fastapi() -> None:
    """As above, next to an application's own routes."""
    fastapi = pytest.importorskip("fastapi")
    serve = Serve(agent(), [Plain()])
    app = fastapi.FastAPI(lifespan=serve.lifespan)
    app.mount("/voice", serve.app)
    async with run_by_others(app) as port:
        await whole_call(port, "/voice/plain")


async def test_a_forgotten_lifespan(caplog: pytest.LogCaptureFixture) -> None:
    """The first call fails with a 500, and the log says what to write."""
    app = Starlette(routes=[Mount("/voice", Serve(agent(), [Plain()]).app)])
    async with run_by_others(app) as port:
        with pytest.raises(InvalidStatus) as caught:
            async with calling(port, "/voice/plain"):
                pass
        async with httpx.AsyncClient(trust_env=False) as client:
            reply = await client.get(f"http://127.0.0.1:{port}/voice/ready")
    assert caught.value.response.status_code == 500
    assert "write FastAPI(lifespan=serve.lifespan)" in caplog.text
    assert (reply.status_code, reply.text) == (503, "closed: the server is not open")


async def test_draining_by_hand() -> None:
    """An application whose own server decides about signals drains first."""
    serve = Serve(agent(), [Plain()])
    async with run_by_others(serve.app) as port, calling(port) as caller:
        await caller.hello()
        await caller.speak(0.2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve.drain, 600.0)
            await caller.speak(0.2)
            with pytest.raises(InvalidStatus):
                async with calling(port):
                    pass
            await caller.socket.send("bye")
        assert await caller.wait_closed() == 1000
