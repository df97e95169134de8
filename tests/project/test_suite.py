"""The suite itself: what hangs is ended and named, and nothing depends on how a run was started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HANGS = """
import threading

def test_before():
    pass

def test_hangs():
    threading.Event().wait()

def test_after():
    pass
"""


def pytest_run(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run pytest in a process of its own, with this project's settings."""
    program = f"import sys\n{before}\nimport pytest\nraise SystemExit(pytest.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "-c", str(ROOT / "pyproject.toml"), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_each_test_has_a_limit(pytestconfig: pytest.Config) -> None:
    """It is a minute; then the process ends, whatever the test waits for."""
    assert float(pytestconfig.getini("faulthandler_timeout")) == 60.0
    assert pytestconfig.getini("faulthandler_exit_on_timeout") is True


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_what_hangs_is_ended(workers: int, tmp_path: Path) -> None:
    """A test over the limit ends its process, and stderr says where it was; a worker's other tests run in a new one."""
    (tmp_path / "test_it.py").write_text(HANGS)
    limit = "-o", "faulthandler_timeout=2"
    ended = pytest_run(f"-n{workers}", *limit, "-p", "tests.conftest", str(tmp_path), f"--rootdir={tmp_path}")
    assert ended.returncode == 1
    assert "in test_hangs\n" in ended.stderr
    if workers:
        assert "crashed while running 'test_it.py::test_hangs'" in ended.stdout
        assert "1 failed, 2 passed" in ended.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to a process")
def test_it_runs_where_ctrl_c_is_ignored() -> None:
    """In the background and under nohup a run inherits that SIGINT is ignored; tests that need it set it themselves."""
    ignore = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"
    ended = pytest_run("-n", "0", "-o", "faulthandler_timeout=20", "tests/core/test_process.py", before=ignore)
    assert ended.returncode == 0, ended.stdout
