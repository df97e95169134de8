"""Replays: a recorded call is held again, with recorded parts or with those of an application."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import voicepipe as vp
from tests.helpers.recorded import as_lines, recorded_call
from voicepipe.errors import ReplayError
from voicepipe.observed import ApplicationAsked
from voicepipe.testing import (
    Breaks,
    CallNotes,
    Calls,
    RecordingOutput,
    Refuses,
    Reply,
    Says,
    ScriptedGateway,
    ScriptedModel,
    ScriptedRecogniser,
    ScriptedUser,
    ScriptedVoice,
    assert_turn,
    assert_turns,
    run_on_virtual_time,
)
from voicepipe.watching.replay import Difference, Replay, Replayed, side_by_side

if TYPE_CHECKING:
    from voicepipe.watching.replay import RecordedCall


@vp.tool(effect="read")
async def price(what: str) -> str:
    """Return a price."""
    await anyio.sleep(0.1)
    return f"{what}: 2 euros"


@vp.tool(say="One moment.")
async def order(what: str, call: vp.ToolContext[None]) -> str:
    """Order something, and end the call."""
    await anyio.sleep(1.5)
    call.session.end(after_reply=True, result="ordered")
    return f"{what} is ordered"


def answer(request: Any) -> Reply:
    if request.tool_results:
        return Says(f"{list(request.tool_results.values())[-1]}. Anything else?", after_s=0.3, token_s=0.02)
    if "tea" in request.last_user_text:
        return Calls("price", {"what": "tea"}, after_s=0.2)
    if "order" in request.last_user_text:
        return Calls("order", {"what": "tea"})
    return Says("Good morning, dear caller. It is a fine day, as it was yesterday.", after_s=0.4, token_s=0.02)


def shop(caller: vp.SessionStage[Any, Any], *stages: vp.Stage[Any, Any], **options: Any) -> vp.Pipeline:
    tools = vp.ToolRouter([price, order])
    voice = ScriptedVoice(first_audio_s=0.12)
    return vp.Pipeline(caller, *stages, ScriptedModel(answer), tools, vp.SentenceChunker(), voice, **options)


def two_turns() -> ScriptedUser:
    user = ScriptedUser().says("hello", at_s=1.5, speech_s=0.6, silence_s=0.3)
    return user.interrupts("how much is tea", at_s=4.0).hangs_up(at_s=9.0)


def replayed(call: RecordedCall, *given: Any, **options: Any) -> Replayed:
    return run_on_virtual_time(Replay(call, *given, **options).run)


def check(call: RecordedCall) -> Replayed:
    """Check that a replay with recorded parts alone equals the call, and another replay, to the microsecond."""
    first, second = replayed(call), replayed(call)
    difference = Difference(call, first.replay, times="marks", tolerance_s=1e-6)
    assert not difference, side_by_side(difference)
    assert as_lines(first.replay) == as_lines(second.replay)
    return first


def test_a_replay_equals_its_call() -> None:
    """Greeting, tool, interruption and hang-up: the same words, decisions, order and times."""
    call = recorded_call(shop(two_turns()), greeting="Welcome.")
    turns = assert_turns(check(call), "completed", "interrupted", "completed")
    assert_turn(turns[2], caller="how much is tea", heard="tea: 2 euros. Anything else?", tools=["price"])


@pytest.mark.slow
def test_what_was_said_in_other_words_is_found_again() -> None:
    """Without the `Speakable` that wrote a price out, the voice says it, and its marks count in what was spoken."""
    pytest.importorskip("num2words")
    model = ScriptedModel(lambda _: Says("It costs $5.50 today, at 9:30. Anything else?", after_s=0.3, token_s=0.02))
    voice = ScriptedVoice(first_audio_s=0.12)
    row = vp.Pipeline(two_turns(), model, vp.ToolRouter([]), vp.SentenceChunker(), vp.Speakable("en"), voice)
    turns = assert_turns(check(recorded_call(row)), "interrupted", "interrupted")
    assert_turn(turns[0], heard="It costs $5.50 today,")


def test_a_tool_uses_the_session_as_it_did() -> None:
    """What a tool did with the session is done again when the recorded tool runs: here it ended the call."""
    user = ScriptedUser().says("I order a cake", at_s=1.0)
    call = recorded_call(shop(user))
    assert call.reason == check(call).replay.reason == "the application ended it"


@pytest.mark.parametrize(
    "reply",
    [
        Breaks("Good morning, dear caller. It is", token_s=0.02),
        Refuses(503, "overloaded", after_s=0.2),
        Refuses(429, "slow down", retry_after_s=2.0),
        Says("", finish_reason="content_filter"),
        Says("It is too long to", finish_reason="length"),
        (Calls("price", {"what": "tea"}), Calls("price", {"amount": 3}), Calls("unknown", {})),
    ],
)
def test_failures_happen_again(reply: Reply) -> None:
    """A model that breaks off, refuses, has nothing to say or calls tools wrongly does so again."""
    user = ScriptedUser().says("hello", at_s=1.0).hangs_up(at_s=6.0)
    model = ScriptedModel([reply, Says("That is that."), Says("Yes.")])
    row = user, model, vp.ToolRouter([price]), vp.SentenceChunker(), ScriptedVoice()
    check(recorded_call(vp.Pipeline(*row, fallback="I am lost.")))


def test_a_conversation_goes_on_where_it_was() -> None:
    """What was said before the call is there again, so that the model is sent the same."""
    history = [vp.UserMessage("Hello?"), vp.AssistantMessage("I am here.")]
    check(recorded_call(shop(two_turns()), history=history))


class Broken(ScriptedVoice):
    """Fails in the middle of each sentence with this word."""

    async def synthesize(self, sentence: vp.Sentence) -> Any:
        async for piece in super().synthesize(sentence):
            yield piece
            if "fine" in sentence.text and isinstance(piece, bytes):
                await anyio.sleep(0.07)
                raise vp.VendorError("the line broke", vendor="acme", retryable=True)


def test_a_voice_that_fails_fails_again() -> None:
    """The turn fails with the same error, after the same words."""
    user = ScriptedUser().says("hello", at_s=1.0).hangs_up(at_s=7.0)
    agent = shop(user).replace({ScriptedVoice: Broken(first_audio_s=0.1)})
    (turn,) = check(recorded_call(agent)).turns
    assert_turn(turn, outcome="failed", contains="Good morning")
    assert turn.error == "VendorError: the line broke"


def test_typed_words_and_prepared_audio_are_replayed() -> None:
    """What was typed is typed again, and prepared audio is played again, although neither is there any more."""

    async def use(session: vp.Session) -> None:
        session.say("A jingle.", audio=vp.PreparedAudio(b"\x00\x10" * 12_000, 24_000))
        await anyio.sleep(1.0)
        await session.user_says("hello")
        session.press("12#")
        await anyio.sleep(3.0)
        session.expect(vp.Digits(3))
        session.end()

    model, chunker, voice = ScriptedModel(answer), vp.SentenceChunker(), ScriptedVoice()
    call = recorded_call(vp.Pipeline(model, chunker, voice), use)
    assert [turn.user_text for turn in check(call).turns] == ["", "hello", "12"]


class Shown(RecordingOutput):
    """Shows what the agent says, and plays nothing."""

    shows_text = True


class Loud(RecordingOutput):
    """Plays into the room in which the microphone is."""

    has_echo = True


class Held(ScriptedVoice):
    """Speaks more slowly than it should, and is held back so that nobody hears it."""

    start_buffer_s = 0.2


@pytest.mark.parametrize(
    ("output", "voice", "rules"),
    [
        (Shown(), ScriptedVoice(), vp.TurnRules()),
        (Loud(), ScriptedVoice(), vp.TurnRules()),
        (RecordingOutput(), Held(first_audio_s=0.1, speed=0.8), vp.TurnRules()),
        (RecordingOutput(), ScriptedVoice(marks=False), vp.TurnRules(max_call_s=4.0)),
        (RecordingOutput(), ScriptedVoice(), vp.TurnRules(idle=(0.5, 1.0))),
    ],
)
@pytest.mark.slow
def test_what_a_session_depends_on_is_recorded(output: vp.Output, voice: vp.TTSSink, rules: vp.TurnRules) -> None:
    """Text that is only shown, echo, a voice that is held back, and rules that speak by themselves."""
    agent = shop(two_turns(), turns=rules).replace({ScriptedVoice: voice})
    check(recorded_call(agent, output=output, greeting="Hi. How are you today, my friend?"))


def test_what_a_service_reports_is_reported_again() -> None:
    """A retry is an event of the replay, too, which asks no service."""

    async def over_http() -> RecordedCall:
        notes, script = CallNotes(), [Refuses(503, "busy", retry_after_s=0.2), *[Says("It is sunny.")] * 3]
        async with ScriptedGateway(script, first_token_s=0.2).serve() as url:
            model = vp.LLMStreamStage("Be brief.", base_url=url, model="any")
            agent = vp.Pipeline(two_turns(), model, vp.SentenceChunker(), ScriptedVoice())
            async with agent.session(output=RecordingOutput(), observers=[notes]) as session:
                await session.ended.wait()
        return notes.call()

    events = check(run_on_virtual_time(over_http)).events
    assert [type(event) for _, event in events if isinstance(event, vp.RequestRetried)] == [vp.RequestRetried]


@pytest.mark.parametrize(
    ("method", "arguments", "match"),
    [
        ("deps", {"argument": 1}, "uses 'deps' of the session, which no replay does"),
        ("_end", {"reason": "I say so"}, "uses '_end' of the session"),
        ("say", {"text": "Hi.", "loudly": True}, "calls say of the session with loudly, text, which it does not take"),
    ],
)
def test_a_recording_reaches_only_what_applications_use(method: str, arguments: dict[str, Any], match: str) -> None:
    """A recording that somebody has sent cannot call anything else of the session, nor of the application's deps."""
    call = recorded_call(vp.Pipeline(ScriptedModel(answer), vp.SentenceChunker(), ScriptedVoice()), _nothing)
    asked = ApplicationAsked(at_s=0.0, by="application", method=method, arguments=arguments)
    with pytest.raises(ReplayError, match=match):
        check(replace(call, exchanges=(asked, *call.exchanges)))


