"""The documentation is run and checked: every Python block, example and command, and every path that it names."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
PROGRAMS = [page for page in GUIDES if re.search(r"[`~]{3,}python", page.read_text(encoding="utf-8"))]
PAGES = sorted({*GUIDES, *ROOT.glob("*.md")})
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

LANGUAGES = ("python", "sh", "text")
LIMIT_S = 60

# In inline code: a file by its ending or a folder by its slash, then perhaps what is in the file: `events.py:Event`.
PATH = re.compile(r"([\w./-]+(?:\.(?:py|pyi|md|toml|json|txt|yml|yaml)|/))(?::([A-Za-z_][\w.]*))?")

# Files that are not in the repository: an application, a new language, what the demo, a recorder and `make docs` write.
READERS_FILES = {
    "agent.py", "app.py", "conversation.json", "eo.toml", "history.json", "llms-full.txt", "llms.txt",
    "manifest.json", "test_agent.py", "tokenizer.json",
}  # fmt: skip

# Runs the Python blocks of one page in one namespace, as if they were one program that may await at the top. Blank
# lines stand for the prose between them, so that a traceback names the page and its line. A block that begins with the
# name of a file, as "# agent.py", is that file for the blocks behind it; "# agent.py, at the end" is added to it.
RUN_PAGE = """
import ast, asyncio, inspect, json, re, sys, types
page, blocks = json.load(sys.stdin)
namespace = sys.modules["page"] = types.ModuleType("page")  # imported, not started: a program's main block stays out
with asyncio.Runner() as runner:
    for line, text in blocks:
        if file := re.match(r"# (\\w+\\.py)(, at the end)?\\n", text):
            with open(file[1], "a" if file[2] else "w", encoding="utf-8") as written:
                written.write(text + "\\n")
        code = compile("\\n" * line + text, page, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        result = eval(code, vars(namespace))
        if inspect.iscoroutine(result):
            runner.run(result)
"""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the line of its fence counted from 1, its text."""

    language: str
    line: int
    text: str


def blocks_of(markdown: str) -> list[Block]:
    """Return the fenced blocks of a page; a fence may be indented, as in a list."""
    blocks: list[Block] = []
    lines = iter(enumerate(markdown.splitlines(), 1))
    for number, line in lines:
        fence = re.match(r"(\s*)(`{3,}|~{3,})(.*)", line)
        if fence is None:
            continue
        indent, mark, language = fence.groups()
        text: list[str] = []
        for _, inner in lines:
            if inner.strip() == mark:
                break
            text.append(inner.removeprefix(indent))
        else:
            raise AssertionError(f"the block that begins in line {number} has no end; close it with {mark}")
        if language not in LANGUAGES:
            raise AssertionError(f"line {number}: a block is one of {', '.join(LANGUAGES)}, not {language!r}")
        blocks.append(Block(language, number, "\n".join(text)))
    return blocks


def commands_of(text: str) -> list[list[str]]:
    """Return the commands of a shell block, word by word, without comments."""
    commands: list[list[str]] = [[]]
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        for word in words:
            if set(word) <= set(";&|()<>"):
                commands.append([])
            else:
                commands[-1].append(word)
        commands.append([])
    return [command for command in commands if command]


def run(command: list[str], directory: Path, *, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        input=given,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


@cache
def is_subcommand(*words: str) -> bool:
    """Return whether `voicepipe` knows a subcommand, or no word at all."""
    ask = "import sys; from voicepipe.cli import main; sys.exit(main())"
    return run([sys.executable, "-c", ask, *words, "--help"], ROOT).returncode == 0


def unknown_in(command: list[str]) -> str | None:
    """Return what a command of the documentation names that does not exist."""
    program, *words = [word for word in command if not re.match(r"[A-Z_]+=|\$$", word)] or [""]
    plain = [word for word in words if not word.startswith("-")]
    match Path(program).name:
        case "make":
            targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
            missing = [f"make {word}" for word in plain if word not in targets]
        case "voicepipe":
            missing = [] if is_subcommand(*plain[:1]) else [f"voicepipe {' '.join(plain[:1])}"]
        case "python" if plain and plain[0].endswith(".py"):
            missing = [] if (ROOT / plain[0]).is_file() else plain[:1]
        case _:
            project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            named = re.findall(r"(?:voicepipe|\.)\[([\w,-]+)\]", " ".join(plain))
            extras = [extra for names in named for extra in names.split(",")]
            missing = [f"the extra {extra}" for extra in extras if extra not in project["optional-dependencies"]]
    return ", ".join(missing) or None


def paths_in(markdown: str) -> Iterator[tuple[str, str]]:
    """Yield the paths in the inline code of a page, each with the name behind its colon, or ""."""
    prose = re.sub(r"^\s*(`{3,}|~{3,}).*?^\s*\1", "", markdown, flags=re.MULTILINE | re.DOTALL)
    for code in re.findall(r"`([^`\n]+)`", prose):
        if (found := PATH.fullmatch(code)) and found[1] not in READERS_FILES:
            yield found[1], found[2] or ""


def imports_in(markdown: str) -> Iterator[tuple[str, str]]:
    """Yield module and name for each name in prose such as "`A`, `B(x)` and `C` of `voicepipe.module`"."""
    names = r"((?:`[\w.]+(?:\([^`]*\))?`(?:,\s+|\s+(?:and|or)\s+|\s+))+)(?:of|from|in)\s+`(voicepipe(?:\.\w+)*)`"
    for listed, module in re.findall(names, markdown):
        yield from ((module, name) for name in re.findall(r"`([A-Za-z_]\w*)", listed))


def stale_in(path: str, name: str, page: Path) -> str | None:
    """Return the path (taken from the package, the project or the page) or `path:name` if it does not exist."""
    places = [folder / path for folder in (ROOT / "src" / "voicepipe", ROOT, page.parent)]
    there = next((place for place in places if place.exists()), None)
    if there is None:
        return path
    if name and name not in set(names_of(ast.parse(there.read_text(encoding="utf-8")))):
        return f"{path}:{name}"
    return None


def names_of(tree: ast.Module | ast.ClassDef) -> Iterator[str]:
    """Yield what a module or class defines, members of classes as `Class.member`."""
    for node in tree.body:
        match node:
            case ast.ClassDef(name=name):
                yield name
                yield from (f"{name}.{member}" for member in names_of(node))
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                yield name


def run_page(page: Path, markdown: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the Python blocks of a page in a directory of their own."""
    blocks = [(block.line, block.text) for block in blocks_of(markdown) if block.language == "python"]
    given = json.dumps([str(page), blocks])
    return run([sys.executable, "-W", "error", "-c", RUN_PAGE], directory, given=given)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.slow
@pytest.mark.parametrize("page", PROGRAMS, ids=name_of)
def test_python_blocks_run(page: Path, tmp_path: Path) -> None:
    """The Python blocks of a page run in order, to their end, without a warning."""
    ran = run_page(page, page.read_text(encoding="utf-8"), tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.slow
def test_the_first_program_of_the_readme_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved as app.py and started with Python, the README's program calls, and says at once that its key is missing."""
    monkeypatch.delenv("ASSEMBLYAI_API_KEY", raising=False)
    markdown = (ROOT / "README.md").read_text(encoding="utf-8")
    program = next(block.text for block in blocks_of(markdown) if block.language == "python")
    (tmp_path / "app.py").write_text(program, encoding="utf-8")
    ran = run([sys.executable, "app.py"], tmp_path)
    assert ran.returncode != 0
    assert "the environment variable ASSEMBLYAI_API_KEY is not set" in ran.stderr


@pytest.mark.slow
def test_the_calls_of_the_readme_cut_nothing(tmp_path: Path) -> None:
    """The caller in the README's example interrupts nobody, and hears the whole answer."""
    page = ROOT / "README.md"
    ran = run_page(page, page.read_text(encoding="utf-8"), tmp_path)
    assert "TurnInterrupted(" not in ran.stdout
    assert "heard='You said: What time do you open?'" in ran.stdout


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_imports_that_prose_names_exist(page: Path) -> None:
    """What a sentence calls a name of a module can be imported from there."""
    named = imports_in(page.read_text(encoding="utf-8"))
    assert [f"{module}.{name}" for module, name in named if not hasattr(import_module(module), name)] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page: Path) -> None:
    """The targets, subcommands, extras and files that a page's commands name exist."""
    blocks = [block for block in blocks_of(page.read_text(encoding="utf-8")) if block.language == "sh"]
    commands = [command for block in blocks for command in commands_of(block.text)]
    assert [unknown for command in commands if (unknown := unknown_in(command))] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file of the project names a file that is there."""
    links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    files = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in files if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
@pytest.mark.slow
def test_paths_exist(page: Path) -> None:
    """A file or folder named in inline code exists, and a file defines the name behind its colon."""
    named = paths_in(page.read_text(encoding="utf-8"))
    assert [stale for path, name in named if (stale := stale_in(path, name, page))] == []


def test_the_architecture_is_short_and_linked() -> None:
    """docs/architecture.md names paths and answers twelve questions on two screens; README and CONTRIBUTING link it."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    questions = re.findall(r"^\| [^|]+\? \| .*`.*\|$", text, re.MULTILINE)
    assert (len(questions), text.count("\n") <= 110) == (12, True)
    for page in ("README.md", "CONTRIBUTING.md"):
        assert "](docs/architecture.md)" in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    """An example runs as a script to its end within a minute, and writes nothing to stderr."""
    ran = run([sys.executable, "-W", "error", str(example)], tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_there_are_examples() -> None:
    """The tests above have something to run: a page with a Python block, and an example."""
    languages = {block.language for page in GUIDES for block in blocks_of(page.read_text(encoding="utf-8"))}
    assert (bool(EXAMPLES), "python" in languages) == (True, True)


def test_blocks_share_a_namespace(tmp_path: Path) -> None:
    """A later block sees the names of an earlier one, and may await."""
    markdown = "```python\nimport asyncio\nx = 1\n```\ntext\n```python\nawait asyncio.sleep(0)\nprint(x + 1)\n```\n"
    ran = run_page(ROOT / "page.md", markdown, tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "2\n", "")


def test_a_failing_block_is_found_by_its_line(tmp_path: Path) -> None:
    """A block that raises fails its page, and the traceback names the line of the page."""
    ran = run_page(ROOT / "page.md", "# Title\n\n```python\nfirst = 1\nmissing\n```\n", tmp_path)
    assert ran.returncode == 1
    assert 'page.md", line 5' in ran.stderr


@pytest.mark.parametrize(
    ("markdown", "said"),
    [
        ("```python no-run\n1 / 0\n```", "not 'python no-run'"),
        ("```py\n1\n```", "not 'py'"),
        ("```\n1\n```", "not ''"),
        ("```python\n1\n", "has no end"),
    ],
)
def test_a_block_cannot_opt_out(markdown: str, said: str) -> None:
    """A block must be marked with exactly one of the languages, so that no Python block is skipped."""
    with pytest.raises(AssertionError, match=said):
        blocks_of(markdown)


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ("make no-such-target", "make no-such-target"),
        ("cd voicepipe && make demo nonsense", "make nonsense"),
        ("CI=true make PYTHON=python3.12 test ARGS='-k barge_in'  # everything", None),
        ("pip install 'voicepipe[local,cli]'", None),
        ("pip install 'voicepipe[local,nonsense]'", "the extra nonsense"),
        ("$ python -m pip install -e .[nonsense]", "the extra nonsense"),
        ("python examples/nonsense.py", "examples/nonsense.py"),
        (".venv/bin/voicepipe nonsense --flag", "voicepipe nonsense"),
        ("voicepipe demo --help", None),
    ],
)
def test_an_unknown_command_is_found(line: str, unknown: str | None) -> None:
    """A command is found if it names a target, subcommand, extra or file that does not exist, and only then."""
    found = [said for command in commands_of(line) if (said := unknown_in(command))]
    assert found == ([unknown] if unknown else [])


