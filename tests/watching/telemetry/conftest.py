"""The tests of telemetry are left out where what they need is not installed."""

from __future__ import annotations

import os
from importlib.util import find_spec

NEEDED = ("opentelemetry", "prometheus_client")
MISSING = [name for name in NEEDED if find_spec(name) is None]
if not MISSING:
    MISSING = [name for name in ("opentelemetry.sdk", "opentelemetry.exporter") if find_spec(name) is None]

if MISSING and os.environ.get("VOICEPIPE_TEST_ALL") != "1":
    collect_ignore_glob = ["test_*.py"]
