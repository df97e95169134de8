"""The cost of a call while nobody speaks: CPU of open microphones, memory of open sessions, CPU of opening one."""

from __future__ import annotations

import gc
import os
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import astuple
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import anyio

import voicepipe as vp
from benchmarks._figures import Figure
from benchmarks.added import minimal_calls
from benchmarks.parts import MICROPHONE_FRAME, agent, called
from benchmarks.server import marked, served
from benchmarks.services import services
from voicepipe.audio.pcm import FRAME_S

__all__ = ["idle", "memory", "opening", "resident_kib"]

CALLS = 50
ROUNDS = 12
WARM_UP_S = 0.3
MEASURED_S = 1.0


# --- CPU --------------------------------------------------------------------------------------------------------------


async def idle() -> list[Figure]:
    """CPU of 50 open, silent microphones, in percent of a core.

    In each round every side opens its calls, is fed for a second in real time, and closes them. The ratios are those of
    two sides in the same round, because a processor that others use changes its speed from second to second.
    """
    async with served(first_token_s=0.08, token_s=0.01) as server:
        plain = vp.Pipeline(*agent(server.base_url).parts, detector=None)
        sides = {
            "feeding them alone": _fed_alone,
            "minimal loop": partial(_fed_minimal, server.base_url),
            "voicepipe": partial(_fed, plain),
            "voicepipe, default detector": partial(_fed, agent(server.base_url)),
        }
        shares = {name: [] for name in sides}
        for number in range(ROUNDS):
            for name in list(sides)[:: 1 if number % 2 else -1]:
                async with sides[name]() as feeds:
                    shares[name].append(await _cpu_share(feeds))
    fed, minimal, ours, detecting = shares.values()
    figures = [
        Figure(f"idle: {CALLS} microphones, {name}", median(found), "% of a core") for name, found in shares.items()
    ]
    for what, side in (("voicepipe", ours), ("default detector", detecting)):
        ratios = [one / other for one, other in zip(side, minimal, strict=True)]
        first, _, third = quantiles(ratios, n=4)
        figures += [
            Figure(f"idle: {what} / minimal loop", median(ratios), "x", 1.25 if side is ours else None),
            Figure(f"idle: {what} / minimal loop, spread (third less first quartile)", third - first, "x"),
            Figure(
                f"idle: {what} / minimal loop, both without feeding",
                median((one - feed) / (other - feed) for one, other, feed in zip(side, minimal, fed, strict=True)),
                "x",
            ),
        ]
    return figures


@asynccontextmanager
async def _fed_alone():
    yield [len] * CALLS


@asynccontextmanager
async def _fed_minimal(base_url: str):
    async with minimal_calls(base_url, CALLS) as calls:
        yield [call.agent.hear for call in calls]


@asynccontextmanager
async def _fed(pipeline: vp.Pipeline):
    async with pipeline.open() as host, called(host, CALLS) as calls:
        yield [call.source.push for call in calls]


async def _cpu_share(feeds) -> float:
    """Feed each microphone every 20 ms, and return the CPU that the process takes, in percent of a core."""
    gc.collect()  # what opening has left behind
    await _feed(feeds, WARM_UP_S)
    before_s = time.process_time()
    await _feed(feeds, MEASURED_S)
    return (time.process_time() - before_s) / MEASURED_S * 100


async def _feed(feeds, seconds: float) -> None:
    began_s = anyio.current_time()
    for tick in range(1, round(seconds / FRAME_S) + 1):
        for feed in feeds:
            feed(MICROPHONE_FRAME)
        await anyio.sleep_until(began_s + tick * FRAME_S)


async def opening() -> list[Figure]:
    """CPU of opening a session, and of opening and closing one."""
    opened_ms, both_ms = [], []
    async with served(first_token_s=0.08, token_s=0.01) as server, agent(server.base_url).open() as host:
        for _ in range(1 + ROUNDS):
            gc.collect()
            began_s = time.process_time()
            async with called(host, CALLS):
                opened_ms.append((time.process_time() - began_s) / CALLS * 1e3)
            both_ms.append((time.process_time() - began_s) / CALLS * 1e3)
    return [
        Figure("opening: a session", median(opened_ms[1:]), "ms of CPU"),  # the first round imports and connects
        Figure("opening: and closing it", median(both_ms[1:]), "ms of CPU"),
    ]


# --- memory -----------------------------------------------------------------------------------------------------------


async def memory() -> list[Figure]:
    """Resident memory of one more session, and of one more call with all sockets, in fresh processes."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    async with served(first_token_s=0.01, token_s=0.001) as server:
        command = [sys.executable, "-m", "benchmarks.listening", server.base_url]
        done = await anyio.run_process(command, stderr=None, env=environment)
    async with services(max(os.sched_getaffinity(0))) as at:
        command = [sys.executable, "-m", "benchmarks.sockets", "memory", *map(str, astuple(at))]
        with_sockets = await anyio.run_process(command, stderr=None, env=environment)
    opened, spoken = map(float, with_sockets.stdout.split())
    return [
        Figure("memory: a further session", float(done.stdout), "KiB", 100),
        Figure("memory: a further call with all three sockets, open", opened, "KiB", 250),
        Figure("memory: the same after a question and a reply, audio on its way included", spoken, "KiB", 250),
    ]


async def _print_memory(base_url: str) -> None:
    async with agent(base_url).open() as host, called(host, 1) as (call,):
        await call.ask(marked(1))
        await call.output.wait_first_frame()
        await call.wait_done()
        before = resident_kib()
        async with called(host, CALLS):
            await anyio.sleep(0.5)
            sys.stdout.write(f"{(resident_kib() - before) / CALLS}\n")


def resident_kib() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


if __name__ == "__main__":
    anyio.run(_print_memory, sys.argv[1])
