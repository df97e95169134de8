"""An agent of pydantic-ai as the model of a whole session, on virtual time: its model is a function."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from pydantic import BaseModel

import voicepipe as vp
from tests.helpers.tool_rows import Row, calls_of
from voicepipe.testing import ScriptedVoice

if TYPE_CHECKING or find_spec("pydantic_ai"):
    from pydantic_ai import RunContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

needs_pydantic_ai = pytest.mark.skipif(
    find_spec("pydantic_ai") is None and os.environ.get("VOICEPIPE_TEST_ALL") != "1",
    reason="not installed: pydantic_ai",
)
pytestmark = [pytest.mark.anyio, needs_pydantic_ai]


def call(name: str, arguments: dict[str, Any] | str, call_id: str = "c1") -> dict[int, Any]:
    from pydantic_ai.models.function import DeltaToolCall

    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {hash(call_id): DeltaToolCall(name, text, tool_call_id=call_id)}


class Script:
    """What the agent's model does at each request: a text, a call, seconds to wait, or an error to raise.

    Attributes:
        seen: What it was shown at each request, as (kind, text).
        closed_s: When its streams were closed.
    """

    def __init__(self, *replies: list[Any]) -> None:
        self.replies = list(replies)
        self.seen: list[list[tuple[str, str]]] = []
        self.offered: list[list[str]] = []
        self.closed_s: list[float] = []

    async def __call__(self, messages: list[Any], info: Any) -> AsyncIterator[Any]:
        parts = [part for message in messages for part in message.parts]
        self.seen.append([(part.part_kind, str(getattr(part, "content", getattr(part, "args", "")))) for part in parts])
        self.offered.append(sorted(tool.name for tool in info.function_tools))
        try:
            for step in self.replies.pop(0):
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, float):
                    await anyio.sleep(step)
                else:
                    yield step
        finally:
            self.closed_s.append(round(anyio.current_time(), 6))

    def agent(self, **settings: Any) -> Any:
        from pydantic_ai import Agent
        from pydantic_ai.models.function import FunctionModel

        return Agent(FunctionModel(stream_function=self, model_name="scripted"), **settings)


def row_of(agent: Any, *tools: Any, character_s: float = 0.0, **settings: Any) -> Row:
    return Row(vp.PydanticAIModel(agent, **settings), tools, voice=ScriptedVoice(character_s=character_s))


@vp.tool(effect="read")
async def find_order(number: int) -> str:
    """Look up an order."""
    await anyio.sleep(0.5)
    return f"order {number}"


def looking(agent: Any, ran: list[float], seconds: float = 1.0) -> None:
    """Give the agent a tool of its own."""

    @agent.tool_plain
    async def weather(city: str) -> str:
        """Give the weather."""
        ran.append(round(anyio.current_time(), 6))
        await anyio.sleep(seconds)
        return f"sunny in {city}"


async def test_text_is_spoken_as_it_comes() -> None:
    """Sentences are spoken while the agent's model still writes; tokens and finish reason are reported."""
    script = Script(["Hello there. ", 0.5, "How are", " you?"], ["Fine."])
    row = row_of(script.agent(instructions="Be kind."))
    async with row.session() as session:
        await session.user_says("Hi")
        await session.user_says("And you?")

    assert row.voice.sentences[:2] == [(0.0, "Hello there."), (0.5, " How are you?")]
    assert [event.finish_reason for event in row.reported(vp.TurnCompleted)] == ["stop", "stop"]
    counted = [
        (one.model, one.step, one.is_estimated, one.input_tokens > 0, one.output_tokens > 0)
        for one in row.reported(vp.ModelUsage)
    ]
    assert counted == [("scripted", 0, False, True, True)] * 2
    assert script.seen[1] == [("user-prompt", "Hi"), ("text", "Hello there. How are you?"), ("user-prompt", "And you?")]


async def test_our_tool_runs_under_our_rules() -> None:
    """A call of our tool comes back from the run, is checked and run once, and the agent goes on with its result."""
    script = Script(
        ["Let me look.", call("find_order", {"number": "7"}, "c1")],
        [call("find_order", {"number": 7}, "c2")],
        ["It is on its way."],
    )
    row = row_of(script.agent(), find_order)
    async with row.session() as session:
        await session.user_says("Where is it?")
        refused, found = calls_of(session)

    assert row.voice.sentences == [(0.0, "Let me look."), (0.5, "It is on its way.")]
    assert row.tool_table == [
        (0.0, "find_order", "failed"),
        (0.0, "find_order", "started"),
        (0.5, "find_order", "done"),
    ]
    assert (refused.status, found.result) == ("failed", "order 7")
    assert script.offered == [["find_order"]] * 3
    assert script.seen[2][-3:] == [
        ("tool-return", '{"error": "number: Input should be a valid integer"}'),
        ("tool-call", '{"number": 7}'),
        ("tool-return", '{"untrusted_result":"order 7"}'),
    ]


