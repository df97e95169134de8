"""`voicepipe replay` and `voicepipe diff`: recorded calls in the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import voicepipe as vp
from tests.helpers.recorded import recorded_file
from voicepipe.cli import main
from voicepipe.testing import Says, ScriptedModel, ScriptedUser, ScriptedVoice

if TYPE_CHECKING:
    from pathlib import Path

APP = """
import voicepipe as vp
from voicepipe.testing import Says, ScriptedModel, ScriptedUser, ScriptedVoice

def made(words):
    row = ScriptedUser(), ScriptedModel(lambda _: Says(words)), vp.SentenceChunker()
    return vp.Pipeline(*row, ScriptedVoice(character_s=0.001))

agent = made("It is sunny.")
other = made("It rains.")
"""


def agent(words: str) -> vp.Pipeline:
    user = ScriptedUser().says("what is the weather?", at_s=0.2, silence_s=0.1).hangs_up(at_s=1.0)
    row = user, ScriptedModel(lambda _: Says(words, after_s=0.1)), vp.SentenceChunker()
    return vp.Pipeline(*row, ScriptedVoice(character_s=0.001))


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("calls")
    return recorded_file(folder, agent("It is sunny.")), recorded_file(folder, agent("It is cold."))


def test_a_recording_is_replayed(calls: tuple[Path, Path], capsys: Any) -> None:
    """Recorded parts alone give the call again: exit status 0, and a line that says how exactly."""
    assert main(["replay", str(calls[0])]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{calls[0]}: 1 turn, 1.0 s, replayed\n")
    assert out.endswith("no difference; marks at most 0.000 ms apart\n")


@pytest.mark.slow
def test_a_replay_with_a_live_model_shows_what_differs_and_is_recorded(
    calls: tuple[Path, Path], tmp_path: Path, capsys: Any
) -> None:
    """The application's model answers the recorded caller, in real time; the replay is a recording like any other."""
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    replay = ["replay", str(calls[0]), f"{tmp_path / 'app.py'}:other", "--live", "model"]
    assert main([*replay, "--record", str(tmp_path / "replays")]) == 1
    out = capsys.readouterr().out
    assert "a tone stands for it: It rains." in out
    assert "! heard         It is sunny.                               It rains." in out
    (recorded,) = (tmp_path / "replays").iterdir()
    assert main(["diff", str(calls[0]), str(recorded), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [turn["b"]["heard"] for turn in found["turns"]] == ["It rains."]


def test_two_calls_are_compared(calls: tuple[Path, Path], capsys: Any) -> None:
    """Side by side, or as JSON; exit status 0 if they are the same."""
    same, other = map(str, calls)
    assert main(["diff", same, same]) == 0
    assert main(["diff", same, other]) == 1
    assert "! heard         It is sunny.                               It is cold." in capsys.readouterr().out
    assert main(["diff", same, other, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["same"], found["changes"][0]) == (
        False,
        {"turn_id": 1, "what": "heard", "a": "It is sunny.", "b": "It is cold.", "by_s": None},
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere.vprec"], "nowhere.vprec: does not exist"),
        (["CALL", "--live", "voice"], "a live voice is one of an application; name it"),
        (["CALL", "--live", "ears"], "no part of a replay is called ears; live are some of recogniser, model, tools"),
        (["CALL", "--deps", "shop:deps"], "--deps has no effect without APP"),
        (["CALL", "missing.py"], "missing.py"),
    ],
)
def test_bad_input_is_one_line(calls: tuple[Path, Path], given: list[str], said: str, capsys: Any) -> None:
    """It says what is wrong, and the exit status is 2."""
    assert main(["replay", *(str(calls[0]) if one == "CALL" else one for one in given)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("voicepipe: ")
    assert said in captured.err
    assert captured.err.count("\n") == 1
