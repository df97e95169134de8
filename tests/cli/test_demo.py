"""`voicepipe demo`: a conversation in real time, and the files written about it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import wave
from array import array
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest

import voicepipe as vp
from voicepipe.audio.resample import Resampler
from voicepipe.cli import _demo_script as script
from voicepipe.cli._demo_files import Call, drafts_in, save, stereo
from voicepipe.cli._waterfall import waterfall
from voicepipe.testing import Calls, ChatMessage, ChatRequest, Difference, Says, run_on_virtual_time
from voicepipe.vendors.pocketsphinx.grammar import load_grammar
from voicepipe.vendors.pocketsphinx.recogniser import _Ear
from voicepipe.watching.replay import Replay, load_call, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

READ_BACK = f"""#JSGF V1.0;
grammar reply;
public <reply> = order <digit> <digit> <digit> <digit> <digit> has been shipped;
<digit> = {" | ".join(script.DIGITS)};
"""

PROGRAM = [sys.executable, "-W", "error", "-c", "from voicepipe.cli import main\nraise SystemExit(main())", "demo"]


# --- one real conversation --------------------------------------------------------------------------------------------


@dataclass
class Held:
    """A conversation that a separate process held."""

    ended: subprocess.CompletedProcess[str]
    out: Path
    recordings: Path

    @property
    def document(self) -> dict[str, Any]:
        return json.loads((self.out / "conversation.json").read_text(encoding="utf-8"))

    def track(self, channel: int) -> tuple[array[int], int]:
        """Return the samples of the left (0) or right (1) channel, and the rate."""
        with wave.open(str(self.out / "conversation.wav")) as wav:
            assert (wav.getnchannels(), wav.getsampwidth()) == (2, 2)
            return array("h", wav.readframes(wav.getnframes()))[channel::2], wav.getframerate()


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Held:
    folder = tmp_path_factory.mktemp("demo")
    out, recordings = folder / "conversation", folder / "calls"
    program = [*PROGRAM, "--json", "--out", str(out), "--record", str(recordings)]
    ended = subprocess.run(program, capture_output=True, text=True, encoding="utf-8", check=False, timeout=100)
    assert ended.returncode == 0, ended.stderr
    return Held(ended, out, recordings)


@pytest.mark.slow
def test_it_goes_as_scripted(held: Held) -> None:
    """The conversation succeeds with an empty stderr and one JSON document on stdout, the same as in the file."""
    assert held.ended.stderr == ""
    assert json.loads(held.ended.stdout) == held.document
    assert held.document["problems"] == []


@pytest.mark.slow
def test_its_recording_is_replayed(held: Held) -> None:
    """On virtual time the conversation is the same again, twice: words, outcomes, tools, decisions and their order."""
    (recording,) = held.recordings.iterdir()
    first, second = (run_on_virtual_time(Replay(load_call(recording)).run) for _ in range(2))
    assert [turn.heard for turn in first.turns] == [turn["heard"] for turn in held.document["turns"]]
    assert [change for change in first.difference.changes if change.by_s is None] == []
    between = Difference(first.replay, second.replay, times="marks", tolerance_s=0.0)
    assert not between, side_by_side(between)


@pytest.mark.slow
def test_only_the_two_files_are_left(held: Held) -> None:
    """The directory holds the recording and the document, and no temporary files."""
    assert sorted(path.name for path in held.out.iterdir()) == ["conversation.json", "conversation.wav"]


@pytest.mark.slow
def test_every_turn_is_answered(held: Held) -> None:
    """Of five turns the third is interrupted; the others are heard completely."""
    outcomes = [(turn["user_text"], turn["event"]) for turn in held.document["turns"]]
    assert outcomes == [
        ("when are you open", "TurnCompleted"),
        ("where is my order one two three four five", "TurnCompleted"),
        ("tell me about your return policy", "TurnInterrupted"),
        ("how much does it cost", "TurnCompleted"),
        ("thank you and goodbye", "TurnCompleted"),
    ]


@pytest.mark.slow
def test_contributions_add_up(held: Held) -> None:
    """In each turn the contributions add up, to the microsecond, to the wait from end of speech to first audio."""
    turns = held.document["turns"]
    assert all(sum(turn["contributions_us"].values()) == turn["waited_us"] for turn in turns)
    assert {"silence", "stt", "llm", "sentence", "tts"} <= set(turns[0]["contributions_us"])
    assert held.document["median_wait_us"] == median(turn["waited_us"] for turn in turns)


@pytest.mark.slow
def test_the_order_was_looked_up(held: Held) -> None:
    """The digits that the caller spoke reach the tool, and its result enters the history."""
    (call,) = [
        call
        for message in held.document["history"]
        for call in message.get("calls", ())
        if call["name"] == "get_order_status"
    ]
    assert json.loads(call["arguments"]) == {"order_id": "ORD-12345"}
    assert (call["status"], json.loads(call["result"])["state"]) == ("done", "shipped")


@pytest.mark.slow
def test_the_model_is_told_what_was_heard(held: Held) -> None:
    """After the interruption, history and next request hold a true beginning of the reply, and nothing else of it."""
    document = held.document
    (cut,) = [message for message in document["history"] if message.get("was_interrupted")]
    assert cut["heard"] == document["turns"][2]["heard"]
    assert cut["heard"] != cut["generated"]
    assert cut["generated"].startswith(cut["heard"])
    (request,) = [r for r in document["requests"] if r["messages"][-1]["content"] == "how much does it cost"]
    assert request["messages"][-2]["role"] == "assistant"
    assert request["messages"][-2]["content"].removesuffix(" —") == cut["heard"] != ""


@pytest.mark.slow
def test_an_interrupted_agent_is_silent(held: Held) -> None:
    """In the recording no sample of the agent follows the pause, or the interruption, until the next reply begins."""
    samples, rate = held.track(1)
    cut, *_, again = (
        event["emitted_s"]
        for event in held.document["events"]
        if event["event"] in ("Paused", "TurnInterrupted")
        or (event["event"] == "SentenceStarted" and event["turn_id"] == 4)
    )
    assert any(samples[round((cut - 0.2) * rate) : round(cut * rate)])
    # Two frames: the event of a sentence is told just before its first frame is handed over.
    assert not any(samples[round(cut * rate) + 1 : round((again - 0.04) * rate)])


@pytest.mark.slow
def test_both_tracks_are_on_one_clock(held: Held) -> None:
    """The caller is loud between the recogniser's times of the first line, and the agent silent until its reply."""
    events = held.document["events"]
    began, ended = (
        next(event["at_s"] for event in events if event["event"] == kind) for kind in ("SpeechStarted", "SpeechEnded")
    )
    replied = next(event["emitted_s"] for event in events if event["event"] == "SentenceStarted")
    (caller, rate), (agent, _) = held.track(0), held.track(1)
    assert len(caller) == len(agent)
    assert max(caller[: round((began - 0.1) * rate)]) < 100
    assert max(caller[round(began * rate) : round(ended * rate)]) > 5_000
    assert not any(agent[: round((replied - 0.04) * rate)])
    assert max(agent[round(replied * rate) : round((replied + 1) * rate)]) > 5_000


