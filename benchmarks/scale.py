"""How many calls one process holds: 20 ms frames both ways, until one frame in a hundred is more than 10 ms late.

A call has everything but the vendors: pushed audio reaches the recogniser, which reports a question whenever the agent
has been silent for half a second; a scripted model answers, a scripted voice speaks 3 s, and a `PacedOutput` sends. One
timer feeds all calls. A frame's lateness is the time from its tick until it reaches the recogniser, or is sent.

For comparison, the least that asyncio can do: for each call a queue and a task that reads it, and a task that sleeps
and sends.

Each number of calls is measured in a separate process on a simulated core: time is the CPU that the process has used,
and jumps where it would wait. Only timers are waited for, so the load of other processes affects only the figure that
says so.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import selectors
import sys
import time
from asyncio import Queue
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

import anyio

import voicepipe as vp
from benchmarks._figures import Figure, percentile
from benchmarks.parts import MICROPHONE_FRAME
from voicepipe.testing import Says, ScriptedModel

__all__ = ["measured", "scale"]

FRAME_S = 0.02
LATE_S = 0.01
SETTLE_S = 5.0  # until all calls speak
MEASURED_S = 8.0  # two turns of each
PROMISED = 100
TRIES = 2  # a number has to fail twice: other processes share the caches, and a frame may then cost twice as much
SILENT_FRAMES = 25  # the caller waits half a second before asking again
REPLY = "Your parcel left our depot this morning. It is on the road to you now, as we speak."


class Lateness:
    """The lateness of frames, recorded while `is_on`."""

    def __init__(self) -> None:
        self.is_on = False
        self.observing_s = 0.0  # the CPU that an observer has used
        self.heard_s: list[float] = []
        self.sent_s: list[float] = []


class Line(vp.PacedOutput):
    """A peer that costs nothing, and notes by how much each frame is late."""

    sample_rate = 16_000

    def __init__(self, lateness: Lateness) -> None:
        self._lateness = lateness
        self._due: int | None = None  # the tick of the next frame; None while the agent is silent

    def expect(self) -> None:
        """Expect the first frame of a reply next: it is due when it comes."""
        self._due = None

    async def send(self, pcm: bytes) -> None:
        del pcm
        beat = self._beat
        if self._due is None:
            self._due = beat.number
        elif self._lateness.is_on:
            self._lateness.sent_s.append(anyio.current_time() - beat._began_s - self._due * FRAME_S)
        self._due += 1


class Ears(vp.Recogniser):
    """Takes each frame, and reports a question whenever the agent has been silent for a while."""

    sample_rate = 16_000

    async def recognise(self, inbox, outbox, session):
        call = session.deps
        silent = SILENT_FRAMES - call.number * 7 % 175  # so that not all ask at once
        heard = 0
        async for _ in inbox:
            heard += 1  # a dropped frame makes all later ones late
            if call.lateness.is_on:
                call.lateness.heard_s.append(anyio.current_time() - call.feed.due_s(heard))
            silent = 0 if session.is_busy else silent + 1
            if silent >= SILENT_FRAMES:
                silent = 0
                call.output.expect()
                now = anyio.current_time()
                await outbox.send(vp.Transcript("Where is my parcel?", now, now))


class Voice(vp.TTSSink):
    """Synthesises a sentence immediately, in pieces of 100 ms, as services send them."""

    sample_rate = 16_000

    async def synthesize(self, sentence):
        del sentence  # there are two in a reply
        for _ in range(15):
            yield b"\x00\x10" * 1_600


class Call:
    def __init__(self, number: int, feed: Feed, lateness: Lateness) -> None:
        self.number = number
        self.feed = feed
        self.lateness = lateness
        self.source = vp.PushSource()
        self.output = Line(lateness)

    async def hold(self, host: vp.Host, *, task_status) -> None:
        async with host.session(source=self.source, output=self.output, deps=self) as session:
            task_status.started()
            await session.ended.wait()


class Feed:
    """One timer that feeds all calls."""

    def __init__(self) -> None:
        self.listeners = []
        self._began_s = 0.0

    def due_s(self, number: int) -> float:
        """Return when the frame with this number, counted from 1, is due for all calls."""
        return self._began_s + number * FRAME_S

    async def run(self) -> None:
        self._began_s = anyio.current_time()
        for number in itertools.count(1):
            await anyio.sleep_until(self.due_s(number))
            for listener in self.listeners:
                listener(MICROPHONE_FRAME)


@asynccontextmanager
async def held_calls(count: int, lateness: Lateness, observers=()):
    """Hold this many calls while the block lasts."""
    feed = Feed()
    calls = [Call(number, feed, lateness) for number in range(count)]
    agent = vp.Pipeline(
        vp.STTStage(Ears()),
        ScriptedModel(lambda _: Says(REPLY)),
        vp.SentenceChunker(),
        Voice(),
        observers=[*observers],
    )
    async with agent.open() as host, anyio.create_task_group() as tasks:
        for call in calls:
            await tasks.start(call.hold, host)
        feed.listeners = [call.source.push for call in calls]
        async with anyio.create_task_group() as feeding:
            feeding.start_soon(feed.run)
            yield
            feeding.cancel_scope.cancel()
        for call in calls:
            call.source.end()


@asynccontextmanager
async def traced_calls(count: int, lateness: Lateness):
    """Hold calls that OpenTelemetry watches, and note the CPU that this takes."""
    from benchmarks.telemetry import observer  # noqa: PLC0415 - it needs an extra

    async with held_calls(count, lateness, [observer(lateness)]):
        yield


@asynccontextmanager
async def bare_calls(count: int, lateness: Lateness):
    """Move the same frames with nothing but asyncio while the block lasts."""
    feed = Feed()
    queues = [Queue() for _ in range(count)]

    async def read(queue: Queue) -> None:
        for number in itertools.count(1):
            await queue.get()
            if lateness.is_on:
                lateness.heard_s.append(anyio.current_time() - feed.due_s(number))

    async def send() -> None:
        began_s = anyio.current_time()
        for number in itertools.count(1):
            await anyio.sleep_until(began_s + number * FRAME_S)
            if lateness.is_on:
                lateness.sent_s.append(anyio.current_time() - began_s - number * FRAME_S)

    async with anyio.create_task_group() as tasks:
        for queue in queues:
            tasks.start_soon(read, queue)
            tasks.start_soon(send)
        feed.listeners = [queue.put_nowait for queue in queues]
        tasks.start_soon(feed.run)
        yield
        tasks.cancel_scope.cancel()


class OwnCore(asyncio.SelectorEventLoop):
    """An event loop on a simulated core, however busy the machine: its time is the CPU used, and jumps over waits."""

    def __init__(self) -> None:
        selector = selectors.DefaultSelector()
        super().__init__(selector)
        self._waited_s = 0.0
        self._select = selector.select
        selector.select = self._jump

    def time(self) -> float:
        return time.process_time() + self._waited_s

    def _jump(self, timeout: float | None = None):
        ready = self._select(None if timeout is None else 0)
        if not ready and timeout:
            self._waited_s += timeout
        return ready


@dataclass(frozen=True, slots=True)
class Measured:
    """The result for a number of calls: p99 of lateness, CPU of a core, and the share of time an agent speaks.

    And the CPU that was used by an observer.
    """

    calls: int
    late_ms: float
    cpu_percent: float
    speaks_percent: float
    observing_percent: float = 0.0


async def _measure(kind, count: int) -> Measured:
    lateness = Lateness()
    async with kind(count, lateness):
        await anyio.sleep(SETTLE_S)
        gc.collect()
        gc.freeze()  # as a server does: see the README
        await anyio.sleep(0.5)
        cpu_s, began_s = time.process_time(), anyio.current_time()
        lateness.is_on = True
        await anyio.sleep(MEASURED_S)
        lateness.is_on = False
        spent_s = anyio.current_time() - began_s
        cpu = (time.process_time() - cpu_s) / spent_s * 100
        speaks = len(lateness.sent_s) / count * FRAME_S / spent_s * 100
    late_s = max(percentile(lateness.heard_s, 99), percentile(lateness.sent_s, 99))
    return Measured(count, late_s * 1e3, cpu, speaks, lateness.observing_s / spent_s * 100)


async def measured(name: str, count: int, *, own_core: bool = True) -> Measured:
    """Measure in a separate process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "benchmarks.scale", name, str(count), "own" if own_core else "shared"]
    done = await anyio.run_process(command, stderr=None, env=environment)
    return Measured(**json.loads(done.stdout))


