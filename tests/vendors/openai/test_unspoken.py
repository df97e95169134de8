"""Thoughts and control text in whole calls over HTTP: what the caller hears, what is kept, and how long it may take."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

import pytest

import voicepipe as vp
from tests.helpers.completions import chunk, read
from tests.helpers.questions import agent, ask, ask_raw, calling
from tests.helpers.raw_server import DONE, END, HEAD, Act, RawServer, answer, data, delta, text
from voicepipe.errors import ConfigurationError, IncompleteReply, VendorError
from voicepipe.flow import ReplyEnd, TextDelta, ToolCallDelta
from voicepipe.model.model import Request
from voicepipe.testing import Calls, Reply, Says, ScriptedGateway, ScriptedVoice
from voicepipe.testing.simulators.gateway import GatewayQuirks, GatewaySimulator
from voicepipe.vendors.openai.completion import CompletionParser, Unspoken

pytestmark = pytest.mark.anyio

CALL = {"index": 0, "id": "a", "function": {"name": "look", "arguments": "{}"}}
WRITTEN = '{"name": "look", "parameters": {}}'


@vp.tool(effect="read")
async def look() -> str:
    """Look it up."""
    return "found"


# --- what the caller hears --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("thoughts", ["tags", "closing_tag", "brackets", "channels", "field"])
async def test_the_answer_alone_is_heard_and_kept(thoughts: Any, streams: bool) -> None:
    """Voice, history and the time of the first text know the words after the thoughts alone, however those are sent."""
    gateway = GatewaySimulator(
        [Says("Hello there. How are you?", after_s=0.2, token_s=0.05)],
        quirks=GatewayQuirks(thoughts=thoughts, thinking_s=10.0 if streams else 5.0),
    )
    voice = ScriptedVoice(character_s=0.0)
    async with gateway.serve() as base_url:
        stage = vp.LLMStreamStage(
            base_url=base_url, model="m", streams=streams, begins_in_thoughts=thoughts == "closing_tag"
        )
        async with agent(stage, voice).session() as session:
            turn = await session.user_says("Hello?")
    assert [sentence.strip() for _, sentence in voice.sentences] == ["Hello there.", "How are you?"]
    message = session.history[-1]
    assert isinstance(message, vp.AssistantMessage)
    assert (message.generated.strip(), message.heard.strip()) == ("Hello there. How are you?",) * 2
    times = turn.timeline
    assert round(times.llm_first_token - times.llm_request, 3) == (10.2 if streams else 5.5)


async def test_thoughts_whose_beginning_was_heard_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Without `begins_in_thoughts` they are taken for the reply, without the mark, and a warning names the option."""
    gateway = GatewaySimulator([Says("Hello there.")], quirks=GatewayQuirks(thoughts="closing_tag"))
    async with gateway.serve() as base_url:
        asked = await ask(base_url)
    assert asked.said.endswith("I should be brief.\nHello there.")
    (record,) = caplog.records
    assert (record.levelno, "set begins_in_thoughts=True" in record.getMessage()) == (logging.WARNING, True)
    assert "brief" not in record.getMessage()


async def test_a_whole_answer_shows_where_its_thoughts_end() -> None:
    """A whole answer that begins in its thoughts needs no option."""
    message = {"role": "assistant", "content": "The user greets me.\n</think>\n\nHello there."}
    body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    asked, _ = await ask_raw([answer("200 OK", body)], streams=False)
    assert asked.said == "Hello there."


@pytest.mark.parametrize("calls_as_text", ["tags", "brackets", "json"])
@pytest.mark.parametrize("thoughts", [None, "tags", "channels"])
async def test_a_reply_that_is_a_call_as_text_fails_by_name(calls_as_text: Any, thoughts: Any) -> None:
    """Nothing is spoken, the tool does not run, and the error names the server's tool parser. It is not asked again."""
    quirks = GatewayQuirks(calls_as_text=calls_as_text, thoughts=thoughts)
    gateway = GatewaySimulator([Calls("look", {})], quirks=quirks)
    async with gateway.serve() as base_url:
        asked = await ask(base_url)
    assert (asked.said, type(asked.end)) == ("", vp.TurnFailed)
    assert isinstance(asked.end.error, VendorError)
    assert "turn on the server's tool parser" in str(asked.end.error)
    assert [request.method for request in gateway.requests].count("POST") == 1


async def test_words_in_front_of_a_call_as_text_are_spoken(caplog: pytest.LogCaptureFixture) -> None:
    """The words are heard, the call is not, and a warning names the cause."""
    gateway = GatewaySimulator([Calls("look", {}, say="Let me see. ")], quirks=GatewayQuirks(calls_as_text="tags"))
    async with gateway.serve() as base_url:
        asked = await ask(base_url)
    assert (asked.said, type(asked.end)) == ("Let me see. ", vp.TurnCompleted)
    assert "wrote a tool call as text (<tool_call>)" in caplog.text


