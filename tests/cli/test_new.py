"""`voicepipe new`: a project whose own tests pass at once, and that overwrites nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from voicepipe.cli import main
from voicepipe.cli.new import STARTER

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_project_is_made_whole(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All files are there under their own names, none has the name of the starter, and nothing else is left."""
    assert main(["new", "table-booking"]) == 0
    assert [path.name for path in folder.iterdir()] == ["table-booking"]
    assert files_in(folder / "table-booking") == {
        ".env.example",
        ".github/workflows/test.yml",
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "table_booking/__init__.py",
        "table_booking/agent.py",
        "table_booking/orders.py",
        "tests/test_agent.py",
    }
    texts = [path.read_text(encoding="utf-8") for path in (folder / "table-booking").rglob("*") if path.is_file()]
    assert [text for text in texts if re.search("my[-_]agent", text)] == []
    out, err = capsys.readouterr()
    assert (err, "voicepipe talk table_booking.agent --simulate" in out) == ("", True)


@pytest.mark.slow
def test_its_own_tests_pass(folder: Path) -> None:
    """pytest passes in a new project, and so does ruff with the project's own settings, in code and layout."""
    main(["new", "table-booking"])
    python = [sys.executable, "-m"]
    programs = [
        [*python, "pytest", "-q", "-W", "error", "-p", "no:asyncio", "-p", "no:cacheprovider"],
        [*python, "ruff", "check", "--no-cache", "."],
        [*python, "ruff", "format", "--no-cache", "--check", "."],
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for program in programs[: 1 if subprocess.run([*python, "ruff", "--version"], check=False).returncode else 3]:
        ran = subprocess.run(
            program, cwd=folder / "table-booking", env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "pytest" not in program or "3 passed" in ran.stdout


@pytest.mark.parametrize("kind", ["folder", "empty folder", "file", "link"])
def test_what_exists_is_left_alone(kind: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is taken, even by an empty folder or a link to nowhere, is one sentence and exit status 2."""
    place = folder / "shop"
    if kind == "link":
        place.symlink_to(folder / "nowhere")
    elif kind == "file":
        place.write_text("mine")
    else:
        place.mkdir()
        if kind == "folder":
            (place / "README.md").write_text("mine")
    before = files_in(folder)
    assert main(["new", "shop"]) == 2
    assert capsys.readouterr() == (
        "",
        "voicepipe: shop exists already and is left alone; choose another name, or move it away\n",
    )
    assert (files_in(folder), [path.name for path in folder.iterdir()]) == (before, ["shop"])


@pytest.mark.parametrize(("name", "why"), [("shop", "No such file or directory"), ("shop" * 100, "File name too long")])
def test_what_cannot_be_written_is_one_sentence(
    name: str, why: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the current folder is gone, or the system refuses the name, nothing is left and the sentence says why."""
    if name == "shop":
        folder.rmdir()
    assert main(["new", name]) == 2
    said = f"voicepipe: {name} cannot be written here: {why}; choose a shorter name or a folder that you may write to"
    assert capsys.readouterr() == ("", f"{said}\n")
    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_name_that_cannot_be_used_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that is no package's, or another package's, is refused before anything is written."""
    no_names = ["", "2fast", "my agent", "../shop", "shop/", "café", "agent-", "_agent", "a.b"]
    taken = ["class", "json", "voicepipe", "tests", "pydantic", "None"]
    for names, words in ((no_names, "a project is named with letters"), (taken, "means something else to Python")):
        for name in names:
            assert main(["new", name]) == 2
            out, err = capsys.readouterr()
            assert (out, err.count("\n"), words in err) == ("", 1, True), name
    assert list(folder.iterdir()) == []


def test_the_starter_needs_this_version() -> None:
    """A new project asks for a version of the library that it works with: this one or a newer one."""
    project = tomllib.loads((STARTER / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (needed,) = (found[1] for one in project["dependencies"] if (found := re.search(r"^voicepipe.*>=(.*)", one)))
    assert version("voicepipe").startswith(needed)
