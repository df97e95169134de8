"""What all tests share: virtual time unless their module says otherwise, signals that work, and what a run costs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from voicepipe.testing import VIRTUAL_TIME, VirtualTimeLoop

if TYPE_CHECKING:
    from collections.abc import Generator

    from xdist.remote import Producer
    from xdist.scheduler import LoadFileScheduling
    from xdist.workermanage import WorkerController

settings.register_profile("untimed", deadline=None)  # how long an example takes says how busy the machine is
settings.register_profile("quick", deadline=None, max_examples=20)  # `make quick`: the loop while writing
settings.load_profile("untimed")

# To read 150 authorities for each client takes longer than most tests: one is enough, and its key was never kept. Tests
# that speak TLS name another.
os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "helpers" / "authority.pem")
os.environ.pop("SSL_CERT_DIR", None)

SOUND_FILES = ("tests/cli/test_sound.py", "tests/audio/devices/test_sound_system.py")
"""All their tests have the mark `sound`."""

NICE = 10
"""How far tests stand back from those that hear in real time."""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, type[VirtualTimeLoop]]]:
    return VIRTUAL_TIME


@pytest.fixture
def ctrl_c() -> Generator[None]:
    """Let SIGINT and SIGHUP end what this test starts, also where the run ignores them: in the background, under nohup.

    A program inherits that a signal is ignored, but not a handler: with one set here, it begins with its own.
    """
    handlers = {"SIGINT": signal.default_int_handler, "SIGHUP": lambda *_: None, "SIGTERM": signal.SIG_DFL}
    numbers = {signal.Signals[name]: handler for name, handler in handlers.items() if hasattr(signal, name)}
    before = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


# --- who runs first ---------------------------------------------------------------------------------------------------
#
# A worker takes a whole file: its fixtures are made once, and no two of its tests run at the same time. The two files
# with a sound server count as one.


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: those that hear in real time, then those with slow tests."""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: (item.get_closest_marker("sound") is None, item.path not in slow))
    for path in {item.path for item in items if item.get_closest_marker("scale") is not None}:
        if "mark.scale" not in path.read_text(encoding="utf-8"):
            raise pytest.UsageError(f"{path} has to name pytest.mark.scale itself: `make test-scale` looks for it")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Let one worker take all tests with a sound server: two servers at a time hold each other up.

    When a worker dies, the others get the rest of its file, without the test that it died of.
    """
    from xdist.scheduler import LoadFileScheduling

    class Once(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "sound" if file.endswith(SOUND_FILES) else file

        def remove_node(self, node: WorkerController) -> str | None:
            for tests in self.assigned_work[node].values():
                for name, is_done in tests.items():
                    if not is_done:
                        del tests[name]
                        super().remove_node(node)
                        return name
            return super().remove_node(node)

    return Once(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Start a worker for each processor, and one more where slow tests run, which mostly wait."""
    return (os.cpu_count() or 1) + (0 if "not slow" in config.option.markexpr else 1)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where tests with a sound server run, which need a processor seldom but at once, let other workers stand back."""
    is_in_real_time = any(item.get_closest_marker(mark) is not None for mark in ("sound", "browser"))
    if "PYTEST_XDIST_WORKER" not in os.environ or os.name != "posix" or is_in_real_time:
        return
    if not any(f"not {mark}" in item.config.option.markexpr for mark in ("slow", "sound")):
        os.nice(max(0, NICE - os.nice(0)))


# --- what a run costs -------------------------------------------------------------------------------------------------


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much of the processors the run took: how long it took says how busy the machine was."""
    times = os.times()
    own, children = times.user + times.system, times.children_user + times.children_system
    terminalreporter.write_line(f"{own + children:.0f} CPU seconds, {children:.0f} of them of workers and programs")
