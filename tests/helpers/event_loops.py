"""The event loops that `vp.run` can use, for tests that run on each of them."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

__all__ = ["UVLOOP"]

UVLOOP = [
    pytest.param(False, id="asyncio"),
    pytest.param(
        True,
        id="uvloop",
        marks=pytest.mark.skipif(
            find_spec("uvloop") is None and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason="not installed: uvloop"
        ),
    ),
]
"""The values of the argument `uvloop`."""
