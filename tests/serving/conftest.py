"""The tests of the server are left out where what it needs is not installed."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

MISSING = [name for name in ("starlette", "uvicorn", "prometheus_client") if find_spec(name) is None]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the modules: they import what is missing."""
    is_left_out = bool(MISSING) and os.environ.get("VOICEPIPE_TEST_ALL") != "1"
    return True if is_left_out and collection_path.name.startswith("test_") else None
