"""Whole sessions that speak through AssemblyAI's text-to-speech, on virtual time against a server of its protocol."""

from __future__ import annotations

import gc
import logging
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from typing import Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.tts_server import Peer, SpeechServer, good
from voicepipe.errors import AuthenticationError, ConfigurationError, VendorError
from voicepipe.history import AssistantMessage
from voicepipe.testing import ChatRequest, RecordingOutput, Reply, Says, ScriptedModel
from voicepipe.testing.simulators.tts import TTSFault, TTSSimulator
from voicepipe.vendors.assemblyai.tts import AssemblyAITTS

pytestmark = pytest.mark.anyio

KEY = "canary-77b0"

LONG = "One two three four five six seven eight nine ten. Eleven twelve."


class Call:
    """A session whose voice is a simulated service's."""

    def __init__(self, session: vp.Session, simulator: TTSSimulator, output: RecordingOutput) -> None:
        self.session = session
        self.simulator = simulator
        self.output = output

    @property
    def heard(self) -> str:
        """What was heard of the last reply."""
        replies = [one.heard for one in self.session.history if isinstance(one, AssistantMessage)]
        return replies[-1] if replies else ""

    async def is_interrupted_after(self, seconds: float) -> str:
        """Say something, interrupt the reply, and return what was heard of it."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.session.user_says, "Hello?")
            await anyio.sleep(seconds)
            self.session.interrupt()
        return self.heard


@asynccontextmanager
async def calling(
    simulator: TTSSimulator,
    *replies: str,
    script: Callable[[ChatRequest], Reply] | None = None,
    output: RecordingOutput | None = None,
    **settings: Any,
) -> AsyncGenerator[Call]:
    output = output or RecordingOutput()
    async with simulator.serve() as url:
        voice = AssemblyAITTS(url=url, api_key=KEY, **settings)
        row = vp.Pipeline(
            ScriptedModel(script or [Says(reply) for reply in replies]), vp.SentenceChunker(), voice, fallback=""
        )
        async with row.session(output=output) as session:
            yield Call(session, simulator, output)


def speeches(simulator: TTSSimulator) -> list[list[tuple[str, str]]]:
    return [[(one.text, one.outcome) for one in session.speeches] for session in simulator.sessions]


def kinds(simulator: TTSSimulator) -> list[list[str]]:
    return [session.kinds for session in simulator.sessions]


SENTENCE = ["Generate", "Flush"]


# --- speaking ---------------------------------------------------------------------------------------------------------


async def test_a_reply_is_spoken() -> None:
    """Each sentence is one request on one socket that was open before; the audio is played without a gap."""
    simulator = TTSSimulator(api_key=KEY, first_audio_s=0.3, character_s=0.06)
    async with calling(simulator, "Hello there. How are you today?") as call:
        await anyio.sleep(5)
        turn = await call.session.user_says("Hello?")

    assert call.heard == "Hello there. How are you today?"
    assert turn.timeline.tts_first_audio == 5.3
    assert call.output.spans() == [(pytest.approx(5.3), pytest.approx(5.3 + 12 * 0.06 + 18 * 0.06))]
    assert speeches(simulator) == [[("Hello there.", "done"), ("How are you today?", "done")]]
    assert simulator.sessions[0].began_s == 0.0
    assert simulator.sessions[0].was_terminated


async def test_two_sentences_are_in_flight() -> None:
    """The second sentence is requested while the first is prepared, the third when the second begins to play."""
    simulator = TTSSimulator(api_key=KEY)
    async with calling(simulator, "One is here. Two is here. Three is here.") as call:
        await call.session.user_says("Hello?")
    at_s = [at for at, message in simulator.sessions[0].messages if message["type"] == "Flush"]

    # The output takes in 40 ms ahead of what it plays.
    assert at_s == [0.0, 0.0, pytest.approx(0.3 + 12 * 0.06 - 0.04)]
    assert call.heard == "One is here. Two is here. Three is here."


async def test_the_settings_go_into_the_address() -> None:
    """The settings are in the query, and the key is not."""
    simulator = TTSSimulator(api_key=KEY)
    settings = {"voice_id": "aai-vera", "language": "german", "sample_rate": 16_000, "model_id": "assemblyai-tts-1"}
    output = RecordingOutput(16_000)
    async with calling(simulator, output=output, word_boundaries=False, inactivity_timeout_s=30, **settings):
        pass
    assert simulator.sessions[0].query == {
        "voice_id": "aai-vera",
        "language": "german",
        "sample_rate": "16000",
        "model_id": "assemblyai-tts-1",
        "encoding": "pcm_s16le",
        "word_boundaries": "false",
        "inactivity_timeout": "30",
    }


async def test_a_long_sentence_is_spoken_in_parts() -> None:
    """A sentence of 3000 characters reaches the service in parts that it accepts, and is heard whole."""
    text = " ".join(["word"] * 600) + " " + "x" * 100 + "."
    simulator = TTSSimulator(api_key=KEY, character_s=0.01)
    async with simulator.serve() as url:
        voice = AssemblyAITTS(url=url, api_key=KEY)
        row = vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), voice)
        output = RecordingOutput()
        async with row.session(output=output) as session:
            session.say(text)
            async for event in session:
                if isinstance(event, vp.TurnCompleted):
                    session.end()
    sent = [message["text"] for _, message in simulator.sessions[0].messages if message["type"] == "Generate"]

    assert "".join("".join(sent).split()) == "".join(text.split())
    assert all(len(one) <= 1000 for one in sent)
    assert simulator.sessions[0].error == ""


# --- word times -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("has_words", [True, False])
async def test_what_was_heard_is_exact_with_word_times(has_words: bool) -> None:
    """After an interruption the history ends at the last whole word; without word times it may be a little shorter."""
    simulator = TTSSimulator(api_key=KEY, speed=50.0, character_s=0.06)
    text = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen."
    async with calling(simulator, text, word_boundaries=has_words) as call:
        heard = await call.is_interrupted_after(0.3 + 60 * 0.06 + 0.01)
    exact = text[:60].rsplit(" ", 1)[0] if text[60] != " " else text[:60]

    assert text.startswith(heard)
    assert (heard == exact) is has_words or not has_words
    assert len(heard) <= len(exact)


@pytest.mark.parametrize("boundaries_s", [0.05, 0.3, 5.0])
async def test_waiting_for_word_times_makes_no_gap(boundaries_s: float) -> None:
    """Word times come after the audio, if at all; the next sentence is never late because of them."""
    simulator = TTSSimulator(api_key=KEY, boundaries_s=boundaries_s, speed=3.0)
    async with calling(simulator, "Yes. I do. Oh, it is a longer one this time. Well.") as call:
        await call.session.user_says("Hello?")
    assert len(call.output.spans()) == 1
    assert call.heard.endswith("Well.")


async def pieces_of(simulator: TTSSimulator, text: str) -> tuple[list[tuple[float, bytes | vp.WordMark]], float]:
    """Return what `synthesize` yields with the time of each piece, and when it ended."""
    async with simulator.serve() as url:
        voice = AssemblyAITTS(url=url, api_key=KEY)
        async with voice.open(), voice.attach(None):  # type: ignore[arg-type]  # it needs nothing of a session
            pieces = [(anyio.current_time(), piece) async for piece in voice.synthesize(vp.Sentence(text))]
            return pieces, anyio.current_time()


async def test_word_times_of_a_short_sentence_are_waited_for() -> None:
    """Word times that come after all audio was passed on are still in time."""
    pieces, _ = await pieces_of(TTSSimulator(boundaries_s=0.1, speed=50.0, character_s=0.0625), " One two.")
    marks = [piece for _, piece in pieces if isinstance(piece, vp.WordMark)]
    assert marks == [vp.WordMark(char_end=4, end_s=0.188), vp.WordMark(char_end=9, end_s=0.5)]


async def test_word_times_that_do_not_come_are_not_waited_for() -> None:
    """When no word times come, the sentence ends half a second after its last audio."""
    pieces, ended_s = await pieces_of(TTSSimulator(boundaries_s=100.0, speed=50.0), "One two three four five six.")
    assert ended_s - pieces[-1][0] == pytest.approx(0.5)


async def test_word_times_of_a_long_sentence_go_on() -> None:
    """The marks of a sentence's second part count from the start of the first part's audio and text."""
    text = " ".join(["word"] * 300)
    pieces, _ = await pieces_of(TTSSimulator(speed=1000.0, character_s=0.01, boundaries_s=0.0), text)
    marks = [piece for _, piece in pieces if isinstance(piece, vp.WordMark)]
    audio = b"".join(piece for _, piece in pieces if isinstance(piece, bytes))

    assert [mark.char_end for mark in marks] == [5 * at + 4 for at in range(300)]
    assert all(before.end_s < after.end_s for before, after in pairwise(marks))
    assert marks[-1].end_s == pytest.approx(len(audio) / 48_000)


# --- barge-in ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("late_frames", [0, 5])
async def test_a_barge_in_cancels_and_keeps_the_socket(late_frames: int) -> None:
    """One `Cancel` for both sentences in flight; the next reply is spoken on the same socket, and only it."""
    simulator = TTSSimulator(api_key=KEY, late_frames=late_frames, cancel_s=0.2, speed=2.0)
    async with calling(simulator, LONG, "Fine.") as call:
        heard = await call.is_interrupted_after(1.0)
        silent_from = anyio.current_time()
        await call.session.user_says("Sorry?")
    spans = [span for span in call.output.spans() if span[0] >= silent_from]

    assert LONG.startswith(heard)
    assert kinds(simulator) == [[*SENTENCE * 2, "Cancel", *SENTENCE, "Terminate"]]
    assert speeches(simulator)[0][-1] == ("Fine.", "done")
    assert call.heard == "Fine."
    assert [round(end - start, 3) for start, end in spans] == [0.3]


async def test_a_barge_in_before_any_audio_cancels_too() -> None:
    """A `Cancel` also drops what has not been spoken yet."""
    simulator = TTSSimulator(api_key=KEY)
    async with calling(simulator, LONG, "Fine.") as call:
        assert await call.is_interrupted_after(0.1) == ""
        await call.session.user_says("Sorry?")
    assert [outcome for _, outcome in speeches(simulator)[0]].count("done") == 1
    assert call.heard == "Fine."


@pytest.mark.slow
async def test_a_storm_of_barge_ins_costs_one_socket() -> None:
    """After a hundred interruptions at all moments the same session speaks a reply; nothing is refused or left over."""
    simulator = TTSSimulator(api_key=KEY, speed=4.0)

    def answer(request: ChatRequest) -> Reply:
        return Says("Fine." if request.last_user_text.endswith("Sorry?") else LONG)

    async with calling(simulator, script=answer) as call:
        for at in range(100):
            await call.is_interrupted_after(0.001 + 0.013 * at)
        await call.session.user_says("Sorry?")
        gc.collect()
        requests = [one for one in gc.get_objects() if type(one).__name__ == "SpeechRequest"]

    assert call.heard == "Fine."
    assert len(simulator.sessions) == 1
    assert (simulator.sessions[0].error, simulator.sessions[0].close_code) == ("", 1000)
    assert 50 < kinds(simulator)[0].count("Cancel") <= 100
    assert len(requests) <= 8


async def test_closing_a_generator_takes_its_request_back() -> None:
    """A synthesis that is closed early is cancelled without waiting for the service."""
    simulator = TTSSimulator(api_key=KEY)
    async with simulator.serve() as url:
        voice = AssemblyAITTS(url=url, api_key=KEY)
        async with voice.open(), voice.attach(None):  # type: ignore[arg-type]  # it needs nothing of a session
            async with aclosing(voice.synthesize(vp.Sentence("One two three."))) as pieces:
                await anext(pieces)
                closed_s = anyio.current_time()
            assert anyio.current_time() == closed_s
            pcm = [piece async for piece in voice.synthesize(vp.Sentence("Four.")) if isinstance(piece, bytes)]

    assert len(b"".join(pcm)) == round(5 * 0.06 * 24_000) * 2
    assert [one for one in speeches(simulator)[0] if one[0]] == [("One two three.", "cancelled"), ("Four.", "done")]


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1012, 3008])
async def test_a_socket_lost_between_turns_is_not_noticed(code: int) -> None:
    """A connection that ends after the first reply is replaced before the second, which is not delayed."""
    between = anyio.Event()

    async def ends(peer: Peer) -> None:
        await peer.begin()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.serve)
            await between.wait()
            tasks.cancel_scope.cancel()
        await peer.connection.close(code)

    server = SpeechServer(ends, good)
    async with server.serve() as url:
        script: list[Reply] = [Says("Yes."), Says("No.")]
        row = vp.Pipeline(ScriptedModel(script), vp.SentenceChunker(), AssemblyAITTS(url=url, api_key=KEY))
        async with row.session(output=RecordingOutput()) as session:
            first = await session.user_says("Hello?")
            between.set()
            await anyio.sleep(1)
            second = await session.user_says("And now?")
    waited = [turn.timeline.tts_first_audio - turn.timeline.first_sentence for turn in (first, second)]

    assert (first.failure, second.failure, waited) == (None, None, [0.0, 0.0])
    assert [peer.kinds for peer in server.peers] == [["Yes.", "Flush"], ["No.", "Flush", "Terminate"]]


async def test_a_socket_lost_before_the_first_audio_costs_only_time() -> None:
    """A sentence that waits when the socket breaks is spoken on another, once, and the turn completes."""

    async def breaks(peer: Peer) -> None:
        await peer.begin()
        await peer.read_until("No, never.")
        peer.connection.transport.abort()

    server = SpeechServer(breaks, good)
    async with server.serve() as url:
        voice = AssemblyAITTS(url=url, api_key=KEY)
        row = vp.Pipeline(ScriptedModel([Says("No, never. Sorry.")]), vp.SentenceChunker(), voice)
        async with row.session(output=RecordingOutput()) as session:
            turn = await session.user_says("Hello?")

    assert turn.failure is None
    assert 0.0 <= turn.timeline.tts_first_audio <= 0.5
    assert server.peers[1].kinds == ["No, never.", "Flush", "Sorry.", "Flush", "Terminate"]


@pytest.mark.parametrize("how", ["error", "close", "cut", "stall"])
async def test_a_sentence_that_breaks_is_not_said_twice(how: Any) -> None:
    """When audio breaks off, the history keeps what was heard, the turn fails typed, and the next turn speaks."""
    simulator = TTSSimulator(api_key=KEY, faults=[TTSFault(how=how, after_frames=12)], speed=3.0)
    async with calling(simulator, LONG, "Fine.") as call:
        turn = await call.session.user_says("Hello?")
        broken = call.heard
        await call.session.user_says("Sorry?")

    assert isinstance(turn.failure, VendorError)
    assert turn.failure.retryable
    assert 0 < len(broken) < len(LONG)
    assert LONG.startswith(broken)
    assert call.heard == "Fine."
    assert len(simulator.sessions) == 2


async def test_a_refused_key_ends_the_session_at_its_start() -> None:
    """The service checks the key after the handshake, and the error says what to do."""
    with pytest.raises(AuthenticationError, match="code 1008") as raised:
        async with calling(TTSSimulator(api_key="another")):
            raise AssertionError("it opened")
    assert KEY not in "".join(traceback.format_exception(raised.value))
    assert "in AssemblyAITTS" in raised.value.__notes__


async def test_an_unknown_voice_is_told_at_the_start() -> None:
    """A voice that the service does not know is a configuration error."""
    with pytest.raises(ConfigurationError, match="voice_id"):
        async with calling(TTSSimulator(), voice_id="aai-nobody"):
            raise AssertionError("it opened")


@pytest.mark.slow
async def test_a_session_is_renewed_while_the_call_goes_on() -> None:
    """In a long call sessions follow one another, every reply is whole, and all of them are ended properly."""
    simulator = TTSSimulator(api_key=KEY)
    async with calling(simulator, *["Yes, I am still here."] * 30) as call:
        for _ in range(30):
            turn = await call.session.user_says("Are you there?")
            assert turn.failure is None
            await anyio.sleep(400)

    assert [session.was_terminated for session in simulator.sessions] == [True] * len(simulator.sessions)
    assert [session.error for session in simulator.sessions] == [""] * len(simulator.sessions)
    assert len(simulator.sessions) == 4
    assert sum(outcome == "done" for session in speeches(simulator) for _, outcome in session) == 30


async def test_messages_from_the_future_are_no_trouble() -> None:
    """Fields and messages that are in no reference change nothing."""
    simulator = TTSSimulator(api_key=KEY, adds_unknown=True)
    async with calling(simulator, "Hello there.") as call:
        await call.session.user_says("Hello?")
    assert call.heard == "Hello there."


# --- the key, and invalid settings ------------------------------------------------------------------------------------


async def test_the_key_is_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG and a service that quotes the key: no log, event, repr, URL or traceback has it."""
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.DEBUG)

    async def tells(peer: Peer) -> None:
        await peer.begin()
        await peer.read_until("Flush")
        await peer.error(1008, error=f"bad key {KEY}")

    try:
        server = SpeechServer(tells, good)
        async with server.serve() as url:
            voice = AssemblyAITTS(url=url, api_key=KEY)
            row = vp.Pipeline(ScriptedModel([Says("Hello there."), Says("Fine.")]), vp.SentenceChunker(), voice)
            async with row.session(output=RecordingOutput()) as session:
                failed = await session.user_says("Hello?")
                await session.user_says("And now?")
                shown: list[object] = [voice, vars(voice), row, session, vars(session), failed, vars(failed)]
            shown += [event async for event in session]
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
    logged = "\n".join([caplog.text, *(repr(vars(record)) for record in caplog.records)])

    assert failed.failure is not None
    assert "bad key ***" in str(failed.failure)
    assert KEY not in "\n".join([*map(repr, shown), *traceback.format_exception(failed.failure), logged])
    assert server.peers[0].headers["Authorization"] == KEY


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"voice_id": " "}, "voice_id is empty"),
        ({"sample_rate": 11_025}, "sample_rate must be one of 8000"),
        ({"inactivity_timeout_s": 4}, "between 5 and 120"),
        ({"inactivity_timeout_s": 121}, "between 5 and 120"),
        ({"region": "mars"}, "region must be"),
        ({"region": "us", "url": "wss://tts.example.com"}, "region"),
        ({"url": "ws://tts.example.com"}, "unencrypted"),
        ({"url": "https://tts.example.com"}, "wss://"),
        ({"api_key": ""}, "api_key is empty"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, Any], words: str) -> None:
    """A wrong value is an error when the part is made, and the message says what would be right."""
    with pytest.raises(ConfigurationError, match=words):
        AssemblyAITTS(**settings)


