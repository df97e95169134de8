"""Recorder: what a call leaves on the disk, and that it is all there."""

from __future__ import annotations

import csv
import json
import threading
import wave
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from tests.watching.recording.calls import Line, Reports, all_in, everything, only_in, recorded, spans
from tests.watching.recording.calls import agent as hearing_agent
from voicepipe import observed
from voicepipe.testing import Calls, RecordingOutput, Says, ScriptedModel, ScriptedUser, ScriptedVoice

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


# --- sound ------------------------------------------------------------------------------------------------------------


async def test_both_sides_stand_where_they_were_heard(tmp_path: Path) -> None:
    """The caller's speech begins at the time of its event, and the agent's at that of its first frame."""
    recogniser = Reports().says("hello", at_s=2.0, speech_s=0.7, silence_s=0.3)
    pipeline = hearing_agent(recogniser, [Says("Thank you.")], observers=[vp.Recorder(tmp_path)])
    recording = await recorded(tmp_path, pipeline, source=Line((1.0, 1.7), seconds=5.0))
    events = {type(one.event): one.event for one in recording.events}
    assert spans(recording.audio("caller"), 16_000) == [(events[vp.SpeechStarted].at_s, events[vp.SpeechEnded].at_s)]
    ((first_s, last_s),) = spans(recording.audio("agent"), 16_000)
    assert first_s == events[vp.TurnCompleted].timeline.first_frame
    assert last_s - first_s == pytest.approx(events[vp.TurnCompleted].heard_s, abs=0.001)


@pytest.mark.parametrize(("line_rate", "voice_rate"), [(8_000, 24_000), (16_000, 8_000)])
async def test_sides_of_different_rates_are_resampled(line_rate: int, voice_rate: int, tmp_path: Path) -> None:
    """The recording has the higher rate, and both sides are within 20 ms of where they were."""
    recogniser = Reports(line_rate).says("hello", at_s=2.0, speech_s=0.7, silence_s=0.3)
    row = vp.STTStage(recogniser), ScriptedModel([Says("Yes.")]), vp.SentenceChunker()
    voice = ScriptedVoice(sample_rate=voice_rate)
    pipeline = vp.Pipeline(
        *row, voice, detector=None, output=RecordingOutput(voice_rate), observers=[vp.Recorder(tmp_path)]
    )
    source = Line((1.0, 1.7), seconds=5.0, sample_rate=line_rate)
    recording = await recorded(tmp_path, pipeline, source=source)
    rate = recording.manifest.audio.rate
    assert rate == max(line_rate, voice_rate)
    started = next(one.event.at_s for one in recording.events if isinstance(one.event, vp.SpeechStarted))
    first_s = next(one.event.timeline.first_frame for one in recording.events if isinstance(one.event, vp.TurnEnded))
    assert onset(recording.audio("caller"), rate) == pytest.approx(started, abs=0.02)
    assert onset(recording.audio("agent"), rate) == pytest.approx(first_s, abs=0.02)


def onset(pcm: bytes, rate: int) -> float:
    return next(at for at, sample in enumerate(memoryview(pcm).cast("h")) if abs(sample) > 1000) / rate


async def test_typed_calls_without_any_sound_are_recorded(tmp_path: Path) -> None:
    """A call whose output shows text has no audio, and all the rest."""

    class Shown(vp.ClockedOutput):
        shows_text = True

    row = ScriptedModel([Says("Hello.")]), vp.SentenceChunker(), ScriptedVoice()
    async with vp.Pipeline(*row, output=Shown(24_000), observers=[vp.Recorder(tmp_path)]).session() as session:
        await session.user_says("hi")
    recording = only_in(tmp_path)
    assert (spans(recording.audio("caller"), 24_000), spans(recording.audio("agent"), 24_000)) == ([], [])
    assert [one.is_typed for one in recording.exchanges if isinstance(one, observed.Heard)] == [True]
    assert [message.text for message in recording.history] == ["hi", "Hello."]


# --- what is said about it --------------------------------------------------------------------------------------------


