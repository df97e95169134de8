"""What voicepipe adds to the time of model and voice, and its CPU, compared with a hand-written loop in the same run.

added = (first frame - transcript) - (awaited token - request complete, at the server, for each request) - voice

The awaited token ends the first sentence, or a tool call.

Both sides talk to the same server, in blocks that alternate.
"""

from __future__ import annotations

import itertools
import random
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import anyio
import httpx

import voicepipe as vp
from benchmarks._figures import Figure, percentile
from benchmarks.minimal import MinimalAgent
from benchmarks.parts import SYSTEM, Loudspeaker, agent, called, spoken
from benchmarks.server import Server, marked, served

__all__ = ["BLOCKS", "Compared", "Load", "added", "compared", "minimal_calls"]

VOICE_S = 0.06
BLOCKS = 10
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

    def __init__(self, http: httpx.AsyncClient, base_url: str, messages=(), voice_s: float = VOICE_S) -> None:
        self.output = Loudspeaker()
        said = [{"role": "system", "content": SYSTEM}, *messages]
        self.agent = MinimalAgent(http, base_url, said, lambda _text: spoken(voice_s, 5), self.output.write, found)

    async def ask(self, text: str) -> float:
        now = anyio.current_time()
        self.output.expect()
        self.agent.reply_to(text)
        return now