async def _most(name: str, first: int, step: int) -> Measured:
    """Return the result for the largest number of calls that meets the bar."""
    best = Measured(0, 0.0, 0.0, 0.0)
    for count in itertools.count(first, step):
        for _ in range(TRIES):
            found = await measured(name, count)
            print(f"{name} {found}", file=sys.stderr, flush=True)
            if found.late_ms <= LATE_S * 1e3:
                best = found
                break
        else:
            return best
    raise AssertionError


@asynccontextmanager
async def no_calls(count: int, lateness: Lateness):
    """Feed this many calls that do nothing."""
    del lateness
    feed = Feed()
    feed.listeners = [[].__contains__ for _ in range(count)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(feed.run)
        yield
        tasks.cancel_scope.cancel()


async def scale() -> list[Figure]:
    """Calls in one process, 20 ms frames both ways, compared with bare asyncio."""
    ours, bare = await _most("held_calls", 75, 25), await _most("bare_calls", 400, 100)
    feeding = await measured("no_calls", ours.calls)
    shared = [await measured("held_calls", PROMISED, own_core=False) for _ in range(3)]
    return [
        Figure("scale: calls on a core, 20 ms both ways", ours.calls, at_least=PROMISED),
        Figure("scale: frame lateness there, p99", ours.late_ms, "ms", LATE_S * 1e3),
        Figure("scale: CPU there", ours.cpu_percent, "% of the core"),
        Figure("scale: of which feeding them", feeding.cpu_percent, "% of the core"),
        Figure("scale: time that an agent speaks there", ours.speaks_percent, "%"),
        Figure("scale: calls on a core, bare asyncio", bare.calls),
        Figure("scale: frame lateness there, p99", bare.late_ms, "ms"),
        Figure("scale: CPU there", bare.cpu_percent, "% of the core"),
        Figure(
            f"scale: {PROMISED} calls, p99 on this machine as it is, the quietest of three",
            min(found.late_ms for found in shared),
            "ms",
        ),
    ]


if __name__ == "__main__":
    kinds = {kind.__name__: kind for kind in (held_calls, traced_calls, bare_calls, no_calls)}
    factory = {"loop_factory": OwnCore} if sys.argv[3] == "own" else {}
    found = anyio.run(_measure, kinds[sys.argv[1]], int(sys.argv[2]), backend_options=factory)
    print(json.dumps(asdict(found)))
