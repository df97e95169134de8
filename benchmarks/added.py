"""What voicepipe adds to the time of model and voice, compared with a hand-written loop in the same run.

added = (first frame - transcript) - (awaited token - request complete, at the server, for each request) - voice

The awaited token ends the first sentence, or a tool call.

Both sides talk to the same server, in blocks that alternate.
"""

from __future__ import annotations

import itertools
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median

import anyio
import httpx

import voicepipe as vp
from benchmarks._figures import Figure, percentile
from benchmarks.minimal import MinimalAgent
from benchmarks.parts import SYSTEM, Loudspeaker, agent, called, spoken
from benchmarks.server import Server, marked, served

__all__ = ["added", "minimal_calls"]

VOICE_S = 0.06
FIRST_TOKEN_S, TOKEN_S = 0.08, 0.01
SHORT, LONG = 16, 400
"""Messages of history in a conversation that has just begun, and in a long one."""

numbers = itertools.count(1)


async def found(parcel: int, street: str) -> str:
    """Look a parcel up, in no time."""
    return f"{parcel} is on its way to {street}"


@vp.tool(effect="read")
async def find_parcel(parcel: int, street: str) -> str:
    """Look a parcel up."""
    return await found(parcel, street)


class MinimalCall:
    """The hand-written loop, driven like a `Call`."""

    def __init__(self, http: httpx.AsyncClient, base_url: str, messages=()) -> None:
        self.output = Loudspeaker()
        said = [{"role": "system", "content": SYSTEM}, *messages]
        self.agent = MinimalAgent(http, base_url, said, lambda _text: spoken(VOICE_S, 5), self.output.write, found)

    async def ask(self, text: str) -> float:
        now = anyio.current_time()
        self.output.expect()
        self.agent.reply_to(text)
        return now


@asynccontextmanager
async def minimal_calls(base_url: str, count: int, messages=()):
    """Hold `count` hand-written conversations, which share one HTTP client as voicepipe's do."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    async with httpx.AsyncClient(limits=limits, timeout=30) as http:
        calls = [MinimalCall(http, base_url, messages) for _ in range(count)]
        yield calls
        for call in calls:
            await call.agent.close()


@dataclass
class Side:
    """One of the two sides, and what was measured: (request's number, asked, first frame)."""

    calls: list
    turns: list[tuple[int, float, float]] = field(default_factory=list)

    async def block(self, turns: int, pause_s: float, reply: str) -> None:
        """Let all conversations take some turns, each at its own times."""
        async with anyio.create_task_group() as tasks:
            for call in self.calls:
                tasks.start_soon(self._converse, call, turns, pause_s, reply)

    async def _converse(self, call, turns: int, pause_s: float, reply: str) -> None:
        await anyio.sleep(random.uniform(0, pause_s))
        for _ in range(turns):
            number = next(numbers)
            asked_s = await call.ask(marked(number, reply))
            self.turns.append((number, asked_s, await call.output.wait_first_frame()))
            # The reply goes on for 0.4 s.
            await anyio.sleep(random.uniform(0.5, 0.5 + pause_s))

    def added_ms(self, log: dict[int, dict[str, float]]) -> list[float]:
        return [(spoke_s - asked_s - log[number]["spent_s"] - VOICE_S) * 1e3 for number, asked_s, spoke_s in self.turns]


async def _compared(
    server: Server, count: int, *, blocks: int, turns: int, pause_s: float, messages: int = 0, reply: str = "answer"
):
    """Return what the minimal loop and voicepipe add, in milliseconds a turn."""
    # Earlier turns of the conversation, which no server has seen.
    said = [f"{'Question' if index % 2 == 0 else 'Answer'} number {index} of this call." for index in range(messages)]
    chat = [{"role": ("user", "assistant")[index % 2], "content": text} for index, text in enumerate(said)]
    history = [
        vp.UserMessage(text) if index % 2 == 0 else vp.AssistantMessage(generated=text, heard=text, is_settled=True)
        for index, text in enumerate(said)
    ]
    async with (
        minimal_calls(server.base_url, count, chat) as minimal_side,
        agent(server.base_url, tools=[find_parcel]).open() as host,
        called(host, count, history=history) as voicepipe_side,
    ):
        sides = Side(minimal_side), Side(voicepipe_side)
        for side in sides:
            await side.block(1, pause_s, reply)  # connections are made, code is warm
            side.turns.clear()
        for block in range(blocks):
            for side in sides if block % 2 == 0 else reversed(sides):
                await side.block(turns, pause_s, reply)
    log = await server.log()
    return [side.added_ms(log) for side in sides]


async def added() -> list[Figure]:
    """Both sides with 10 and with 50 conversations, and with a short and a long history."""
    figures: list[Figure] = []
    async with served(first_token_s=FIRST_TOKEN_S, token_s=TOKEN_S) as server:
        for count, pause_s in ((10, 1.0), (50, 3.0)):
            minimal, ours = await _compared(server, count, blocks=2, turns=3, pause_s=pause_s)
            figures += [
                Figure(f"added: {count} calls, minimal loop, median", median(minimal), "ms"),
                Figure(f"added: {count} calls, voicepipe, median", median(ours), "ms"),
                Figure(f"added: {count} calls, voicepipe, p99", percentile(ours, 99), "ms", 20),
                Figure(f"added: {count} calls, voicepipe / minimal", median(ours) / median(minimal), "x", 1.5),
            ]
        minimal, ours = await _compared(server, 10, blocks=2, turns=3, pause_s=1.0, reply="tool")
        figures += [
            Figure("added: a tool turn, 10 calls, minimal loop, median", median(minimal), "ms"),
            Figure("added: a tool turn, 10 calls, voicepipe, median", median(ours), "ms"),
            Figure("added: a tool turn, 10 calls, voicepipe / minimal", median(ours) / median(minimal), "x", 1.5),
        ]
        growth = {}
        for messages in (SHORT, LONG):
            minimal, ours = await _compared(server, 5, blocks=2, turns=4, pause_s=0.5, messages=messages)
            growth[messages] = median(minimal), median(ours)
            figures.append(Figure(f"added: {messages} messages, minimal loop, median", growth[messages][0], "ms"))
            figures.append(Figure(f"added: {messages} messages, voicepipe, median", growth[messages][1], "ms"))
    minimal_growth, growth_ms = (growth[LONG][side] - growth[SHORT][side] for side in (0, 1))
    figures.append(
        Figure(f"added: {SHORT} to {LONG} messages, above the minimal loop", growth_ms - minimal_growth, "ms", 1)
    )
    return figures
