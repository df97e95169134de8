"""Workers in a cluster of Ray, each an actor with a port of its own.

Rule 1: Ray is imported when an engine is opened. It starts in a thread of its own, so that the event loop goes on; and
        the thread stays, because the processes of a cluster end with the thread that has started them.
Rule 2: an actor never starts again by itself. The engine replaces it, as it replaces workers of every kind.
Rule 3: the cluster knows who may use it: authentication by token is on, unless the environment says otherwise.
"""

from __future__ import annotations

import logging
import math
import os
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio

from voicepipe.core.log import log
from voicepipe.core.worker import WorkerThread
from voicepipe.errors import ConfigurationError, MissingExtra, WorkerError
from voicepipe.fleet.engine import Engine, Handle, Load
from voicepipe.fleet.ray_worker import NotServed, RayWorker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from voicepipe.fleet.application import Application, Listening

__all__ = ["RayEngine"]

PLACE_S: Final = 60.0
"""How long a worker waits for a machine that has a place for it."""

LISTEN_S: Final = 60.0
"""How long a worker that has a place may take until it listens."""

JOIN_S: Final = 90.0
"""How long Ray may take to start or to let this program in, and to upload the application. Mostly 6 to 8 s."""

LEAVE_S: Final = 15.0
"""How long Ray may take to stop."""

KILL_S: Final = 5.0
"""How long Ray may take to be asked to end a worker."""

REACH_S: Final = 5.0
"""How long the cluster's machine may take to answer at all. Ray by itself would try for minutes."""

OBJECTS_BYTES: Final = 100_000_000
"""The shared memory of a cluster that is started here. We put nothing there, and Ray would take a third of all."""

SETTINGS: Final = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
"""What Ray reads from the environment; what is set there already stays."""

JOINING: Final = {"RAY_NUM_REDIS_GET_RETRIES": "8"}
"""The same for a cluster that is there already: for so many seconds Ray tries a wrong token. It would be 20."""

TOKEN: Final = "RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH names, or ~/.ray/auth_token"  # noqa: S105 - names
MOST_REASON: Final = 300
MOST_PORT: Final = 65_535


