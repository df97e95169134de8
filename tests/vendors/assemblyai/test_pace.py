"""How long AssemblyAI waits before it ends a turn, as far as turn-taking decides about it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import voicepipe as vp
from voicepipe.testing import RecordingOutput, Says, ScriptedModel, ScriptedVoice
from voicepipe.testing.simulators.stt import Spoken, STTSimulator
from voicepipe.vendors.assemblyai.pace import Pace

pytestmark = pytest.mark.anyio

KEY = "canary-7b22"
WORDS = "universal-streaming-english"


@pytest.mark.parametrize(
    ("model", "eagerness", "is_expecting", "changes"),
    [
        ("u3-rt-pro", "normal", False, {}),
        ("u3-rt-pro", "low", False, {"max_turn_silence_s": 1.5}),
        ("u3-rt-pro", "high", False, {"max_turn_silence_s": 0.6}),
        ("u3-rt-pro", "normal", True, {"min_turn_silence_s": 1.0, "max_turn_silence_s": 2.5}),
        ("u3-rt-pro", "low", True, {"min_turn_silence_s": 1.0, "max_turn_silence_s": 3.75}),
        ("u3-rt-pro", "high", True, {"min_turn_silence_s": 1.0, "max_turn_silence_s": 1.5}),
        (WORDS, "normal", False, {}),
        (WORDS, "high", False, {"max_turn_silence_s": 0.768}),
        (WORDS, "normal", True, {"min_turn_silence_s": 1.0, "max_turn_silence_s": 2.5}),
    ],
)
def test_silences(model: str, eagerness: Any, is_expecting: bool, changes: dict[str, float]) -> None:
    """Eagerness moves the longest silence, an expectation both; what is the service's default is not sent."""
    given = vp.StreamingParameters()
    assert Pace.of(model, given).wanting(eagerness, is_expecting=is_expecting).changes(given) == changes


@pytest.mark.parametrize("given", [{"min_turn_silence_s": 0.2}, {"max_turn_silence_s": 5.0}, {"mode": "min_latency"}])
def test_what_the_application_has_set_stays(given: dict[str, Any]) -> None:
    """Silences of the application, and a mode that sets them, are never changed."""
    parameters = vp.StreamingParameters(**given)
    recogniser = vp.AssemblyAIRecogniser(api_key=KEY, parameters=parameters)
    recogniser.set_pace("high", is_expecting=True)
    assert recogniser.parameters == parameters


async def test_what_a_tool_sets_stays_until_it_restores_it() -> None:
    """In a block of `updated`, and after `update`, an expectation changes nothing; after the block it counts again."""
    recogniser = vp.AssemblyAIRecogniser(api_key=KEY)

    def silences() -> tuple[float | None, float | None]:
        return recogniser.parameters.min_turn_silence_s, recogniser.parameters.max_turn_silence_s

    async with recogniser.updated(max_turn_silence_s=4.0):
        recogniser.set_pace("normal", is_expecting=True)
        assert silences() == (None, 4.0)
    assert silences() == (1.0, 2.5)
    async with recogniser.updated(vad_threshold=0.5):
        recogniser.set_pace("normal", is_expecting=False)
        assert silences() == (0.1, 1.0)
    recogniser.update(min_turn_silence_s=0.3)
    recogniser.set_pace("normal", is_expecting=True)
    assert silences() == (0.3, 1.0)


async def called(
    script: list[Spoken], turns: vp.TurnRules, expected: vp.Expectation | None, **parameters: Any
) -> tuple[dict[str, str], list[tuple[float, dict[str, Any]]], list[tuple[float, str]]]:
    """Return the query and the control messages of a call of 7 s, and the final transcripts, all with their times."""
    simulator = STTSimulator(script, api_key=KEY)
    async with simulator.serve() as url:
        source = vp.PushSource(16_000)
        row = vp.Pipeline(
            vp.STTStage(
                vp.AssemblyAIRecogniser(
                    url=url, api_key=KEY, parameters=vp.StreamingParameters(**parameters), sends_agent_context=False
                )
            ),
            ScriptedModel([Says("Thank you.")] * 4),
            vp.SentenceChunker(),
            ScriptedVoice(),
            output=RecordingOutput(),
            turns=turns,
            detector=None,
        )
        finals: list[tuple[float, str]] = []
        async with row.session(source=source) as session, anyio.create_task_group() as tasks:

            async def listen() -> None:
                async for event in session:
                    if isinstance(event, vp.Transcript):
                        finals.append((round(anyio.current_time(), 1), event.text))

            tasks.start_soon(listen)
            session.expect(expected)
            began_s = anyio.current_time()
            for frame in range(350):
                await anyio.sleep_until(began_s + frame * 0.02)
                source.push(bytes(640))
            session.end()
    (one,) = simulator.sessions
    assert one.error == ""
    controls = [(round(control.at_s, 1), control.message) for control in one.controls if control.kind != "Terminate"]
    return dict(one.query), controls, finals


LONG = {"type": "UpdateConfiguration", "min_turn_silence": 1000, "max_turn_silence": 2500}
USUAL = {"type": "UpdateConfiguration", "min_turn_silence": 100, "max_turn_silence": 1000}
FORCE = {"type": "ForceEndpoint"}


async def test_an_expectation_lengthens_the_silences_and_ends_the_turn() -> None:
    """c3 at the service: one turn in spite of a pause of 1.2 s, ended at the fifth digit; then all is as before."""
    script = [Spoken("ord one two", 1.0, 2.0), Spoken("three four five", 3.2, 4.2)]
    _, controls, finals = await called(script, vp.TurnRules(), vp.Pattern(r"^ORD-\d{5}$"))
    assert [message for _, message in controls] == [LONG, FORCE, USUAL]
    # The partial transcript with the last word comes at 5.0 s; the longest silence would end the turn at 6.7 s.
    assert [at_s for at_s, _ in controls] == [0.0, 5.0, 5.3]
    assert finals == [(5.3, "ord one two three four five")]


async def test_eagerness_sets_the_silences_of_the_connection() -> None:
    """They are in the connection's query, so the first turn has them; the service's defaults are left out."""
    script = [Spoken("a table", 1.0, 2.0)]
    query, controls, _ = await called(script, vp.TurnRules(eagerness="high"), None)
    assert (query.get("min_turn_silence"), query["max_turn_silence"]) == (None, "600")
    query, _, _ = await called(script, vp.TurnRules(), None)
    assert {"min_turn_silence", "max_turn_silence"}.isdisjoint(query)
    assert controls == []


async def test_given_silences_win_but_the_turn_is_ended() -> None:
    """With silences of the application nothing is changed; a complete value still ends the turn."""
    script = [Spoken("one two three", 1.0, 2.0)]
    query, controls, finals = await called(script, vp.TurnRules(eagerness="low"), vp.Digits(3), max_turn_silence_s=3.0)
    assert query["max_turn_silence"] == "3000"
    assert [message for _, message in controls] == [FORCE]
    assert finals[0][0] < 3.0
