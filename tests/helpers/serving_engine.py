"""An engine whose workers are real servers in the test's own event loop, with a gateway in front of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskGroup, TaskStatus

from voicepipe.fleet import Application, Engine, Handle, Load
from voicepipe.fleet.client import WorkerClient, asked_load
from voicepipe.fleet.gateway import Gateway
from voicepipe.fleet.worker import Work, working
from voicepipe.serving import Serve
from voicepipe.serving.uvicorn_server import Server, bound, configured, running

SERVES: dict[str, Callable[[], Serve]] = {}
"""The servers of the running test, by the path of their application."""


@asynccontextmanager
async def made(path: str, arguments: Sequence[str], store: str) -> AsyncGenerator[Serve]:
    """Make the server of an application, as its program."""
    del arguments, store
    yield SERVES[path]()


class _Handle(Handle):
    def __init__(self, work: Work, scope: anyio.CancelScope, ended: anyio.Event, load: Callable[[], object]) -> None:
        self.listening = work.listening
        self.work = work
        self._scope = scope
        self._ended = ended
        self._load = load

    async def wait_ended(self) -> str:
        await self._ended.wait()
        return "it has ended"

    async def load(self) -> Load:
        load = await self._load()  # type: ignore[misc]
        assert isinstance(load, Load)
        return load

    async def drain(self, within_s: float, *, hands_over: bool) -> None:
        self.work.drain(within_s, hands_over=hands_over)

    async def kill(self) -> None:
        self._scope.cancel()


class ServingEngine(Engine):
    """Workers in this event loop.

    Attributes:
        works: The workers, by their index, in the order of their start.
    """

    def __init__(self) -> None:
        super().__init__()
        self.works: list[Work] = []
        self._client = WorkerClient()
        self._running: TaskGroup

    @asynccontextmanager
    async def hosting(self, application: Application) -> AsyncGenerator[None]:
        self._application = application
        async with self._client.open(), anyio.create_task_group() as self._running:
            yield
            self._running.cancel_scope.cancel()

    async def launch(self, index: int) -> Handle:
        handle: Handle = await self._running.start(self._run, index)
        return handle

    async def _run(self, index: int, *, task_status: TaskStatus[Handle]) -> None:
        ended = anyio.Event()
        try:
            with anyio.CancelScope() as scope:
                async with working(self._application, index) as work:
                    self.works.append(work)

                    async def load() -> Load:
                        return await asked_load(self._client, work.listening.url, self._application.token)

                    task_status.started(_Handle(work, scope, ended, load))
                    await work.wait_ended()
        finally:
            ended.set()


@asynccontextmanager
async def fleet(
    serve: Callable[[], Serve], workers: int = 2, *, token: str | None = None, **settings: str
) -> AsyncGenerator[tuple[Gateway, ServingEngine, int]]:
    """Run workers and a gateway, and yield the gateway, the engine, and the gateway's port."""
    SERVES["app.py"] = serve
    with bound("127.0.0.1", 0) as listener:
        port: int = listener.getsockname()[1]
        application = Application(
            "app.py",
            gateway_url=f"http://127.0.0.1:{port}",
            workers=workers,
            program="tests.helpers.serving_engine:made",
            **settings,
        )
        engine = ServingEngine()
        gateway = Gateway(engine, application, workers, token=token)
        async with gateway.open(), running(Server(configured(gateway.app), gateway), listener):
            yield gateway, engine, port


__all__ = ["SERVES", "ServingEngine", "fleet", "made"]
