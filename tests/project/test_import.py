"""What `import voicepipe` costs everybody who writes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

REPORT = """
import json, sys, threading
import voicepipe
print(json.dumps({"modules": sorted(sys.modules), "threads": [thread.name for thread in threading.enumerate()]}))
"""


def python(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter that turns warnings into errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def report() -> dict[str, list[str]]:
    ran = python(REPORT)
    assert ran.returncode == 0, ran.stderr
    loaded: dict[str, list[str]] = json.loads(ran.stdout)
    return loaded


def test_importing_is_silent() -> None:
    """The import works with warnings as errors, and prints nothing."""
    ran = python("import voicepipe; assert voicepipe.__file__")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "module",
    [
        "anyio",
        "assemblyai",
        "asyncio",
        "espeakng_loader",
        "httpx",
        "httpx_sse",
        "numpy",
        "openai",
        "pocketsphinx",
        "pydantic",
        "pydantic_core",
        "pytest",
        "rich",
        "sounddevice",
        "soxr",
        "voicepipe.cli",
        "voicepipe.events",
        "voicepipe.session.pipeline",
        "voicepipe.testing",
        "websockets",
    ],
)
def test_importing_loads_neither_libraries_nor_parts(report: dict[str, list[str]], module: str) -> None:
    """The import loads no library, and no part of this one: each comes with the first name that needs it."""
    assert module not in report["modules"]


def test_a_program_with_parts_of_its_own_loads_no_http_client() -> None:
    """A pipeline of an application's own recogniser, model and voice loads no client of a service."""
    ran = python("""
import sys
import voicepipe as vp
vp.Pipeline, vp.STTStage, vp.Recogniser, vp.Model, vp.ToolRouter, vp.SentenceChunker, vp.TTSSink, vp.run
print(*sorted({"httpx", "httpx_sse", "voicepipe.http.client", "voicepipe.vendors.assemblyai.stt"} & set(sys.modules)))
""")
    assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "", "")


def test_importing_starts_no_thread(report: dict[str, list[str]]) -> None:
    """After the import there is the main thread and no other."""
    assert report["threads"] == ["MainThread"]
