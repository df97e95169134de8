"""The FastAPI program of docs/hosting.md serves its page. It runs where FastAPI is installed."""

from __future__ import annotations

from typing import Any

import pytest

import voicepipe as vp
from tests.project.test_docs import ROOT, blocks_of
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice


def test_the_fastapi_program_serves_the_page() -> None:
    """The page and its readiness are found where the application has mounted them."""
    pytest.importorskip("fastapi")
    testclient = pytest.importorskip("starlette.testclient")
    row = (vp.STTStage(ScriptedRecogniser()), ScriptedModel([Says("Noon.")]), vp.SentenceChunker(), ScriptedVoice())
    page = (ROOT / "docs" / "hosting.md").read_text(encoding="utf-8")
    (program,) = [block.text for block in blocks_of(page) if "from fastapi import" in block.text]
    lines = [line for line in program.splitlines() if not line.startswith("agent = ")]  # it would need keys
    names: dict[str, Any] = {"__name__": "app", "agent": vp.Pipeline(*row)}
    exec(compile("\n".join(lines), "docs/hosting.md", "exec"), names)
    with testclient.TestClient(names["app"]) as client:
        assert client.get("/voice/ready").text == "ready"
        assert "<html" in client.get("/voice/").text
