"""`voicepipe demo --assemblyai`: the same program with simulated services, and the checks of a live model."""

from __future__ import annotations

import json
import os
import sys
import wave
from array import array
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.cli import _demo_script as script
from voicepipe.cli import main
from voicepipe.cli._demo_stack import assemblyai, live_problems
from voicepipe.testing import Says
from voicepipe.testing.simulators.gateway import GatewaySimulator
from voicepipe.testing.simulators.stt import STTSimulator
from voicepipe.testing.simulators.tts import TTSSimulator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from voicepipe.testing import ChatRequest, Reply

KEY = "canary-77d0"
PROGRAM = [sys.executable, "-W", "error", "-c", "from voicepipe.cli import main\nraise SystemExit(main())", "demo"]


def plain(request: ChatRequest) -> Reply:
    """Answer text with capitals and full stops, as a live recogniser writes it, and leave the goodbye to the caller."""
    messages = tuple(
        replace(message, content=str(message.content).lower().rstrip(".?")) if message.role == "user" else message
        for message in request.messages
    )
    reply = script.answer(replace(request, messages=messages))
    return Says("You are very welcome. Goodbye.") if "end_call" in repr(reply) else reply


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_live_program_holds_its_call_with_simulated_services(tmp_path: Path) -> None:
    """With a key and three URLs the services are used like the live ones, and the report is the same."""
    stt = STTSimulator(vp.PocketsphinxRecogniser(script.GRAMMAR, silence_s=0.28), api_key=KEY)
    gateway = GatewaySimulator(plain, api_key=KEY)
    tts = TTSSimulator(vp.EspeakTTS(), api_key=KEY, first_audio_s=0.1)
    async with stt.serve() as stt_url, gateway.serve() as llm_url, tts.serve() as tts_url:
        urls = [f"--stt-url={stt_url}", f"--llm-url={llm_url}", f"--tts-url={tts_url}"]
        command = [*PROGRAM, "--assemblyai", *urls, "--out", str(tmp_path)]
        with anyio.fail_after(100):
            ended = await anyio.run_process(command, check=False, env=os.environ | {"ASSEMBLYAI_API_KEY": KEY})
    shown, document = ended.stdout.decode(), (tmp_path / "conversation.json").read_text(encoding="utf-8")
    told = json.loads(document)

    assert (ended.returncode, ended.stderr.decode(), told["problems"]) == (0, "", [])
    assert "A conversation with AssemblyAI's services." in shown
    assert "End of speech to first audio, and where the time went" in shown
    assert [turn["event"] for turn in told["turns"]] == ["TurnCompleted"] * 2 + ["TurnInterrupted"] + [
        "TurnCompleted"
    ] * 2
    assert told["turns"][0]["user_text"] == "When are you open."
    words = next(event["words"] for event in told["events"] if event["event"] == "Transcript")
    assert [word["text"] for word in words] == ["When", "are", "you", "open."]
    assert 0.0 < words[0]["start_s"] < words[-1]["end_s"] < 10.0
    with wave.open(str(tmp_path / "conversation.wav")) as wav:
        samples = array("h", wav.readframes(wav.getnframes()))
    assert max(samples[1::2]) > 2_000
    assert [len(stt.sessions), len(tts.sessions)] == [1, 1]
    assert stt.sessions[0].was_terminated
    assert KEY not in shown + document


def test_without_a_key_it_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing key prints one line that names the variable, with exit status 2, before anything is written."""
    monkeypatch.delenv("ASSEMBLYAI_API_KEY", raising=False)
    assert main(["demo", "--assemblyai", "--out", str(tmp_path / "out")]) == 2
    said = "voicepipe: --assemblyai needs a key: put it into the environment variable ASSEMBLYAI_API_KEY\n"
    assert capsys.readouterr() == ("", said)
    assert not (tmp_path / "out").exists()


def test_services_on_this_machine_need_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """With three URLs of this machine the demo needs no key; with fewer it uses AssemblyAI, and needs one."""
    monkeypatch.delenv("ASSEMBLYAI_API_KEY", raising=False)
    urls = {"stt": "ws://127.0.0.1:1", "llm": "http://127.0.0.1:2/v1", "tts": "ws://127.0.0.1:3"}
    notes = assemblyai(urls).notes
    assert all("127.0.0.1" in note for note in notes[:3])
    for name in urls:
        with pytest.raises(vp.ConfigurationError, match="needs a key"):
            assemblyai({other: url for other, url in urls.items() if other != name})


def test_places_of_services_need_the_services(capsys: pytest.CaptureFixture[str]) -> None:
    """URLs without --assemblyai would have no effect, so they are refused."""
    assert main(["demo", "--stt-url", "ws://127.0.0.1:1"]) == 2
    assert "add --assemblyai" in capsys.readouterr().err


def test_a_service_that_cannot_be_reached_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With no service at a URL: one line on stderr, exit status 1, nothing written, and no key shown."""
    monkeypatch.setenv("ASSEMBLYAI_API_KEY", KEY)
    out = tmp_path / "out"
    pytest.importorskip("espeakng_loader")
    assert main(["demo", "--assemblyai", "--stt-url=ws://127.0.0.1:1", "--json", "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n"), out.exists()) == ("", 1, False)
    assert "cannot connect to 127.0.0.1:1" in said.err
    assert KEY not in said.err


# --- what is checked of a live model ----------------------------------------------------------------------------------

LOUD = b"\x00\x10" * 100


def ended(turn_id: int, kind: type[vp.TurnEnded], **changes: Any) -> vp.TurnEnded:
    facts: dict[str, Any] = {"turn_id": turn_id, "user_text": "Hm?", "timeline": vp.Timeline()}
    facts["heard"] = "Anything."
    if kind is vp.TurnCompleted:
        facts["finish_reason"] = "stop"
    return kind(**facts | changes)


def as_planned() -> list[vp.TurnEnded]:
    return [
        ended(number, vp.TurnCompleted if line.cut_after_s is None else vp.TurnInterrupted)
        for number, line in enumerate(script.LINES, 1)
    ]


def test_whatever_a_live_model_says_is_fine() -> None:
    """Turns that end as planned, with audible words, are no problem."""
    assert live_problems(as_planned(), dict.fromkeys(range(1, 6), LOUD)) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda turns, played: turns.pop(), "there were 4 turns instead of 5"),
        (lambda turns, played: turns.__setitem__(0, ended(1, vp.TurnInterrupted)), "turn 1: it should end as TurnComp"),
        (lambda turns, played: turns.__setitem__(2, ended(3, vp.TurnCompleted)), "turn 3: it should end as TurnInterr"),
        (lambda turns, played: turns.__setitem__(1, ended(2, vp.TurnCompleted, heard="")), "turn 2: the agent said no"),
        (lambda turns, played: played.update({4: bytes(200)}), "turn 4: 'Anything.' was said, but nothing of it"),
        (lambda turns, played: played.pop(5), "turn 5: 'Anything.' was said, but nothing of it"),
    ],
)
def test_what_can_be_checked_is_checked(spoil: Callable[..., object], said: str) -> None:
    """A missing turn, a different end, a turn without words or one without sound is a problem."""
    turns, played = as_planned(), dict.fromkeys(range(1, 6), LOUD)
    spoil(turns, played)
    (problem,) = live_problems(turns, played)
    assert problem.startswith(said)
