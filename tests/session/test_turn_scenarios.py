"""Situations of a call, each with what the caller must hear and when; see docs/turns.md for the rules.

A reply of nine seconds answers the words that are final at 1.0 s, unless the situation says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import pytest

import voicepipe as vp
from tests.helpers.paced_peers import ClearingTelephone, MarkingTelephone, Telephone
from tests.helpers.story import CHARACTER_S, RATE, CountingVoice, heard_places, hold, places_in, times
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedRecogniser, ScriptedUser

if TYPE_CHECKING:
    from voicepipe.testing import Reply

pytestmark = pytest.mark.anyio

ASKED = "Tell me about it."
LONG = (
    "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty hundred."
)
QUESTION = "Shall I cancel it?"
FINE = Says("Fine.")


def asks() -> ScriptedUser:
    return ScriptedUser().says(ASKED, at_s=1.0)


def heard_for(seconds: float) -> str:
    """Return the words of the long reply that end within so many seconds."""
    text = LONG[: round(seconds / CHARACTER_S) + 1]
    return text[: text.rindex(" ")]


@dataclass
class Situation:
    """What a caller does, and what must follow.

    Attributes:
        name: The id.
        caller: What they do.
        spans: When the agent is heard.
        happens: Events and their times.
        history: All messages.
        replies: What the model says, in order.
        requests: How often the model is asked.
        turns: The settings.
    """

    name: str
    caller: ScriptedUser
    spans: list[tuple[float, float]]
    happens: dict[type[vp.Event], list[float]]
    history: list[str]
    replies: list[Reply] = field(default_factory=lambda: [Says(LONG), FINE])
    requests: int = 2
    turns: vp.TurnRules = field(default_factory=vp.TurnRules)
    until_s: float = 16.0


SITUATIONS = [
    Situation(
        "a10",
        asks().guesses("Stop", at_s=4.6, stable=False).says("Stop.", at_s=5.3, speech_s=1.0, silence_s=0.3),
        [(1.0, 4.3), (5.3, 5.55)],
        {vp.Paused: [4.3], vp.TurnInterrupted: [4.6]},
        [ASKED, heard_for(3.3), "Stop.", "Fine."],
    ),
    Situation(
        "a10b",
        asks()
        .guesses("yeah", at_s=4.4, stable=False)
        .guesses("yeah but I", at_s=4.8, stable=False)
        .says("Yeah, but I can't.", at_s=5.7, speech_s=1.4, silence_s=0.3),
        [(1.0, 4.3), (5.7, 5.95)],
        {vp.Paused: [4.3], vp.Resumed: [], vp.TurnInterrupted: [4.8]},
        [ASKED, heard_for(3.3), "Yeah, but I can't.", "Fine."],
    ),
    Situation(
        "a11",
        asks().says("Yeah.", at_s=2.8, speech_s=0.3, silence_s=0.3),
        [(1.0, 1.9), (2.8, 3.05)],
        {vp.Backchannel: [], vp.TurnInterrupted: []},
        [ASKED, QUESTION, "Yeah.", "Fine."],
        [Says(QUESTION), FINE],
    ),
    Situation(
        "a12",
        asks().says("Yeah.", at_s=2.2, speech_s=0.3, silence_s=0.3),
        [(1.0, 1.9), (2.2, 2.45)],
        {vp.Backchannel: [], vp.TurnInterrupted: []},
        [ASKED, QUESTION, "Yeah.", "Fine."],
        [Says(QUESTION), FINE],
    ),
    Situation(
        "b2",
        asks()
        .coughs(at_s=4.0, for_s=0.6)
        .guesses("No wait", at_s=5.8, stable=False)
        .says("No, wait.", at_s=6.3, speech_s=0.7, silence_s=0.3),
        [(1.0, 4.3), (6.3, 6.55)],
        {vp.Paused: [4.3], vp.Resumed: [], vp.TurnInterrupted: [5.8]},
        [ASKED, heard_for(3.3), "No, wait.", "Fine."],
    ),
    Situation(
        "d1",
        ScriptedUser()
        .says("I want to cancel.", at_s=1.25)
        .says("My subscription.", at_s=2.7, speech_s=0.9, silence_s=0.3),
        [(2.7, 2.95)],
        {vp.Withheld: [1.5], vp.TurnInterrupted: [2.7]},
        ["I want to cancel. My subscription.", "Fine."],
        [Says("Why?", after_s=0.4), FINE],
    ),
    Situation(
        "g1",
        ScriptedUser().says("Hello there.", at_s=1.0).says("I have a question.", at_s=1.1),
        [(1.4, 1.65)],
        {vp.TurnInterrupted: [1.1]},
        ["Hello there. I have a question.", "Fine."],
        [Says("Hello.", after_s=0.3), Says("Fine.", after_s=0.3)],
    ),
    Situation("h1", ScriptedUser().says("", at_s=1.0, speech_s=0.5), [], {vp.TurnStarted: []}, [], requests=0),
    Situation("h2", ScriptedUser().says("...", at_s=1.0, speech_s=0.5), [], {vp.TurnStarted: []}, [], requests=0),
    Situation(
        "i2",
        ScriptedUser()
        .guesses("a table for two", at_s=1.0)
        .says("A table for ten.", at_s=1.4, speech_s=1.0, silence_s=0.3),
        [(1.4, 1.65)],
        {vp.TurnStarted: [1.4], vp.TurnCompleted: [1.65]},
        ["A table for ten.", "Fine."],
        [Says("Two."), FINE],
    ),
    Situation(
        "m1",
        asks().coughs(at_s=1.15, for_s=0.55),
        [(2.2, 11.2)],
        {vp.Withheld: [1.15], vp.Released: [2.2], vp.TurnInterrupted: []},
        [ASKED, LONG],
        [Says(LONG, after_s=0.6)],
        requests=1,
    ),
    Situation(
        "m3",
        asks()
        .guesses("and the price", at_s=1.5, stable=False)
        .says("And the price.", at_s=2.5, speech_s=1.05, silence_s=0.3),
        [(2.5, 2.75)],
        {vp.Withheld: [1.15], vp.TurnInterrupted: [1.5], vp.Released: []},
        [f"{ASKED} And the price.", "Fine."],
        [Says(LONG, after_s=0.6), FINE],
    ),
    Situation(
        "q1",
        asks().presses("1234#", at_s=4.0),
        [(1.0, 4.0), (5.0, 5.25)],
        {vp.Digit: [4.0, 4.25, 4.5, 4.75, 5.0], vp.TurnInterrupted: [4.0]},
        [ASKED, heard_for(3.0), "1234", "Fine."],
    ),
    Situation(
        "q2",
        asks(),
        [(1.0, 10.4)],
        {vp.CallLimit: [3.0, 6.0], vp.TurnInterrupted: []},
        [ASKED, LONG, "Goodbye."],
        [Says(LONG)],
        requests=1,
        turns=vp.TurnRules(max_call_s=6.0, max_call_text="Goodbye."),
    ),
]


@pytest.mark.parametrize("case", SITUATIONS, ids=lambda case: case.name)
async def test_what_the_caller_hears(case: Situation) -> None:
    """The agent is heard, silent, interrupted and asked again exactly as the situation asks for."""
    model = ScriptedModel(case.replies)
    session, events, output = await hold(case.caller, model=model, turns=case.turns, until_s=case.until_s)
    assert output.spans() == case.spans
    assert {kind: times(events, kind) for kind in case.happens} == case.happens
    assert [message.text for message in session.history] == case.history
    assert len(model.requests) == case.requests


async def test_a_silent_caller_is_asked_twice_and_then_the_call_ends() -> None:
    """After the greeting: a prompt 10 s later, another one after 10 s of silence more, then goodbye and the end."""
    output, rules = RecordingOutput(RATE), vp.TurnRules(idle=(10, 20, 30))
    row = vp.Pipeline(
        ScriptedUser(), ScriptedModel([]), vp.SentenceChunker(), CountingVoice(), output=output, turns=rules
    )
    async with row.session(greeting="Hello.") as session:
        happened = [(round(anyio.current_time(), 6), event) async for event in session]
    begins = [start_s for start_s, _ in output.spans()]
    # "Hello." takes 0.3 s, "Are you still there?" 1.0 s, and the second question 1.95 s.
    assert begins == [0.0, 10.3, 21.3, 33.25]
    assert times(happened, vp.Idle) == begins[1:]
    assert happened[-1][0] == output.spans()[-1][1] < 45
    assert [message.text for message in session.history] == ["Hello.", *rules.idle_texts]


async def test_a_monologue_is_heard_out() -> None:
    """50 s of words are not cut; they are reported at 30 s, and cost at most three drafts."""
    words = [f"word{at}" for at in range(1, 50)]
    user = ScriptedUser().says(" ".join([*words, "end."]), at_s=51.3, speech_s=50.0, silence_s=0.3)
    for count in range(1, 50):
        user.guesses(" ".join(words[:count]), at_s=1.0 + count, stable=count % 5 == 0)
    model = ScriptedModel([FINE] * 4)
    session, events, output = await hold(user, model=model, until_s=60.0)
    assert times(events, vp.Monologue, vp.MonologueCut) == [31.0]
    assert output.spans() == [(51.3, 51.55)]
    assert len(model.requests) <= 4
    assert [message.text for message in session.history] == [" ".join([*words, "end."]), "Fine."]


async def test_words_without_an_end_are_answered_after_a_minute() -> None:
    """70 s of early words without a final: those of the first 60 s are answered then, and the rest after its end."""
    words = [f"word{at}" for at in range(1, 71)]
    user = ScriptedUser().coughs(at_s=0.0, for_s=70.5)
    for count in range(1, 71):
        user.guesses(" ".join(words[:count]), at_s=float(count), stable=False)
    session, events, output = await hold(user, FINE, Says("Good."), until_s=80.0)
    assert (times(events, vp.Monologue), times(events, vp.MonologueCut)) == ([30.0], [60.0])
    assert output.spans()[0] == (60.0, 60.25)
    first, fine, rest, good = (message.text for message in session.history)
    assert (fine, good) == ("Fine.", "Good.")
    assert f"{first} {rest}".split() == words


async def test_bursts_of_noise_do_not_chop_the_reply() -> None:
    """Of eight bursts two pause the reply; each of its words is heard whole, and the history is whole."""
    user = asks()
    for burst in range(8):
        user.coughs(at_s=2.0 + 1.5 * burst, for_s=0.5)
    session, events, output = await hold(user, Says(LONG), until_s=20.0)
    assert (times(events, vp.Paused), times(events, vp.Resumed)) == ([2.3, 3.8], [3.3, 4.8])
    assert whole_words(heard_places(output)) == LONG.split()
    assert session.history[-1].text == LONG


def whole_words(stretches: list[tuple[float, float, float]]) -> list[str]:
    """Return the words of the long reply that were heard from their beginning to their end, in the order of hearing."""
    heard: list[str] = []
    for _, from_s, to_s in stretches:
        end = -1
        for word in LONG.split():
            begin, end = end + 1, end + 1 + len(word)
            if from_s <= begin * CHARACTER_S + 0.02 and end * CHARACTER_S <= to_s + 0.02:
                heard.append(word)
    return heard


@pytest.mark.parametrize(
    ("phone", "stretches", "heard_s", "from_s", "again"),
    [
        (ClearingTelephone(), [(1.2, 0.0, 3.23), (5.7, 3.1, 9.0)], 3.2, 3.1, []),
        (MarkingTelephone(), [(1.2, 0.0, 3.23), (5.7, 2.75, 9.0)], 3.0, 2.75, ["twelve"]),
        (Telephone(), [(1.2, 0.0, 3.4), (5.7, 3.1, 9.0)], 3.2, 3.1, []),
    ],
    ids=["clears", "clears and reports marks", "plays on"],
)
async def test_a_remote_peer_hears_every_word(
    phone: Telephone, stretches: list[tuple[float, float, float]], heard_s: float, from_s: float, again: list[str]
) -> None:
    """A line that is 0.2 s long hears each word whole; marks, 0.2 s apart, may have one word said again."""
    user = asks().coughs(at_s=4.1, for_s=0.6)
    row = vp.Pipeline(user, ScriptedModel([Says(LONG)]), vp.SentenceChunker(), CountingVoice(rate=phone.sample_rate))
    async with row.session(output=phone) as session, anyio.create_task_group() as tasks:
        tasks.start_soon(phone.report)
        await anyio.sleep_until(14.0)
        tasks.cancel_scope.cancel()
    sound = places_in(phone.heard(), phone.sample_rate)
    assert sound == stretches
    assert whole_words(sound) == [word for word in LONG.split() for _ in range(1 + (word in again))]
    held = [event async for event in session if isinstance(event, vp.Paused | vp.Resumed)]
    assert held == [
        vp.Paused(turn_id=1, heard_s=heard_s, session_id=session.id),
        vp.Resumed(turn_id=1, from_s=from_s, session_id=session.id),
    ]
    assert session.history[-1].text == LONG


class Loudness(vp.Detector):
    """A detector of the application's: what is loud is speech."""

    def speech(self, frame: bytes) -> float:
        return float(any(frame))