async def test_an_event_says_that_the_call_is_recorded_before_anything_else(tmp_path: Path) -> None:
    """It comes first, with the directory; the agent says it first if it should, whole, before the greeting."""
    pipeline = agent(vp.Recorder(tmp_path, announces="This call is recorded."))
    recording = await recorded(tmp_path, pipeline, greeting="Hello.")
    events = [one.event for one in recording.events]
    assert events[0] == vp.RecordingStarted(path=str(recording.path), sides="both")
    assert [event.text for event in events if isinstance(event, vp.SentenceStarted)][:2] == [
        "This call is recorded.",
        "Hello.",
    ]
    said = [one.arguments for one in recording.exchanges if isinstance(one, observed.ApplicationAsked)]
    assert [one["protected"] for one in said] == [True, False]


# --- one side, and pauses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "other"), [("caller", "agent"), ("agent", "caller")])
async def test_of_one_side_nothing_of_the_other_is_recorded(side: Any, other: str, tmp_path: Path) -> None:
    """Neither its sound nor its words are in any file."""
    recogniser = Reports().says("mein Wort", at_s=2.0, speech_s=0.7, silence_s=0.3)
    pipeline = hearing_agent(recogniser, [Says("Ihr Wort.")], observers=[vp.Recorder(tmp_path, sides=side)])
    recording = await recorded(tmp_path, pipeline, source=Line((1.0, 1.7), seconds=5.0))
    assert spans(recording.audio(side), 16_000)
    with pytest.raises(vp.RecordingError, match=f"the {other}'s side was not recorded"):
        recording.audio(other)
    words = {"caller": "mein Wort", "agent": "Ihr Wort"}
    content = everything(recording.path).decode(errors="replace")
    assert (words[side] in content, words[other] in content) == (True, False)
    assert recording.manifest.redacted


@pytest.mark.parametrize("word", ["Kowalczyk.", "42", "Ann Lee", "Yes"])
@pytest.mark.slow
async def test_a_single_word_of_a_pause_is_nowhere_either(word: str, tmp_path: Path) -> None:
    """A name or a number is left out of the turn's end too, which comes after the pause; words like "yes" are not."""

    @vp.tool(effect="write")
    async def ask(call: vp.ToolContext) -> str:
        """Ask for a name."""
        vp.Recorder.of(call.session).pause()
        return "ask"

    @vp.tool(effect="write")
    async def take(name: str, call: vp.ToolContext) -> str:
        """Take the name."""
        await anyio.sleep(0.01)
        vp.Recorder.of(call.session).resume()
        return "taken"

    def reply(request: Any) -> Any:
        if request.tool_results:
            return Says("Thank you." if "taken" in str(request.tool_results) else "Your name, please?")
        return Calls("take", {"name": word.strip(".")}) if word in request.last_user_text else Calls("ask", {})

    recogniser = (
        Reports()
        .says("I want to pay", at_s=2.0, speech_s=0.7, silence_s=0.3)
        .says(word, at_s=7.0, speech_s=1.7, silence_s=0.3)
    )
    pipeline = hearing_agent(recogniser, reply, [ask, take], observers=[vp.Recorder(tmp_path)])
    recording = await recorded(tmp_path, pipeline, source=Line((1.0, 1.7), (5.0, 6.7), seconds=12.0))
    ended = [one.event for one in recording.events if isinstance(one.event, vp.TurnCompleted)]
    shown = {"Kowalczyk.": "[paused].", "Yes": "Yes"}.get(word, "[paused]")
    assert [(one.user_text, one.heard) for one in ended][1] == (shown, "Thank you.")
    for name in ("events.jsonl", "exchanges.jsonl", "turns.csv", "history.json"):
        assert word == "Yes" or f'"{word.strip(".")}' not in (recording.path / name).read_text("utf-8")


CARD = "four two four two four two four two"
DIGITS = "42424242"


@vp.tool(effect="write")
async def take_card(number: str, call: vp.ToolContext) -> str:
    """Take the card."""
    await anyio.sleep(0.01)
    vp.Recorder.of(call.session).resume()
    return "paid"


def pay(request: Any) -> Any:
    if not request.tool_results:
        if "thanks" in request.last_user_text:
            return Says("Bye.")
        is_card = "four" in request.last_user_text
        return Calls("take_card", {"number": DIGITS}) if is_card else Calls("ask_card", {})
    return Says("Your number, please?" if "ask" in str(request.tool_results) else "It is paid.")


