"""A worker in a process of Ray: an actor, of which one call serves the application to its end.

Rule 1: audio never passes through Ray: callers reach the port of the worker itself.
Rule 2: what goes wrong is returned in words, because few errors survive the way to another process.
Rule 3: a worker whose engine is gone takes no further call, keeps those that it has, and then ends by itself.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.core.clock import loop_time
from voicepipe.core.log import log
from voicepipe.errors import VoicepipeError

if TYPE_CHECKING:
    from voicepipe.fleet.application import Application, Listening
    from voicepipe.fleet.engine import Load
    from voicepipe.fleet.worker import Work

__all__ = ["NotServed", "RayWorker"]

ENGINE_S: Final = 5.0
"""After how much time without a question, of which an engine has two each second, it is gone."""


@dataclass(frozen=True, slots=True)
class NotServed:
    """Why a worker does not listen.

    Attributes:
        message: The reason, in one sentence.
        is_configuration: Whether the next attempt would fail in the same way.
    """

    message: str
    is_configuration: bool


class RayWorker:
    """The actor. Ray calls its methods in one event loop, at the same time.

    Args:
        application: What it serves. Its file is in the folder in which Ray has started the process.
        index: Its place among the workers.
        gateway: The address of the gateway's machine. On another one, and wherever callers reach workers by the names
            of their machines, a worker listens on the address of its machine.
    """

    def __init__(self, application: Application, index: int, *, gateway: str) -> None:
        self._application = application
        self._index = index
        self._gateway = gateway
        self._work: Work | None = None
        self._not_served: NotServed | None = None
        self._is_known = anyio.Event()
        self._asked_s = 0.0
        self._is_alone = False

    async def is_here(self) -> bool:
        """Answer, which it can once a machine has a place for it."""
        return True

    async def run(self) -> str:
        """Serve until it was drained, and return how it has ended."""
        try:
            await self._serve()
        except VoicepipeError as error:
            self._not_served = NotServed(str(error), is_configuration=True)
        except Exception as error:  # noqa: BLE001 - whatever the application raises; nobody else could read it
            self._not_served = NotServed(f"{type(error).__name__}: {error}", is_configuration=False)
        self._is_known.set()
        if self._is_alone:
            _of_ray("ray.actor").exit_actor()
        return "it has ended in order" if self._not_served is None else self._not_served.message

    async def _serve(self) -> None:
        from voicepipe.fleet.worker import working  # noqa: PLC0415 - only this process needs a server

        async with working(self._here(), self._index) as work, anyio.create_task_group() as tasks:
            self._work, self._asked_s = work, loop_time()
            self._is_known.set()
            tasks.start_soon(self._watch_engine, work)
            await work.wait_ended()
            tasks.cancel_scope.cancel()

    async def _watch_engine(self, work: Work) -> None:
        while True:
            left_s = self._asked_s + ENGINE_S - loop_time()
            if left_s <= 0:
                break
            await anyio.sleep(left_s)
        log.warning("the engine of this worker is gone; the worker ends with its last call")
        self._is_alone = True
        work.drain(self._application.drain_s, hands_over=False)

    async def begins(self) -> Listening | NotServed:
        """Return where it listens, once it does."""
        await self._is_known.wait()
        if self._not_served is None and self._work is not None:
            return self._work.listening
        return self._not_served or NotServed("it has ended before it listened", is_configuration=False)

    async def load(self) -> Load | None:
        """Return how busy it is; None if it does not serve."""
        self._asked_s = loop_time()
        return None if self._work is None else self._work.load()

    async def drain(self, within_s: float, hands_over: bool) -> None:
        """Take no further call, and end with the last one; asked once more, end the calls at once."""
        if self._work is not None:
            self._work.drain(within_s, hands_over=hands_over)

    def _here(self) -> Application:
        """Return the application as this machine serves it."""
        here = str(_of_ray("ray.util").get_node_ip_address())
        application = self._application
        is_near = here == self._gateway and "{host}" not in application.worker_url
        return application if is_near or not _is_loopback(application.host) else replace(application, host=here)


def _of_ray(module: str) -> Any:  # noqa: ANN401 - a module, without types that hold
    return import_module(module)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
