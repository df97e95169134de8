"""Clients that we did not write talk to an agent: the `openai` package, and `openai-agents`.

Both run on virtual time; what `openai-agents` has played is reported by its own `RealtimePlaybackTracker`.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from openai import AsyncOpenAI, AuthenticationError
from websockets.exceptions import InvalidStatus

import voicepipe as vp
from tests.helpers.realtime_client import PIECE_S, RATE, STORY, ears, scripted, serving
from voicepipe.serving import Limits, Realtime
from voicepipe.testing import Calls, Says, ScriptedRecogniser

pytestmark = pytest.mark.anyio


def with_agents(test: Any) -> Any:
    """Mark a test that needs `openai-agents`: `make test-oracles` has an environment with it."""
    return pytest.mark.slow(pytest.mark.oracle(test))


AUDIO = b"\0\x10" * round(PIECE_S * RATE)


def storyteller(hearing: ScriptedRecogniser) -> tuple[vp.Pipeline, Any]:
    return scripted(hearing, [Says(STORY), Says("Fine.")], character_s=0.05)


# --- openai -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def openai_connection(port: int) -> AsyncGenerator[Any]:
    """Connect as the package's documentation does."""
    async with AsyncOpenAI(api_key="sk-right", base_url=f"http://127.0.0.1:{port}/v1") as client:
        async with client.realtime.connect(model="voicepipe") as connection:
            yield connection


async def read_until(connection: Any, last: str) -> list[Any]:
    """Return the events up to the first of a type."""
    events: list[Any] = []
    with anyio.fail_after(60):
        async for event in connection:
            events.append(event)
            if event.type == last:
                return events
    raise AssertionError(f"the connection ended before {last}")


async def test_openai_hears_a_greeting_and_an_answer() -> None:
    """The package connects with its key, hears the greeting, types, and hears the answer."""
    agent, _ = scripted(ears(), [Says("Sunny.")])
    async with serving(agent, Realtime(key="sk-right"), greeting="Hello!", store=vp.MemoryStore()) as port:
        async with openai_connection(port) as connection:
            await connection.session.update(session={"type": "realtime", "instructions": "Be brief."})
            greeting = await read_until(connection, "response.done")
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Weather?"}]}
            await connection.conversation.item.create(item=item)
            await connection.response.create()
            answer = await read_until(connection, "response.done")
    said = [
        "".join(event.delta for event in events if event.type == "response.output_audio_transcript.delta")
        for events in (greeting, answer)
    ]
    assert said == ["Hello!", "Sunny."]
    audio = b"".join(base64.b64decode(event.delta) for event in answer if event.type == "response.output_audio.delta")
    assert len(audio) == round(0.3 * RATE) * 2


async def test_openai_speaks_and_interrupts() -> None:
    """Spoken words are answered; words over the answer cancel it, and the item ends at what was heard."""
    hearing = ears().says("A story!", at_s=1.0, speech_s=0.5, silence_s=0.3).interrupts("Stop that.", at_s=3.0)
    agent, model = storyteller(hearing)

    async def speak(connection: Any) -> None:
        while True:
            await connection.input_audio_buffer.append(audio=base64.b64encode(AUDIO).decode())
            await anyio.sleep(PIECE_S)

    async with serving(agent, Realtime(key="sk-right")) as port, openai_connection(port) as connection:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(speak, connection)
            story = (await read_until(connection, "response.done"))[-1].response
            await connection.conversation.item.retrieve(item_id=story.output[0].id)
            item = (await read_until(connection, "conversation.item.retrieved"))[-1].item
            await read_until(connection, "response.done")
            tasks.cancel_scope.cancel()
    assert (story.status, story.status_details.reason) == ("cancelled", "turn_detected")
    assert STORY.startswith(item.content[0].transcript)
    assert model.requests[1].messages[-2].content == f"{item.content[0].transcript} —"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the package asks a thread which machine this is
