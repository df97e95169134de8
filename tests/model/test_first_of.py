"""Several models in the place of one: their lifetimes, whole answers, and what one service knows of another."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

import voicepipe as vp
from tests.helpers.models_in_turn import NamedModel, first_of
from tests.helpers.questions import agent
from tests.helpers.tool_rows import sleeper
from voicepipe.errors import AuthenticationError, ConfigurationError, VendorError
from voicepipe.testing import Calls, RecordingOutput, Refuses, Says, ScriptedGateway, ScriptedModel, ScriptedVoice
from voicepipe.testing.simulators.gateway import GatewaySimulator
from voicepipe.testing.simulators.services import SERVICES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from voicepipe.testing import Reply

pytestmark = pytest.mark.anyio


class Weather(BaseModel):
    degrees: int


HOT = Says('{"degrees": 30}')


async def ask(*models: vp.Model) -> Weather:
    return await vp.structured(Weather, "How hot is it?", llm=vp.FirstOf(*models))


async def test_whole_answers_are_asked_for_in_order() -> None:
    """Structured output comes from the first model that gives an answer."""
    other = NamedModel("b", HOT)
    assert (await ask(NamedModel("a", Refuses(503, "busy")), other)).degrees == 30
    assert len(other.requests) == 1


@pytest.mark.parametrize("status", [401, 503])
async def test_whole_answers_fail_with_the_first_error(status: int) -> None:
    """If all fail, or one fails for good, that is the first one's error."""
    other = NamedModel("b", *[Refuses(500, "second")] * 3)
    with pytest.raises(VendorError, match="first"):
        await ask(NamedModel("a", *[Refuses(status, "first")] * 3), other)
    assert bool(other.requests) == (status == 503)


async def test_each_model_is_copied_opened_and_attached() -> None:
    """The models live as the one model of a pipeline does, and the application's objects are never modified."""

    class Opened(ScriptedModel):
        opened = attached = 0

        @asynccontextmanager
        async def open(self) -> AsyncGenerator[None]:
            self.opened += 1
            yield

        @asynccontextmanager
        async def attach(self, session: vp.Session) -> AsyncGenerator[None]:
            self.attached += 1
            log.append((self.opened, self.attached))
            yield

    log: list[tuple[int, int]] = []
    models = Opened([]), Opened([])
    parts = [vp.FirstOf(*models), vp.SentenceChunker(), ScriptedVoice()]
    async with vp.Pipeline(*parts, output=RecordingOutput()).open() as host:
        for _ in range(2):
            async with host.session():
                pass
    assert log == [(1, 1)] * 4
    assert [(model.opened, model.attached) for model in models] == [(0, 0)] * 2


async def test_a_missing_key_of_any_service_is_reported_at_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fallback's key is needed at night, and is asked for in the morning."""
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    other = vp.LLMStreamStage(base_url="https://api.groq.com/openai/v1", model="m")
    with pytest.raises(AuthenticationError, match="GROQ_API_KEY"):
        async with first_of(ScriptedModel([]), other).pipeline().session():
            pytest.fail("opened without a key")


async def test_state_of_one_service_goes_to_no_other() -> None:
    """A call that one service made is shown to the other, without the fields that only the first one knows."""
    script: Iterator[Reply] = iter([*[Refuses(503, "busy")] * 3, Says("There.")])
    first = ScriptedGateway(lambda _: next(script))
    second = GatewaySimulator([Calls("look", {})], quirks=SERVICES["DeepSeek"])
    async with first.serve() as first_url, second.serve() as second_url:
        models = vp.LLMStreamStage(base_url=first_url, model="a"), vp.LLMStreamStage(base_url=second_url, model="b")
        row = first_of(*models, tools=[sleeper("look", 0.1)])
        async with row.session() as session:
            await session.user_says("Where is it?")
            kept = json.dumps(session.history.to_json())

    assert "reasoning_content" in kept
    assert [event.model for event in row.reported(vp.ModelAnswered)] == [f"b at {second_url}"]
    last: Any = first.requests[-1].body
    assert [message["role"] for message in last["messages"]] == ["user", "assistant", "tool"]
    assert "reasoning_content" not in json.dumps(last)


async def test_models_of_models() -> None:
    """A `FirstOf` is a model like any other, so one may hold another."""
    inner = vp.FirstOf(NamedModel("a", Refuses(503, "busy")), NamedModel("b", Refuses(503, "busy")))
    row = first_of(inner, NamedModel("c", Says("Here.")))
    async with row.session() as session:
        await session.user_says("Where is it?")
    assert [event.model for event in row.reported(vp.ModelAnswered)] == ["c"]
    assert [event.model for event in row.reported(vp.RequestRetried)] == ["b", "c"]


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ([], "at least two models, not 0"),
        ([ScriptedModel([])], "at least two models, not 1"),
        ([ScriptedModel([]), "gpt-5.2"], "not 'gpt-5.2'"),
        ([[ScriptedModel([]), ScriptedModel([])]], r"takes models such as LLMStreamStage\(...\)"),
    ],
)
def test_what_is_no_row_of_models_is_refused(models: Any, said: str) -> None:
    """The error says what is missing."""
    with pytest.raises(ConfigurationError, match=said):
        vp.FirstOf(*models)


def test_it_shows_its_models() -> None:
    """The repr names each model and the time; no key is in it."""
    stage = vp.LLMStreamStage(base_url="http://127.0.0.1:1/v1", model="m", api_key="sk-canary")
    shown = repr(vp.FirstOf(stage, ScriptedModel([]), after_s=0.8))
    assert shown == "<FirstOf <LLMStreamStage m at http://127.0.0.1:1/v1>, <ScriptedModel> after 0.8 s>"
    assert repr(agent(stage)).count("sk-canary") == 0
