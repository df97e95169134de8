"""What the application says about a session, and where it can be read."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.testing import Calls, RecordingOutput, Says, ScriptedGateway, ScriptedModel, ScriptedVoice

pytestmark = pytest.mark.anyio

FACTS = {"caller": "+49 30 1234", "line": 2, "is_test": True, "credit": 1.5}


def row(model: vp.Model, *parts: vp.Part) -> vp.Pipeline:
    return vp.Pipeline(model, *parts, vp.SentenceChunker(), ScriptedVoice(character_s=0.0), output=RecordingOutput())


async def test_facts_reach_tools_prompts_and_stages() -> None:
    """A tool, a prompt function, a stage and `attach` of a part read them from the session."""
    seen: list[object] = []

    @vp.tool(effect="read")
    async def look(call: vp.ToolContext[None]) -> str:
        """Look it up."""
        seen.append(("tool", call.session.facts))
        return "found"

    class Reads(vp.Stage[vp.Sentence, vp.Sentence]):
        async def run(self, inbox: vp.Inbox[vp.Sentence], outbox: vp.Outbox[vp.Sentence], turn: vp.Turn) -> None:
            async for sentence in inbox:
                seen.append(("stage", turn.session.facts))
                await outbox.send(sentence)

    def prompt(session: vp.Session) -> str:
        return f"You answer line {session.facts['line']}."

    gateway = ScriptedGateway([Calls("look", {}), Says("Done.")])
    async with gateway.serve() as base_url:
        model = vp.LLMStreamStage(prompt, base_url=base_url, model="m")
        agent = vp.Pipeline(
            model, vp.ToolRouter([look]), vp.SentenceChunker(), Reads(), ScriptedVoice(), output=RecordingOutput()
        )
        async with agent.session(facts=FACTS) as session:
            await session.user_says("Look!")
    assert seen == [("tool", FACTS), ("stage", FACTS)]
    bodies: list[dict[str, Any]] = [request.body for request in gateway.requests if isinstance(request.body, dict)]
    assert bodies[-1]["messages"][0] == {"role": "system", "content": "You answer line 2."}


async def test_facts_are_those_of_the_beginning() -> None:
    """The session keeps a copy; without any, there are none."""
    given = dict(FACTS)
    async with row(ScriptedModel([])).open() as host:
        async with host.session(facts=given) as session:
            given["line"] = 3
            assert session.facts == FACTS
        async with host.session() as session:
            assert session.facts == {}


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ([("a", 1)], "facts must be a mapping of names to values, not list"),
        ({1: "a"}, "a name in facts must be printable text, not 1"),
        ({" ": "a"}, "a name in facts must be printable text, not ' '"),
        ({"a\nsession b: began": "a"}, "a name in facts must be printable text"),
        (
            {"cart": ["bread"]},
            r"facts\['cart'\] must be a str, an int, a float or a bool, not list; give other",
        ),
        ({"caller": None}, r"facts\['caller'\] must be a str, an int, a float or a bool, not NoneType"),
    ],
)
async def test_other_facts_are_refused(facts: Any, said: str) -> None:
    """Facts are plain values under printable names, so that every log can show them; objects belong into `deps`."""
    with pytest.raises(vp.ConfigurationError, match=said):
        async with row(ScriptedModel([])).session(facts=facts):
            pytest.fail("a session began")


async def test_each_event_has_the_id_of_its_session() -> None:
    """Events of two sessions at once can be told apart, those of the recogniser included."""
    async with row(ScriptedModel(lambda _: Says("Hello."))).open() as host:
        async with host.session(id="a") as one, host.session(id="b") as other, anyio.create_task_group() as tasks:
            tasks.start_soon(one.user_says, "Hello?")
            tasks.start_soon(other.user_says, "Hello?")
        for session in (one, other):
            events = [event async for event in session]
            assert {event.session_id for event in events} == {session.id}
            assert {vp.Transcript, vp.TurnStarted, vp.SentenceStarted, vp.TurnCompleted} <= {*map(type, events)}


async def test_an_id_is_no_part_of_an_events_value() -> None:
    """What a test expects of an event does not depend on the session."""
    async with row(ScriptedModel([Says("Hello.")])).session(id="a") as session:
        await session.user_says("Hello?")
    started = [event async for event in session if isinstance(event, vp.TurnStarted)]
    assert started == [vp.TurnStarted(turn_id=1, user_text="Hello?")]
    assert repr(started[0]) == "TurnStarted(turn_id=1, user_text='Hello?')"


@pytest.mark.parametrize("run", ["pipeline.session", "vp.run"])
def test_a_single_session_takes_both_as_well(run: str) -> None:
    """`Pipeline.session` and `vp.run` take `id` and `facts` as `Host.session` does."""
    found: list[tuple[str, object]] = []

    class Ends(vp.SessionStage[vp.AudioFrame, vp.Hearing]):
        async def run(self, inbox: vp.Inbox[vp.AudioFrame], outbox: vp.Outbox[vp.Hearing], session: vp.Session) -> None:
            found.append((session.id, session.facts))

    async def one_session() -> None:
        async with agent.session(source=vp.PushSource(), output=RecordingOutput(), id="a", facts=FACTS) as session:
            await session.ended.wait()

    agent = vp.Pipeline(Ends(), ScriptedModel([]), vp.SentenceChunker(), ScriptedVoice())
    if run == "vp.run":
        vp.run(agent, source=vp.PushSource(), output=RecordingOutput(), id="a", facts=FACTS)
    else:
        anyio.run(one_session)
    assert found == [("a", FACTS)]
