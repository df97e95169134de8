"""Calls over real sockets go on when their worker is restarted or dies: `python -m benchmarks fleet --quick`.

Only what holds on any machine is asserted: no call cut, no tool run twice, no word heard twice. How long things take is
measured by the benchmark itself.
"""

from importlib import import_module
from typing import Any

import anyio
import pytest

from tests.helpers.redis_server import needs_redis

pytestmark = [pytest.mark.scale, needs_redis]

# Imported by name, because benchmarks are not typed.
fleet: Any = import_module("benchmarks.fleet")


@pytest.mark.parametrize("row", ["restart", "kill", "claim"])
def test_a_call_goes_on(row: str) -> None:
    """Whatever happens to the worker of a call, the caller loses nothing that was promised."""
    figures = anyio.run(fleet.fleet, True, [row])

    missed = [figure.name for figure in figures if figure.is_promise and not figure.is_met]
    assert missed == [], "\n".join("  ".join(figure.cells()) for figure in figures)
