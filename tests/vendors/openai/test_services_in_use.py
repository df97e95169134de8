"""Whole sessions with each service in use, as the simulator has it: docs/services.md, row by row."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import voicepipe as vp
from tests.helpers.questions import agent, redirect_all
from voicepipe.errors import AuthenticationError, IncompleteReply, VendorError
from voicepipe.testing import Breaks, Calls, Refuses, Reply, Says, ScriptedVoice
from voicepipe.testing.simulators.gateway import GatewayQuirks, GatewaySimulator
from voicepipe.testing.simulators.services import SERVICES

pytestmark = pytest.mark.anyio

KEY = "sk-canary-7f3a"
PAGE = Path(__file__).parents[3] / "docs" / "services.md"

URLS = {
    "OpenAI": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "Azure": ("https://ada.openai.azure.com/v1", "AZURE_OPENAI_API_KEY"),
    "Gemini": ("https://generativelanguage.googleapis.com/v1", "GEMINI_API_KEY"),
    "Groq": ("https://api.groq.com/v1", "GROQ_API_KEY"),
    "Mistral": ("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "OpenRouter": ("https://openrouter.ai/v1", "OPENROUTER_API_KEY"),
    "DeepSeek": ("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "LLM Gateway": ("https://llm-gateway.assemblyai.com/v1", "ASSEMBLYAI_API_KEY"),
}
"""Services that are known by their host, and the variable of their key."""

OPTIONS: dict[str, dict[str, Any]] = {
    "Azure": {"params": {"api-version": "2024-10-21"}},
    "Gemini": {"schemas": "reduced", "model": "gemini-2.5-flash"},
    "vLLM with Gemma": {"messages": "strict", "model": "gemma-3-27b-it"},
    "vLLM with Llama": {"messages": "strict"},
    "llama.cpp": {"messages": "strict"},
}
"""What the application has to say; everything else the library knows."""


@vp.tool(effect="read")
async def weather(city: str) -> str:
    """Say the weather."""
    return f"sunny in {city}"


TALK: list[Reply] = [
    Calls("weather", {"city": "Rome"}, say="Let me look. "),
    Says("It is sunny in Rome."),
    Says("You are welcome."),
]


async def hold(
    name: str, script: list[Reply], monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[list[vp.Event], list[str], GatewaySimulator]:
    """Hold a session of two turns after a greeting; return its events, what was spoken, and the simulator."""
    url, variable = URLS.get(name, ("", ""))
    # The windows of a minute are another test's.
    quirks = replace(SERVICES[name], requests_per_minute=None)
    gateway, voice = GatewaySimulator(script, quirks=quirks, api_key=KEY if variable else None), ScriptedVoice()
    if variable:
        monkeypatch.setenv(variable, KEY)
    async with gateway.serve() as base_url:
        if url:
            redirect_all(monkeypatch, base_url)
        given = {"base_url": url or base_url, "model": "m", **OPTIONS.get(name, {}), **options}
        stage = vp.LLMStreamStage("Be brief.", **given)
        history = [vp.AssistantMessage.said("Hello, how can I help?")]
        async with agent(stage, voice, vp.ToolRouter([weather])).session(history=history) as session:
            await session.user_says("What is the weather in Rome?")
            if len(script) > 2:
                await session.user_says("Thank you.")
        events = [event async for event in session]
    return events, [sentence.strip() for _, sentence in voice.sentences], gateway


def ends(events: list[vp.Event]) -> list[vp.TurnEnded]:
    return [event for event in events if isinstance(event, vp.TurnEnded)]


@pytest.mark.parametrize("name", SERVICES)
async def test_a_session_with_a_greeting_and_a_tool(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the options of its row each service answers every request of a session, as the application meant it."""
    events, said, gateway = await hold(name, TALK, monkeypatch)

    assert said == ["Let me look.", "It is sunny in Rome.", "You are welcome."]
    assert [type(end) for end in ends(events)] == [vp.TurnCompleted] * 2
    assert gateway.script.unused == ()


