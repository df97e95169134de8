"""The FastAPI program of docs/hosting.md holds a call. It runs where FastAPI is installed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import voicepipe as vp
from tests.project.test_docs import ROOT, blocks_of
from voicepipe.testing import Says, ScriptedModel, ScriptedRecogniser, ScriptedVoice

pytestmark = pytest.mark.slow  # in real time


def app_of_the_page(agent: vp.Pipeline) -> Any:
    """Return the application, with this agent in place of its own."""
    pytest.importorskip("fastapi")
    page = (ROOT / "docs" / "hosting.md").read_text(encoding="utf-8")
    (program,) = [block.text for block in blocks_of(page) if "from fastapi import" in block.text]
    names: dict[str, Any] = {"__name__": "app"}
    exec(compile(program, "docs/hosting.md", "exec"), names)
    names["agent"] = agent
    return names["app"]


def agent_that_hears(recogniser: ScriptedRecogniser) -> vp.Pipeline:
    voice = ScriptedVoice(character_s=0.01, sample_rate=16_000)
    return vp.Pipeline(vp.STTStage(recogniser), ScriptedModel([Says("It is noon.")]), vp.SentenceChunker(), voice)


def test_the_fastapi_program_holds_a_call(capsys: pytest.CaptureFixture[str]) -> None:
    """A client hears the greeting and a reply, hangs up, and the session ends."""
    testclient = pytest.importorskip("starlette.testclient")
    app = app_of_the_page(agent_that_hears(ScriptedRecogniser().says("What time is it?", at_s=0.5)))
    heard = 0

    def listen(socket: Any, seconds: float) -> None:
        nonlocal heard
        while heard < 2 * 16_000 * seconds:
            heard += len(socket.receive().get("bytes") or b"")  # "clear" is a text

    with testclient.TestClient(app) as client, client.websocket_connect("/call") as socket:
        listen(socket, 0.06)  # the greeting
        for _ in range(25):
            socket.send_bytes(bytes(640))
            threading.Event().wait(0.02)
        listen(socket, 0.17)  # and the reply
    shown = capsys.readouterr().out
    assert "Transcript(text='What time is it?'" in shown
    assert "heard='Hello!'" in shown


@pytest.mark.parametrize("message", [{"bytes": b"\0"}, {"text": "Hello?"}])
def test_a_message_that_is_no_audio_ends_its_call(message: dict[str, Any]) -> None:
    """Half a sample or a text closes the websocket as invalid data, and the next call is held."""
    testclient = pytest.importorskip("starlette.testclient")
    with testclient.TestClient(app_of_the_page(agent_that_hears(ScriptedRecogniser()))) as client:
        for _ in range(2):
            with client.websocket_connect("/call") as socket:
                socket.send({"type": "websocket.receive", **message})
                closed = next(
                    received for received in iter(socket.receive, None) if received["type"] != "websocket.send"
                )
            assert (closed["type"], closed["code"]) == ("websocket.close", 1007)
