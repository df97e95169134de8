"""Virtual time next to pytest-asyncio: a test that would run in real time fails and names the setting."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

CONFTEST = """
import pytest
from voicepipe.testing import VIRTUAL_TIME

@pytest.fixture
def anyio_backend():
    return VIRTUAL_TIME
"""

TEST = """
import asyncio
import anyio
import pytest
from voicepipe.testing import VirtualTimeLoop

{before}
async def test_a_day():
    assert isinstance(asyncio.get_running_loop(), VirtualTimeLoop)
    await anyio.sleep(86_400)
"""

REAL = """
import asyncio
import pytest
from voicepipe.testing import VIRTUAL_TIME, VirtualTimeLoop

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.asyncio
async def test_of_pytest_asyncio():
    assert not isinstance(asyncio.get_running_loop(), VirtualTimeLoop)

@pytest.mark.anyio
async def test_of_anyio():
    assert not isinstance(asyncio.get_running_loop(), VirtualTimeLoop)

def test_plain(anyio_backend):
    assert anyio_backend == "asyncio"
"""

BOTH = "@pytest.mark.anyio\n@pytest.mark.asyncio"

pytestmark = [
    pytest.mark.slow,  # each test starts a program
    pytest.mark.skipif(find_spec("pytest_asyncio") is None, reason="pytest-asyncio is not installed"),
]


def ran(folder: Path, mode: str, text: str, *options: str) -> tuple[dict[str, int], str]:
    """Run pytest with anyio's plugin, pytest-asyncio and ours; return how the tests ended, and what was printed."""
    (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (folder / "test_it.py").write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text(f"[pytest]\nasyncio_mode = {mode}\n", encoding="utf-8")
    plugins = ("anyio", "asyncio", "voicepipe.pytest_plugin")
    command = [sys.executable, "-m", "pytest", "-q", "-rA", *options]
    ended = subprocess.run(
        [*command, *(word for plugin in plugins for word in ("-p", plugin))],
        cwd=folder,
        # The plugins are those named here, whatever is installed.
        env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [line.partition(" ")[0] for line in ended.stdout.splitlines()]
    counts: dict[str, int] = {word: lines.count(word) for word in ("PASSED", "FAILED", "ERROR") if word in lines}
    return counts, " ".join((ended.stdout + ended.stderr).split())


@pytest.mark.parametrize("mark", ["", "@pytest.mark.anyio"])
@pytest.mark.parametrize(("mode", "options"), [("auto", ()), ("strict", ("--asyncio-mode", "auto"))])
def test_auto_mode_is_an_error(mark: str, mode: str, options: tuple[str, ...], tmp_path: Path) -> None:
    """In auto mode a test on virtual time fails, with or without the mark, and the failure names mode and remedy."""
    counts, shown = ran(tmp_path, mode, TEST.format(before=mark), *options)
    assert counts == {"FAILED": 1}
    assert 'asyncio_mode is "auto", which takes every async test. Set asyncio_mode = "strict"' in shown


def test_both_marks_are_an_error(tmp_path: Path) -> None:
    """In strict mode a test with the marks of both plugins fails, and the failure says which mark to keep."""
    counts, shown = ran(tmp_path, "strict", TEST.format(before=BOTH))
    assert counts == {"FAILED": 1}
    assert "it has the marks of both plugins. Keep pytest.mark.anyio alone" in shown


def test_strict_mode_is_virtual_time(tmp_path: Path) -> None:
    """In strict mode a test with anyio's mark runs on virtual time."""
    assert ran(tmp_path, "strict", TEST.format(before="@pytest.mark.anyio"))[0] == {"PASSED": 1}


@pytest.mark.parametrize("mode", ["auto", "strict"])
def test_real_time_stays_possible(mode: str, tmp_path: Path) -> None:
    """Tests of pytest-asyncio in real time, and tests without a loop, are left alone."""
    assert ran(tmp_path, mode, REAL)[0] == {"PASSED": 3}


def test_other_backends_are_left_alone(tmp_path: Path) -> None:
    """Where anyio's own fixture, with its two backends, is in force, tests of pytest-asyncio run."""
    text = TEST.format(before="anyio_backend = None\n\n@pytest.mark.asyncio").replace("isinstance", "not isinstance")
    text = text.replace("86_400", "0")
    (tmp_path / "below").mkdir()
    assert ran(tmp_path / "below", "auto", text, "--noconftest")[0] == {"PASSED": 1}
