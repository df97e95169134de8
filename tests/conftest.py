"""What all tests share: async tests run on virtual time unless their module says otherwise."""

from __future__ import annotations

import pytest

from voicepipe.testing import VIRTUAL_TIME


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return VIRTUAL_TIME
