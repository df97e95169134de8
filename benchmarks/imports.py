"""What it costs to import the package: CPU in fresh processes, compared with the libraries it stands on.

Rule 1: bytecode is cached, as it is from the second start of a program on.
Rule 2: the programs alternate, so that whatever else the machine does meets all of them; a ratio is the median of the
        ratios of neighbours.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections import Counter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import anyio

import voicepipe
from benchmarks._figures import Figure

__all__ = ["imports"]

ROUNDS = 15
SOURCE = Path(voicepipe.__file__).parents[1]
README = Path(__file__).parents[1] / "README.md"

LIBRARIES = "import anyio, httpx, httpx_sse, pydantic"
NEEDED = "import asyncio, anyio, httpx, httpx_sse\nfrom pydantic import Field"
"""The libraries, as far as README's first program makes anybody load them."""

LATE = "import assemblyai.streaming.v3, httpcore, voicepipe.session.session, websockets.asyncio.client"
"""What is imported when README's first program is opened."""

TIMED = """
import time
{before}
began = time.process_time()
{timed}
print(time.process_time() - began)
"""

PACKAGES = {"pydantic_core": "pydantic", "annotated_types": "pydantic", "typing_inspection": "pydantic"}
PACKAGES |= {"typing_extensions": "pydantic", "httpx_sse": "httpx", "idna": "httpx", "sniffio": "anyio"}


async def imports() -> list[Figure]:
    """CPU of `import voicepipe`, of its libraries, and of all that README's first program uses."""
    named = names_of(first_program(README.read_text(encoding="utf-8")))
    programs = {
        "libraries": ("", LIBRARIES),
        "voicepipe": ("", "import voicepipe"),
        "needed": ("", NEEDED),
        "named": ("", named),
        "late": (named, LATE),
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    with TemporaryDirectory() as cache:
        for _ in range(1 + ROUNDS):
            for name, (before, timed) in programs.items():
                ran = await _python(cache, "-c", TIMED.format(before=before, timed=timed))
                seconds[name].append(float(ran.stdout))
        shares = _shares((await _python(cache, "-X", "importtime", "-c", named)).stderr.decode())
    cost = {name: median(each[1:]) for name, each in seconds.items()}

    def ratio(one: str, other: str) -> float:
        return median(a / b for a, b in zip(seconds[one][1:], seconds[other][1:], strict=True))

    return [
        Figure("imports: CPU of anyio, httpx, httpx-sse and pydantic", 1e3 * cost["libraries"], "ms"),
        Figure("imports: CPU of import voicepipe", 1e3 * cost["voicepipe"], "ms"),
        Figure("imports: import voicepipe / the four libraries", ratio("voicepipe", "libraries"), "x", 1.25),
        Figure("imports: CPU of all that README's first program uses", 1e3 * cost["named"], "ms"),
        Figure("imports: the same / libraries that it needs in any case", ratio("named", "needed"), "x"),
        *(Figure(f"imports: share of it, {name}", 100 * share, "%") for name, share in shares.items()),
        Figure("imports: CPU of what is imported when it is opened", 1e3 * cost["late"], "ms"),
    ]


def first_program(text: str) -> str:
    """Return the first program of a page."""
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def names_of(program: str) -> str:
    """Return a program's imports, and what it takes from the package: also the recogniser that `STTStage()` makes."""
    tree = ast.parse(program)
    lines = [ast.unparse(node) for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    used = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    names = {name for name in used if re.fullmatch(r"vp\.\w+", name)} | {"vp.AssemblyAIRecogniser"}
    return "\n".join([*lines, *sorted(names)])


async def _python(cache: str, *arguments: str):
    # A separate cache, because the environment may not allow one next to the source.
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONPYCACHEPREFIX": cache}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return await anyio.run_process([sys.executable, *arguments], env=environment)


def _shares(report: str) -> dict[str, float]:
    """Return the shares of packages in the time that `-X importtime` shows, without the start of Python."""
    spent = Counter[str]()
    loaded = report.partition("| site\n")[2]
    for own_us, module in re.findall(r"^import time: +(\d+) \| +\d+ \| +(\S+)$", loaded, re.MULTILINE):
        package = PACKAGES.get(name := module.partition(".")[0], name)
        spent["standard library" if package.lstrip("_") in sys.stdlib_module_names else package] += int(own_us)
    return {name: us / spent.total() for name, us in spent.most_common() if us > 0.02 * spent.total()}
