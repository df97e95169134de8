"""Workers as processes of this machine: what happens to them when a worker, or the gateway, is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.helpers.asgi_server import needs_server

pytestmark = [
    pytest.mark.scale,
    needs_server,
    pytest.mark.skipif(os.name != "posix", reason="signals of POSIX"),
    pytest.mark.skipif(
        find_spec("redis") is None and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason="not installed: redis"
    ),
]

ROOT = Path(__file__).parents[2]

APP = """
import os
from pathlib import Path
from tests.helpers.plain_transport import agent
from voicepipe.serving import Page, Serve
Path(f"{os.getpid()}.pid").touch()
serve = Serve(agent(), [Page()], greeting="Hello!")
"""

PROGRAM = "import sys; from voicepipe.cli import main; sys.exit(main())"
PATIENCE_S = 30.0
LOOK_S = 0.05


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")]), **more}


@contextmanager
def serving(folder: Path, *arguments: str, **more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `voicepipe serve app.py --workers 2`, and yield the process and the gateway's URL."""
    (folder / "app.py").write_text(APP, encoding="utf-8")
    command = [sys.executable, "-c", PROGRAM, "serve", "app.py", "--workers", "2", "--port", "0", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=environment(**more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        try:
            lines = [program.stdout.readline(), program.stdout.readline()]
            assert lines[0] == "voicepipe: starting 2 workers\n"
            yield program, lines[1].rpartition(" ")[2].strip()
        finally:
            program.kill()


def until(condition: Callable[[], object]) -> None:
    """Wait for another process."""
    for _ in range(round(PATIENCE_S / LOOK_S)):
        if condition():
            return
        time.sleep(LOOK_S)  # noqa: TID251 - another process runs in real time
    pytest.fail(f"in vain for {PATIENCE_S:g} s")


def status(url: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{url}/fleet", trust_env=False, timeout=PATIENCE_S).json()
    return found


def workers(folder: Path) -> list[int]:
    """Return the numbers of the workers that run."""
    return [pid for pid in (int(path.stem) for path in folder.glob("*.pid")) if is_running(pid)]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def scale(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, "scale", *arguments, "--gateway", url]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)


def test_a_killed_worker_is_replaced_and_a_signal_ends_all(tmp_path: Path, ctrl_c: None) -> None:
    """A killed worker has a successor, `scale restart` replaces all, and no list of processes shows a password."""
    with serving(tmp_path, VOICEPIPE_STORE="redis://:hunter2@127.0.0.1:1/0") as (program, url):
        first = workers(tmp_path)
        assert len(first) == 2
        shown = subprocess.run(["ps", "-A", "-o", "args="], capture_output=True, text=True, check=True).stdout
        assert "hunter2" not in shown
        os.kill(first[0], signal.SIGKILL)
        until(lambda: status(url)["lost"] == 1 and [one["refuses"] for one in status(url)["workers"]] == ["", ""])
        assert len(workers(tmp_path)) == 2

        restarted = scale(url, "restart")
        assert (restarted.returncode, restarted.stderr) == (0, "")
        assert not {*first} & {*workers(tmp_path)}
        said = json.loads(scale(url, "status", "--json").stdout)
        assert (said["replaced"], len(said["workers"])) == (2, 2)
        refused = scale(url, "drain", "w99")
        assert (refused.returncode, refused.stderr[:48]) == (2, "voicepipe: there is no worker 'w99'; there are: ")

        program.terminate()
        assert program.wait(PATIENCE_S) == 0
        assert workers(tmp_path) == []


def test_workers_do_not_outlive_their_gateway(tmp_path: Path) -> None:
    """If the gateway is killed, its workers notice and end."""
    with serving(tmp_path) as (program, _):
        assert len(workers(tmp_path)) == 2
        program.kill()
        until(lambda: not workers(tmp_path))


def test_what_cannot_be_served_is_one_sentence(tmp_path: Path) -> None:
    """What a worker says about its application is what the command says, and its exit status is 2."""
    (tmp_path / "app.py").write_text("agent = 5", encoding="utf-8")
    command = [sys.executable, "-c", PROGRAM, "serve", "app.py", "--workers", "2", "--port", "0"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "voicepipe: app.py has no Pipeline; write agent = Pipeline(...)\n")
