"""Loading `app.py:agent` gives a pipeline, or a line that says what is wrong with the file."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import voicepipe as vp
from voicepipe.cli._app import load_agent, load_deps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROW = "vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice())"
HEAD = "import voicepipe as vp\nfrom voicepipe.testing import ScriptedModel, ScriptedVoice\n"


@pytest.fixture(autouse=True)
def _same_modules() -> Iterator[None]:
    path, modules = [*sys.path], {*sys.modules}
    yield
    sys.path[:] = path
    for name in {*sys.modules} - modules:
        if not name.startswith("voicepipe."):  # a second copy of a class would be another class
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parts_of(where: str) -> tuple[vp.Part, ...]:
    """Return the parts of the pipeline of that name."""
    found = load_agent(where).value
    assert isinstance(found, vp.Pipeline)
    return found.parts


@pytest.mark.parametrize(
    ("where", "size"),
    [
        ("shop.py", 3),
        ("shop.py:agent", 3),
        ("shop.py:", 3),
        ("shop.py:long_one", 4),
        ("shop:long_one", 4),
        ("shop", 3),
        ("robots.shop:agent", 3),
        ("robots/shop.py", 3),
    ],
)
def test_a_pipeline_is_found_by_file_and_by_module(where: str, size: int, folder: Path) -> None:
    """An agent is named by a file or a dotted module, with or without the name of the pipeline."""
    text = f"{HEAD}agent = {ROW}\nlong_one = {ROW.replace('vp.Sent', 'vp.ToolRouter([]), vp.Sent')}\n"
    (folder / "robots").mkdir()
    for path in ("shop.py", "robots/shop.py"):
        (folder / path).write_text(text, encoding="utf-8")
    assert len(parts_of(where)) == size


def test_a_file_imports_its_neighbours(folder: Path) -> None:
    """The file imports from its own folder, as with `python app.py`; its main block does not run."""
    (folder / "deep").mkdir()
    (folder / "deep" / "row.py").write_text(f"{HEAD}made = {ROW}\n", encoding="utf-8")
    (folder / "deep" / "app.py").write_text(
        "from row import made as agent\nif __name__ == '__main__':\n    raise SystemExit\n", encoding="utf-8"
    )
    assert len(parts_of("deep/app.py")) == 3


def test_a_tool_in_the_file_has_its_types(folder: Path) -> None:
    """Annotations that are strings are resolved in the file's module, which is registered under its name."""
    (folder / "app.py").write_text(
        "from __future__ import annotations\n"
        + HEAD
        + "from pydantic import BaseModel\n\n\nclass Order(BaseModel):\n    number: int\n\n\n"
        "@vp.tool\nasync def find(order: Order) -> Order:\n    'Find an order.'\n    return order\n\n\n"
        + f"agent = {ROW.replace('vp.Sent', 'vp.ToolRouter([find]), vp.Sent')}\n",
        encoding="utf-8",
    )
    assert len(parts_of("app.py")) == 4


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        (None, "shop.py", "shop.py does not exist; name a Python file that creates a Pipeline"),
        ("", "apq.py", "apq.py does not exist; did you mean app.py?"),
        ("", ".", ". is not a file; name a Python file"),
        ("", "app.py", "app.py has no 'agent'; write agent = Pipeline(...)"),
        (
            "agent = 3",
            "app.py",
            "app.py:agent must be a Pipeline, but it is a int; write agent =",
        ),
        (f"one = {ROW}\ntwo = {ROW}", "app.py", "app.py has no 'agent'; it has app.py:one, app.py:two"),
        (f"one = {ROW}", "app.py:vp", "app.py:vp must be a Pipeline, but it is a module; it has app.py:one"),
        ("1 / 0", "app.py", "app.py cannot be loaded: ZeroDivisionError: division by zero (app.py:3: 1 / 0)"),
        ("import no_such_thing", "app.py", "ModuleNotFoundError: No module named 'no_such_thing' (app.py:3: import"),
        ("agent = vp.Pipeline()", "app.py", "app.py cannot be loaded: "),
        ("def (", "app.py", "app.py:3: SyntaxError: "),
        ("raise SystemExit(3)", "app.py", "ends the program when it is loaded; put what it does under `if __name__"),
        ("", "no.such.module", "no.such.module cannot be loaded: ModuleNotFoundError: No module named 'no'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str | None, where: str, said: str, folder: Path) -> None:
    """A file that is missing, fails, or has no such pipeline: the error says what was found and what to do."""
    if text is not None:
        (folder / "app.py").write_text(f"{HEAD}{text}\n", encoding="utf-8")
    with pytest.raises(vp.ConfigurationError) as raised:
        load_agent(where)
    assert said in str(raised.value)


@pytest.mark.parametrize("name", ["app", "app.txt"])
def test_a_file_of_another_kind_is_told(name: str, folder: Path) -> None:
    """A file whose name does not end in .py is not run."""
    (folder / name).write_text(f"{HEAD}agent = {ROW}\n", encoding="utf-8")
    with pytest.raises(vp.ConfigurationError, match=f"^{name} cannot be loaded: it is not a Python file; rename it"):
        load_agent(name)


def test_a_file_is_run_once(folder: Path) -> None:
    """The agent and its deps may be in one file, which runs once, so that both know the same classes."""
    (folder / "once.py").write_text(f"{HEAD}agent = {ROW}\nshop = []\n", encoding="utf-8")
    load_agent("once.py")  # a name that no other test imports
    assert load_deps("once.py:shop").value is load_deps("./once.py:shop").value is load_deps("once:shop").value
