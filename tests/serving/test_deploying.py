"""The files in deploy: each is read, or run, by the program that it is for, as far as that is installed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

from tests.helpers.loopback_tls import AUTHORITY
from tests.helpers.plain_transport import Caller, Plain, agent
from voicepipe.cli import _parser
from voicepipe.serving import Limits, Serve
from voicepipe.serving.desk import LAST_REPLY_S

pytestmark = pytest.mark.anyio

DEPLOY = Path(__file__).parents[2] / "deploy"
HELPERS = Path(__file__).parents[1] / "helpers"


def text_of(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def needs(program: str) -> pytest.MarkDecorator:
    absent = shutil.which(program) is None and os.environ.get("VOICEPIPE_TEST_ALL") != "1"
    return pytest.mark.skipif(absent, reason=f"not installed: {program}")


def commands() -> dict[str, list[str]]:
    """Return the command line of each file, without the program's name."""
    unit = re.search(r"^ExecStart=\S+/voicepipe (.*)$", text_of("voicepipe@.service"), re.MULTILINE)
    docker = re.search(r'^CMD \["voicepipe", (.*)\]$', text_of("Dockerfile"), re.MULTILINE)
    assert unit
    assert docker
    return {"unit": shlex.split(unit[1].replace("%i", "8001")), "docker": json.loads(f"[{docker[1]}]")}


@pytest.mark.parametrize("where", ["unit", "docker"])
def test_the_commands_are_ours(where: str) -> None:
    """The command in each file is one that `voicepipe` accepts, and gives calls 15 minutes to end."""
    options = _parser().parse_args(commands()[where])
    assert (options.command, options.drain) == ("serve", 900.0)


def test_nothing_is_killed_before_its_calls_have_ended() -> None:
    """What stops the process by force waits for longer than draining, the last replies and the closing may take."""
    stop_s = re.search(r"^TimeoutStopSec=(\d+)$", text_of("voicepipe@.service"), re.MULTILINE)
    assert stop_s
    assert int(stop_s[1]) > 900 + LAST_REPLY_S


@needs("systemd-analyze")
def test_the_unit_is_one_of_systemd(tmp_path: Path) -> None:
    """systemd has nothing to say against the unit, but that the program is not where it will be."""
    unit = tmp_path / "voicepipe@8001.service"
    unit.write_text(text_of("voicepipe@.service"), encoding="utf-8")
    found = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    complaints = [line for line in found.stderr.splitlines() if "voicepipe" in line and "is not executable" not in line]
    assert complaints == []


PROGRAM = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; events {{ }}
http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
uwsgi_temp_path {folder}; scgi_temp_path {folder}; include {folder}/agent.conf; }}
"""


@asynccontextmanager
async def nginx(folder: Path, ports: list[int]) -> AsyncGenerator[int]:
    """Run nginx with our file in front of servers on these ports; yield its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    changes = {
        "listen 443": f"listen 127.0.0.1:{port}",
        "/etc/ssl/voice.example.com.pem": str(HELPERS / "loopback_server.pem"),
        "/etc/ssl/voice.example.com.key": str(HELPERS / "loopback_server.pem"),
        "127.0.0.1:8001": f"127.0.0.1:{ports[0]}",
        "127.0.0.1:8002": f"127.0.0.1:{ports[1]}",
    }
    text = text_of("nginx.conf")
    for ours, theirs in changes.items():
        assert text.count(ours) == 1
        text = text.replace(ours, theirs)
    (folder / "agent.conf").write_text(text, encoding="utf-8")
    (folder / "nginx.conf").write_text(PROGRAM.format(folder=folder), encoding="utf-8")
    async with await anyio.open_process(
        ["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    ) as process:
        try:
            with anyio.fail_after(5.0):
                while True:
                    with suppress(OSError):
                        await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
                        break
                    await anyio.sleep(0.02)
            yield port
        finally:
            process.terminate()
            await process.wait()


def trusted() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=AUTHORITY)


@needs("nginx")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # real time: nginx is a program of its own
@pytest.mark.slow
async def test_a_call_through_nginx(tmp_path: Path, anyio_backend: str) -> None:
    """A call goes through TLS and nginx; when a process drains, the other one takes all further calls."""
    made = {"origins": ["https://voice.example.com"], "authenticate": lambda _: {}}
    limits = Limits(lag_s=10.0, stall_s=10.0)  # this machine may be busy
    serves = [Serve(agent(character_s=0.002), [Plain()], limits=limits, **made) for _ in range(2)]
    async with serves[0].listening() as first, serves[1].listening() as second:
        async with nginx(tmp_path, [first, second]) as port:

            async def call() -> int | None:
                url, origin = f"wss://127.0.0.1:{port}/plain", "https://voice.example.com"
                async with connect(
                    url, ssl=trusted(), origin=Origin(origin), proxy=None, compression=None
                ) as connection:
                    caller = Caller(connection)
                    await caller.hello()
                    await caller.speak(0.5)
                    await caller.wait_audio()
                    await connection.send("bye")
                    return await caller.wait_closed()

            assert await call() == 1000
            serves[0].desk._door.is_draining = True
            assert [await call() for _ in range(3)] == [1000] * 3
            serves[1].desk._door.is_draining = True
            with pytest.raises(InvalidStatus) as refused:
                await call()
            assert refused.value.response.status_code == 503  # nobody is left to take it
            async with httpx.AsyncClient(verify=trusted(), trust_env=False) as client:
                metrics = await client.get(f"https://127.0.0.1:{port}/metrics")
                live = await client.get(f"https://127.0.0.1:{port}/live")
            assert (metrics.status_code, live.text) == (404, "live")