class RayEngine(Engine):
    """Runs workers in a cluster of Ray; extra `ray`.

    The folder of the application's file, or the present folder for a module, is copied to the workers, without what
    `.gitignore` names; packages, voicepipe among them, are installed on the machines, or by `runtime_env`. If this
    program fails, the workers of a cluster that it has joined keep their calls, take no further ones, and then end.

    Args:
        address: The head of a running cluster, e.g. "10.0.0.1:6379", or "auto" for that of this machine. "" takes what
            RAY_ADDRESS says. Without either, a cluster is started on this machine, and ends with the engine.
        cpus: The processors that each worker reserves. Its event loop uses one at most.
        resources: Custom resources of Ray that each worker reserves, e.g. {"voice": 1}.
        runtime_env: More of Ray's runtime environment, e.g. {"env_vars": {...}, "pip": [...], "excludes": [...]}.
        place_s: How long a worker may wait for a place; more where machines are started on demand.
    """

    def __init__(
        self,
        address: str = "",
        *,
        cpus: float = 1.0,
        resources: Mapping[str, float] | None = None,
        runtime_env: Mapping[str, object] | None = None,
        place_s: float = PLACE_S,
    ) -> None:
        super().__init__()
        if not (math.isfinite(cpus) and cpus > 0):
            raise ConfigurationError(f"RayEngine: cpus must be a number of processors above 0, not {cpus!r}")
        if address:
            _parted(address)
        self._address = address
        self._cpus = cpus
        self._resources = dict(resources or {})
        self._runtime_env = dict(runtime_env or {})
        self._place_s = place_s
        self._here = ""
        self._thread: Any = None
        self._ray: Any = None
        self._options: Any = None
        self._application: Application | None = None

    @asynccontextmanager
    async def hosting(self, application: Application) -> AsyncGenerator[None]:
        """Start Ray, or join its cluster, and hand the application over to it. See `Engine.hosting`."""
        if find_spec("ray") is None:
            raise MissingExtra("RayEngine", "ray", "ray")
        folder, path = _shipped(application.path)
        address = self._address or os.environ.get("RAY_ADDRESS", "")
        for name, value in (SETTINGS | (JOINING if address else {})).items():
            os.environ.setdefault(name, value)
        if os.environ["RAY_AUTH_MODE"].lower() == "disabled":
            log.warning("RAY_AUTH_MODE is disabled: whoever reaches the ports of Ray can run any program there")
        if address and (place := _parted(address)):
            await _check_reach(*place)
        async with WorkerThread("voicepipe-ray") as thread:
            self._thread = thread
            self._ray = ray = await thread.run(_imported)
            if ray.is_initialized():
                raise ConfigurationError(
                    "this program uses Ray already; give RayEngine one of its own, e.g. voicepipe serve --engine ray"
                )
            await self._join(address, self._join_options(address, folder, application.workers))
            try:
                self._here = str(ray.util.get_node_ip_address())
                self._application = replace(application, path=path)
                self._options = ray.remote(RayWorker).options(
                    num_cpus=self._cpus,
                    resources=self._resources,
                    max_restarts=0,
                    lifetime="detached" if address else None,  # calls outlive a gateway that fails
                    scheduling_strategy="SPREAD",
                )
                yield
            finally:
                self._options = None
                with anyio.move_on_after(LEAVE_S, shield=True):
                    await thread.run(ray.shutdown)

    async def launch(self, index: int) -> Handle:
        """Start one worker. See `Engine.launch`."""
        handle = RayHandle(self._ray, self._thread, self._options.remote(self._application, index, gateway=self._here))
        try:
            handle.listening = await self._listening(handle)
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await handle.kill()
            if isinstance(error, self._ray.exceptions.RayError):
                raise WorkerError(
                    "a worker cannot be created; the machines of the cluster need voicepipe[server,ray] and the "
                    f"packages of the application, in the versions of this machine: {_reason(error)}"
                ) from error
            raise
        return handle

    async def _listening(self, handle: RayHandle) -> Listening:
        """Return where a worker listens, once it does."""
        with anyio.move_on_after(self._place_s) as placing:
            await handle.wait_placed()
        if placing.cancelled_caught:
            raise WorkerError(await self._no_place())
        with anyio.move_on_after(LISTEN_S):
            begun = await handle.begins()
            if isinstance(begun, NotServed):
                raise (ConfigurationError if begun.is_configuration else WorkerError)(begun.message)
            return begun
        raise WorkerError(f"a worker in Ray did not listen within {LISTEN_S:g} s; see what it has written")

    def _join_options(self, address: str, folder: Path, workers: int) -> dict[str, Any]:
        options: dict[str, Any] = {
            "address": address or "local",
            "runtime_env": {"working_dir": str(folder), **self._runtime_env},
            "configure_logging": False,
            "log_to_driver": True,
        }
        if not address:
            places = max(1, workers) + 1  # one more, which a rolling restart starts first
            options |= {
                "num_cpus": math.ceil(places * self._cpus),
                "resources": {name: places * amount for name, amount in self._resources.items()},
                "object_store_memory": OBJECTS_BYTES,
                "include_dashboard": False,
            }
        return options

    async def _join(self, address: str, options: Mapping[str, Any]) -> None:
        """Start Ray, or join its cluster.

        Raises:
            ConfigurationError: It is not there, does not let this program in, or does not take the application.
        """
        logging.getLogger("ray._private.worker").addFilter(_is_worth_saying)
        where = f"the cluster of Ray at {address}" if address else "Ray"
        with anyio.move_on_after(JOIN_S):
            try:
                await self._thread.run(self._ray.init, **options)
            except Exception as error:  # Ray raises what it finds: OSError, ValueError, RuntimeError and its own
                refused = isinstance(error, ConnectionError) and address not in ("", "auto")
                if refused or isinstance(error, self._ray.exceptions.AuthenticationError):
                    raise ConfigurationError(
                        f"{where} does not let this program in: its token is missing or another one, or its version "
                        f"is; the token of the cluster is expected in {TOKEN}"
                    ) from error
                raise ConfigurationError(f"{where} cannot be used: {_reason(error)}") from error
            return
        raise ConfigurationError(
            f"{where} was not ready within {JOIN_S:g} s; see its log in /tmp/ray/session_latest/logs, and keep what "
            "workers do not need out of the application's folder, which is copied to them, or name it in .gitignore"
        )

    async def _no_place(self) -> str:
        there, free = await self._thread.run(self._processors)
        lacks = "".join(f" and {amount:g} {name}" for name, amount in self._resources.items())
        return (
            f"no machine had a place for a worker within {self._place_s:g} s: it needs {self._cpus:g} processors{lacks}"
            f", and of the {there:g} processors of the cluster {free:g} are free; start fewer workers, reserve less "
            "for each by RayEngine(cpus=...), or add machines (a restart needs one more place than there are workers)"
        )

    def _processors(self) -> tuple[float, float]:
        there, free = self._ray.cluster_resources(), self._ray.available_resources()
        return there.get("CPU", 0.0), free.get("CPU", 0.0)