REFUSALS = {
    "vLLM with Gemma": ({"messages": "free"}, 'set messages="strict"'),
    "vLLM with Llama": ({"messages": "free"}, 'set messages="strict"'),
    "llama.cpp": ({"messages": "free"}, 'set messages="strict"'),
    "Mistral": ({"messages": "free"}, 'set messages="strict"'),
    "OpenAI": ({"max_tokens_field": "max_tokens"}, 'set max_tokens_field="max_completion_tokens"'),
    "Azure": ({"params": {}}, "answered HTTP 404 for the path /v1/chat/completions"),
}


@pytest.mark.parametrize(("name", "options", "said"), [(name, *row) for name, row in REFUSALS.items()])
async def test_without_its_option_the_error_names_it(
    name: str, options: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulator is not blind: without the option of its row a service refuses, and the error says what helps."""
    events, spoken, _ = await hold(name, [], monkeypatch, **options)

    assert spoken == []
    (end,) = ends(events)
    assert isinstance(end, vp.TurnFailed)
    assert said in str(end.error)


@pytest.mark.parametrize("name", [name for name, quirks in SERVICES.items() if quirks.failure_reason])
async def test_a_failure_that_a_finish_reason_reports(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first word a finish reason that reports a failure makes another request."""
    events, said, _ = await hold(name, [Breaks(""), Says("It is sunny.")], monkeypatch)
    assert said == ["It is sunny."]
    assert sum(isinstance(event, vp.RequestRetried) for event in events) == 1


@pytest.mark.parametrize("name", [name for name, quirks in SERVICES.items() if quirks.failure_reason])
async def test_a_failure_after_words_cuts_the_reply(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first word the reply is cut, and its words stay said."""
    events, said, _ = await hold(name, [Breaks("It is sunny. And")], monkeypatch)
    assert said[0] == "It is sunny."
    (end,) = ends(events)
    assert isinstance(end, vp.TurnFailed)
    assert isinstance(end.error, IncompleteReply)


@pytest.mark.parametrize("name", ["Gemini", "LLM Gateway", "OpenAI"])
async def test_an_error_of_any_shape_is_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors in a list, in an object, or flat are typed and quoted."""
    events, _, _ = await hold(name, [Refuses(404, "no such model"), Says("x")][:1], monkeypatch)
    (end,) = ends(events)
    assert isinstance(end, vp.TurnFailed)
    assert isinstance(end.error, VendorError)
    assert "no such model" in str(end.error)


async def test_two_calls_without_ids_both_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each call has the index 0 and no id, a whole call behind a whole one is another call."""
    both = (Calls("weather", {"city": "Rome"}), Calls("weather", {"city": "Oslo"}))
    events, said, gateway = await hold("Ollama", [both, Says("Sunny in both.")], monkeypatch)

    assert said == ["Sunny in both."]
    assert sum(isinstance(event, vp.ToolFinished) and event.status == "done" for event in events) == 2
    chat = gateway.requests[-1].chat
    assert chat is not None
    assert sorted(chat.tool_results.values()) == ["sunny in Oslo", "sunny in Rome"]


async def test_a_key_in_the_wrong_header_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator reads Azure's key in its own header alone, so the table is right about it."""
    gateway = GatewaySimulator([], quirks=SERVICES["Azure"], api_key=KEY)
    async with gateway.serve() as base_url:
        stage = vp.LLMStreamStage(base_url=base_url, model="m", api_key=KEY, params={"api-version": "1"})
        async with stage.open():
            with pytest.raises(AuthenticationError):
                await stage.complete(vp.Request(messages=(vp.UserMessage("Hello."),)))


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_has_a_row_for_each_service_and_names_its_switches() -> None:
    """Each service and each of its switches is in docs/services.md, and the page names no other switch."""
    page = PAGE.read_text(encoding="utf-8")
    rows = {row.split("|")[1].strip(): row for row in page.splitlines() if row.startswith("| ")}
    for name, quirks in SERVICES.items():
        names = [one.name for one in fields(quirks)]
        changed = {one for one in names if getattr(quirks, one) != getattr(GatewayQuirks(), one)}
        if name != "LLM Gateway":  # its page is docs/assemblyai.md
            assert set(re.findall(r"`(\w+)=", rows[name].split("|")[-2])) == changed, name
    assert "never tried" in page