async def _nothing(session: vp.Session) -> None:
    session.end()


class Late(vp.Stage[vp.Transcript, vp.Transcript]):
    """Stands for a stage that looks something up, changes the words, and keeps some to itself."""

    async def run(self, inbox: vp.Inbox[vp.Transcript], outbox: vp.Outbox[vp.Transcript], turn: vp.Turn) -> None:
        del turn
        async for transcript in inbox:
            await anyio.sleep(0.35)
            if "secret" not in transcript.text:
                await outbox.send(replace(transcript, text=transcript.text.replace("hello", "good evening")))


def test_stages_of_the_application_need_not_be_there() -> None:
    """Without the application, the model is asked when it was asked then, with the words that it was sent."""
    user = ScriptedUser().says("hello", at_s=1.0).says("my secret is blue.", at_s=7.0).hangs_up(at_s=9.0)
    check(recorded_call(shop(user, Late())))


def test_sentences_are_cut_as_they_were() -> None:
    """The recording does not name the chunker's settings; those are found that give its sentences."""
    user = ScriptedUser().says("hello", at_s=1.0).hangs_up(at_s=7.0)
    row = user, ScriptedModel([Says("Um 9 Uhr, am 3. Mai, kommt er. Gut so?", token_s=0.01)])
    for chunker in (vp.SentenceChunker("de"), vp.SentenceChunker(first_words=False)):
        check(recorded_call(vp.Pipeline(*row, chunker, ScriptedVoice())))
        row = user, ScriptedModel([Says("Good morning, dear caller. Good so?", token_s=0.01)])


