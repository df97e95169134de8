"""A plugin for pytest, installed with the package: a test on virtual time that would run in real time is an error.

Rule 1: it has no effect on a run that does not use virtual time, and needs nothing of the extra `testing` to be loaded.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import pytest

__all__ = ["pytest_runtest_call"]

CLOCK: Final = "voicepipe.testing.clock"

REFUSED: Final = "pytest-asyncio would run this test in real time, but its anyio_backend is VIRTUAL_TIME: "

AUTO: Final = (
    'asyncio_mode is "auto", which takes every async test. Set asyncio_mode = "strict" in the settings of pytest, and '
    "mark tests on virtual time with pytest.mark.anyio. For tests in real time, override the fixture anyio_backend "
    "with one that returns 'asyncio'"
)

MARKED: Final = "it has the marks of both plugins. Keep pytest.mark.anyio alone"


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Fail a test whose backend is virtual time if pytest-asyncio is about to run it."""
    is_asyncios = item.get_closest_marker("asyncio") is not None and item.config.pluginmanager.has_plugin("asyncio")
    if CLOCK not in sys.modules or not is_asyncios:
        return
    is_auto = str(item.config.getoption("asyncio_mode", None) or item.config.getini("asyncio_mode")) == "auto"
    if _is_virtual(_backend(item, is_auto=is_auto)):
        pytest.fail(REFUSED + (AUTO if is_auto else MARKED), pytrace=False)


def _backend(item: Any, *, is_auto: bool) -> object:  # noqa: ANN401 - pytest does not type the fixtures of an item
    """Return the test's backend. In auto mode a test may rely on it without the mark that requests it."""
    if "anyio_backend" in item.fixturenames or not is_auto:
        return item.funcargs.get("anyio_backend")
    try:
        return item._request.getfixturevalue("anyio_backend")
    except (pytest.FixtureLookupError, pytest.fail.Exception):
        return None  # it is anyio's own, which has a parameter for each backend


def _is_virtual(backend: object) -> bool:
    loop = getattr(sys.modules[CLOCK], "VirtualTimeLoop", None)
    match backend:
        case (str(), {"loop_factory": factory}):
            return factory is loop
        case _:
            return False
