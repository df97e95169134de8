"""The library reads no clock but the event loop's and starts no task of its own, so a test can replay it exactly."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "voicepipe"

# A name that ends in a dot stands for everything below it. Names are looked up through the module's own imports, so
# aliases, `from ... import ...`, default arguments and default factories are all the same here.
BANNED = {
    "time.": "read the time with anyio.current_time(), wait with anyio.sleep()",
    "datetime.datetime.now": "read the time with anyio.current_time()",
    "datetime.datetime.utcnow": "read the time with anyio.current_time()",
    "datetime.datetime.today": "read the time with anyio.current_time()",
    "datetime.date.today": "read the time with anyio.current_time()",
    "threading.Timer": "wait with anyio.sleep() in a task group",
    "asyncio.sleep": "wait with anyio.sleep()",
    "asyncio.timeout": "use anyio.fail_after() or anyio.move_on_after()",
    "asyncio.timeout_at": "use anyio.fail_after() or anyio.move_on_after()",
    "asyncio.wait_for": "use anyio.fail_after() or anyio.move_on_after()",
    "asyncio.create_task": "start tasks in a task group",
    "asyncio.ensure_future": "start tasks in a task group",
}


class Clocks(ast.NodeVisitor):
    """Collects the uses of what is banned."""

    def __init__(self, *, may_read_loop: bool) -> None:
        self.may_read_loop = may_read_loop
        self.imported: dict[str, str] = {}
        self.found: list[str] = []

    def tell(self, node: ast.AST, name: str, instead: str) -> None:
        self.found.append(f"line {getattr(node, 'lineno', 0)} uses {name}; {instead}")

    def check(self, node: ast.AST, name: str) -> None:
        for banned, instead in BANNED.items():
            if name == banned or (banned.endswith(".") and name.startswith(banned)):
                self.tell(node, name, instead)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top = alias.name.partition(".")[0]
            self.imported[alias.asname or top] = alias.name if alias.asname else top

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level:
            return
        for alias in node.names:
            self.imported[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            self.check(node, f"{node.module}.{alias.name}")

    def visit_Attribute(self, node: ast.Attribute) -> None:
        base, *rest = ast.unparse(node).split(".")
        if base in self.imported:
            self.check(node, ".".join([self.imported[base], *rest]))
        loop = "loop" in ast.unparse(node.value).rpartition(".")[2]
        if loop and node.attr == "time" and not self.may_read_loop:
            self.tell(node, "the loop's time()", "read the time with anyio.current_time()")
        if loop and node.attr == "create_task":
            self.tell(node, "the loop's create_task()", "start tasks in a task group")
        self.generic_visit(node)


def uses(text: str, *, may_read_loop: bool = False) -> list[str]:
    """Return what a module does that it must not, a sentence each."""
    tree = ast.parse(text)
    clocks = Clocks(may_read_loop=may_read_loop)
    # Imports first: a function may stand above the import it uses.
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            clocks.visit(node)
    clocks.found.clear()
    clocks.visit(tree)
    return clocks.found


# Called on threads of the sound system or by a signal, where anyio knows of no loop: they read its own time().
ON_OTHER_THREADS = (
    "audio/devices/watch.py",
    "audio/devices/microphone.py",
    "audio/devices/speaker.py",
    "core/process.py",
)

# Read the time for each frame, token or mark: anyio finds out first whose event loop runs, which takes longer.
FOR_EACH_FRAME = ("core/clock.py", "hearing/intake.py", "timeline.py")

MAY_USE_ONE = (
    "core/abandon.py",  # starts the task that is left behind when it ignores its cancellation
    "cli/doctor/__init__.py",  # compares the machine's date with that of services
    "serving/realtime/keys.py",  # tells a client until which date its key is valid, as the protocol wants
    "watching/recording/directory.py",  # names recordings by their date
    "watching/telemetry/spans.py",  # stamps spans with the date, as the protocol of traces wants
    "core/process.py",  # handles signals after the loop was closed, whose clock stands still then
)

FILES = [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py"))]


@pytest.mark.slow
def test_only_the_loop_tells_the_time() -> None:
    """A module of the library uses no clock, sleep or task that bypasses anyio, but for those that may."""
    may_read_loop = (*ON_OTHER_THREADS, *FOR_EACH_FRAME)
    found = {
        file: uses(
            (PACKAGE / file).read_text(encoding="utf-8"),
            may_read_loop=file.startswith("testing") or file in may_read_loop,
        )
        for file in FILES
    }
    several = {"testing/conformance/blocking.py": 2}  # a step that blocks takes no time on the loop's clock
    assert {file: len(one) for file, one in found.items() if one} == dict.fromkeys(MAY_USE_ONE, 1) | several


@pytest.mark.parametrize(
    "text",
    [
        "import time\ntime.time()",
        "import time\ntime.monotonic()",
        "import time\ntime.perf_counter_ns()",
        "import time\ntime.sleep(1)",
        "import time as clock\nclock.time()",
        "from time import monotonic",
        "from time import monotonic as now",
        "import time\n@dataclass\nclass Mark:\n    at_s: float = field(default_factory=time.monotonic)",
        "import time\ndef mark(at_s=time.time()): ...",
        "def late():\n    return time.time()\nimport time",
        "def late():\n    import time\n    return time.time()",
        "from datetime import datetime\ndatetime.now(UTC)",
        "import datetime as dt\ndt.datetime.utcnow()",
        "import datetime\ndatetime.datetime.today()",
        "from datetime import date\nfield(default_factory=date.today)",
        "import threading\nthreading.Timer(1, f)",
        "import asyncio\nasyncio.sleep(0)",
        "from asyncio import sleep",
        "import asyncio\nasyncio.create_task(work())",
        "import asyncio as aio\naio.ensure_future(work())",
        "import asyncio\nasyncio.wait_for(work(), 1)",
        "import asyncio\nasyncio.get_running_loop().create_task(work())",
        "import asyncio\nasyncio.get_running_loop().time()",
        "loop.time()",
        "now = self._loop.time",
    ],
)
def test_a_clock_is_found(text: str) -> None:
    """Each way to another clock, or to a task of one's own, is found exactly once."""
    assert len(uses(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "import anyio\nanyio.current_time()",
        "import anyio\nawait anyio.sleep(0)",
        "from datetime import date, datetime\ndatetime.fromisoformat(text), date(2025, 1, 1)",
        "import datetime\ndef book(time: datetime.time): ...",
        "timeline.time(mark)",
        "import asyncio\nasyncio.get_running_loop().call_soon_threadsafe(f)",
    ],
)
def test_the_loops_own_time_is_left_alone(text: str) -> None:
    """Anyio's clock, dates that were given, and names that only look like a clock bring no complaint."""
    assert uses(text) == []


def test_the_testing_kit_may_read_the_loop() -> None:
    """Virtual time is made of `loop.time()`, so the testing kit may use it, and nothing else that is banned."""
    assert uses("import time\nloop.time()\ntime.time()", may_read_loop=True) == [
        "line 3 uses time.time; read the time with anyio.current_time(), wait with anyio.sleep()"
    ]
