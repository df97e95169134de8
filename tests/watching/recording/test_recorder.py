"""Recorder: what a call leaves on the disk, and that it is all there."""

from __future__ import annotations

import csv
import json
import wave
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from voicepipe import observed
from voicepipe.testing import Calls, RecordingOutput, Says, ScriptedModel, ScriptedUser, ScriptedVoice
from voicepipe.watching.recording import Recording

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


@vp.tool(effect="read")
async def price(what: str) -> str:
    """Return a price."""
    await anyio.sleep(0.1)
    return f"{what}: 2 euros"


def answer(request: Any) -> Any:
    if not request.tool_results:
        return Calls("price", {"what": "tea"})
    return Says("It is two euros. Anything else?")


class Notes(vp.Observer):
    """Keeps what a recorder gets, too."""

    def __init__(self) -> None:
        self.events: list[vp.Event] = []
        self.exchanges: list[vp.Exchange] = []

    def on_event(self, event: vp.Event) -> None:
        self.events.append(event)

    def on_exchange(self, exchange: vp.Exchange) -> None:
        self.exchanges.append(deepcopy(exchange))  # messages of the history change later


def agent(*observers: vp.Observer) -> vp.Pipeline:
    user = ScriptedUser().says("how much is tea", at_s=1.5).hangs_up(at_s=6.0)
    row = user, ScriptedModel(answer), vp.ToolRouter([price]), vp.SentenceChunker(), ScriptedVoice()
    return vp.Pipeline(*row, output=RecordingOutput(), observers=observers)


def only_in(directory: Path) -> Recording:
    (path,) = directory.glob("*.vprec")
    return Recording.read(path)


async def recorded(directory: Path, pipeline: vp.Pipeline, **options: Any) -> Recording:
    """Hold a call to its end, and return its recording, the only one in the directory."""
    async with pipeline.session(**options) as session:
        await session.ended.wait()
    return only_in(directory)


async def test_a_call_is_recorded_with_all_that_happened(tmp_path: Path) -> None:
    """Events and exchanges are those that every observer gets, to the microsecond; audio has its length and gaps."""
    notes = Notes()
    recording = await recorded(tmp_path, agent(vp.Recorder(tmp_path), notes), greeting="Hello.", id="one/two")
    assert [repr(one.event) for one in recording.events] == [repr(event) for event in notes.events]
    assert list(recording.exchanges) == notes.exchanges
    assert [message.text for message in recording.history] == [
        "Hello.",
        "how much is tea",
        "",
        "It is two euros. Anything else?",
    ]
    manifest = recording.manifest
    assert (manifest.id, manifest.agent.voice_rate, manifest.agent.turn_rules()) == ("one/two", 24_000, vp.TurnRules())
    assert manifest.ended is not None
    assert (manifest.ended.t_s, manifest.ended.reason, recording.is_cut) == (6.0, "the caller hung up", False)
    played = recording.audio("agent")
    assert len(played) == 6.0 * 24_000 * 2
    given = b"".join(
        one.piece for one in notes.exchanges if isinstance(one, observed.VoiceGave) and isinstance(one.piece, bytes)
    )
    assert played.replace(bytes(2), b"") == given.replace(bytes(2), b"")


async def test_the_files_are_plain_and_private(tmp_path: Path) -> None:
    """Audio, lines of JSON and a table of turns, which their owner alone can read."""
    recording = await recorded(
        tmp_path / "calls", agent(vp.Recorder(tmp_path / "calls")), facts={"caller": vp.Personal("0815")}
    )
    files = {file.name: file.stat().st_mode & 0o777 for file in recording.path.iterdir()}
    assert files == dict.fromkeys(
        ["manifest.json", "audio.wav", "voice.wav", "events.jsonl", "exchanges.jsonl", "history.json", "turns.csv"],
        0o600,
    )
    assert (recording.path.stat().st_mode & 0o777, (tmp_path / "calls").stat().st_mode & 0o777) == (0o700, 0o700)
    with wave.open(str(recording.path / "audio.wav")) as sound:
        assert (sound.getnchannels(), sound.getframerate(), sound.getnframes()) == (2, 24_000, 144_000)
    (turn,) = csv.DictReader((recording.path / "turns.csv").read_text().splitlines())
    assert (turn["outcome"], turn["waited_s"], turn["tools"]) == ("completed", "0.6", "price")
    lines = [json.loads(line) for line in (recording.path / "events.jsonl").read_text().splitlines()]
    assert (lines[-1]["event"], lines[-1]["contributions"]["tools"]) == ("TurnCompleted", 0.1)
    assert json.loads((recording.path / "manifest.json").read_text())["facts"] == {"caller": "***"}
