"""What all tests share: async tests run on virtual time unless their module says otherwise; none is timed."""

from __future__ import annotations

import pytest
from hypothesis import settings

from voicepipe.testing import VIRTUAL_TIME

settings.register_profile("untimed", deadline=None)  # how long an example takes says how busy the machine is
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that wait for each other: one worker takes them all, and the others go on meanwhile."""
    items.sort(key=lambda item: item.get_closest_marker("sound") is None)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return VIRTUAL_TIME