class RayHandle(Handle):
    """A worker in Ray.

    Args:
        ray: The package.
        thread: Where what may block is called: once the cluster's head is gone, Ray waits for it.
        actor: The worker's actor.
    """

    def __init__(self, ray: Any, thread: WorkerThread, actor: Any) -> None:  # noqa: ANN401 - Ray has no types that hold
        self._ray = ray
        self._thread = thread
        self._actor = actor
        self._run = actor.run.remote()

    async def wait_placed(self) -> None:
        """Wait until a machine has a place for it, and its process answers."""
        await self._actor.is_here.remote()

    async def begins(self) -> Listening | NotServed:
        """Wait until it listens, or until it is known why it does not."""
        found: Listening | NotServed = await self._actor.begins.remote()
        return found

    async def wait_ended(self) -> str:
        """Wait until it has ended. See `Handle.wait_ended`."""
        try:
            how = str(await self._run)
        except self._ray.exceptions.RayError as error:
            return _reason(error)
        await self.kill()  # the process is left
        return how

    async def load(self) -> Load:
        """Ask how busy it is. See `Handle.load`."""
        try:
            load: Load | None = await self._actor.load.remote()
        except self._ray.exceptions.RayError as error:
            raise WorkerError(f"a worker in Ray does not answer: {_reason(error)}") from error
        if load is None:
            raise WorkerError("a worker in Ray does not serve yet")
        return load

    async def drain(self, within_s: float, *, hands_over: bool) -> None:
        """Let it go. See `Handle.drain`."""
        try:
            await self._actor.drain.remote(within_s, hands_over)
        except self._ray.exceptions.RayError as error:
            log.debug("a worker in Ray was not drained: %s", _reason(error))

    async def kill(self) -> None:
        """End it at once. See `Handle.kill`."""
        with anyio.move_on_after(KILL_S):
            await self._thread.run(self._ray.kill, self._actor, no_restart=True)


def _imported() -> Any:  # noqa: ANN401 - a module
    ray = import_module("ray")
    import_module("ray.exceptions")
    import_module("ray.util")
    return ray


def _shipped(path: str) -> tuple[Path, str]:
    """Return the folder that workers need, and the application's path in it."""
    file, colon, name = path.rpartition(":")
    if not (colon and name.isidentifier() and len(file) > 1):  # a single letter is the drive of a path
        file, colon, name = path, "", ""
    if not file.endswith(".py"):
        return Path.cwd(), path
    whole = Path(file).resolve()
    if not whole.is_file():
        raise ConfigurationError(f"{file} does not exist; name a Python file that creates a Pipeline")
    return whole.parent, f"{whole.name}{colon}{name}"


def _parted(address: str) -> tuple[str, int] | None:
    """Return host and port of a cluster's head; None for the one on this machine.

    Raises:
        ConfigurationError: It is no such address.
    """
    if address == "auto":
        return None
    host, _, port = address.rpartition(":")
    if not host or "://" in address or not port.isdecimal() or int(port) > MOST_PORT:
        raise ConfigurationError(
            f"the address of a cluster of Ray must be that of its head, e.g. '10.0.0.1:6379', not {address!r}; a "
            "client of Ray (ray://...) cannot place workers, so run this program on a machine of the cluster"
        )
    return host.strip("[]"), int(port)


async def _check_reach(host: str, port: int) -> None:
    """Find out whether anybody listens there.

    Raises:
        ConfigurationError: Nobody does.
    """
    try:
        with anyio.fail_after(REACH_S):
            await (await anyio.connect_tcp(host, port)).aclose()
    except (OSError, TimeoutError) as error:
        raise ConfigurationError(
            f"no cluster of Ray answers at {host}:{port}; start one there (ray start --head), or correct the address"
        ) from error


def _reason(error: BaseException) -> str:
    """Return what Ray says, in one line and without its advice."""
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line).strip() for line in str(error).splitlines()]
    said = [line for line in lines if line]
    dead = [line for line in said if line.startswith("The actor is dead because")]
    failed = [line for line in said if re.match(r"[\w.]*(Error|Exception)\b", line)]
    line = (dead or failed[-1:] or said or [type(error).__name__])[0]
    return line.partition(" Some common causes")[0].removeprefix("The actor is dead because ")[:MOST_REASON]


def _is_worth_saying(record: logging.LogRecord) -> bool:
    """Drop what Ray says because it is not started by the main thread: signals are this program's own."""
    return "SIGTERM handler is not set" not in record.getMessage()
