"""The file .env of the current folder: settings of an application, above all its key."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from voicepipe.cli import main
from voicepipe.cli._env_file import read_env_file
from voicepipe.errors import ConfigurationError

FILE = """\
# Comments, quotes and export are as in a shell.
export ASSEMBLYAI_API_KEY="canary-51c2"  # a key
ALREADY=from the file
BARE
DERIVED=${ALREADY}!
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, and an environment that is restored."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    os.environ.pop("ASSEMBLYAI_API_KEY", None)
    os.environ["ALREADY"] = "from the environment"
    return tmp_path


def test_the_environment_wins(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Settings of the file are added; what the environment has stays, even if it is empty."""
    os.environ["DERIVED"] = ""
    (folder / ".env").write_text(FILE)
    read_env_file()
    names = ("ASSEMBLYAI_API_KEY", "ALREADY", "DERIVED", "BARE")
    assert [os.environ.get(name) for name in names] == ["canary-51c2", "from the environment", "", None]
    assert capsys.readouterr() == ("", "")


def test_only_the_current_folder_is_looked_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a folder above is not read, and neither is a folder of that name."""
    (folder / ".env").write_text(FILE)
    (folder / "below" / ".env").mkdir(parents=True)
    monkeypatch.chdir(folder / "below")
    read_env_file()
    assert "ASSEMBLYAI_API_KEY" not in os.environ


def test_a_missing_package_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without python-dotenv a file that is there brings one hint, and the command goes on; without a file, nothing."""
    monkeypatch.setitem(sys.modules, "dotenv", None)  # as Python notes a module that is not there
    read_env_file()
    assert capsys.readouterr().err == ""
    (folder / ".env").write_text(FILE)
    read_env_file()
    assert capsys.readouterr().err == (
        "voicepipe: .env is not read: that needs the package python-dotenv; run: pip install 'voicepipe[cli]'\n"
    )
    assert "ASSEMBLYAI_API_KEY" not in os.environ


def test_a_file_that_is_no_text_is_one_sentence(folder: Path) -> None:
    """A file in another encoding is a typed error that quotes nothing of it."""
    (folder / ".env").write_bytes(b"KEY=caf\xe9-canary\n")
    with pytest.raises(
        ConfigurationError, match=r"^\.env cannot be read: it is not text in UTF-8; correct it"
    ) as raised:
        read_env_file()
    assert raised.value.__cause__ is None


def test_commands_that_run_an_application_read_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`voicepipe talk` has read the file when it loads the application; `voicepipe new` does not read it."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (folder / ".env").write_text(FILE)
    (folder / "app.py").write_text("import os\nraise RuntimeError(f'has {len(os.environ[\"ASSEMBLYAI_API_KEY\"])}')\n")
    assert main(["new", "shop"]) == 0
    assert "ASSEMBLYAI_API_KEY" not in os.environ
    assert main(["talk", "app.py"]) == 2
    assert "app.py cannot be loaded: RuntimeError: has 11 (app.py:2" in capsys.readouterr().err
