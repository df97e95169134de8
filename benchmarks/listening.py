"""The cost of a call while nobody speaks: CPU of open microphones, memory of open sessions."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import astuple
from pathlib import Path

import anyio

from benchmarks._figures import Figure
from benchmarks.added import minimal_calls
from benchmarks.parts import MICROPHONE_FRAME, agent, called
from benchmarks.server import marked, served
from benchmarks.services import services

__all__ = ["idle", "memory", "resident_kib"]

CALLS = 50
MEASURED_S = 8.0


async def idle() -> list[Figure]:
    """CPU of 50 open, silent microphones, in percent of a core; both values include feeding them."""
    async with served(first_token_s=0.08, token_s=0.01) as server:
        async with minimal_calls(server.base_url, CALLS) as calls:
            minimal = await _cpu_share([lambda call=call: call.agent.hear(MICROPHONE_FRAME) for call in calls])
        async with agent(server.base_url).open() as host, called(host, CALLS) as calls:
            ours = await _cpu_share([call.hear_frame for call in calls])
    return [
        Figure("idle: 50 microphones, minimal loop", minimal, "% of a core"),
        Figure("idle: 50 microphones, voicepipe", ours, "% of a core", 6),
    ]


async def _cpu_share(feeds) -> float:
    began_s = anyio.current_time()
    ticks = 0
    cpu_s = 0.0
    while anyio.current_time() < began_s + 1.0 + MEASURED_S:
        if ticks == 50:
            cpu_s = time.process_time()
        for feed in feeds:
            feed()
        ticks += 1
        await anyio.sleep_until(began_s + ticks * 0.02)
    return (time.process_time() - cpu_s) / MEASURED_S * 100


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
