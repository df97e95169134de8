"""`voicepipe scale` and `voicepipe serve --workers`: what they say about bad input."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.helpers.asgi_server import needs_server
from voicepipe.cli import main

pytestmark = needs_server


def test_what_the_commands_say_about_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mistake is one sentence that says what to do, and no worker is started for it."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"
    fleet = ["serve", "app.py", "--port", "0", "--workers", "2"]
    cases = [
        (["scale", "drain"], 2, "name the worker to drain, as voicepipe scale status shows it"),
        (["scale", "restart", "w1"], 2, "'w1' has no effect: voicepipe scale restart is about all workers"),
        (["scale", "status", "--gateway", "here"], 2, "--gateway must be an address such as"),
        (["scale", "status", "--gateway", nobody], 1, f"no gateway answers at {nobody}: start one with"),
        (["serve", "app.py", "--worker-url", "wss://x"], 2, "--worker-url has no effect without --workers or --engine"),
        (["serve", "app.py", "--token", "s3cret"], 2, "--token has no effect without --workers or --engine"),
        ([*fleet, "--worker-url", "https://x"], 2, "the workers' URL must be that of a websocket"),
        ([*fleet, "--host", "0.0.0.0"], 2, "workers that listen on 0.0.0.0 have to know where callers reach them"),
        ([*fleet, "--token", " "], 2, "the gateway's token must not be blank"),
        ([*fleet, "--token", "schl\u00fcssel"], 2, "the gateway's token must be of printable ASCII without spaces"),
        (["scale", "status", "--token", "a\nb"], 2, "the gateway's token must be of printable ASCII without spaces"),
    ]
    for arguments, status, said in cases:
        assert main(arguments) == status, arguments
        out, err = capsys.readouterr()
        assert (out, err.count("\n"), err[: len(said) + 11]) == ("", 1, f"voicepipe: {said}")
