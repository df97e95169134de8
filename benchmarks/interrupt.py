"""What an interruption stops, and when: the sound, the request to the model, the tasks of the turn."""

from __future__ import annotations

import random
from asyncio import all_tasks
from statistics import median

import anyio
from anyio.lowlevel import checkpoint

from benchmarks._figures import Figure
from benchmarks.parts import Voice, agent, called
from benchmarks.server import marked, served

__all__ = ["interrupt"]

INTERRUPTS = 200


async def interrupt() -> list[Figure]:
    """200 interruptions in mid-reply, while tokens still arrive over HTTP."""
    interrupted_s: dict[int, float] = {}
    late_frames = 0
    gone_ms: list[float] = []
    async with served(first_token_s=0.005, token_s=0.004) as server:
        row = agent(server.base_url, Voice(first_audio_s=0.02, frames=100))
        async with row.open() as host, called(host, 1) as (call,):
            for number in range(INTERRUPTS):
                before = all_tasks()
                await call.ask(marked(number, "story"))
                await call.output.wait_first_frame()
                await anyio.sleep(random.uniform(0, 0.1))
                tasks = all_tasks() - before
                assert tasks, "a reply has tasks; without any, the time until they are gone says nothing"
                interrupted_s[number] = anyio.current_time()
                call.session.interrupt()
                frames = call.output.frames
                while not all(task.done() for task in tasks):
                    await checkpoint()
                gone_ms.append((anyio.current_time() - interrupted_s[number]) * 1e3)
                await anyio.sleep(0.03)
                late_frames += call.output.frames - frames
        log = await server.log()
    never = sum("closed_s" not in entry for entry in log.values())
    closed_ms = [(log[n]["closed_s"] - at_s) * 1e3 for n, at_s in interrupted_s.items() if "closed_s" in log[n]]
    return [
        Figure(f"interrupt: frames after {INTERRUPTS} interruptions", late_frames, "", 0),
        Figure("interrupt: requests that stayed open", never, "", 0),
        Figure("interrupt: request closed at the server, median", median(closed_ms), "ms"),
        Figure("interrupt: request closed at the server, max", max(closed_ms), "ms", 20),
        Figure("interrupt: all tasks of the turn gone, median", median(gone_ms), "ms"),
        Figure("interrupt: all tasks of the turn gone, max", max(gone_ms), "ms", 20),
    ]