async def test_openai_gets_a_key_for_a_browser() -> None:
    """A server with the key asks for one that lets a browser in once, and no second time."""
    agent, _ = scripted(ears(), [])

    def client(key: str) -> AsyncOpenAI:
        return AsyncOpenAI(api_key=key, base_url=f"http://127.0.0.1:{port}/v1")

    patient = Limits(lag_s=60, stall_s=60)  # the package loads half of itself in this loop
    async with serving(agent, Realtime(key="sk-right"), limits=patient) as port:
        async with client("sk-right") as server, client("sk-wrong") as stranger:
            secret = await server.realtime.client_secrets.create()
            with pytest.raises(AuthenticationError, match="the key is not valid"):
                await stranger.realtime.client_secrets.create()
        async with client(secret.value) as browser:
            async with browser.realtime.connect(model="voicepipe") as connection:
                await read_until(connection, "session.created")
            with pytest.raises(InvalidStatus) as caught:
                async with browser.realtime.connect(model="voicepipe"):
                    pass
    assert (secret.value.startswith("ek_"), caught.value.response.status_code) == (True, 401)


# --- openai-agents ----------------------------------------------------------------------------------------------------


class Listener:
    """Plays what an `openai-agents` session gets, at the pace of speech, and reports it to the session's tracker."""

    def __init__(self, session: Any, tracker: Any) -> None:
        self.session = session
        self.tracker = tracker
        self.events: list[Any] = []
        self.errors: list[Any] = []
        self._waiting: list[tuple[Any, bytes]] = []
        self._news = anyio.Event()

    async def read(self) -> None:
        async for event in self.session:
            self.events.append(event)
            if event.type == "audio":
                self._waiting.append((event, event.audio.data))
            elif event.type == "audio_interrupted":
                self._waiting.clear()
            elif event.type == "error":
                self.errors.append(event.error)
            self._news.set()
            self._news = anyio.Event()

    async def play(self) -> None:
        while True:
            if not self._waiting:
                await anyio.sleep(0.01)
                continue
            event, data = self._waiting.pop(0)
            await anyio.sleep(len(data) / 2 / RATE)
            self.tracker.on_play_bytes(event.item_id, event.content_index, data)

    async def speak(self) -> None:
        while True:
            await self.session.send_audio(AUDIO)
            await anyio.sleep(PIECE_S)

    async def until(self, done: Callable[[], object]) -> None:
        with anyio.fail_after(60):
            while not done():
                await self._news.wait()

    def count(self, kind: str) -> int:
        return sum(event.type == kind for event in self.events)

    @property
    def history(self) -> list[tuple[str, str]]:
        """What the client takes the conversation to be: who said what."""
        return [
            (
                item.role,
                " ".join(getattr(part, "transcript", None) or str(part.text) for part in item.content),
            )
            for item in self.session._history
            if item.type == "message"
        ]


@asynccontextmanager
async def agents_session(port: int, **options: Any) -> AsyncGenerator[Listener]:
    """Run a session as the package's documentation does."""
    from agents.realtime import RealtimeAgent, RealtimePlaybackTracker, RealtimeRunner

    tracker = RealtimePlaybackTracker()
    runner = RealtimeRunner(RealtimeAgent(name="shop", instructions="Be brief.", **options))
    config: Any = {
        "api_key": "sk-right",
        "url": f"ws://127.0.0.1:{port}/v1/realtime?model=voicepipe",
        "playback_tracker": tracker,
    }
    async with await runner.run(model_config=config) as session:
        listener = Listener(session, tracker)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.read)
            tasks.start_soon(listener.play)
            yield listener
            tasks.cancel_scope.cancel()


@with_agents
async def test_agents_hear_a_greeting_and_an_answer() -> None:
    """The runner, which offers compression and sends its settings twice, holds a conversation without an error."""
    agent, _ = scripted(ears(), [Says("Sunny.")])
    async with serving(agent, Realtime(key="sk-right"), greeting="Hello!", store=vp.MemoryStore()) as port:
        async with agents_session(port) as listener:
            await listener.until(lambda: listener.count("agent_end") == 1)
            await listener.session.send_message("Weather?")
            await listener.until(lambda: listener.count("agent_end") == 2)
    assert listener.history == [("assistant", "Hello!"), ("user", "Weather?"), ("assistant", "Sunny.")]
    assert listener.errors == []


