"""A reader of the tutorial: copies its files into an empty folder, in order, and types its commands."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.project.test_docs import blocks_of, run

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"


def typed(command: str, directory: Path) -> tuple[int, str]:
    """Run a command of the page, and return its status and what it printed."""
    program, *words = shlex.split(command)
    words = [str(name) for word in words for name in (sorted(directory.glob(word)) if "*" in word else [word])]
    voicepipe = "import sys; from voicepipe.cli import main; sys.exit(main())"
    start = ["-c", voicepipe] if program == "voicepipe" else ["-m", program, "-p", "no:cacheprovider"]
    ran = run([sys.executable, *start, *words], directory, given="Where is my order?\n")
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.slow
def test_a_reader_gets_what_the_tutorial_shows(tmp_path: Path) -> None:
    """With the files that the tutorial has shown, its tests pass, and a call is held, recorded and reported."""
    blocks = blocks_of(PAGE.read_text(encoding="utf-8"))
    for block in blocks:
        if block.language == "python" and (file := re.match(r"# (\w+\.py)(, at the end)?\n", block.text)):
            with (tmp_path / file[1]).open("a" if file[2] else "w", encoding="utf-8") as written:
                written.write(block.text + "\n")
    (last,) = [block for block in blocks if "--record" in block.text]
    printed = []
    for command in ["pytest -q", *last.text.splitlines()]:
        status, output = typed(command, tmp_path)
        assert status == 0 or "stats" in command, output  # the budget may be missed
        printed.append(output)
    tests, call, report, stats = printed
    assert "3 passed" in tests
    assert "find_order returned It has been shipped" in call
    assert Path(tmp_path, report.strip()).stat().st_size > 10_000
    assert "1 call in calls" in stats
