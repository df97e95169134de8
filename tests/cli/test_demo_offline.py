"""`voicepipe demo --local`: a conversation in any words, with models on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import voicepipe as vp
from tests.cli.test_demo import finished
from tests.helpers.offline import needs_models
from voicepipe.cli import _demo_offline as script
from voicepipe.cli._demo_script import Line
from voicepipe.testing import Calls, ChatMessage, ChatRequest, Says

PROGRAM = [sys.executable, "-W", "error", "-c", "from voicepipe.cli import main\nraise SystemExit(main())", "demo"]


@pytest.mark.offline
@needs_models
def test_it_goes_as_scripted(tmp_path: Path) -> None:
    """A person and a synthetic voice are understood, an engineer is booked where they said, and the agent is heard."""
    program = [*PROGRAM, "--local", "--json", "--out", str(tmp_path)]
    ended = subprocess.run(program, capture_output=True, text=True, encoding="utf-8", check=False, timeout=100)
    document = json.loads(ended.stdout)
    assert (ended.returncode, ended.stderr, document["problems"]) == (0, "", [])
    calls = {call["name"]: call for message in document["history"] for call in message.get("calls", ())}
    assert json.loads(calls["book_engineer"]["arguments"]) == {"place": "Bristol", "day": "Thursday"}
    (cut,) = [turn for turn in document["turns"] if turn["event"] == "TurnInterrupted"]
    assert script.LINES[3].reply.startswith(cut["heard"])
    assert (tmp_path / "conversation.wav").stat().st_size > 1_000_000


def ended(line: Line, turn_id: int, **changes: Any) -> vp.TurnEnded:
    """Return the event of a turn that went as scripted, except for the changes."""
    facts = {"turn_id": turn_id, "user_text": line.text, "timeline": vp.Timeline()}
    if line.cut_after_s is not None:
        return vp.TurnInterrupted(**facts | {"heard": line.reply[:20].strip()} | changes)
    return vp.TurnCompleted(**facts | {"heard": line.reply, "finish_reason": "stop"} | changes)


def as_scripted() -> list[vp.Event]:
    turns = [ended(line, turn_id) for turn_id, line in enumerate(script.LINES, 1)]
    return [*turns, finished("book_engineer"), finished("end_call")]


def test_words_may_be_spelt_otherwise_but_not_many() -> None:
    """What is taken for another word is no problem up to one in five; words that the caller takes back are no turn."""
    events = as_scripted()
    events[0] = ended(script.LINES[0], 1, user_text="hello")
    events[1] = ended(script.LINES[1], 2, user_text="Weasles have eaten our phone system")
    joined = vp.TurnInterrupted(turn_id=9, user_text="Good", heard="", timeline=vp.Timeline(), joined=True)
    assert script.problems([*events[:5], joined, *events[5:]]) == []


@pytest.mark.parametrize(
    ("at", "instead", "said"),
    [
        (1, lambda line: ended(line, 2, user_text="We sold eaten phone"), "turn 2: the caller said 'Weasels have"),
        (1, lambda line: ended(line, 2, heard="Weasels, again."), "turn 2: 'Weasels, again.' was heard instead of"),
        (3, lambda line: ended(line, 4, heard=""), "which is not the beginning"),
        (3, lambda line: ended(script.LINES[4], 4, user_text=line.text), "should end as TurnInterrupted"),
        (6, lambda line: finished("book_engineer", "failed"), "the tool book_engineer did not succeed"),
        (5, lambda line: vp.SpeechEnded(at_s=1.0), "there were 5 turns instead of 6"),
    ],
)
def test_each_difference_from_the_script_is_a_problem(at: int, instead: Callable[[Line], vp.Event], said: str) -> None:
    """A turn that was misunderstood, cut short, answered otherwise or missing, or a tool that failed."""
    events = as_scripted()
    events[at] = instead(script.LINES[min(at, 5)])
    (problem,) = script.problems(events)
    assert said in problem


def asked(said: str, result: str | None = None) -> ChatRequest:
    messages = [ChatMessage(role="user", content=said)]
    if result is not None:
        messages.append(ChatMessage(role="tool", content=result, call_id="call_1"))
    return ChatRequest(model="scripted", messages=tuple(messages))


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        (asked("Hello"), Says(script.LINES[0].reply)),
        (
            asked("Can you send someone to Leeds, on Monday?"),
            Calls("book_engineer", {"place": "Leeds", "day": "Monday"}, say="Let me see who is free. "),
        ),
        (asked("Send him to Leeds on Monday", '"He comes."'), Says("He comes.")),
        (asked("Goodbye!"), Calls("end_call", {}, say="We are on our way. ")),
        (asked("What is the weather like?"), Says("Sorry, I did not understand that.")),
    ],
)
def test_the_model_answers_to_what_it_hears(request_: ChatRequest, reply: Calls | Says) -> None:
    """The scripted answers follow from the recognised words and from the tool's result."""
    assert script.answer(request_) == reply


def test_who_speaks_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without recordings of a person a synthetic voice says all lines, and a note names the package that has them."""
    monkeypatch.setattr("voicepipe.cli._demo_callers.RECORDINGS", tmp_path)
    assert "caller: eSpeak NG (GPL-3); with Debian's package asterisk-core-sounds-en-wav a person" in "\n".join(
        script.offline(None, None).notes
    )
    for line in script.LINES:
        if line.recording:
            (tmp_path / f"{line.recording}.wav").touch()
    notes = script.offline("http://127.0.0.1:11434/v1", None).notes
    assert "caller: 4 of 6 lines are recordings of a person (CC-BY-SA 3.0), the rest eSpeak NG" in notes
    assert "model: http://127.0.0.1:11434/v1" in notes
