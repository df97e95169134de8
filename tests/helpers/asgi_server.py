"""An ASGI application on loopback, on the loop's own clock: what a network calls in tests."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

import anyio
import pytest

MISSING = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
needs_server = pytest.mark.skipif(
    bool(MISSING) and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason=f"not installed: {', '.join(MISSING)}"
)


@asynccontextmanager
async def serving(app: Any, stop_s: int | None = None) -> AsyncGenerator[int]:
    """Serve an application without a lifespan while the block lasts, and yield its port.

    Responses that have not ended after `stop_s` are cut; None waits for them.
    """
    import uvicorn

    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_ping_interval=None,
        lifespan="off",
        log_level="error" if stop_s is None else "critical",
        timeout_graceful_shutdown=stop_s,
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server._serve, [listener])
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
