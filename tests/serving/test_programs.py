"""Servers as programs of their own: a restart that no caller notices, and TLS."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from websockets.exceptions import InvalidStatus

from tests.helpers.loopback_tls import AUTHORITY
from tests.helpers.plain_transport import calling

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")]

ROOT = Path(__file__).parents[2]

APP = """
import math
from tests.helpers.plain_transport import Plain, agent
from voicepipe.serving import Limits, Serve
limits = Limits(opening_per_s=1_000, lag_s=math.inf, stall_s=math.inf)
Serve(agent(character_s=0.05), [Plain()], greeting="Hello!", limits=limits).run(port=0, **{settings})
"""

CALLS = 40


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # real time: the servers are other processes


@contextmanager
def program(**settings: object) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a server as a program, and yield it and its port."""
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    command = [sys.executable, "-W", "error", "-c", APP.replace("{settings}", repr(settings))]
    with subprocess.Popen(command, env=paths, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        line = one.stdout.readline()
        try:
            yield one, int(line.rpartition(":")[2])
        finally:
            one.kill()


async def test_a_rolling_restart_under_forty_calls(ctrl_c: None) -> None:
    """While one server drains and a second one takes over, each call goes on to its own end, and no caller is lost."""
    ended: list[tuple[int | None, bool]] = []
    refused = 0

    with program() as (old, old_port), program() as (_, new_port):
        ports = [old_port, new_port]

        async def call(number: int) -> None:
            nonlocal refused
            await anyio.sleep(number * 0.05)
            for port in ports:
                try:
                    async with calling(port) as caller:
                        await caller.hello()
                        for _ in range(75):
                            await caller.socket.send(bytes(640))
                            await anyio.sleep(0.02)
                        await caller.socket.send("bye")
                        code = await caller.wait_closed()
                        ended.append((code, caller.heard_s > 0.2))
                        return
                except (InvalidStatus, OSError):  # it drains, or is gone already
                    refused += 1

        async def restart() -> None:
            await anyio.sleep(CALLS * 0.05 / 2)
            old.send_signal(signal.SIGTERM)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(restart)
            for number in range(CALLS):
                tasks.start_soon(call, number)
        assert old.stderr is not None
        assert (old.wait(10), old.stderr.read()) == (0, "")
    assert ended == [(1000, True)] * CALLS
    assert 0 < refused < CALLS


async def test_a_server_with_a_certificate() -> None:
    """With a certificate the server speaks TLS, and callers who trust it are let in."""
    certificate = str(Path(__file__).parents[1] / "helpers" / "loopback_server.pem")
    trusted = ssl.create_default_context(cafile=str(AUTHORITY))
    with program(certificate=certificate) as (one, port):
        origin = f"https://127.0.0.1:{port}"
        async with calling(port, scheme="wss", origin=origin, ssl=trusted) as caller:
            await caller.hello()
            await caller.wait_audio()
            await caller.socket.send("bye")
            assert await caller.wait_closed() == 1000
        one.terminate()
        one.terminate()