async def test_arguments_that_are_no_json_are_refused_and_the_turn_goes_on() -> None:
    """The agent neither repairs nor gives up on broken arguments: the router says what is wrong."""
    script = Script([call("find_order", '{"number": ')], ["I cannot find it."])
    row = row_of(script.agent(), find_order)
    async with row.session() as session:
        await session.user_says("Where is it?")
        assert "not JSON" in calls_of(session)[0].result
    assert row.reported(vp.TurnFailed) == []
    assert row.voice.sentences == [(0.0, "I cannot find it.")]


async def test_their_tool_runs_inside_and_its_result_is_remembered() -> None:
    """Words before a tool of the agent's own are spoken while it runs, and later turns know what it returned."""
    ran: list[float] = []
    script = Script(["One moment.", call("weather", {"city": "Lyon"})], ["It is sunny."], ["In Lyon."])
    agent = script.agent()
    looking(agent, ran)
    row = row_of(agent)
    async with row.session() as session:
        await session.user_says("Weather?")
        await session.user_says("Where?")

    assert row.voice.sentences[:2] == [(0.0, "One moment."), (1.0, " It is sunny.")]
    assert (ran, calls_of(session)) == ([0.0], [])
    assert script.seen[2] == [
        ("user-prompt", "Weather?"),
        ("tool-call", '{"city":"Lyon"}'),
        ("tool-return", "sunny in Lyon"),
        ("text", "One moment. It is sunny."),
        ("user-prompt", "Where?"),
    ]


async def test_one_response_may_call_both() -> None:
    """A response that calls their tool and ours runs each once; the agent sees both results."""
    ran: list[float] = []
    both = {**call("weather", {"city": "Lyon"}, "w"), **call("find_order", {"number": 7}, "f")}
    script = Script([both], ["Both."])
    agent = script.agent()
    looking(agent, ran)
    row = row_of(agent, find_order)
    async with row.session() as session:
        await session.user_says("Both, please")

    assert (ran, row.tool_table) == ([0.0], [(1.0, "find_order", "started"), (1.5, "find_order", "done")])
    returned = [text for kind, text in script.seen[1] if kind == "tool-return"]
    assert returned == ["sunny in Lyon", '{"untrusted_result":"order 7"}']


async def test_an_interruption_closes_the_run_and_leaves_what_was_heard() -> None:
    """A barge-in closes the model's stream at once, and the next run knows only the words that were heard."""
    script = Script(["One two three four. ", 9.0, "Never."], ["Yes."])
    row = row_of(script.agent(), character_s=0.1)
    async with row.session() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Count")
        await anyio.sleep(0.85)
        session.interrupt()
        await session.user_says("Stop")

    assert script.closed_s[0] == 0.85
    assert script.seen[1] == [("user-prompt", "Count"), ("text", "One two —"), ("user-prompt", "Stop")]


async def test_their_tool_may_be_cut_and_the_agent_is_told() -> None:
    """An own tool that a barge-in cuts has an unknown outcome in the next run."""
    ran: list[float] = []
    script = Script(["Looking.", call("weather", {"city": "Lyon"})], ["Sorry."])
    agent = script.agent()
    looking(agent, ran, seconds=5.0)
    row = row_of(agent)
    async with row.session() as session, anyio.create_task_group() as tasks:
        tasks.start_soon(session.user_says, "Weather?")
        await anyio.sleep(2.0)
        session.interrupt()
        await session.user_says("Well?")

    (cut,) = (text for kind, text in script.seen[1] if kind == "tool-return")
    assert cut == "the reply was interrupted before this ended; the outcome is unknown, it may have happened"


class Notes(vp.Model):
    """Writes summaries."""

    async def reply(self, request: vp.Request, outbox: vp.Outbox[vp.ReplyPart], turn: vp.Turn) -> None:
        raise NotImplementedError

    async def complete(self, request: vp.Request) -> vp.Completion:
        return vp.Completion(text="the caller counts")


async def test_a_long_conversation_is_given_as_a_summary_and_its_end() -> None:
    """The window of a pipeline holds for an agent, too: old messages are left out, or replaced by a summary."""
    for summarise, first, kept in (
        (None, "three", ["Yes.", "four"]),
        (Notes(), "[Summary of the conversation so far.", ["three", "Yes.", "four"]),
    ):
        script = Script(*(["Yes."] for _ in range(4)))
        row = row_of(script.agent(), window=vp.Window(messages=6, summarise=summarise))
        async with row.session() as session:
            for words in ("one", "two", "three", "four"):
                await session.user_says(words)
                await anyio.sleep(1.0)
        (_, begins), *others = script.seen[3]
        assert (begins.startswith(first), [text for _, text in others]) == (True, kept)


