"""Calls over real sockets go on when their worker is restarted, dies, or loses its store: `benchmarks fleet`, made small.

Only what holds on any machine is asserted: no call cut, no tool run twice, no word heard twice. How long it takes is
measured by `python -m benchmarks fleet`.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.redis_server import needs_redis

pytestmark = [pytest.mark.scale, needs_redis]

# Imported by name, because benchmarks are not typed.
fleet: Any = import_module("benchmarks.fleet")


@pytest.mark.parametrize("row", ["restart", "kill", "store", "claim"])
async def test_a_call_goes_on(row: str, tmp_path: Path) -> None:
    """Whatever happens to the worker of a call or to the store, nothing is lost that the caller was promised."""
    figures = await fleet.ROWS[row](tmp_path, is_quick=True)

    missed = [figure.cells() for figure in figures if figure.is_promise and not figure.is_met]
    assert missed == [], "\n".join("  ".join(figure.cells()) for figure in figures)