@asynccontextmanager
async def minimal_calls(base_url: str, count: int, messages=(), voice_s: float = VOICE_S):
    """Hold `count` hand-written conversations, which share one HTTP client as voicepipe's do."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    async with httpx.AsyncClient(limits=limits, timeout=30) as http:
        calls = [MinimalCall(http, base_url, messages, voice_s) for _ in range(count)]
        yield calls
        for call in calls:
            await call.agent.close()


@dataclass(frozen=True, slots=True)
class Load:
    """How busy both sides are.

    Attributes:
        calls: Conversations at once.
        turns: Turns of each conversation in a block.
        pause_s: How long a caller waits at most before they speak again.
        reply: What the server answers.
        messages: Messages of history that each conversation begins with.
    """

    calls: int
    turns: int
    pause_s: float
    reply: str = "answer"
    messages: int = 0


@dataclass
class Side:
    """One of the two sides, and what was measured: (request's number, asked, first frame).

    The rest of a reply takes less than `reply_s`.
    """

    calls: list
    reply_s: float = 0.5
    turns: list[tuple[int, float, float]] = field(default_factory=list)
    cpu_s: float = 0.0

    async def block(self, turns: int, pause_s: float, reply: str) -> None:
        """Let all conversations take some turns, each at its own times."""
        began_s = time.process_time()
        async with anyio.create_task_group() as tasks:
            for call in self.calls:
                tasks.start_soon(self._converse, call, turns, pause_s, reply)
        self.cpu_s = time.process_time() - began_s

    async def _converse(self, call, turns: int, pause_s: float, reply: str) -> None:
        await anyio.sleep(random.uniform(0, pause_s))
        for _ in range(turns):
            number = next(numbers)
            asked_s = await call.ask(marked(number, reply))
            self.turns.append((number, asked_s, await call.output.wait_first_frame()))
            await anyio.sleep(self.reply_s + random.uniform(0, pause_s))

    def added_ms(self, log: dict[int, dict[str, Any]]) -> list[float]:
        return [(spoke_s - asked_s - log[number]["spent_s"] - VOICE_S) * 1e3 for number, asked_s, spoke_s in self.turns]


@dataclass
class Compared:
    """What the minimal loop and voicepipe add: in milliseconds a turn and in CPU, block by block."""

    added_ms: tuple[list[list[float]], list[list[float]]] = field(default_factory=lambda: ([], []))
    cpu_ms: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    def figures(self, name: str, *, of_p99: bool) -> list[Figure]:
        """Return the medians of both sides, and the median of the ratios of all pairs of blocks with their range."""
        mine, ours = ([median(block) for block in side] for side in self.added_ms)
        every = [[one for block in side for one in block] for side in self.added_ms]
        figures = [
            Figure(f"added: {name}, minimal loop, median", median(every[0]), "ms"),
            Figure(f"added: {name}, voicepipe, median", median(every[1]), "ms"),
            _ratio(f"added: {name}, voicepipe / minimal", mine, ours, 1.3),
        ]
        if of_p99:
            late = [percentile(side, 99) for side in every]
            figures += [
                Figure(f"added: {name}, minimal loop, p99", late[0], "ms"),
                Figure(f"added: {name}, voicepipe, p99", late[1], "ms"),
                Figure(f"added: {name}, p99, voicepipe / minimal", late[1] / late[0], "x", 1.5),
            ]
        return [*figures, _ratio(f"added: {name}, CPU a turn, voicepipe / minimal", *self.cpu_ms, 1.25)]


def _ratio(name: str, minimal: list[float], ours: list[float], bar: float) -> Figure:
    ratios = sorted(our / least for our, least in zip(ours, minimal, strict=True))
    return Figure(f"{name} (of {len(ratios)} pairs, {ratios[0]:.2f} to {ratios[-1]:.2f})", median(ratios), "x", bar)


async def compared(server: Server, load: Load, blocks: int) -> Compared:
    """Measure both sides, in blocks that alternate; which side begins alternates too."""
    # Earlier turns of the conversation, which no server has seen.
    said = [
        f"{'Question' if index % 2 == 0 else 'Answer'} number {index} of this call." for index in range(load.messages)
    ]
    chat = [{"role": ("user", "assistant")[index % 2], "content": text} for index, text in enumerate(said)]
    history = [
        vp.UserMessage(text) if index % 2 == 0 else vp.AssistantMessage(generated=text, heard=text, is_settled=True)
        for index, text in enumerate(said)
    ]
    result = Compared()
    async with (
        minimal_calls(server.base_url, load.calls, chat) as minimal_side,
        agent(server.base_url, tools=[find_parcel]).open() as host,
        called(host, load.calls, history=history) as voicepipe_side,
    ):
        sides = Side(minimal_side), Side(voicepipe_side)
        measured: tuple[list[list], list[list]] = [], []
        for side in sides:
            await side.block(1, load.pause_s, load.reply)  # connections are made, code is warm
            side.turns.clear()
        for block in range(blocks):
            for index in (0, 1) if block % 2 == 0 else (1, 0):
                side = sides[index]
                await side.block(load.turns, load.pause_s, load.reply)
                measured[index].append(side.turns)
                result.cpu_ms[index].append(side.cpu_s / len(side.turns) * 1e3)
                side.turns = []
    log = await server.log()
    for index, side in enumerate(sides):
        for turns in measured[index]:
            side.turns = turns
            result.added_ms[index].append(side.added_ms(log))
    return result


LOADS: dict[str, Load] = {
    "10 calls": Load(10, 10, 1.0),
    "50 calls": Load(50, 4, 3.0),
    "200 calls": Load(200, 2, 8.0),
    "a tool turn, 10 calls": Load(10, 10, 1.0, "tool"),
}


async def added(blocks: int = BLOCKS, names: tuple[str, ...] = ()) -> list[Figure]:
    """Both sides under four loads, and with a short and a long history."""
    figures: list[Figure] = []
    async with served(first_token_s=FIRST_TOKEN_S, token_s=TOKEN_S) as server:
        for name in names or LOADS:
            result = await compared(server, LOADS[name], blocks)
            figures += result.figures(name, of_p99="calls" in name)
        if names:
            return figures
        growth = {}
        for messages in (SHORT, LONG):
            result = await compared(server, Load(5, 4, 0.5, messages=messages), 2)
            growth[messages] = [median(one for block in side for one in block) for side in result.added_ms]
            figures.append(Figure(f"added: {messages} messages, minimal loop, median", growth[messages][0], "ms"))
            figures.append(Figure(f"added: {messages} messages, voicepipe, median", growth[messages][1], "ms"))
    minimal_growth, growth_ms = (growth[LONG][side] - growth[SHORT][side] for side in (0, 1))
    figures.append(
        Figure(f"added: {SHORT} to {LONG} messages, above the minimal loop", growth_ms - minimal_growth, "ms", 1)
    )
    return figures
