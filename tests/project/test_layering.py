"""Who may import whom: imports go down only, and only a few modules know what we did not write."""

from __future__ import annotations

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

# From the ground up: a module imports from earlier rows, never from its own row or a later one. "name.*" is a whole
# package whose modules may import each other. "" is the package itself, which only re-exports.
LAYERS = (
    ("errors", "_told", "_exact_types", "_languages", "_clauses", "_spoken"),
    ("channel", "timeline", "part", "_http_body", "_sentence_marks", "_threads", "_worker", "_event_log", "_new_words"),
    (
        "sentences",
        "_complaints",
        "_json_schema",
        "_docstrings",
        "audio.pcm",
        "audio.g711",
        "audio._lag",
        "audio._played",
        "audio._round_trip",
    ),
    (
        "events",
        "audio.source",
        "audio.output",
        "audio.resample",
        "audio._beat",
        "audio._pacing",
        "audio.devices",
        "audio._device_line",
    ),
    ("stage", "history", "_echo", "_heard", "_tool_schema", "_http", "_lifetimes"),
    ("audio.wav", "audio.paced", "audio._portaudio"),
    ("audio.microphone", "audio.speaker"),
    (
        "tools",
        "turn",
        "_policy",
        "_window",
        "_confirmations",
        "vendors._llm_gateway",
        "vendors._schema_forms",
        "vendors._service_facts",
    ),
    ("toolbox", "stages.model", "stages.recogniser", "stages.playback", "stages._tool_call"),
    ("audio", "stages.tool_router", "stages.sentence_chunker", "stages.tts_sink", "vendors._completion"),
    (
        "stages._asking",
        "stages._patience",
        "vendors.openai_compatible",
        "vendors._espeak_engine",
        "vendors._grammar",
        "vendors._utterances",
    ),
    ("stages._exchange", "vendors.assemblyai.*"),
    ("stages.llm_stream", "stages.stt"),
    ("structured", "vendors.espeak", "vendors.openai_speech", "vendors.pocketsphinx"),
    ("stages.structured",),
    ("stages", "vendors"),
    ("_wiring", "_hearing", "_reply"),
    ("session",),
    ("pipeline",),
    ("",),
    ("testing.*",),
    ("cli.*",),
)

# What we did not write, and which modules (with all below them) may import it. "" is every module.
FOREIGN = {
    "anyio": ("",),
    "pydantic": ("",),
    "pydantic_core": ("",),
    "httpx": ("_http", "_http_body"),
    "httpx_sse": ("_http", "_http_body", "vendors"),
    "numpy": ("audio", "vendors"),
    "soxr": ("audio",),
    "sounddevice": ("audio",),
    "assemblyai": ("vendors", "testing"),
    "espeakng_loader": ("vendors", "testing"),
    "openai": ("vendors", "testing"),
    "pocketsphinx": ("vendors", "testing"),
    "websockets": ("vendors", "testing"),
    "h11": ("testing",),
    "looptime": ("testing",),
    "pytest": ("testing",),
    "rich": ("cli",),
}

# Costly, or absent on many machines: never loaded because a module is, only when something is opened.
ONLY_INSIDE_FUNCTIONS = {"numpy", "soxr", "sounddevice"}


@dataclass(frozen=True)
class Import:
    """One imported name: the module it is in, where it stands, and whether a function has to run first."""

    target: str
    line: int
    is_in_function: bool