async def test_a_detector_and_a_recogniser_that_both_report_speech_pause_the_agent_once() -> None:
    """The earlier report of a sound counts, the later one is no second sound: one pause, one interruption."""
    ear = ScriptedRecogniser()
    ear.says(ASKED, at_s=1.0).says("Mhm.", at_s=3.9, speech_s=0.6, silence_s=0.3)  # its start is 0.2 s late
    ear.guesses("Stop", at_s=7.0, stable=False).says("Stop.", at_s=7.8, speech_s=1.0, silence_s=0.3)
    row = vp.Pipeline(
        vp.STTStage(ear), ScriptedModel([Says(LONG), FINE]), vp.SentenceChunker(), CountingVoice(), detector=Loudness()
    )
    source, output, events = vp.PushSource(16_000), RecordingOutput(RATE), list[tuple[float, vp.Event]]()
    async with row.session(source=source, output=output) as session, anyio.create_task_group() as tasks:

        async def listen() -> None:
            events.extend([(round(anyio.current_time(), 6), event) async for event in session])

        tasks.start_soon(listen)
        for tick in range(500):
            await anyio.sleep_until(tick * 0.02)
            is_loud = 2.8 <= tick * 0.02 < 3.6 or 6.4 <= tick * 0.02 < 7.5
            source.push((b"\x00\x10" if is_loud else b"\x00\x00") * 320)
        source.end()
    # The detector reports a sound after its third frame, as one that began 60 ms before.
    assert times(events, vp.SpeechStarted) == [2.84, 6.44]
    assert times(events, vp.SpeechEnded) == [3.78, 7.68]
    assert (times(events, vp.Paused), times(events, vp.Resumed)) == ([3.08, 6.68], [4.18])
    assert (times(events, vp.Backchannel), times(events, vp.TurnInterrupted)) == ([3.88], [6.98])
    assert [message.text for message in session.history][2:] == ["Stop.", "Fine."]