@pytest.mark.parametrize(
    "quirks", [GatewayQuirks(calls_as_text="repeated"), GatewayQuirks(end_mark="<|im_end|>")], ids=str
)
async def test_a_call_is_not_spoken_as_well(quirks: GatewayQuirks) -> None:
    """A call that comes both ways runs once and is not heard; nor are the marks that end the reply's text."""
    gateway = GatewaySimulator([Calls("look", {}, say="Let me see. "), Says("Found.")], quirks=quirks)
    voice = ScriptedVoice(character_s=0.0)
    async with gateway.serve() as base_url:
        stage = vp.LLMStreamStage(base_url=base_url, model="m")
        async with agent(stage, voice, vp.ToolRouter([look])).session() as session:
            turn = await session.user_says("Look!")
    assert [sentence.strip() for _, sentence in voice.sentences] == ["Let me see.", "Found."]
    assert turn.finish_reason == "stop"
    assert [call.result for call in session.history[1].calls] == ["found"]  # type: ignore[union-attr]


async def test_control_text_alone_is_a_failed_reply() -> None:
    """A reply that is a mark of the chat template and nothing else names the mark."""
    async with ScriptedGateway([Says("<|im_end|>")]).serve() as base_url:
        asked = await ask(base_url)
    assert asked.said == ""
    assert "sent control text alone (<|im_end|>)" in str(asked.end.error)


async def test_a_reply_that_is_cut_in_its_thoughts_says_so() -> None:
    """A limit of tokens that the thoughts have used up is named."""
    async with ScriptedGateway([Says("<think>The user", finish_reason="length")]).serve() as base_url:
        asked = await ask(base_url)
    assert "did not end its thoughts; raise max_tokens" in str(asked.end.error)


# --- one delta --------------------------------------------------------------------------------------------------------

LOOK = ToolCallDelta(index=0, call_id="a", name="look", arguments="{}")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("Let me look.", [TextDelta("Let me look."), LOOK]),
        ("look", [LOOK]),
        ("look({})", [LOOK]),
        ("look\n{}", [LOOK]),
        ("look around", [TextDelta("look around"), LOOK]),
        (" {}\n", [LOOK]),
        (WRITTEN, [LOOK]),
        (f"<tool_call>{WRITTEN}</tool_call>", [LOOK]),
        (f"[TOOL_CALLS][{WRITTEN}]", [Unspoken(), LOOK]),
    ],
)
def test_a_call_in_its_own_delta_is_not_text(content: str, parts: list[Any]) -> None:
    """A call written once more as the text of its delta is left out; other words are text."""
    end = ReplyEnd(finish_reason="tool_calls")
    assert read(chunk("tool_calls", content=content, tool_calls=[CALL])) == [*parts, end]


@pytest.mark.parametrize(
    "thought",
    [
        {"reasoning_content": "Hm"},
        {"reasoning": "Hm", "content": ""},
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]},
        {"content": "<think>Hm"},
        {"content": WRITTEN[:-3]},
    ],
    ids=str,
)
def test_thoughts_are_a_part_that_nobody_hears(thought: dict[str, Any]) -> None:
    """Thoughts in the text, in parts of it or in a field of their own show that the model is at work."""
    assert read(chunk(**thought)) == [Unspoken()]


@pytest.mark.parametrize("blank", [{"reasoning_content": None}, {"reasoning": ""}, {"reasoning_details": []}], ids=str)
def test_a_field_without_thoughts_is_none(blank: dict[str, Any]) -> None:
    """Servers send the field with every delta."""
    assert read(chunk(content="Hi", **blank), chunk(**blank)) == [TextDelta("Hi")]


def test_held_text_comes_with_the_end() -> None:
    """What might have been a mark is text once nothing follows."""
    end = ReplyEnd(finish_reason="stop")
    assert read(chunk(content="1 <"), chunk("stop")) == [TextDelta("1 "), TextDelta("<"), end]
    parser = CompletionParser("vendor")
    body = {"choices": [{"message": {"content": "1 <"}, "finish_reason": "stop"}]}
    assert list(parser.whole(json.dumps(body))) == [TextDelta("1 "), TextDelta("<"), end]


# --- how long it may take ---------------------------------------------------------------------------------------------


def thought(**fields: Any) -> bytes:
    return data(delta(**fields))


THINKS = {
    "in the text": [text("<think>"), *[2.5, text("Hm. ")] * 6, text("</think>")],
    "in a field": [thought(reasoning_content="Hm"), *[2.5, thought(reasoning_content=" hm")] * 6],
    "in a field of all deltas": [*[thought(reasoning="Hm", content=""), 2.5] * 6, thought(reasoning="Hm", content="")],
}