class Imports(ast.NodeVisitor):
    """Collects what a module imports when it runs, `if TYPE_CHECKING:` left out."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.found: list[Import] = []
        self.depth = 0

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.found.append(Import(alias.name, node.lineno, self.depth > 0))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        above = self.package.split(".")[: len(self.package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            self.found.append(Import(f"{base}.{alias.name}", node.lineno, self.depth > 0))

    def visit_Call(self, node: ast.Call) -> None:
        called = ast.unparse(node.func).rpartition(".")[2]
        if called in {"import_module", "__import__"} and node.args:
            target = node.args[0]
            if isinstance(target, ast.Constant) and isinstance(target.value, str):
                self.found.append(Import(target.value, node.lineno, self.depth > 0))
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        checking_types = ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING"
        for child in node.orelse if checking_types else [node.test, *node.body, *node.orelse]:
            self.visit(child)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)


def row_of(module: str) -> int | None:
    """Return the row of a module, e.g. "stages.stt", or None when it has none."""
    for row, names in enumerate(LAYERS):
        if module in names or any(name.endswith(".*") and is_below(module, (name[:-2],)) for name in names):
            return row
    return None


def is_below(module: str, tops: tuple[str, ...]) -> bool:
    return any(not top or module == top or module.startswith(f"{top}.") for top in tops)


def own_module(target: str, modules: set[str]) -> str:
    """Return the module that `voicepipe.errors.ToolError` is in: "errors"."""
    inside = target.removeprefix("voicepipe").removeprefix(".")
    while inside not in modules and inside:
        inside = inside.rpartition(".")[0]
    return inside


def complaints(module: str, text: str, modules: set[str], *, is_package: bool = False) -> list[str]:
    """Return what is wrong with the imports of one module, a sentence each."""
    dotted = f"voicepipe.{module}".rstrip(".")
    imports = Imports(dotted if is_package else dotted.rpartition(".")[0])
    imports.visit(ast.parse(text))
    own = [found for found in imports.found if found.target.partition(".")[0] == "voicepipe"]
    row = row_of(module)
    if row is None:
        highest = max((row_of(own_module(found.target, modules)) or 0 for found in own), default=-1)
        where = f"in row {highest + 1} (counted from 0) or later, and before every row that imports it"
        return [f"{dotted} is in no layer; add it to LAYERS in this file, {where}"]
    said = [sentence for found in own if (sentence := upward(dotted, row, own_module(found.target, modules), found))]
    said += [sentence for found in imports.found if (sentence := foreign(module, dotted, found))]
    return said


def upward(dotted: str, row: int, target: str, found: Import) -> str | None:
    its_row = row_of(target)
    if its_row is None or its_row < row or (its_row == row and any(name.endswith(".*") for name in LAYERS[row])):
        return None  # a module without a row is told once, under its own name
    return (
        f"{dotted}:{found.line} imports voicepipe.{target}, which is not below it (row {its_row}, its own is {row}); "
        f"import it under TYPE_CHECKING, or move what is shared into a lower module"
    )


def foreign(module: str, dotted: str, found: Import) -> str | None:
    name = found.target.partition(".")[0]
    if name == "voicepipe" or name in sys.stdlib_module_names:
        return None
    allowed = FOREIGN.get(name)
    if allowed is None:
        return f"{dotted}:{found.line} imports {name}, which is not in FOREIGN; say there who may import it"
    if not is_below(module, allowed):
        return f"{dotted}:{found.line} imports {name}, which only {', '.join(allowed)} may import"
    if name in ONLY_INSIDE_FUNCTIONS and not found.is_in_function:
        return f"{dotted}:{found.line} imports {name} at the top; import it in the function that needs it"
    return None


def source_files() -> dict[str, Path]:
    """Return the path of every module, by its name below `voicepipe`."""
    paths = sorted((SOURCE / "voicepipe").rglob("*.py"))
    names = (path.relative_to(SOURCE / "voicepipe").with_suffix("").parts for path in paths)
    return {
        ".".join(parts).removesuffix("__init__").rstrip("."): path for parts, path in zip(names, paths, strict=True)
    }


FILES = source_files()


@pytest.mark.parametrize("module", FILES)
def test_imports_go_down(module: str) -> None:
    """A module imports only from layers below its own, and foreign packages only where the table allows it."""
    path = FILES[module]
    text = path.read_text(encoding="utf-8")
    assert complaints(module, text, set(FILES), is_package=path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("module", "text", "said"),
    [
        ("errors", "from voicepipe.turn import Turn", "errors:1 imports voicepipe.turn, which is not below it"),
        ("errors", "from voicepipe import turn", "imports voicepipe.turn"),
        ("errors", "from . import turn", "imports voicepipe.turn"),
        ("stages.stt", "from ..session import Session", "imports voicepipe.session"),
        ("errors", "import voicepipe.turn as t", "imports voicepipe.turn"),
        ("errors", "import importlib\nimportlib.import_module('voicepipe.turn')", "errors:2 imports voicepipe.turn"),
        ("errors", "def late():\n    from voicepipe.turn import Turn", "errors:2 imports voicepipe.turn"),
        ("errors", "if not TYPE_CHECKING:\n    from voicepipe.turn import Turn", "imports voicepipe.turn"),
        ("errors", "if TYPE_CHECKING:\n    pass\nelse:\n    import voicepipe.turn", "imports voicepipe.turn"),
        ("session", "from voicepipe import Turn", "imports voicepipe., which is not below it"),
        ("turn", "from voicepipe.tools import tool", "imports voicepipe.tools"),
        ("turn", "def late():\n    import httpx", "turn:2 imports httpx, which only _http, _http_body may import"),
        ("session", "def late():\n    import pocketsphinx", "only vendors, testing may import"),
        ("session", "import requests", "imports requests, which is not in FOREIGN"),
        ("audio.wav", "import numpy as np", "imports numpy at the top"),
        ("audio.wav", "class Late:\n    import soxr", "imports soxr at the top"),
        (
            "helium",
            "from voicepipe.events import Sentence",
            "in no layer; add it to LAYERS in this file, in row 4 (counted",
        ),
    ],
)
def test_a_forbidden_import_is_found(module: str, text: str, said: str) -> None:
    """Each way to import upwards or from a forbidden package is found, and the message says where."""
    known = {"", "errors", "events", "turn", "tools", "session", "stages.stt", "audio.wav"}
    (complaint,) = complaints(module, text, known)
    assert said in complaint


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("session", "from voicepipe.turn import Turn"),
        ("errors", "if TYPE_CHECKING:\n    from voicepipe.turn import Turn"),
        ("errors", "if typing.TYPE_CHECKING:\n    from voicepipe.turn import Turn"),
        ("audio.wav", "async def late():\n    import numpy, wave"),
        ("testing.script", "import h11\nfrom voicepipe.testing.clock import virtual\nimport voicepipe as vp"),
        ("_http", "import httpx, anyio, json"),
    ],
)
def test_an_allowed_import_is_left_alone(module: str, text: str) -> None:
    """Imports of lower layers, for the type checker, and of allowed packages bring no complaint."""
    known = {"", "errors", "turn", "session", "testing.script", "testing.clock", "audio.wav", "_http"}
    assert complaints(module, text, known) == []
