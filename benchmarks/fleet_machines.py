"""What `fleet` runs, each a process of its own: a redis-server, workers, a fleet with its gateway, the callers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE
from urllib.parse import urlsplit

import anyio
import httpx
from anyio.streams.text import TextReceiveStream

from benchmarks.fleet_app import FOLDER, STORE

__all__ = [
    "Fleet",
    "Load",
    "Redis",
    "Worker",
    "calling",
    "cpu_s",
    "listener",
    "redis_server",
    "running",
    "worker",
    "workers",
    "written",
]

ROOT = Path(__file__).resolve().parents[1]
APPLICATION = ROOT / "benchmarks" / "fleet_app.py"
COMMAND = [sys.executable, "-c", "import sys; from voicepipe.cli import main; sys.exit(main())"]
START_S = 60.0
"""How long a process may take to start on a busy machine."""


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def written(folder: Path, name: str) -> list[dict]:
    """Return the lines that the application wrote to a file."""
    path = folder / name
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _environment(folder: Path, store: str = "") -> dict[str, str]:
    # The checkout first: processes start elsewhere too, and the application imports `benchmarks`.
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), FOLDER: str(folder), STORE: store}


# --- the store --------------------------------------------------------------------------------------------------------


class Redis:
    """A redis-server on a unix socket, which can be stopped, frozen and emptied."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "redis.sock"
        self._process = None
        self.address = f"unix://{self._path}"

    async def start(self) -> None:
        command = ["redis-server", "--port", "0", "--unixsocket", str(self._path), "--save", "", "--appendonly", "no"]
        self._process = await anyio.open_process(command, stdout=DEVNULL, stderr=DEVNULL)
        with anyio.fail_after(START_S):
            while "PONG" not in await self.ask("PING"):  # noqa: ASYNC110 - another process
                await anyio.sleep(0.02)

    async def stop(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        await self._process.wait()
        self._path.unlink(missing_ok=True)

    @property
    def pid(self) -> int:
        return self._process.pid

    def freeze(self) -> None:
        """Let it take connections and answer nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    async def empty(self) -> None:
        """Let it lose everything."""
        await self.ask("FLUSHALL")

    async def ask(self, *words: str) -> str:
        """Return the first line of its answer to a command; "" if it cannot be reached."""
        try:
            async with await anyio.connect_unix(str(self._path)) as stream:
                await stream.send((" ".join(words) + "\r\n").encode())
                return (await stream.receive()).decode()
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
            return ""


@asynccontextmanager
async def redis_server(folder: Path):
    """Run a redis-server while the block lasts; None where there is none on this machine."""
    if shutil.which("redis-server") is None:
        raise RuntimeError("fleet needs redis-server; on Debian: apt-get install redis-server")
    redis = Redis(folder)
    await redis.start()
    try:
        yield redis
    finally:
        with anyio.CancelScope(shield=True):
            await redis.stop()


# --- workers ----------------------------------------------------------------------------------------------------------


class Worker:
    """One `voicepipe serve`, which always comes back at the same port.

    Attributes:
        base: Where its page is.
    """

    def __init__(self, folder: Path, store: str) -> None:
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}/"
        self._folder = folder
        self._environment = _environment(folder, store)
        self._process = None

    async def start(self) -> None:
        path = self._folder / f"worker-{self.port}.log"
        log = path.open("ab")
        command = [*COMMAND, "serve", str(APPLICATION), "--port", str(self.port), "--drain", "600"]
        self._process = await anyio.open_process(
            command, stdin=DEVNULL, stdout=log, stderr=log, env=self._environment, cwd=self._folder
        )
        log.close()
        await _ready(self.base, self._process, anyio.Path(path))

    @property
    def pid(self) -> int:
        return self._process.pid

    async def kill(self) -> None:
        """End it as a machine ends that loses its power."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """Ask it to drain, and wait until it has ended."""
        self._process.send_signal(signal.SIGTERM)
        await self._process.wait()


async def _ready(base: str, process, log: anyio.Path) -> None:
    """Wait until a process takes calls; say what it wrote if it does not."""
    async with httpx.AsyncClient(trust_env=False) as http:
        with anyio.move_on_after(START_S):
            while process.returncode is None:
                with suppress(httpx.TransportError):
                    if (await http.get(f"{base}ready")).status_code == 200:
                        return
                await anyio.sleep(0.05)
    raise RuntimeError(f"{base} does not take calls; it wrote: {(await log.read_text())[-2000:]}")


@asynccontextmanager
async def worker(folder: Path, store: str = ""):
    """Run a worker while the block lasts."""
    one = Worker(folder, store)
    await one.start()
    try:
        yield one
    finally:
        with anyio.CancelScope(shield=True):
            await one.kill()


# --- the callers ------------------------------------------------------------------------------------------------------


class Load:
    """The callers of one process, and what they have written so far."""

    def __init__(self, process) -> None:
        self.lines: list[dict] = []
        self._process = process
        self._news = anyio.Event()
        self._is_over = False

    async def read(self) -> None:
        rest = ""
        async for piece in TextReceiveStream(self._process.stdout):
            *lines, rest = (rest + piece).split("\n")
            self.lines += [json.loads(line) for line in lines]
            news, self._news = self._news, anyio.Event()
            news.set()
        self._is_over = True
        self._news.set()

    def of(self, event: str, since_s: float = 0.0, until_s: float = float("inf")) -> list[dict]:
        """Return the lines of a kind within a time."""
        return [line for line in self.lines if line["event"] == event and since_s <= line["at_s"] < until_s]

    async def until(self, is_met, within_s: float) -> bool:
        """Wait until a function of this load returns True; return whether it did in time."""
        with anyio.move_on_after(within_s):
            while not is_met(self):
                if self._is_over:
                    raise RuntimeError("the callers ended too early")
                await self._news.wait()
            return True
        return False

    async def all_connected(self, callers: int, within_s: float = 20.0) -> bool:
        """Wait until each caller has a connection."""
        return await self.until(lambda load: len(load.connected()) == callers, within_s)

    def connected(self) -> dict[int, str]:
        """Return the callers that have a connection, each with its address."""
        found: dict[int, str] = {}
        for line in self.lines:
            if line["event"] == "ready":
                found[line["caller"]] = line["url"]
            elif line["event"] in ("lost", "end"):
                found.pop(line["caller"], None)
        return found

    async def hang_up(self) -> None:
        """Let all callers hang up, and wait until they have."""
        await self._process.stdin.send(b"\n")
        with anyio.move_on_after(10.0):
            await self._process.wait()


@asynccontextmanager
async def calling(bases: list[str], callers: int, *, seed: int = 1, books: float = 0.3):
    """Let callers call while the block lasts."""
    options = ["--callers", str(callers), "--seed", str(seed), "--books", str(books)]
    command = [sys.executable, "-m", "benchmarks.fleet_load", *bases, *options]
    environment = _environment(Path())
    async with (
        await anyio.open_process(command, stdin=PIPE, stdout=PIPE, stderr=None, env=environment, cwd=ROOT) as process,
        anyio.create_task_group() as tasks,
    ):
        load = Load(process)
        tasks.start_soon(load.read)
        try:
            yield load
        finally:
            if process.returncode is None:
                process.kill()
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def workers(folder: Path, store: str, count: int):
    """Run workers without a gateway: callers know all of their addresses."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(worker(folder, store)) for _ in range(count)]


# --- a fleet ----------------------------------------------------------------------------------------------------------


class Fleet:
    """One `voicepipe serve --engine ...`: a gateway, and the workers that it starts.

    Attributes:
        base: Where callers get their page and their tokens.
    """

    def __init__(self, port: int, process) -> None:
        self.base = f"http://127.0.0.1:{port}/"
        self._process = process

    async def status(self) -> dict:
        """Return what the gateway says of its workers."""
        async with httpx.AsyncClient(trust_env=False) as http:
            return (await http.get(f"{self.base}fleet")).raise_for_status().json()

    async def pid(self) -> int:
        """Return the process of its first worker."""
        return listener(urlsplit((await self.status())["workers"][0]["media_url"]).port)

    async def takes_calls(self) -> bool:
        """Return whether a worker gets calls now: a token comes with its address, where it answers."""
        async with httpx.AsyncClient(trust_env=False) as http:
            with suppress(httpx.HTTPError):
                answer = await http.post(f"{self.base}token", headers={"origin": self.base.rstrip("/")})
                if answer.status_code == 200:
                    url = answer.json()["url"].replace("ws", "http", 1)
                    return (await http.get(url.rstrip("/") + "/ready")).status_code == 200
        return False

    async def all_ready(self, count: int) -> None:
        """Wait until this many workers take calls."""
        with anyio.fail_after(START_S):
            while await self._ready() < count:  # noqa: ASYNC110 - another process
                await anyio.sleep(0.1)

    async def _ready(self) -> int:
        return sum(not one["is_draining"] and not one["refuses"] for one in (await self.status())["workers"])

    async def restart(self) -> None:
        """Replace each worker by a new one, as an operator does."""
        await anyio.run_process(
            [*COMMAND, "scale", "restart", "--gateway", self.base.rstrip("/")], env=_environment(Path()), stderr=None
        )


@asynccontextmanager
async def running(folder: Path, store: str, count: int, *, engine: str = "local"):
    """Run a fleet while the block lasts."""
    port = free_port()
    options = ["--engine", engine, "--workers", str(count), "--port", str(port), "--store", store]
    path = folder / "fleet.log"
    log = path.open("ab")
    command = [*COMMAND, "serve", str(APPLICATION), *options]
    environment = _environment(folder)
    process = await anyio.open_process(command, stdin=DEVNULL, stdout=log, stderr=log, env=environment, cwd=folder)
    log.close()
    try:
        await _ready(f"http://127.0.0.1:{port}/", process, anyio.Path(path))
        yield Fleet(port, process)
    finally:
        with anyio.CancelScope(shield=True):
            below = _below(process.pid)
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGTERM)  # the second one does not wait for calls
            with anyio.move_on_after(10.0):
                await process.wait()
            if process.returncode is None:
                process.kill()
                await process.wait()
            for pid in below:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _below(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def listener(port: int) -> int:
    """Return the process that listens on a port of this machine."""
    for _ in range(20):  # a table that changes while it is read may lack a line
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        listening = {row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            with suppress(OSError):
                found = str(link.readlink())
                if found.startswith("socket:[") and found[8:-1] in listening:
                    return int(link.parts[2])
    raise LookupError(f"nothing listens on port {port}")


def cpu_s(pid: int) -> float:
    """Return the CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