@pytest.mark.parametrize("thinks", THINKS.values(), ids=THINKS)
async def test_thinking_does_not_count_towards_the_first_sentence(thinks: list[Act]) -> None:
    """After 15 s of thoughts the first sentence has the rest of its own 6 s."""
    errors: list[str] = []
    for pause_s, ends in ((2.5, vp.TurnCompleted), (2.9, vp.TurnFailed)):
        words: list[Act] = [text("Well"), pause_s, text(" then"), pause_s, text(","), 0.9, text(" hello."), END]
        asked, _ = await ask_raw([HEAD, *thinks, *words])
        assert isinstance(asked.end, ends)
        assert asked.took_s == (20.9 if ends is vp.TurnCompleted else 21.0)
        errors.append(str(getattr(asked.end, "error", "")))
    assert "the first sentence (6 s)" in errors[-1]


@pytest.mark.parametrize("limit_s", [None, 8.0])
@pytest.mark.parametrize("act", [text("Hm. "), thought(reasoning_content="Hm. ")], ids=["text", "field"])
async def test_thinking_has_a_limit_of_its_own(act: bytes, limit_s: float | None) -> None:
    """A model that thinks on and on is given up 20 s, or `Deadlines.thinking_s`, after its first thought."""
    limits = vp.Deadlines() if limit_s is None else vp.Deadlines(thinking_s=limit_s)
    asked, server = await ask_raw([HEAD, 1.0, text("<think>"), act, 1.0, "repeat"], deadlines=limits)

    assert asked.took_s == 1.0 + limits.thinking_s
    assert f"the end of its thoughts ({limits.thinking_s:g} s) did not come" in str(asked.end.error)
    assert len(server.requests) == 1


async def test_thinking_twice_is_thinking() -> None:
    """The limit is for all thoughts of a reply, with words between them."""
    hm: list[Act] = [2.0, text("Hm. ")]
    spell: list[Act] = [text("<think>"), *hm, *hm, *hm, text("</think>Well.\n"), 2.0]
    asked, _ = await ask_raw([HEAD, *spell, *spell, END], deadlines=vp.Deadlines(thinking_s=11.0))
    assert isinstance(asked.end.error, IncompleteReply)
    assert asked.took_s == 13.0
    assert "the end of its thoughts (11 s)" in str(asked.end.error)


async def test_a_gap_in_the_thoughts_is_silence() -> None:
    """Thoughts are progress while they arrive."""
    asked, server = await ask_raw([HEAD, text("<think>Hm."), "hold"], [HEAD, text("Very well."), END])
    assert (asked.said, asked.took_s, len(server.requests)) == ("Very well.", 3.0, 2)


def test_a_limit_of_thinking_is_positive() -> None:
    """A limit that no model can meet is refused."""
    with pytest.raises(ConfigurationError, match="positive seconds"):
        vp.Deadlines(thinking_s=0)


# --- whole answers ----------------------------------------------------------------------------------------------------


async def test_data_that_looks_like_a_call_is_data() -> None:
    """Where an answer's format is asked for, JSON is the answer; thoughts in front of it are not."""
    asked_for: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "c", "schema": {"type": "object"}}}
    request = Request(messages=(vp.UserMessage("Hello?"),), response_format=asked_for)
    async with ScriptedGateway([Says(f"<think>Hm.</think>\n{WRITTEN}")] * 2).serve() as base_url:
        stage = vp.LLMStreamStage(base_url=base_url, model="m")
        async with stage.open():
            assert (await stage.complete(request)).text == WRITTEN
            with pytest.raises(VendorError, match="wrote a tool call as text"):
                await stage.complete(replace(request, response_format=None))


async def test_the_setting_is_kept_for_each_reply() -> None:
    """Each reply of a session begins in its thoughts, the one after a tool's result included."""
    script: list[Reply] = [Says("Hm.</think>One."), Says("Hm.</think>Two.")]
    server = ScriptedGateway(script)
    async with server.serve() as base_url, calling(base_url, begins_in_thoughts=True) as session:
        for _ in script:
            await session.user_says("Next?")
    assert [message.text for message in session.history][1::2] == ["One.", "Two."]


async def test_only_the_answer_is_sent_back() -> None:
    """The next request holds what was heard of the reply, and none of its thoughts."""
    server = RawServer([HEAD, text("<think>Hm.</think>One."), END], [HEAD, text("Two."), data(delta("stop")), DONE])
    async with server.serve() as base_url, calling(base_url) as session:
        for _ in range(2):
            await session.user_says("Next?")
    assert [message["content"] for message in server.requests[1].body["messages"]] == ["Next?", "One.", "Next?"]
