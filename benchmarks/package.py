"""The cost of the package before it does anything: installation, and reading it."""

from __future__ import annotations

import ast
import io
import sys
import tokenize
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

import voicepipe
from benchmarks._figures import Figure

__all__ = ["installed", "size"]

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
SOURCE = Path(voicepipe.__file__).parent
NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
INSTALLERS = {"pip", "setuptools", "wheel"}


async def installed() -> list[Figure]:
    """Distributions and size of a fresh venv with the core's dependencies, and of the package itself."""
    needed = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    with TemporaryDirectory() as folder:
        await anyio.run_process([sys.executable, "-m", "venv", folder])
        python = Path(folder) / "bin" / "python"
        command = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *needed]
        await anyio.run_process([str(word) for word in command], stderr=None)
        found, size = _contents(Path(folder))
    return [
        Figure("installed: distributions, core only", len(found) + 1),
        Figure("installed: files of a fresh venv, core only", size / 1e6, "MB"),
    ]


def _contents(folder: Path) -> tuple[list, int]:
    """Return the distributions of a venv, and the bytes of their files and of the package's own."""
    (packages,) = folder.glob("lib/python*/site-packages")
    found = [d for d in distributions(path=[str(packages)]) if d.metadata["Name"].lower() not in INSTALLERS]
    return found, sum(map(_bytes, found)) + sum(path.stat().st_size for path in SOURCE.rglob("*.py"))


def _bytes(distribution) -> int:
    paths = [Path(distribution.locate_file(file)) for file in distribution.files or ()]
    return sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")


async def size() -> list[Figure]:
    """Lines of code without comments, docstrings and blank lines; the longest file and function."""
    files = {path: path.read_text() for path in SOURCE.rglob("*.py")}
    file = max(files, key=lambda path: files[path].count("\n"))
    length, longest, where = max(_functions(files))
    core = sum(_code_lines(text) for path, text in files.items() if "testing" not in path.relative_to(SOURCE).parts)
    every = sum(map(_code_lines, files.values()))
    return [
        Figure("size: lines of code without voicepipe.testing", core),
        Figure("size: lines of code in all", every),
        Figure("size: lines of text in all", sum(t.count("\n") for t in files.values())),
        Figure(f"size: longest file, {file.relative_to(SOURCE)}", files[file].count("\n"), "lines", 400),
        Figure(f"size: longest function, {longest} in {where}", length, "lines", 50),
    ]


def _functions(files: dict[Path, str]):
    for path, text in files.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno is not None
                yield node.end_lineno - node.lineno + 1, node.name, str(path.relative_to(SOURCE))


def _code_lines(text: str) -> int:
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        # A string on its own is documentation, not code.
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            assert node.end_lineno is not None
            lines.difference_update(range(node.lineno, node.end_lineno + 1))
    return len(lines)
