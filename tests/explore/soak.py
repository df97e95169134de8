"""Many calls one after another in one process: nothing of them may be left when they are over.

10,000 turns in 200 sessions of one host, on virtual time, 20 sessions at once. After each round of sessions garbage is
collected. What is left then is compared with what was left after the first rounds: resident memory, the blocks that
Python has allocated, tasks and descriptors.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

import voicepipe as vp
from voicepipe.events import TurnEnded
from voicepipe.testing import (
    Calls,
    ChatRequest,
    Reply,
    Says,
    ScriptedModel,
    ScriptedUser,
    ScriptedVoice,
    run_on_virtual_time,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SESSIONS, AT_ONCE, TURNS = 200, 20, 50
WARM_UP = 3
"""Rounds after which memory is flat: pools and caches have been filled."""

FLAT = 0.02
BLOCKS_FLAT = 0.005
"""Python's own count of what it has allocated is exact, so it may hardly grow at all."""

TURN_S = 4.0


@dataclass(frozen=True, slots=True)
class Left:
    """What is left after a round.

    Attributes:
        turns: Turns so far.
        resident_bytes: Memory of the process.
        blocks: Blocks that Python has allocated.
        tasks: Tasks of the loop.
        files: Open descriptors.
    """

    turns: int
    resident_bytes: int
    blocks: int
    tasks: int
    files: int


@vp.tool(effect="write")
async def book(number: int) -> str:
    """Book it."""
    await anyio.sleep(0.3)
    return f"booked {number}"


def answer(chat: ChatRequest) -> Reply:
    """Answer; every third turn books something first."""
    turns = sum(message.role == "user" for message in chat.messages)
    if turns % 3 == 0 and chat.messages[-1].role == "user":
        return Calls("book", {"number": turns}, after_s=0.2)
    return Says("This is an answer. And a little more of it, which may be interrupted.", after_s=0.2)


def caller() -> ScriptedUser:
    """Return a caller who says 50 things: at every fourth one they interrupt, and at every fifth they hum before it."""
    user = ScriptedUser()
    for turn in range(TURNS):
        at_s = 1.0 + turn * TURN_S
        if turn % 5 == 4:
            user.hums("mhm", at_s=at_s - 1.6)
        if turn % 4 == 3:
            user.interrupts(f"Wait, number {turn}, please.", at_s=at_s - 3.0)
        else:
            user.says(f"I want number {turn}, please.", at_s=at_s, speech_s=0.6, silence_s=0.2)
    return user.hangs_up(at_s=1.0 + TURNS * TURN_S)


async def soak(report: Callable[[Left], None], *, sessions: int = SESSIONS) -> list[Left]:
    """Hold the calls, and return what was left after each round."""
    model, voice = ScriptedModel(answer), ScriptedVoice(character_s=0.02, sample_rate=8_000)
    pipeline = vp.Pipeline(caller(), model, vp.ToolRouter([book]), vp.SentenceChunker(), voice)
    turns, rounds = [0], list[Left]()

    async def call(host: vp.Host[Any]) -> None:
        async with host.session(output=vp.ClockedOutput(8_000)) as session:
            async for event in session:
                turns[0] += isinstance(event, TurnEnded)

    async with pipeline.open(freeze_gc=False) as host:
        for _ in range(sessions // AT_ONCE):
            async with anyio.create_task_group() as tasks:
                for _ in range(AT_ONCE):
                    tasks.start_soon(call, host)
            model.requests.clear()  # the copies of a session write into the same lists
            voice.sentences.clear()
            rounds.append(_left(turns[0]))
            report(rounds[-1])
    return rounds


def _left(turns: int) -> Left:
    gc.collect()
    return Left(
        turns=turns,
        resident_bytes=_resident(),
        blocks=sys.getallocatedblocks(),
        tasks=len(asyncio.all_tasks()),
        files=len(os.listdir("/dev/fd")),  # noqa: PTH208
    )


def _resident() -> int:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def problems(rounds: list[Left]) -> list[str]:
    """Return what was not flat after the warm-up."""
    first, last = rounds[WARM_UP - 1], rounds[-1]
    found: list[str] = []
    for name, limit in (("resident_bytes", FLAT), ("blocks", BLOCKS_FLAT)):
        before, after = getattr(first, name), getattr(last, name)
        if abs(after - before) > limit * before:
            found.append(f"{name} went from {before} to {after}, by {(after - before) / before:+.2%}")
    for name in ("tasks", "files"):
        if getattr(last, name) != getattr(first, name):
            found.append(f"{name} went from {getattr(first, name)} to {getattr(last, name)}")
    return found


def main() -> int:
    """Hold the calls, print what is left after each round, and return the exit status."""

    def report(left: Left) -> None:
        print(
            f"{left.turns:6d} turns: {left.resident_bytes / 2**20:.1f} MiB, {left.blocks} blocks, "
            f"{left.tasks} tasks, {left.files} descriptors",
            flush=True,
        )

    found = problems(run_on_virtual_time(lambda: soak(report)))
    print("\n".join(found) or f"flat after round {WARM_UP}")
    return 1 if found else 0
