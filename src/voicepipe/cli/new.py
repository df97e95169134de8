"""`voicepipe new NAME`: make a project with an agent, a tool, tests and a workflow that runs them.

Rule 1: the folder `starter` is such a project, whose name is my-agent; only the name is replaced.
Rule 2: what exists is never overwritten, and the project appears under its name when it is whole.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Final

from voicepipe.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Generator

__all__ = ["new"]

STARTER: Final = Path(__file__).with_name("starter")

PROJECT: Final = "my-agent"
PACKAGE: Final = "my_agent"
"""The names in the starter."""

HIDDEN: Final = "dot_"
"""Stands for the dot of a name: a .gitignore in our own repository would be obeyed."""

NEXT: Final = """\
made {project}: an agent with a tool, and tests that call it

  cd {project}
  pip install -e '.[test]'
  pytest
  voicepipe talk {package}.agent --simulate

The last line lets you type to the agent, without a key. README.md says how to speak with it, and what to change."""


def new(options: argparse.Namespace) -> int:
    """Make the project in the current folder, say what to do next, and return 0.

    Raises:
        ConfigurationError: The name cannot be used, there is such a folder, or it cannot be written.
    """
    package = _package(options.name)
    _make(options.name, package)
    print(NEXT.format(project=options.name, package=package))
    return 0


def _package(name: str) -> str:
    """Return the name of the project's package."""
    package = name.replace("-", "_")
    if not re.fullmatch(r"[A-Za-z](?:[A-Za-z0-9_-]*[A-Za-z0-9])?", name):
        raise ConfigurationError(
            f"a project is named with letters, digits, dashes and underscores, from a letter to a letter or digit, "
            f"not {name!r}; write for example voicepipe new {PROJECT}"
        )
    if package == "tests" or _is_taken(package):
        raise ConfigurationError(f"{package} means something else to Python already; choose another name")
    return package


def _is_taken(package: str) -> bool:
    try:
        return iskeyword(package) or find_spec(package) is not None
    except (ImportError, ValueError):  # __main__ and the like
        return True


def _make(project: str, package: str) -> None:
    place = Path(project)
    if os.path.lexists(place):
        raise _exists(project)
    try:
        with _scratch() as scratch:
            made = scratch / project
            for source in sorted(STARTER.rglob("*")):
                if source.is_file() and not any(map(_is_cache, source.relative_to(STARTER).parts)):
                    _write(source, made, project, package)
            made.rename(place)
    except OSError as error:
        if os.path.lexists(place):  # made by another program meanwhile
            raise _exists(project) from error
        why = error.strerror or str(error)
        raise ConfigurationError(
            f"{project} cannot be written here: {why}; choose a shorter name or a folder that you may write to"
        ) from error


def _is_cache(name: str) -> bool:
    """Return whether Python or a tool has made it since; the starter's own names begin with no dot."""
    return name == "__pycache__" or name.startswith(".")


def _exists(project: str) -> ConfigurationError:
    return ConfigurationError(f"{project} exists already and is left alone; choose another name, or move it away")


@contextmanager
def _scratch() -> Generator[Path]:
    """Provide a folder next to the project's, which is gone afterwards with all that is still in it."""
    scratch = Path(tempfile.mkdtemp(prefix=".voicepipe-new-", dir="."))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write(source: Path, made: Path, project: str, package: str) -> None:
    """Write one file of the starter under its new name."""
    parts = [_renamed(part, project, package) for part in source.relative_to(STARTER).parts]
    target = made.joinpath(*(f".{part.removeprefix(HIDDEN)}" if part.startswith(HIDDEN) else part for part in parts))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(_renamed(source.read_text(encoding="utf-8"), project, package), encoding="utf-8")


def _renamed(text: str, project: str, package: str) -> str:
    names = {PROJECT: project, PACKAGE: package}
    return re.sub("|".join(names), lambda found: names[found[0]], text)
