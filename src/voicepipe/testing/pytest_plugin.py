"""The pytest plugin; pytest loads it automatically where `voicepipe[testing]` is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Unregister looptime's own plugin where pytest-asyncio is absent.

    looptime 0.9 uses pytest-asyncio at each fixture and fails without it; voicepipe needs only looptime's event loop.
    """
    plugins = config.pluginmanager
    if plugins.get_plugin("asyncio") is None and (looptime := plugins.get_plugin("looptime_plugin")) is not None:
        plugins.unregister(looptime)
