"""Folders follow the way of the sound, and imports go down: `tests/project/imports.py` has the row of folders."""

from __future__ import annotations

import sys

import pytest

from tests.project.imports import (
    FOLDERS,
    Import,
    arrows,
    circles,
    folder_of,
    imports_of,
    own_module,
    picture,
    row_of,
    source_files,
    source_of,
)

# What we did not write, and which folders or modules may import it. "" is every module.
FOREIGN = {
    "anyio": ("",),
    "pydantic": ("",),
    "pydantic_core": ("",),
    "typing_extensions": ("core",),
    "httpx": ("fleet", "http"),
    "httpcore": ("http",),
    "httpx_sse": ("http", "vendors"),
    "numpy": ("audio", "vendors"),
    "soxr": ("audio",),
    "soundfile": ("watching.recording.flac",),
    "sounddevice": ("audio",),
    "assemblyai": ("vendors", "testing"),
    "espeakng_loader": ("vendors", "testing"),
    "livekit": ("vendors",),
    "onnx": ("vendors",),
    "onnxruntime": ("vendors",),
    "openai": ("vendors", "testing"),
    "piper": ("vendors",),
    "pocketsphinx": ("vendors", "testing"),
    "websockets": ("vendors", "testing"),
    "mcp": ("vendors.mcp",),
    "pydantic_ai": ("vendors.pydantic_ai",),
    "mcp_types": ("vendors.mcp",),
    "httpx2": ("vendors.mcp",),
    "jsonschema": ("vendors.mcp",),
    "referencing": ("vendors.mcp",),
    "h11": ("testing",),
    "pytest": ("testing", "pytest_plugin"),
    "rich": ("cli",),
    "dotenv": ("cli",),
    "aiortc": ("serving",),
    "av": ("serving",),
    "opentelemetry": ("watching.telemetry",),
    "ray": ("fleet",),
    "prometheus_client": ("fleet", "serving", "watching.telemetry"),
    "starlette": ("fleet", "serving"),
    "uvicorn": ("serving",),
    "watchfiles": ("cli",),
}

# Costly, or absent on many machines: never loaded because a module is, only when something is opened.
ONLY_INSIDE_FUNCTIONS = {"assemblyai", "livekit", "numpy", "ray", "soundfile", "soxr", "sounddevice"}


def complaints(module: str, text: str, modules: set[str], *, is_package: bool = False) -> list[str]:
    """Return what is wrong with the imports of one module, a sentence each."""
    if row_of(module) is None:
        return [f"voicepipe.{module} is in no row; add {folder_of(module)} to FOLDERS in tests/project/imports.py"]
    found = imports_of(module, text, is_package=is_package)
    own = [one for one in found if one.target.partition(".")[0] == "voicepipe"]
    said = [sentence for one in own if (sentence := upward(module, own_module(one.target, modules), one))]
    return said + [sentence for one in found if (sentence := foreign(module, one))]


def upward(module: str, target: str, found: Import) -> str | None:
    row, its_row = row_of(module), row_of(target)
    if row is None or its_row is None or its_row < row or folder_of(module) == folder_of(target):
        return None
    if row == its_row == 0:
        return None  # the ground: single modules, whose order the test of circles holds
    return (
        f"voicepipe.{module}:{found.line} imports voicepipe.{target}, which is not below it "
        f"(row {its_row}, its own is {row}); use the protocols of core.context, or move what is shared down"
    )


def foreign(module: str, found: Import) -> str | None:
    name = found.target.partition(".")[0]
    if name == "voicepipe" or name in sys.stdlib_module_names:
        return None
    allowed = FOREIGN.get(name)
    where = f"voicepipe.{module}:{found.line} imports {name}"
    if allowed is None:
        return f"{where}, which is not in FOREIGN; say there who may import it"
    if not any(not top or module == top or module.startswith(f"{top}.") for top in allowed):
        return f"{where}, which only {', '.join(allowed)} may import"
    if name in ONLY_INSIDE_FUNCTIONS and not found.is_in_function and not found.is_for_types:
        return f"{where} at the top; import it in the function that needs it"
    return None


FILES = source_files()


@pytest.mark.slow
def test_imports_go_down() -> None:
    """A module imports from its own folder and from those below, and foreign packages only where the table allows."""
    found = [
        one
        for module, path in FILES.items()
        for one in complaints(module, source_of(path), set(FILES), is_package=path.name == "__init__.py")
    ]
    assert found == []


@pytest.mark.slow
def test_nothing_imports_in_a_circle() -> None:
    """No module and no folder leads back to itself, imports for type checkers included."""
    pairs = arrows()
    assert circles(pairs) == []
    assert (
        circles({(folder_of(one), folder_of(other)) for one, other in pairs if folder_of(one) != folder_of(other)})
        == []
    )


