"""What all tests share: async tests run on virtual time unless their module says otherwise; none is timed."""

from __future__ import annotations

import pytest
from hypothesis import settings

from voicepipe.testing import VIRTUAL_TIME

settings.register_profile("untimed", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("untimed")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return VIRTUAL_TIME
