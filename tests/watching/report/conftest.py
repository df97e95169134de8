"""One recorded call for all tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.recorded_calls import recorded_shop_call

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording of a call with a tool, a back-channel, an interruption, a cough and a dropped draft."""
    return recorded_shop_call(tmp_path_factory.mktemp("calls") / "recordings")