@with_agents
async def test_the_history_of_agents_ends_at_what_was_heard() -> None:
    """The runner truncates at the interruption to what it has played; its history and the agent's are cut there."""
    hearing = ears().says("A story!", at_s=1.0, speech_s=0.5, silence_s=0.3).interrupts("Stop that.", at_s=3.5)
    agent, model = storyteller(hearing)
    async with serving(agent, Realtime(key="sk-right")) as port, agents_session(port) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.speak)
            await listener.until(lambda: listener.count("agent_end") == 2)
            tasks.cancel_scope.cancel()
    assert listener.count("audio_interrupted") >= 1
    heard = listener.history[1][1]
    assert STORY.startswith(heard)
    assert 0 < len(heard) < len(STORY)
    assert model.requests[1].messages[-2].content == f"{heard} —"
    assert listener.history == [
        ("user", "A story!"),
        ("assistant", heard),
        ("user", "Stop that."),
        ("assistant", "Fine."),
    ]
    assert listener.errors == []


@with_agents
async def test_a_cough_does_not_silence_agents_for_good() -> None:
    """After a pause the runner gets the rest of the reply in the same item, and its history holds all of it."""
    hearing = ears().says("A story!", at_s=1.0).coughs(at_s=2.5, for_s=0.5)
    agent, _ = storyteller(hearing)
    async with serving(agent, Realtime(key="sk-right")) as port, agents_session(port) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.speak)
            await listener.until(lambda: listener.count("agent_end") == 1)
            tasks.cancel_scope.cancel()
    assert listener.history == [("user", "A story!"), ("assistant", STORY)]
    items = {event.item_id for event in listener.events if event.type == "audio"}
    assert len(items) == 1
    assert listener.errors == []


@with_agents
async def test_agents_run_their_own_tools() -> None:
    """The model calls a function of the runner, twice in one reply, and speaks about what they brought."""
    from agents import function_tool

    asked: list[int] = []

    @function_tool
    async def look_up(number: int) -> str:
        """Look up an order."""
        asked.append(number)
        await anyio.sleep(number / 10)  # the second one ends first
        return f"order {number} is in Lyon"

    replies = [(Calls("look_up", {"number": 7}), Calls("look_up", {"number": 3})), Says("Both are in Lyon.")]
    agent, model = scripted(ears(), replies)
    async with serving(agent, Realtime(key="sk-right", allow={"tools", "instructions"})) as port:
        async with agents_session(port, tools=[look_up]) as listener:
            await listener.session.send_message("Where are my orders?")
            await listener.until(lambda: listener.history[-1:] == [("assistant", "Both are in Lyon.")])
            await anyio.sleep(5)
    assert (sorted(asked), len(model.requests)) == ([3, 7], 2)
    results = str([message.content for message in model.requests[1].messages[-2:]])
    assert ("order 7 is in Lyon" in results, "order 3 is in Lyon" in results) == (True, True)
    assert model.requests[0].messages[0].content == "Be brief."
    assert listener.errors == []


@with_agents
async def test_agents_hand_the_caller_over() -> None:
    """A handoff is a function call after which the runner brings another prompt and other tools; both hold at once."""
    from agents import function_tool
    from agents.realtime import RealtimeAgent

    @function_tool
    def pay(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    billing = RealtimeAgent(name="billing", instructions="You take money.", tools=[pay])
    agent, model = scripted(ears(), [Calls("transfer_to_billing", {}), Says("How much?")])
    async with serving(agent, Realtime(key="sk-right", allow={"tools", "instructions"})) as port:
        async with agents_session(port, handoffs=[billing]) as listener:
            await listener.session.send_message("I want to pay.")
            await listener.until(lambda: listener.history[-1:] == [("assistant", "How much?")])
    assert [request.messages[0].content for request in model.requests] == ["Be brief.", "You take money."]
    assert [request.tools for request in model.requests] == [("transfer_to_billing",), ("pay",)]
    assert (listener.count("handoff"), listener.errors) == (1, [])
