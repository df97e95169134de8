"""Workers in Ray: one cluster for all tests, started as a program starts it, which the others join."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from websockets.exceptions import InvalidStatus

from tests.helpers.page_client import resuming
from tests.helpers.plain_transport import Caller, calling
from tests.helpers.redis_server import needs_redis, redis_serving
from voicepipe.errors import ConfigurationError, WorkerError
from voicepipe.fleet import Application, Load, Worker
from voicepipe.fleet.ray_engine import RayEngine
from voicepipe.fleet.ray_worker import RayWorker

pytestmark = [
    pytest.mark.scale,
    pytest.mark.anyio,
    pytest.mark.skipif(
        find_spec("ray") is None and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason="not installed: ray"
    ),
    pytest.mark.filterwarnings("default"),  # Ray has some of its own
]

ROOT = Path(__file__).parents[2]

APP = """
import os

from plain_transport import Plain, agent
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from voicepipe.serving import Limits, Page, Serve


class Here(Plain):
    def routes(self, desk):
        return [Route("/pid", lambda request: PlainTextResponse(f"{os.getpid()} {os.environ.get('FRUIT')} {__file__}"))]


serve = Serve(agent(character_s=0.002), [Here(), Page()], limits=Limits(lag_s=10.0, stall_s=10.0))
"""

LONG_S = 60.0
"""How long anything may take on a machine that has other work to do."""

PLACES = 4
"""Of the cluster that the tests join: for three workers, and one more that a restart starts first."""

PROGRAM = """
import sys
import anyio
from voicepipe.fleet import Application
from voicepipe.fleet.ray_engine import RayEngine

async def main():
    engine = RayEngine()
    async with engine.open(Application(sys.argv[1], workers=3)):
        await engine.start(1)
        import ray
        print("HERE", ray.get_runtime_context().gcs_address, engine.workers()[0].url, flush=True)
        await anyio.to_thread.run_sync(sys.stdin.read)

anyio.run(main)
"""

FAILS = """
import sys
import anyio
from voicepipe.fleet import Application
from voicepipe.fleet.ray_engine import RayEngine

async def main():
    engine = RayEngine(sys.argv[2])
    async with engine.open(Application(sys.argv[1])):
        await engine.start(1)
        print("HERE", engine.workers()[0].url, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""

WITH_TOKEN = """
import sys
import anyio
from voicepipe.errors import ConfigurationError
from voicepipe.fleet import Application
from voicepipe.fleet.ray_engine import RayEngine

async def main():
    try:
        async with RayEngine(sys.argv[2]).open(Application(sys.argv[1])):
            print("in")
    except ConfigurationError as error:
        print(error)

anyio.run(main)
"""


@dataclass(frozen=True)
class Cluster:
    """A cluster, and a worker that runs there.

    Attributes:
        address: The cluster's.
        url: The worker's.
        folder: A folder with an application, `app.py`.
        environment: What a program that may use the cluster has in its environment.
    """

    address: str
    url: str
    folder: Path
    environment: dict[str, str]

    def application(self, file: str = "app.py", **settings: Any) -> Application:
        return Application(str(self.folder / file), **settings)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # real time: Ray's processes have no other


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of Ray that a program has started by opening an engine; it ends with the engine."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "app.py").write_text(APP, encoding="utf-8")
    (folder / "broken.py").write_text("import no_such_package\n", encoding="utf-8")
    (folder / ".gitignore").write_text("models/\n", encoding="utf-8")
    (folder / "models").mkdir()
    (folder / "models" / "large.bin").write_bytes(bytes(1000))
    shutil.copy(ROOT / "tests" / "helpers" / "plain_transport.py", folder)
    token = folder.parent / "token"
    token.write_text("f" * 32, encoding="utf-8")
    ours = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # short: the paths of its sockets have a limit
    environment = {**os.environ, "FRUIT": "plum", "RAY_AUTH_TOKEN_PATH": str(token), "RAY_TMPDIR": ours}
    program = [sys.executable, "-c", PROGRAM, str(folder / "app.py:serve")]
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder.parent
    ) as started:
        assert started.stdin
        assert started.stdout
        try:
            said = next((line.split() for line in started.stdout if line.startswith("HERE ")), [])
            assert len(said) == 3, "the program did not start"
            yield Cluster(said[1], said[2], folder, environment)
            started.stdin.close()
            assert started.wait(LONG_S) == 0
        finally:
            started.kill()
            shutil.rmtree(ours, ignore_errors=True)