@pytest.mark.slow
def test_the_order_is_read_back_aloud(held: Held) -> None:
    """A recogniser given the agent's track recognises the digits of the order."""
    starts = [(e["text"], e["emitted_s"]) for e in held.document["events"] if e["event"] == "SentenceStarted"]
    began, ended = next((one[1], other[1]) for one, other in pairwise(starts) if one[0].startswith("Order"))
    samples, rate = held.track(1)
    # A sentence is told when its first frame is handed over; two frames may still be played before it.
    sentence = samples[round(began * rate) : round((ended + 0.04) * rate)].tobytes()
    resampler = Resampler(rate, 16_000)
    ear = _Ear(load_grammar(READ_BACK), 30.0)
    quiet = bytes(9_600)
    said = ear.finish(deque([ear.with_noise(quiet + resampler.feed(sentence) + resampler.flush() + quiet)]))
    assert said == "order one two three four five has been shipped"


OTHER_SCRIPT = """
from dataclasses import replace
from voicepipe.cli import _demo_script as script, main
script.LINES = (replace(script.LINES[-1], tool="refund"),)
raise SystemExit(main())
"""


@pytest.mark.slow
def test_a_conversation_off_its_script_fails(tmp_path: Path) -> None:
    """When something in the script does not happen, the command says what, and exits with 1."""
    program = [sys.executable, "-W", "error", "-c", OTHER_SCRIPT, "demo", "--out", str(tmp_path)]
    ended = subprocess.run(program, capture_output=True, text=True, encoding="utf-8", check=False, timeout=100)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "not as scripted: the tool refund did not succeed\n" in ended.stdout
    assert Held(ended, tmp_path, tmp_path).document["problems"] == ["the tool refund did not succeed"]


def started(out: Path) -> subprocess.Popen[str]:
    """Start a conversation whose output goes to a pipe, line by line."""
    program = [sys.executable, "-u", *PROGRAM[1:], "--out", str(out)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")


@pytest.mark.slow
@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.skipif(sys.platform == "win32", reason="sends signals to a process")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_it_quietly(name: str, tmp_path: Path) -> None:
    """Ctrl-C or SIGTERM in the middle of a reply exits with 128 + signal, no traceback, and leaves nothing behind."""
    out = tmp_path / "conversation"
    with started(out) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while "agent" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.Signals[name])
        process.stdout.read()
        assert process.stderr.read() == ""
        assert process.wait() == 128 + signal.Signals[name]
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pipes break differently")
def test_a_reader_that_leaves_ends_it_quietly(tmp_path: Path) -> None:
    """When the reader of stdout goes away, the conversation ends without a traceback and leaves nothing behind."""
    out = tmp_path / "conversation"
    with started(out) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("A conversation")
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1
    assert not out.exists()


# --- its pieces -------------------------------------------------------------------------------------------------------