def test_imports_are_found_in_prose() -> None:
    """Every name of a list is looked up in the module behind it."""
    prose = "They are `A`, `B(url)` and\n`C` of `voicepipe.testing`; `voicepipe.audio` has `D`."
    assert list(imports_in(prose)) == [("voicepipe.testing", name) for name in "ABC"]


@pytest.mark.parametrize(
    ("prose", "stale"),
    [
        ("see `events.py`, `docs/tools.md`, `tools.md`, `core/` and `app.py:agent`", []),
        ("`core/channel.py:Channel.send`, `core/channel.py:Inbox`, `core/lifetimes.py:CLOSE_S`, `events.py:Event`", []),
        ("| a limit | 3 s | `audio/_portaudio.py` |", ["audio/_portaudio.py"]),
        ("`core/nowhere/` and `nowhere.py:main`", ["core/nowhere/", "nowhere.py"]),
        (
            "`core/channel.py:Tube`, `core/channel.py:Channel.pour`",
            ["core/channel.py:Tube", "core/channel.py:Channel.pour"],
        ),
        ("```text\n`nowhere.py`\n```", []),
    ],
)
def test_a_stale_path_is_found(prose: str, stale: list[str]) -> None:
    """A path, or a name within a file, that does not exist is found wherever inline code has it, in tables too."""
    page = ROOT / "docs" / "turns.md"
    assert [found for path, name in paths_in(prose) if (found := stale_in(path, name, page))] == stale
