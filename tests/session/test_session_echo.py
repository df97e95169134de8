"""A call at a loudspeaker that the microphone hears: the agent does not answer itself. On virtual time."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

import anyio
import pytest

import voicepipe as vp
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedUser, ScriptedVoice

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

HOURS = "We are open from nine to five."  # 1.5 s, at 0.05 s a character
ALOUD = vp.TurnRules(loudspeaker=True)


async def hold(user: ScriptedUser, *, turns: vp.TurnRules = ALOUD, model: vp.Model | None = None) -> list[vp.Event]:
    """Hold a call to its end and return its events."""
    model = model or ScriptedModel(lambda request: Says("It is twelve euros."))
    agent = vp.Pipeline(
        user, model, vp.SentenceChunker(), ScriptedVoice(), output=RecordingOutput(), turns=turns, fallback=""
    )
    async with agent.session(greeting=HOURS) as session:
        events = [event async for event in session]
    assert [event.text for event in events if isinstance(event, vp.EchoIgnored)] == [] or turns.loudspeaker
    return events


def outcomes(events: list[vp.Event]) -> list[tuple[str, str, str]]:
    return [(type(event).__name__, event.user_text, event.heard) for event in events if isinstance(event, vp.TurnEnded)]


def echo(*, until_s: float = 1.6) -> ScriptedUser:
    """What a recogniser reports of the greeting, which can be heard from 0.0 to 1.5 s."""
    return (
        ScriptedUser()
        .coughs(at_s=0.15, for_s=until_s - 0.15)
        .guesses("we are open", at_s=0.8)
        .guesses("we are open from line to five", at_s=1.5)
        .says("we are open from line to five", at_s=2.0, silence_s=0.4)
    )


async def test_the_agent_finishes_its_sentence() -> None:
    """The echo of the agent interrupts nothing, starts no turn, and is reported as such in place of a transcript."""
    events = await hold(echo().hangs_up(at_s=4.0))
    assert outcomes(events) == [("TurnCompleted", "", HOURS)]
    assert [event for event in events if isinstance(event, vp.EchoIgnored | vp.Transcript | vp.EarlyTranscript)] == [
        vp.EchoIgnored(text="we are open from line to five")
    ]


async def test_without_the_guard_it_interrupts_and_answers_itself() -> None:
    """The same echo in full duplex cuts the greeting off and is taken for the caller's words."""
    events = await hold(echo().hangs_up(at_s=4.0), turns=vp.TurnRules())
    assert [outcome[0] for outcome in outcomes(events)] == ["TurnInterrupted", "TurnCompleted"]
    assert outcomes(events)[1][1] == "we are open from line to five"


async def test_the_caller_can_interrupt_with_words() -> None:
    """A word that the agent does not say itself interrupts it at once, and is answered."""
    user = ScriptedUser().coughs(at_s=0.15).guesses("stop", at_s=0.5).says("stop", at_s=1.0).hangs_up(at_s=4.0)
    assert outcomes(await hold(user)) == [
        ("TurnInterrupted", "", "We are"),
        ("TurnCompleted", "stop", "It is twelve euros."),
    ]


async def test_an_answer_in_the_agents_own_words_is_answered() -> None:
    """Words after the agent has ended are the caller's, even if they are the same words."""
    user = echo().says("nine to five", at_s=3.0, speech_s=0.7, silence_s=0.3).hangs_up(at_s=6.0)
    assert outcomes(await hold(user)) == [
        ("TurnCompleted", "", HOURS),
        ("TurnCompleted", "nine to five", "It is twelve euros."),
    ]


async def test_an_echo_leaves_no_trace_in_history() -> None:
    """History holds what the agent said, but not the echo of it; the model is not asked."""
    model = ScriptedModel([])
    agent = vp.Pipeline(
        echo().hangs_up(at_s=4.0), model, vp.SentenceChunker(), ScriptedVoice(), output=RecordingOutput(), turns=ALOUD
    )
    async with agent.session(greeting=HOURS) as session:
        await session.ended.wait()
    assert [message.text for message in session.history] == [HOURS]
    assert model.requests == []


async def test_typed_words_are_no_echo() -> None:
    """`user_says` is never taken for echo, whatever the agent says at the time."""
    agent = vp.Pipeline(
        ScriptedModel([Says("Right.")]), vp.SentenceChunker(), ScriptedVoice(), output=RecordingOutput(), turns=ALOUD
    )
    async with agent.session(greeting=HOURS) as session:
        await anyio.sleep(1.0)
        assert (await session.user_says("we are open")).state is vp.TurnState.DONE


class Tone(vp.Source):
    """A caller who hums for 4 s."""

    async def frames(self) -> AsyncIterator[bytes]:
        tone = array("h", [round(9_000 * math.sin(at * 0.2)) for at in range(320)]).tobytes()
        for _ in range(200):
            await anyio.sleep(0.02)
            yield tone


class Ear(vp.Recogniser):
    """Notes when it hears silence."""

    silent: list[float]

    async def recognise(
        self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session
    ) -> None:
        async for frame in inbox:
            if not any(frame.pcm):
                self.silent.append(round(frame.start_s, 6))


class ClosedEar(Ear):
    is_closed = True


@pytest.mark.parametrize(
    ("ear", "turns", "silent"),
    [
        (ClosedEar, ALOUD, (0.0, 1.72)),  # 1.5 s of speech and 0.25 s of echo
        (ClosedEar, vp.TurnRules(), None),
        (Ear, ALOUD, None),
    ],
)
async def test_a_closed_grammar_hears_silence_while_the_agent_speaks(
    ear: type[Ear], turns: vp.TurnRules, silent: tuple[float, float] | None
) -> None:
    """A recogniser with a closed grammar gets silence in place of the agent's voice; others get the voice."""
    ear.silent = []
    agent = vp.Pipeline(
        Tone(),
        vp.STTStage(ear()),
        ScriptedModel([]),
        vp.SentenceChunker(),
        ScriptedVoice(),
        output=RecordingOutput(),
        turns=turns,
    )
    began_s = anyio.current_time()
    async with agent.session(greeting=HOURS) as session:
        await session.ended.wait()
    heard = [round(at_s - began_s, 6) for at_s in ear.silent]
    assert ((heard[0], heard[-1]) if heard else None) == silent
    assert not heard or len(heard) == round((heard[-1] - heard[0]) / 0.02) + 1