def test_unknown_options_are_refused() -> None:
    """A misspelt option is an error."""
    with pytest.raises(TypeError, match="voice"):
        AssemblyAITTS(voice="jane")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "wss://tts.us.assemblyai.com/v1/ws"),
        ({"region": "eu"}, "wss://tts.eu.assemblyai.com/v1/ws"),
        ({"host": "tts.example.com"}, "wss://tts.example.com/v1/ws"),
        ({"url": "ws://127.0.0.1:8000/"}, "ws://127.0.0.1:8000/v1/ws"),
    ],
)
def test_it_says_what_it_is(settings: dict[str, Any], url: str) -> None:
    """The region, a host or a URL decides where text goes; the repr shows it, and not the key."""
    assert repr(AssemblyAITTS(api_key=KEY, **settings)) == f"<AssemblyAITTS aai-jane 24000 Hz at {url}>"


async def test_a_missing_key_is_told_when_the_pipeline_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing key is an error before the first call, with the variable's name."""
    monkeypatch.delenv("ASSEMBLYAI_API_KEY", raising=False)
    row = vp.Pipeline(ScriptedModel([]), vp.SentenceChunker(), AssemblyAITTS())
    with pytest.raises(AuthenticationError, match="ASSEMBLYAI_API_KEY is not set"):
        async with row.open():
            raise AssertionError("it opened")