def ended(line: script.Line, turn_id: int, **changes: Any) -> vp.TurnEnded:
    """Return the event of a turn that went as scripted, except for the changes."""
    cut = line.cut_after_s is not None
    facts = {"turn_id": turn_id, "user_text": line.text, "timeline": vp.Timeline()}
    if changes.pop("cut", cut):
        return vp.TurnInterrupted(**facts | {"heard": line.reply[:20].strip()} | changes)
    return vp.TurnCompleted(**facts | {"heard": line.reply, "finish_reason": "stop"} | changes)


def finished(name: str, status: str = "done") -> vp.ToolFinished:
    return vp.ToolFinished(turn_id=1, call_id="call_1", name=name, status=status)


def as_scripted() -> list[vp.Event]:
    turns = [ended(line, turn_id) for turn_id, line in enumerate(script.LINES, 1)]
    return [*turns, finished("get_order_status"), finished("end_call")]


def test_a_conversation_as_scripted_has_no_problems() -> None:
    """A conversation that follows the script has no problems."""
    assert script.problems(as_scripted()) == []


@pytest.mark.parametrize(
    ("at", "instead", "said"),
    [
        (0, lambda line: ended(line, 1, user_text="when are you"), "turn 1: the caller said 'when are you open'"),
        (0, lambda line: ended(line, 1, heard="We are open"), "turn 1: 'We are open' was heard instead of"),
        (0, lambda line: ended(line, 1, cut=True), "turn 1: it should end as TurnCompleted"),
        (2, lambda line: ended(line, 3, cut=False), "turn 3: it should end as TurnInterrupted"),
        (2, lambda line: ended(line, 3, heard=""), "turn 3: '' was heard, which is not the beginning"),
        (2, lambda line: ended(line, 3, heard=line.reply), "which is not the beginning"),
        (2, lambda line: ended(line, 3, heard="You may"), "'You may' was heard, which is not the beginning"),
        (5, lambda line: finished("get_order_status", "failed"), "the tool get_order_status did not succeed"),
        (6, lambda line: vp.SpeechEnded(at_s=1.0), "the tool end_call did not succeed"),
        (4, lambda line: vp.SpeechEnded(at_s=1.0), "there were 4 turns instead of 5"),
    ],
)
def test_each_difference_from_the_script_is_told(
    at: int, instead: Callable[[script.Line], vp.Event], said: str
) -> None:
    """A turn that was misrecognised, cut, answered differently or missing, or a tool that failed, is one problem."""
    events = as_scripted()
    events[at] = instead(script.LINES[min(at, 4)])
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
        (
            asked("where is my order nine zero two one zero"),
            Calls("get_order_status", {"order_id": "ORD-90210"}, say="Let me look that up. "),
        ),
        (
            asked(
                "where is my order nine zero two one zero",
                '{"order_id": "ORD-90210", "state": "packed", "arrives": "on Monday"}',
            ),
            Says("Order nine zero two one zero has been packed. It arrives on Monday."),
        ),
        (asked("where is my order one one one one one", '{"error": "no"}'), Says("I cannot find that order.")),
        (asked("when are you open\nhow much does it cost"), Says("Sending it back costs you nothing.")),
        (asked("stop"), Says("Sorry, I did not understand that.")),
    ],
)
def test_the_model_answers_to_what_it_is_told(request_: ChatRequest, reply: Calls | Says) -> None:
    """The scripted answers follow from the recognised words and from the tool's result."""
    assert script.answer(request_) == reply


def test_tracks_are_placed_by_their_time() -> None:
    """The caller's audio is on the left at its own time, the agent's on the right from the beginning, to the sample."""
    call = Call(began_s=100.0, played=bytearray(array("h", [7] * 22_050).tobytes()))
    loud = array("h", [1000] * 8_000).tobytes()
    call.caller = [vp.AudioFrame(pcm=loud, sample_rate=16_000, start_s=100.25)]
    both = array("h", stereo(call))
    left, right = both[0::2], both[1::2]
    assert right.tolist() == [7] * 22_050
    at = {second: left[round(second * 22_050)] for second in (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9)}
    assert at == {0.1: 0, 0.2: 0, 0.3: 1000, 0.5: 1000, 0.7: 1000, 0.8: 0, 0.9: 0}


def test_bars_follow_each_other() -> None:
    """Each bar of a turn begins where the previous one ended, and together they are as long as the wait."""
    assert [line.rstrip() for line in waterfall({"silence": 300_000, "stt": 0, "llm": 100_000}, "#")] == [
        "silence   ##############################             300.0 ms",
        "stt                                     |              0.0 ms",
        "llm                                     ##########   100.0 ms",
        "waited                                               400.0 ms",
    ]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    """When the conversation fails, neither temporary files nor a new directory are left."""
    out = tmp_path / "conversation"

    def fail() -> None:
        with drafts_in(out) as drafts:
            (drafts / "conversation.wav").touch()
            raise vp.AudioError("the device is gone")

    with pytest.raises(vp.AudioError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_put_in_place_is_told(tmp_path: Path) -> None:
    """When a file cannot be moved to its place, the error says where, and no temporary file is left."""
    (tmp_path / "conversation.wav").mkdir()
    with pytest.raises(vp.AudioError, match="the conversation cannot be written"), drafts_in(tmp_path) as drafts:
        save(Call(), drafts, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["conversation.wav"]
