"""What pytest needs to know; loaded by itself where `voicepipe[testing]` is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Take looptime's own plugin out where pytest-asyncio is absent.

    looptime 0.9 looks into pytest-asyncio at each fixture and fails where there is none; voicepipe needs only its loop.
    """
    plugins = config.pluginmanager
    if plugins.get_plugin("asyncio") is None and (looptime := plugins.get_plugin("looptime_plugin")) is not None:
        plugins.unregister(looptime)
