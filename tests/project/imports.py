"""The imports of the package, read from its source. `python -m tests.project.imports` prints the picture.

Imports under `if TYPE_CHECKING:` count like any other, because a reader of a module has to know the names in it.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"

# From the ground up: a module imports from its own folder and from those before it. "" is the package itself.
FOLDERS = (
    (
        "errors",
        "timeline",
        "flow",
        "history",
        "call_events",
        "floor_events",
        "listening_events",
        "model_events",
        "tool_events",
        "watching_events",
        "events",
        "observed",
    ),
    ("core",),
    ("audio", "http", "text", "turntaking"),
    ("hearing", "conversation"),
    ("tools", "speaking"),
    ("model",),
    ("hosted",),
    ("vendors",),
    ("session",),
    ("keeping",),
    ("watching",),
    ("",),
    ("serving",),
    ("fleet",),
    ("testing",),
    ("cli", "pytest_plugin"),
)


@dataclass(frozen=True)
class Import:
    """One imported name.

    Attributes:
        target: What is imported, e.g. `voicepipe.errors.ToolError`.
        line: Where it stands.
        is_in_function: Whether a function has to run first.
        is_for_types: Whether only type checkers run it.
    """

    target: str
    line: int
    is_in_function: bool = False
    is_for_types: bool = False


class _Imports(ast.NodeVisitor):
    """Collects what a module imports."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.found: list[Import] = []
        self.depth = 0
        self.is_for_types = False

    def add(self, target: str, line: int) -> None:
        self.found.append(Import(target, line, self.depth > 0, self.is_for_types))

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.add(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        above = self.package.split(".")[: len(self.package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            self.add(f"{base}.{alias.name}", node.lineno)

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in {"import_module", "__import__"} and node.args:
            target = node.args[0]
            if isinstance(target, ast.Constant) and isinstance(target.value, str):
                self.add(target.value, node.lineno)
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        before = self.is_for_types
        self.is_for_types = before or ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING"
        for child in node.body:
            self.visit(child)
        self.is_for_types = before
        self.visit(node.test)
        for child in node.orelse:
            self.visit(child)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)


def imports_of(module: str, text: str, *, is_package: bool = False) -> list[Import]:
    """Return what a module imports; `module` is its name below `voicepipe`, e.g. "hearing.stt"."""
    dotted = f"voicepipe.{module}".rstrip(".")
    imports = _Imports(dotted if is_package else dotted.rpartition(".")[0])
    imports.visit(ast.parse(text))
    return imports.found


STARTER = SOURCE / "voicepipe" / "cli" / "starter"
"""A project of a user, which `voicepipe new` copies; nothing imports it."""


def source_files() -> dict[str, Path]:
    """Return the path of every module, by its name below `voicepipe`."""
    paths = sorted(path for path in (SOURCE / "voicepipe").rglob("*.py") if STARTER not in path.parents)
    names = (path.relative_to(SOURCE / "voicepipe").with_suffix("").parts for path in paths)
    return {
        ".".join(parts).removesuffix("__init__").rstrip("."): path for parts, path in zip(names, paths, strict=True)
    }


def source_of(path: Path) -> str:
    """Return a module's text, with that of its stub: a package that imports late names there what it imports."""
    stub = path.with_suffix(".pyi")
    return path.read_text(encoding="utf-8") + (stub.read_text(encoding="utf-8") if stub.exists() else "")


def own_module(target: str, modules: set[str]) -> str:
    """Return the module that `voicepipe.errors.ToolError` is in: "errors"."""
    inside = target.removeprefix("voicepipe").removeprefix(".")
    while inside not in modules and inside:
        inside = inside.rpartition(".")[0]
    return inside


def folder_of(module: str) -> str:
    """Return the first name: "hearing" of "hearing.stt"."""
    return module.partition(".")[0]


def row_of(module: str) -> int | None:
    """Return the row of a module's folder, or None when it has none."""
    return next((row for row, names in enumerate(FOLDERS) if folder_of(module) in names), None)


@cache
def arrows() -> set[tuple[str, str]]:
    """Return every pair of modules of which the first imports the second."""
    files = source_files()
    found: set[tuple[str, str]] = set()
    for module, path in files.items():
        text = source_of(path)
        for one in imports_of(module, text, is_package=path.name == "__init__.py"):
            if one.target.partition(".")[0] == "voicepipe":
                found.add((module, own_module(one.target, set(files))))
    return {(module, target) for module, target in found if module != target}


def circles(pairs: set[tuple[str, str]]) -> list[list[str]]:
    """Return the groups of names that lead back to themselves, each sorted."""
    leads_to: dict[str, set[str]] = {}
    for one, other in pairs:
        leads_to.setdefault(one, set()).add(other)

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for name in leads_to.get(waiting.pop(), set()) - seen:
                seen.add(name)
                waiting.append(name)
        return seen

    everything = {name: reached(name) for name in leads_to}
    groups = {
        tuple(sorted(other for other in seen if name in everything.get(other, set())))
        for name, seen in everything.items()
        if name in seen
    }
    return [list(group) for group in sorted(groups)]


def picture() -> str:
    """Return the folders from the top down, each with its size and with what it imports."""
    files = source_files()
    lines = Counter[str]()
    modules = Counter[str]()
    for module, path in files.items():
        lines[folder_of(module)] += path.read_text(encoding="utf-8").count("\n")
        modules[folder_of(module)] += 1
    pairs = arrows()
    between = {(folder_of(one), folder_of(other)) for one, other in pairs}
    between = {(one, other) for one, other in between if one != other}
    shown = []
    for names in reversed(FOLDERS):
        for name in names:
            below = sorted(other for one, other in between if one == name)
            title = f"{name or 'voicepipe'} ({modules[name]} modules, {lines[name]} lines)"
            shown.append(f"{title:<44} {' '.join(below)}")
    up = sum((row_of(one) or 0) < (row_of(other) or 0) for one, other in between)
    rounds = len(circles(pairs)) + len(circles(between))
    return "\n".join([*shown, "", f"arrows between folders: {len(between)}; arrows up: {up}; circles: {rounds}"])


if __name__ == "__main__":
    sys.stdout.write(picture() + "\n")