def test_names_that_are_imported_late_are_arrows() -> None:
    """The package imports its public names when they are used; what it imports them from counts nevertheless."""
    assert {"session.pipeline", "vendors.assemblyai.tts", "errors"} <= {to for module, to in arrows() if not module}


def test_the_row_names_each_folder_once() -> None:
    """Each folder of the package stands in the row of folders, and nothing else does."""
    assert sorted(name for row in FOLDERS for name in row) == sorted({folder_of(module) for module in FILES})


def test_the_picture_says_that_nothing_goes_up() -> None:
    """The command that prints the folders ends with the three figures that this file holds."""
    assert picture().endswith("arrows up: 0; circles: 0")


@pytest.mark.parametrize(
    ("pairs", "found"),
    [
        ({("a", "b"), ("b", "c")}, []),
        ({("a", "b"), ("b", "a")}, [["a", "b"]]),
        ({("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")}, [["a", "b", "c"]]),
        ({("a", "b"), ("b", "a"), ("c", "d"), ("d", "c"), ("b", "c")}, [["a", "b"], ["c", "d"]]),
    ],
)
def test_a_circle_is_found(pairs: set[tuple[str, str]], found: list[list[str]]) -> None:
    """Each group of names that lead back to themselves is found once."""
    assert circles(pairs) == found


TURN = "voicepipe.conversation.turn"


@pytest.mark.parametrize(
    ("module", "text", "said"),
    [
        ("errors", f"from {TURN} import Turn", f"errors:1 imports {TURN}, which is not below it"),
        ("core.part", "from voicepipe.conversation import turn", f"imports {TURN}"),
        ("errors", "from .conversation import turn", f"imports {TURN}"),
        ("hearing.stt", "from ..session.session import Session", "imports voicepipe.session.session"),
        ("hearing.stt", f"from {TURN} import Turn", "not below it (row 3, its own is 3)"),
        ("errors", f"import {TURN} as t", f"imports {TURN}"),
        ("errors", f"import importlib\nimportlib.import_module('{TURN}')", f"errors:2 imports {TURN}"),
        ("errors", f"def late():\n    from {TURN} import Turn", f"errors:2 imports {TURN}"),
        ("errors", f"if not TYPE_CHECKING:\n    from {TURN} import Turn", f"imports {TURN}"),
        ("errors", f"if TYPE_CHECKING:\n    from {TURN} import Turn", f"imports {TURN}"),
        ("errors", f"if TYPE_CHECKING:\n    pass\nelse:\n    import {TURN}", f"imports {TURN}"),
        ("session.session", "from voicepipe import Turn", "imports voicepipe., which is not below it"),
        (TURN.removeprefix("voicepipe."), "from voicepipe.tools.tool import tool", "imports voicepipe.tools.tool"),
        (
            "tools.tool",
            "def late():\n    import httpx",
            "tools.tool:2 imports httpx, which only fleet, http may import",
        ),
        ("session.session", "def late():\n    import pocketsphinx", "only vendors, testing may import"),
        ("session.session", "import requests", "imports requests, which is not in FOREIGN"),
        ("audio.wav", "import numpy as np", "imports numpy at the top"),
        ("audio.wav", "class Late:\n    import soxr", "imports soxr at the top"),
        ("helium.balloon", "from voicepipe.flow import Sentence", "in no row; add helium to FOLDERS"),
    ],
)
def test_a_forbidden_import_is_found(module: str, text: str, said: str) -> None:
    """Each way to import upwards or from a forbidden package is found, and the message says where."""
    known = {"", "errors", "flow", "conversation.turn", "tools.tool", "session.session", "hearing.stt", "audio.wav"}
    (complaint,) = complaints(module, text, known)
    assert said in complaint


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("session.session", f"from {TURN} import Turn"),
        ("conversation.turn", "if typing.TYPE_CHECKING:\n    from voicepipe.conversation.speech import Speech"),
        ("audio.wav", "async def late():\n    import numpy, wave"),
        ("vendors.assemblyai.stt", "if TYPE_CHECKING:\n    import assemblyai"),
        ("testing.script", "import h11\nfrom voicepipe.testing.clock import virtual\nimport voicepipe as vp"),
        ("http.client", "import httpx, anyio, json"),
    ],
)
def test_an_allowed_import_is_left_alone(module: str, text: str) -> None:
    """Imports of lower folders, of the own folder, and of allowed packages bring no complaint."""
    known = {"", "errors", "conversation.turn", "conversation.speech", "session.session", "testing.script"}
    assert complaints(module, text, known | {"testing.clock", "audio.wav", "http.client"}) == []
