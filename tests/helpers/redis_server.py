"""A real Redis server, started by the tests: on a Unix socket, without a port, and without a file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

PROGRAM = shutil.which("redis-server")
MISSING = ([] if PROGRAM else ["redis-server"]) + ([] if find_spec("redis") else ["redis"])
needs_redis = pytest.mark.skipif(
    bool(MISSING) and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason=f"not installed: {', '.join(MISSING)}"
)

UNTIL_CLOSED = '"$@" & exec >/dev/null 2>&1; cat; kill -9 $!; wait'
"""Ends the server when the input closes, which it does however a run of tests ends."""

READY = "ready to accept connections"


class RedisServer:
    """A server on a Unix socket.

    Args:
        folder: Where the socket is; the path of a socket has to be short.
        options: More options of redis-server, e.g. "--requirepass".
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and return when it answers. It has no data."""
        nothing_kept = "--port", "0", "--save", "", "--appendonly", "no", "--dir", str(self._folder)
        server = PROGRAM or "redis-server", "--unixsocket", str(self.socket), *nothing_kept, *self._options
        command = "sh", "-c", UNTIL_CLOSED, "sh", *server
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdout is not None
        said: list[str] = []
        with self._process.stdout as log:  # later it finds no reader, and goes on
            while not said or (said[-1] and READY not in said[-1]):
                said.append(log.readline())
        assert said[-1], f"redis-server ended: {''.join(said)}"

    def stop(self) -> None:
        """End it at once; its data are gone."""
        if self._process is not None:
            self._process.communicate()
        self._process = None
        self.socket.unlink(missing_ok=True)

    @contextmanager
    def frozen(self) -> Generator[None]:
        """Let it stand still while the block lasts: it takes connections, and answers nothing."""
        pid = self.run("INFO", "server")["process_id"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def run(self, *command: Any) -> Any:
        """Run a command, as an operator would."""
        return self.run_as("default", None, *command)

    def run_as(self, user: str, password: str | None, *command: Any) -> Any:
        """Run a command as a user."""
        import redis

        shown = {} if password is None else {"username": user, "password": password}
        with redis.Redis(unix_socket_path=str(self.socket), single_connection_client=True, **shown) as client:
            return client.execute_command(*command)


@contextmanager
def redis_serving(*options: str) -> Generator[RedisServer]:
    """Run a server while the block lasts."""
    with tempfile.TemporaryDirectory(prefix="vp") as folder:
        server = RedisServer(Path(folder), *options)
        server.start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def redis_of_session() -> Generator[RedisServer]:
    """Return a server that all tests of a run share."""
    with redis_serving() as server:
        yield server


@pytest.fixture
def redis_server(redis_of_session: RedisServer) -> RedisServer:
    """Return a server without data."""
    redis_of_session.run("FLUSHALL")
    return redis_of_session
