"""The FastAPI program of docs/hosting.md holds a call. It runs where FastAPI is installed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import voicepipe as vp
from tests.project.test_docs import ROOT, blocks_of
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice

pytestmark = pytest.mark.slow  # in real time


def test_the_fastapi_program_holds_a_call(capsys: pytest.CaptureFixture[str]) -> None:
    """A client hears the greeting and a reply, hangs up, and the session ends."""
    pytest.importorskip("fastapi")
    testclient = pytest.importorskip("starlette.testclient")
    page = (ROOT / "docs" / "hosting.md").read_text(encoding="utf-8")
    (program,) = [block.text for block in blocks_of(page) if "from fastapi import" in block.text]
    names: dict[str, Any] = {"__name__": "app"}
    exec(compile(program, "docs/hosting.md", "exec"), names)
    names["agent"] = vp.Pipeline(
        vp.STTStage(ScriptedRecogniser().says("What time is it?", at_s=0.5)),
        ScriptedModel([Says("It is noon.")]),
        vp.SentenceChunker(),
        ScriptedVoice(character_s=0.01, sample_rate=16_000),
    )
    heard = 0

    def listen(socket: Any, seconds: float) -> None:
        nonlocal heard
        while heard < 2 * 16_000 * seconds:
            heard += len(socket.receive().get("bytes") or b"")  # "clear" is a text

    with testclient.TestClient(names["app"]) as client, client.websocket_connect("/call") as socket:
        listen(socket, 0.06)  # the greeting
        for _ in range(25):
            socket.send_bytes(bytes(640))
            threading.Event().wait(0.02)
        listen(socket, 0.17)  # and the reply
    shown = capsys.readouterr().out
    assert "Transcript(text='What time is it?'" in shown
    assert "heard='Hello!'" in shown