def test_a_recording_that_was_cut_is_replayed_up_to_there() -> None:
    """The replay ends where the recording does."""
    call = recorded_call(shop(two_turns()))
    cut = replace(
        call,
        exchanges=tuple(one for one in call.exchanges if one.at_s <= 3.0),
        events=tuple((at_s, event) for at_s, event in call.events if at_s <= 3.0),
        ended_s=3.0,
        reason=None,
    )
    result = replayed(cut)
    assert result.replay.ended_s == 3.0
    assert [turn.user_text for turn in result.turns] == ["hello"]


# --- with an application ----------------------------------------------------------------------------------------------


def test_an_application_takes_part_in_the_replay() -> None:
    """Its stages and settings are at work, its services are not asked, and its tools do not run."""
    call = recorded_call(shop(two_turns()), greeting="Welcome.")
    model = ScriptedModel([])
    agent = shop(two_turns()).replace({ScriptedModel: model})
    replayed(call, agent).assert_same()
    assert model.requests == []


def test_another_model_talks_to_the_recorded_caller() -> None:
    """With a live model the caller says the same again, and the recorded voice hums what it has not said."""
    call = recorded_call(shop(two_turns()), greeting="Welcome.")
    agent = shop(two_turns()).replace({ScriptedModel: ScriptedModel(lambda _: Says("I am someone else.", after_s=0.5))})
    result = replayed(call, agent, live=["model"])
    assert [turn.user_text for turn in result.turns] == [turn.user_text for turn in replayed(call).turns]
    assert_turn(result.turns[1], heard="I am someone else.", outcome="completed", waited_s=0.92)
    assert result.unknown_sentences == ("I am someone else.", "I am someone else.")
    with pytest.raises(AssertionError, match=r"! heard +Good morning, .*I am someone else\."):
        result.assert_same()