async def test_data_come_from_the_agents_model_without_its_tools() -> None:
    """`structured` asks the agent's model by the schema, and again with the error; the agent's tools take no part."""
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelResponse, ToolCallPart
    from pydantic_ai.models.function import FunctionModel

    asked: list[tuple[Any, ...]] = []

    async def answer(messages: list[Any], info: Any) -> Any:
        (output,) = info.output_tools
        asked.append((info.instructions, len(info.function_tools), output.parameters_json_schema["required"]))
        return ModelResponse(parts=[ToolCallPart(output.name, {"number": 7 if len(asked) > 1 else "seven"})])

    for form in ("response_format", "tool"):
        asked.clear()
        agent = Agent(FunctionModel(answer), instructions="Be kind.")
        looking(agent, [])
        model = vp.PydanticAIModel(agent)
        order = await vp.structured(Order, "The seventh", llm=model, form=form, instructions="Take the data.")
        assert order == Order(number=7)
        assert asked == [("Take the data.", 0, ["number"])] * 2


def http_error(status: int, **settings: Any) -> Exception:
    from pydantic_ai.exceptions import ModelHTTPError

    return ModelHTTPError(status, "scripted", {"error": "no"}, **settings)


def limits() -> Exception:
    from pydantic_ai.exceptions import UsageLimitExceeded

    return UsageLimitExceeded("The next request would exceed the request_limit of 6")


FAILURES: dict[str, tuple[Callable[[], list[list[Any]]], str, float, int]] = {
    "wrong key": (lambda: [[http_error(401)]], "AuthenticationError", 0.0, 1),
    "too many, and a wait that does not fit": (lambda: [[http_error(429, retry_after=60.0)]], "RateLimited", 0.0, 1),
    "refused": (lambda: [[http_error(400)]], "VendorError", 0.0, 1),
    "down, then well": (lambda: [[http_error(503)], ["Well."]], "", 0.0, 2),
    "cut after text": (lambda: [["Half a ", http_error(503)]], "IncompleteReply", 0.0, 1),
    "too many rounds": (lambda: [[limits()]], "VendorError", 0.0, 1),
    "silent, then well": (lambda: [[4.5, "Late."], ["Well."]], "", 4.0, 2),
    "silent after text": (lambda: [["Half a ", 60.0]], "IncompleteReply", 3.0, 1),
}


async def test_what_fails_says_who_has_to_act() -> None:
    """A failure is one of our errors, at its deadline; a request is repeated if that may help and nothing was used."""
    for name, (replies, error, at_s, requests) in FAILURES.items():
        script = Script(*replies())
        row = row_of(script.agent())
        began_s = anyio.current_time()
        async with row.session() as session:
            await session.user_says("Hi")
            took_s = anyio.current_time() - began_s
        failed = [type(event.error).__name__ for event in row.reported(vp.TurnFailed)]
        assert (name, failed, round(took_s, 2), len(script.seen)) == (name, [error] if error else [], at_s, requests)


class Order(BaseModel):
    number: int


async def test_what_cannot_be_an_agent_is_refused() -> None:
    """An output that is not text, something else than an agent, and names that clash are errors that say what to do."""
    script = Script(["Never."])
    for agent, said in (
        (script.agent(output_type=Order), "but what is spoken is text; leave output_type out"),
        ("openai:gpt-5.2", "PydanticAIModel needs an agent: PydanticAIModel(pydantic_ai.Agent(...)), not 'openai"),
    ):
        with pytest.raises(vp.ConfigurationError) as refused:
            vp.PydanticAIModel(agent)
        assert said in str(refused.value)
    with pytest.raises(vp.ConfigurationError, match="deps must be a function of the session"):
        vp.PydanticAIModel(script.agent(), deps={"shop": 1})

    agent = script.agent()

    @agent.tool_plain(name="find_order")
    async def other() -> str:
        """Look up an order."""
        return ""

    row = row_of(agent, find_order)
    async with row.session() as session:
        await session.user_says("Hi")
    (failed,) = row.reported(vp.TurnFailed)
    assert isinstance(failed.error, vp.ConfigurationError)
    assert "name conflicts with existing tool" in str(failed.error)


async def test_an_agents_tool_gets_the_sessions_deps() -> None:
    """The agent's `deps` are those of the session, or what a function of the session returns."""
    for settings, expected in (({}, "shop"), ({"deps": lambda session: session.id}, "call-1")):
        script = Script([call("who", {})], ["Done."])
        agent = script.agent(deps_type=str)

        @agent.tool
        async def who(context: RunContext[str]) -> str:
            """Say who."""
            return context.deps

        row = row_of(agent, **settings)
        async with row.session(deps="shop", id="call-1") as session:
            await session.user_says("Hi")
        assert script.seen[1][-1] == ("tool-return", expected)