async def paid(directory: Path, *observers: vp.Observer) -> Any:
    @vp.tool(effect="write", name="ask_card")
    async def ask(call: vp.ToolContext) -> str:
        """Ask for the card."""
        control = vp.Recorder.of(call.session)
        control.pause()
        assert control.is_paused
        return "ask for the number"

    recogniser = (
        Reports()
        .says("I want to pay", at_s=2.0, speech_s=0.7, silence_s=0.3)
        .guesses("four two four", at_s=5.5)
        .says(CARD, at_s=7.0, speech_s=1.7, silence_s=0.3)
        .says("thanks a lot", at_s=12.0, speech_s=0.7, silence_s=0.3)
    )
    pipeline = hearing_agent(recogniser, pay, [ask, take_card], observers=observers)
    return await recorded(directory, pipeline, source=Line((1.0, 1.7), (5.0, 6.7), (11.0, 11.7), seconds=15.0))


async def test_what_is_said_in_a_pause_is_nowhere(tmp_path: Path) -> None:
    """A tool pauses the recording and another resumes it: the number is neither heard nor written, then or later."""
    recording = await paid(tmp_path, vp.Recorder(tmp_path))
    content = everything(recording.path)
    assert [text for text in (CARD, DIGITS, "four two", "Your number") if text.encode() in content] == []
    assert all(text.encode() in content for text in ("I want to pay", "It is paid", "thanks a lot"))
    assert spans(recording.audio("caller"), 16_000) == [(1.0, 1.7), (11.0, 11.7)]
    events = [one.event for one in recording.events]
    assert [type(one).__name__ for one in events if "Recording" in type(one).__name__] == [
        "RecordingStarted",
        "RecordingPaused",
        "RecordingResumed",
    ]
    assert vp.Transcript("[paused]", 6.7, 7.0) in events
    assert recording.manifest.redacted


async def test_words_that_were_begun_in_a_pause_are_left_out_to_their_end(tmp_path: Path) -> None:
    """A program that records again in the middle of a number does not get the rest of it."""
    recogniser = (
        Reports()
        .guesses("four two", at_s=1.8, stable=False)
        .says(CARD, at_s=4.0, speech_s=2.7, silence_s=0.3)
        .says("thanks a lot", at_s=7.0, speech_s=0.7, silence_s=0.3)
    )
    pipeline = hearing_agent(recogniser, [Says("Yes."), Says("Bye.")], observers=[vp.Recorder(tmp_path)])
    async with pipeline.session(source=Line((1.0, 3.7), (6.0, 6.7), seconds=9.0)) as session:
        control = vp.Recorder.of(session)
        await anyio.sleep(0.5)
        control.pause()
        await anyio.sleep(1.5)
        control.resume()
        await session.ended.wait()
    recording = only_in(tmp_path)
    assert spans(recording.audio("caller"), 16_000) == [(6.0, 6.7)]
    assert b"four" not in everything(recording.path)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_calls_of_one_host_share_a_thread(tmp_path: Path) -> None:
    """Each has a recording of its own, and one thread writes them all."""
    row = ScriptedModel([Says("Hello."), Says("Hello.")]), vp.SentenceChunker(), ScriptedVoice(character_s=0.001)
    async with vp.Pipeline(*row, observers=[vp.Recorder(tmp_path)]).open() as host:
        async with (
            host.session(output=RecordingOutput(), id="one") as one,
            host.session(output=RecordingOutput(), id="two") as two,
        ):
            await one.user_says("hi")
            await two.user_says("ho")
            assert [thread.name for thread in threading.enumerate()].count("voicepipe recorder") == 1
    found = all_in(tmp_path)
    assert {name: [message.text for message in one.history] for name, one in found.items()} == {
        "one": ["hi", "Hello."],
        "two": ["ho", "Hello."],
    }
    assert not any(recording.is_cut for recording in found.values())


async def test_without_a_recorder_pausing_does_nothing() -> None:
    """A tool need not know whether the call is recorded."""
    async with agent().session() as session:
        control = vp.Recorder.of(session)
        control.pause()
        control.resume()
        assert (control.paths, control.is_paused) == ((), True)