def test_a_live_tool_runs() -> None:
    """The application's tool does its work, and the recorded model says what it said."""
    call = recorded_call(shop(two_turns()))

    @vp.tool(name="price", effect="read")
    async def new_price(what: str) -> str:
        """Return a price."""
        await anyio.sleep(0.4)
        return f"{what}: 3 euros"

    user, model, _, chunker, voice = shop(two_turns()).parts
    agent = vp.Pipeline(user, model, vp.ToolRouter([new_price]), chunker, voice)
    result = replayed(call, agent, live=["tools"])
    (tool,) = result.turns[1].tools
    assert (tool.result, tool.took_s) == ("tea: 3 euros", 0.4)
    assert "! tool 1" in side_by_side(result.difference)


def test_a_live_voice_says_the_recorded_words() -> None:
    """Another voice speaks the recorded replies, at its own pace."""
    call = recorded_call(shop(two_turns()))
    voice = ScriptedVoice(first_audio_s=0.3, sample_rate=16_000)
    result = replayed(call, shop(two_turns()).replace({ScriptedVoice: voice}), live=["voice"])
    assert result.turns[1].heard == replayed(call).turns[1].heard
    assert result.turns[1].spent_s["tts"] == 0.3


def test_a_live_recogniser_hears_the_recorded_audio() -> None:
    """The caller's audio comes at the pace at which it was spoken, up to the end of the call."""
    call = recorded_call(shop(two_turns()))
    audio = b"\x00\x20" * 16_000 * 9
    call = replace(call, caller_audio=lambda: (audio, 16_000))
    recogniser = ScriptedRecogniser().says("hello", at_s=1.5).says("how much is tea", at_s=5.0)
    agent = shop(vp.STTStage(recogniser))
    result = replayed(call, agent, live=["recogniser"])
    assert [turn.user_text for turn in result.turns] == ["hello", "how much is tea"]
    assert (result.replay.reason, result.replay.ended_s) == ("the caller hung up", 9.0)


def test_rules_of_turn_taking_can_be_tried_on_a_recorded_call() -> None:
    """Of an application its own rules count: with patience the same caller is answered later."""
    user = ScriptedUser().says("I would like", at_s=1.0).hangs_up(at_s=6.0)
    call = recorded_call(shop(user))
    patient = shop(user, turns=vp.TurnRules(eagerness="low"))
    before, after = replayed(call), replayed(call, patient)
    assert after.turns[0].marks["committed"] > before.turns[0].marks["committed"]


@pytest.mark.parametrize(
    ("live", "part", "match"),
    [
        (["ears"], None, "no part of a replay is called ears; live are some of recogniser, model, tools, voice"),
        (["voice"], None, "a live voice is one of an application; name it"),
        (["recogniser"], ScriptedUser(), "has no recogniser that could be live"),
        (["recogniser"], vp.STTStage(ScriptedRecogniser()), "does not have the caller's audio"),
    ],
)
def test_what_cannot_be_live_is_refused(live: Any, part: Any, match: str) -> None:
    """The error says what is missing, and what can be done."""
    call = recorded_call(shop(two_turns()))
    with pytest.raises(ReplayError, match=match):
        Replay(call, shop(part) if part is not None else None, live=live)


def test_a_recording_of_one_side_is_replayed_as_far_as_it_goes() -> None:
    """Of the caller alone, the whole application has to answer; of the agent alone, there is nobody to answer."""
    call = replace(recorded_call(shop(two_turns())), sides="caller")
    assert replayed(call, shop(two_turns()), live=["model", "tools", "voice"]).turns[0].user_text == "hello"
    with pytest.raises(ReplayError, match="let the application answer, with model, tools and voice live"):
        Replay(call)
    with pytest.raises(ReplayError, match="nobody would speak to it; record both sides"):
        Replay(replace(call, sides="agent"))


def test_a_call_that_was_resumed_is_not_replayed() -> None:
    """What it began with is in the snapshot, and not in the recording."""
    kept: list[bytes] = []

    async def keep(session: vp.Session) -> None:
        kept.append(session.snapshot())

    recorded_call(shop(two_turns()), keep)
    call = recorded_call(shop(two_turns()), resume=kept[0])
    with pytest.raises(ReplayError, match="was resumed from a snapshot, which the recording does not hold"):
        Replay(call)


def test_an_application_that_does_not_fit_is_refused() -> None:
    """It lacks a tool that the recorded model calls."""
    call = recorded_call(shop(two_turns()))
    agent = vp.Pipeline(two_turns(), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice())
    with pytest.raises(ReplayError, match="in which the model calls price; its own tools are none"):
        Replay(call, agent)