@pytest.fixture
def joins(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster, in an environment in which this process may use it; what the engine adds to it is taken back."""
    for name in ("RAY_AUTH_MODE", "RAY_USAGE_STATS_ENABLED", "RAY_NUM_REDIS_GET_RETRIES", "RAY_ADDRESS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name in ("RAY_AUTH_TOKEN_PATH", "RAY_TMPDIR"):
        monkeypatch.setenv(name, cluster.environment[name])
    return cluster


async def get(url: str) -> tuple[int, str]:
    async with httpx.AsyncClient(trust_env=False, timeout=LONG_S) as client:
        reply = await client.get(url)
    return reply.status_code, reply.text


async def said_by(process: Process, prefix: str) -> str:
    """Return what a program prints in the line that begins with these words."""
    assert process.stdout
    lines = BufferedByteReceiveStream(process.stdout)
    with anyio.fail_after(LONG_S):
        while True:
            line = (await lines.receive_until(b"\n", 10_000)).decode()
            if line.startswith(prefix):
                return line.removeprefix(prefix).strip()


async def pid_of(worker: Worker) -> int:
    return int((await get(f"{worker.url}/pid"))[1].split()[0])


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def port_of(worker: Worker) -> int:
    return int(worker.url.rpartition(":")[2])


@asynccontextmanager
async def speaking(worker: Worker) -> AsyncGenerator[Caller]:
    """Call a worker, and hear its agent."""
    async with calling(port_of(worker)) as caller:
        await caller.hello()
        await caller.speak(0.5)
        await caller.wait_audio()
        yield caller


async def wait_workers(engine: RayEngine, *ids: str) -> None:
    """Wait until these are the workers, and take calls."""
    with anyio.fail_after(LONG_S):
        while {worker.id for worker in engine.workers() if worker.load.is_ready} != set(ids):  # noqa: ASYNC110
            await anyio.sleep(0.05)


async def test_a_cluster_is_started_for_an_application(cluster: Cluster) -> None:
    """Without an address, an engine starts Ray. Workers get the folder without what git ignores, and its variables."""
    assert await get(f"{cluster.url}/ready") == (200, "ready")
    pid, fruit, file = (await get(f"{cluster.url}/pid"))[1].split()
    assert (fruit, Path(file).name, Path(file).parent != cluster.folder) == ("plum", "app.py", True)
    assert sorted(each.name for each in Path(file).parent.iterdir() if each.name != "__pycache__") == [
        ".gitignore", "app.py", "broken.py", "plain_transport.py",
    ]  # fmt: skip
    assert is_there(int(pid))


async def test_calls_outlive_a_replacement_and_a_crash_is_mended(joins: Cluster) -> None:
    """A worker that is replaced keeps its call to the end; one that is killed is noticed and replaced by the engine."""
    engine = RayEngine(joins.address)
    async with engine.open(joins.application(workers=2)):
        await engine.start(2)
        first, second = engine.workers()
        assert len({await pid_of(first), await pid_of(second), os.getpid()}) == 3
        async with anyio.create_task_group() as tasks, speaking(first) as caller:
            await wait_workers(engine, "w1", "w2")
            tasks.start_soon(engine.replace, first.id, 60.0)
            await wait_workers(engine, "w2", "w3")
            with anyio.fail_after(LONG_S):
                while (await get(f"{first.url}/ready"))[0] == 200:  # noqa: ASYNC110 - it is another process
                    await anyio.sleep(0.02)
            with pytest.raises(InvalidStatus):
                async with calling(port_of(first)):
                    pass
            await caller.speak(0.2)
            await caller.socket.send("bye")
            assert await caller.wait_closed() == 1000
        assert [worker.id for worker in engine.workers()] == ["w2", "w3"]
        assert (engine.lost, engine.replaced) == (0, 1)
        async with speaking(engine.workers()[0]) as caller:
            os.kill(await pid_of(engine.workers()[0]), signal.SIGKILL)
            assert await caller.wait_closed() == 1006
        await wait_workers(engine, "w3", "w4")
        assert (engine.lost, {worker.index for worker in engine.workers()}) == (1, {1, 2})
        async with speaking(engine.workers()[0]):
            await engine.kill(engine.workers()[0].id)
    with pytest.raises(httpx.ConnectError):
        await pid_of(second)


@needs_redis
async def test_a_call_goes_on_in_another_worker(cluster: Cluster) -> None:
    """`voicepipe serve --engine ray` is a gateway to workers in the cluster; when one is killed, its call goes on."""
    arguments = ["serve", "app.py", "--engine", "ray", "--workers", "2", "--port", "0", "--drain", "0"]
    program = [sys.executable, "-c", "import sys; from voicepipe.cli import main; sys.exit(main())", *arguments]
    with redis_serving() as redis:
        environment = {**cluster.environment, "RAY_ADDRESS": cluster.address, "VOICEPIPE_STORE": redis.url}
        async with await anyio.open_process(program, env=environment, cwd=cluster.folder, stderr=None) as process:
            try:
                gateway = await said_by(process, "voicepipe: serving on ")
                async with resuming(int(gateway.rpartition(":")[2]), within_s=LONG_S) as call:
                    page = await call.until_connections(1)
                    await page.until("turn_ended")
                    worker = f"http://127.0.0.1:{page.socket.remote_address[1]}"
                    pid = int((await get(f"{worker}/pid"))[1].split()[0])
                    os.kill(pid, signal.SIGKILL)
                    with anyio.fail_after(LONG_S):
                        await call.until_connections(2)
                    assert (call.resumed, int((await get(f"{gateway}/pid"))[1].split()[0]) == pid) == ([True], False)
                process.terminate()
                with anyio.fail_after(LONG_S):
                    assert await process.wait() == 0
            finally:
                with suppress(ProcessLookupError):
                    process.kill()


async def test_there_is_no_place(joins: Cluster) -> None:
    """A worker for which no machine has a place is waited for, and then the sentence says what is missing."""
    engine = RayEngine(joins.address, cpus=PLACES, resources={"voice": 1}, place_s=0.5)
    async with engine.open(joins.application()):
        with pytest.raises(WorkerError) as lacks:
            await engine.start(1)
    assert re.fullmatch(
        rf"no machine had a place for a worker within 0.5 s: it needs {PLACES} processors and 1 voice, and of the "
        rf"{PLACES} processors of the cluster [0-3] are free; start fewer workers, reserve less for each by "
        r"RayEngine\(cpus=...\), or add machines \(a restart needs one more place than there are workers\)",
        str(lacks.value),
    )


async def test_what_a_worker_cannot_serve_is_its_own_sentence(joins: Cluster) -> None:
    """An application that cannot be imported on the worker is reported as if it were served here."""
    engine = RayEngine(joins.address)
    async with engine.open(joins.application("broken.py")):
        with pytest.raises(ConfigurationError) as broken:
            await engine.start(1)
        assert str(broken.value) == (
            "broken.py cannot be loaded: ModuleNotFoundError: No module named 'no_such_package' "
            "(broken.py:1: import no_such_package)"
        )


async def test_machines_without_voicepipe(joins: Cluster, tmp_path: Path) -> None:
    """Where the machines lack a package, or have another version, the sentence names what they need."""
    (tmp_path / "voicepipe").mkdir()
    (tmp_path / "voicepipe" / "__init__.py").write_text("raise ImportError('not this one')", encoding="utf-8")
    engine = RayEngine(joins.address, runtime_env={"env_vars": {"PYTHONPATH": str(tmp_path)}})
    async with engine.open(joins.application()):
        with pytest.raises(WorkerError) as lacks:
            await engine.start(1)
    assert str(lacks.value) == (
        "a worker cannot be created; the machines of the cluster need voicepipe[server,ray] and the packages of the "
        "application, in the versions of this machine: ImportError: not this one"
    )


async def test_calls_outlive_a_gateway_that_fails(cluster: Cluster) -> None:
    """When the program with the engine is killed, its workers keep their calls, take no further ones, and then end."""
    program = [sys.executable, "-c", FAILS, str(cluster.folder / "app.py"), cluster.address]
    async with await anyio.open_process(program, env=cluster.environment, stderr=None) as process:
        worker = Worker("w1", await said_by(process, "HERE "), Load(0, 1))
        pid = await pid_of(worker)
        async with speaking(worker) as caller:
            process.kill()
            await process.wait()
            with anyio.fail_after(LONG_S):
                while (await get(f"{worker.url}/ready"))[0] == 200:
                    await caller.speak(0.1)
            await caller.speak(0.2)
            await caller.socket.send("bye")
            assert await caller.wait_closed() == 1000
        with anyio.fail_after(LONG_S):
            while is_there(pid):  # noqa: ASYNC110 - it is another process
                await anyio.sleep(0.1)


async def test_there_is_no_cluster(tmp_path: Path) -> None:
    """Where nobody answers, the sentence comes at once: Ray by itself would try for minutes."""
    (tmp_path / "app.py").touch()
    with pytest.raises(ConfigurationError) as refused:
        async with RayEngine("127.0.0.1:9").open(Application(str(tmp_path / "app.py"))):
            pass
    assert str(refused.value) == (
        "no cluster of Ray answers at 127.0.0.1:9; start one there (ray start --head), or correct the address"
    )


async def test_where_a_worker_listens() -> None:
    """Near the gateway it listens on loopback; elsewhere, or where callers know machines by name, on its machine's."""
    from ray.util import get_node_ip_address

    here = get_node_ip_address()

    def host(gateway: str, **settings: Any) -> str:
        return RayWorker(Application("app.py", **settings), 0, gateway=gateway)._here().host

    assert (host(here), host("203.0.113.9"), host("203.0.113.9", host="203.0.113.7")) == (
        "127.0.0.1", here, "203.0.113.7",
    )  # fmt: skip
    assert host(here, worker_url="wss://{host}.example.com:{port}") == here


@pytest.mark.parametrize("token", ["another", "none"])
async def test_a_cluster_refuses_strangers(token: str, cluster: Cluster, tmp_path: Path) -> None:
    """Without the cluster's token a program does not get in, and is told in one sentence what is expected where."""
    (tmp_path / "token").write_text("e" * 32 if token == "another" else "", encoding="utf-8")
    environment = {**cluster.environment, "HOME": str(tmp_path), "RAY_NUM_REDIS_GET_RETRIES": "2"}
    environment["RAY_AUTH_TOKEN_PATH"] = str(tmp_path / "token")
    program = [sys.executable, "-c", WITH_TOKEN, str(cluster.folder / "app.py"), cluster.address]
    ended = await anyio.run_process(program, env=environment, stderr=subprocess.DEVNULL)
    assert ended.stdout.decode().strip() == (
        f"the cluster of Ray at {cluster.address} does not let this program in: its token is missing or another one, "
        "or its version is; the token of the cluster is expected in RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH "
        "names, or ~/.ray/auth_token"
    )
