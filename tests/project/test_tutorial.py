"""A reader of the tutorial: copies its files into an empty folder, in order, and types its commands."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.project.test_docs import RUN_PAGE, Block, blocks_of, run

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"


def typed(command: str, directory: Path) -> tuple[int, str]:
    """Run a command of the page, and return its status and what it printed."""
    program, *words = shlex.split(command)
    run_command = "import sys; from voicepipe.cli import main; sys.exit(main())"
    start = ["-c", run_command] if program == "voicepipe" else ["-m", program, "-p", "no:cacheprovider"]
    ran = run([sys.executable, *start, *words], directory, given="Where is my order?\n")
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.slow
def test_a_reader_gets_what_the_tutorial_shows(tmp_path: Path) -> None:
    """Each file of the tutorial works with the commands that follow it: the agent answers, and the tests pass."""
    shown: list[Block] = []
    passed: list[str] = []
    for block in blocks_of(PAGE.read_text(encoding="utf-8")):
        if block.language == "python":
            shown.append(block)
        elif block.language == "sh" and "--calls" in block.text:
            save(shown, tmp_path)
            status, printed = typed(block.text, tmp_path)
            assert status == 0, printed
            assert "find_order returned It has been shipped" in printed
        elif block.text == "pytest -q":
            save(shown, tmp_path)
            status, printed = typed(block.text, tmp_path)
            assert status == 0, printed
            passed += re.findall(r"\d+ passed", printed)
    assert passed == ["2 passed", "3 passed"]


def save(blocks: list[Block], directory: Path) -> None:
    """Write the files that the page has shown so far."""
    given = json.dumps([str(PAGE), [(block.line, block.text) for block in blocks]])
    assert run([sys.executable, "-c", RUN_PAGE], directory, given=given).returncode == 0
