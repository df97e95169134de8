"""How many whole calls one core holds over real sockets, and what each socket costs.

A call has AssemblyAI's recogniser and voice, each over its websocket, and a model over HTTP; the services are simulated
in another process, on another core. The caller asks every eight seconds and the agent speaks for half of the time, at
24 kHz. 20 ms frames go both ways: a `PacedOutput` sends, and one timer feeds all calls. A frame's lateness is the time
from its tick until it has been written to the recogniser's socket, or is sent to the caller.

What a socket costs is found by leaving it out: the part is replaced by a scripted one that does the same at once.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import struct
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import asdict, astuple, dataclass
from importlib.util import find_spec
from math import ceil
from statistics import median
from typing import TYPE_CHECKING

import anyio

import voicepipe as vp
from benchmarks._figures import Figure, percentile
from benchmarks.listening import resident_kib
from benchmarks.messages import message_costs
from benchmarks.parts import SYSTEM
from benchmarks.scale import Lateness
from benchmarks.services import (
    CHARACTER_S,
    CYCLE_S,
    QUESTION,
    QUESTION_S,
    REPLY,
    Services,
    asks_at_s,
    services,
)
from voicepipe.testing import Says, ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["sockets"]

FRAME_S = 0.02
PHASES = 5
LATE_S = 0.02
PROMISED = 40
SETTLE_S = 9.0  # until all calls speak
MEASURED_S = 8.0  # a question and a reply of each
TRIES = 3  # a number has to fail three times: other processes share the caches
REPLIES_APART_S = 1.0
BUSY = 80.0  # percent of its core, above which the services may be what is late
ALL = ("stt", "model", "tts", "detector")
CALLS_COMPARED = 40
ROUNDS = 3
NAMES = {
    "stt": "the recogniser's socket",
    "model": "the model over HTTP",
    "tts": "the voice's socket",
    "detector": "the detector",
}

PIECE_BYTES = 2 * 1_920
SILENCE = bytes(640)
SPEECH = struct.pack("<320h", *(6_000 * (1 if at % 80 < 40 else -1) for at in range(320)))  # 200 Hz


class Line(vp.PacedOutput):
    """A peer that costs nothing, and notes by how much each frame is late."""

    sample_rate = 24_000

    def __init__(self, lateness: Lateness) -> None:
        self._lateness = lateness
        self._sent_s = 0.0
        self._due = 0  # the tick at which the newest frame was due

    async def send(self, pcm: bytes) -> None:
        del pcm
        now, due = anyio.current_time(), self._pacing._due - 1
        if self._lateness.is_on and now - self._sent_s < REPLIES_APART_S:
            # Audio that came late is owed no more, but its first frame was due right after the one before.
            self._lateness.sent_s.append(now - self._beat._began_s - min(due, self._due + 1) * FRAME_S)
        self._due, self._sent_s = due, now


class Socketed(vp.AssemblyAIRecogniser):
    """Notes how late audio is when it has been written to the socket."""

    @asynccontextmanager
    async def attach(self, session):
        async with super().attach(session):
            self._call._link.socket = _Noted(self._call._link.socket, session.deps)
            yield


class _Noted:
    def __init__(self, socket, call) -> None:
        self._socket = socket
        self._call = call
        self._sent = 0

    async def send(self, data: str | bytes) -> None:
        await self._socket.send(data)
        if isinstance(data, bytes):
            self._sent += len(data)
            if self._call.lateness.is_on:
                due_s = self._call.due_s(ceil(self._sent / len(SILENCE)))
                self._call.lateness.heard_s.append(anyio.current_time() - due_s)

    def __getattr__(self, name: str):
        return getattr(self._socket, name)


class Ears(vp.Recogniser):
    """Hears a question at the same times as the simulated service, and reports the same."""

    sample_rate = 16_000

    async def recognise(self, inbox, outbox, session):
        call = session.deps
        heard, ask_s = 0, asks_at_s(call.number + 1)
        speaks = False
        async for _ in inbox:
            heard += 1
            if call.lateness.is_on:
                call.lateness.heard_s.append(anyio.current_time() - call.due_s(heard))
            now, at_s = anyio.current_time(), heard * FRAME_S - ask_s
            if not speaks and at_s >= 0.5:
                speaks = True
                await outbox.send(vp.SpeechStarted(at_s=now))
            if at_s >= QUESTION_S + 0.5:
                speaks = False
                ask_s += CYCLE_S
                await outbox.send(vp.Transcript(QUESTION, now - 0.5, now))


class Voice(vp.TTSSink):
    """Synthesises a sentence immediately, in pieces of 80 ms, as the simulated service sends them."""

    sample_rate = 24_000

    async def synthesize(self, sentence):
        pcm = b"\x00\x10" * round(len(sentence.text.strip()) * CHARACTER_S * self.sample_rate)
        for at in range(0, len(pcm), PIECE_BYTES):
            yield pcm[at : at + PIECE_BYTES]


class Call:
    feed: Feed

    def __init__(self, number: int, lateness: Lateness) -> None:
        self.number = number
        self.lateness = lateness
        self.source = vp.PushSource()
        self.output = Line(lateness)
        self.asks_s = asks_at_s(number + 1)

    async def hold(self, host: vp.Host, *, task_status) -> None:
        async with host.session(source=self.source, output=self.output, deps=self) as session:
            task_status.started()
            await session.ended.wait()

    def due_s(self, number: int) -> float:
        """Return when the frame with this number is due."""
        return self.feed.due_s(self.number, number)

    def hear(self, at_s: float) -> None:
        """Speak for the first seconds of each cycle."""
        self.source.push(SPEECH if (at_s - self.asks_s) % CYCLE_S < QUESTION_S else SILENCE)


class Feed:
    """Feeds all calls. Callers are not in step: each share is fed a little after the one before."""

    def __init__(self, calls: list[Call]) -> None:
        self._shares = [calls[phase::PHASES] for phase in range(PHASES)]
        self._began_s = anyio.current_time()

    def due_s(self, call: int, number: int) -> float:
        """Return when the frame with this number, counted from 1, is due for a call."""
        return self._began_s + (number + call % PHASES / PHASES) * FRAME_S

    async def run(self) -> None:
        for number in itertools.count(1):
            for phase, calls in enumerate(self._shares):
                await anyio.sleep_until(self.due_s(phase, number))
                for call in calls:
                    call.hear(number * FRAME_S)


def agent(real: frozenset[str], at: Services) -> vp.Pipeline:
    """Return an agent, of which these parts use a socket."""
    return vp.Pipeline(
        vp.STTStage(Socketed(url=at.stt_url) if "stt" in real else Ears()),
        vp.LLMStreamStage(SYSTEM, base_url=at.model_url, model="scripted")
        if "model" in real
        else ScriptedModel(lambda _: Says(REPLY)),
        vp.SentenceChunker(),
        vp.AssemblyAITTS(url=at.tts_url) if "tts" in real else Voice(),
        detector="auto" if "detector" in real else None,
    )


@asynccontextmanager
async def held(host: vp.Host, calls: list[Call]):
    """Hold these calls while the block lasts."""
    async with anyio.create_task_group() as tasks:
        for call in calls:
            await tasks.start(call.hold, host)
        feed = Feed(calls)
        for call in calls:
            call.feed = feed
        async with anyio.create_task_group() as feeding:
            feeding.start_soon(feed.run)
            yield
            feeding.cancel_scope.cancel()
        for call in calls:
            call.source.end()


@dataclass(frozen=True, slots=True)
class Measured:
    """The result for a number of calls.

    Attributes:
        calls: How many.
        late_ms: p99 of the lateness.
        cpu_percent: Of a core.
        services_percent: The same, of the services.
        speaks_percent: The share of time that an agent speaks.
    """

    calls: int
    late_ms: float
    cpu_percent: float
    services_percent: float
    speaks_percent: float


async def _measure(count: int, real: frozenset[str], at: Services) -> Measured:
    lateness = Lateness()
    calls = [Call(number, lateness) for number in range(count)]
    async with agent(real, at).open() as host, held(host, calls):
        await anyio.sleep(SETTLE_S)
        gc.collect()
        gc.freeze()  # as a server does: see the README
        await anyio.sleep(0.5)
        began_s, cpu_s, services_s = anyio.current_time(), time.process_time(), at.cpu_s()
        lateness.is_on = True
        await anyio.sleep(MEASURED_S)
        lateness.is_on = False
        spent_s = anyio.current_time() - began_s
        cpu = (time.process_time() - cpu_s) / spent_s * 100
        busy = (at.cpu_s() - services_s) / spent_s * 100
        speaks = len(lateness.sent_s) / count * FRAME_S / spent_s * 100
    late_s = max(percentile(lateness.heard_s, 99), percentile(lateness.sent_s, 99))
    return Measured(count, late_s * 1e3, cpu, busy, speaks)


async def _measured(at: Services, count: int, real: Iterable[str] = ALL, *, loop: str = "asyncio") -> Measured:
    """Measure in a separate process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    given = [str(_cores()[0]), loop, str(count), ",".join(real), *map(str, astuple(at))]
    done = await anyio.run_process([sys.executable, "-m", "benchmarks.sockets", *given], stderr=None, env=environment)
    found = Measured(**json.loads(done.stdout))
    print(f"{loop} {','.join(real)} {found}", file=sys.stderr, flush=True)
    return found


async def _most(at: Services, loop: str) -> Measured:
    """Return the result for the largest number of calls that meets the bar."""
    best = Measured(0, 0.0, 0.0, 0.0, 0.0)
    for count in itertools.count(PROMISED, 10):
        for _ in range(TRIES):
            found = await _measured(at, count, loop=loop)
            if found.late_ms <= LATE_S * 1e3:
                best = found
                break
        else:
            return best
    raise AssertionError


def _cores() -> tuple[int, int]:
    """Return a core for the calls and another one for the services, where there are two."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[-1]


async def sockets() -> list[Figure]:
    """Calls on one core with all three sockets, on asyncio and uvloop; what each socket and each message costs."""
    figures: list[Figure] = []
    loops = ["asyncio", *(["uvloop"] if find_spec("uvloop") else [])]
    for loop in loops:
        async with services(_cores()[1]) as at:
            most = await _most(at, loop)
        bound = ", a lower bound: the services are busy" if most.services_percent > BUSY else ""
        figures += [
            Figure(f"sockets: calls on a core, {loop}{bound}", most.calls, at_least=PROMISED),
            Figure("sockets: frame lateness there, p99", most.late_ms, "ms", LATE_S * 1e3),
            Figure("sockets: CPU there", most.cpu_percent, "% of the core"),
            Figure("sockets: CPU of the services there", most.services_percent, "% of their core", BUSY),
            Figure("sockets: time that an agent speaks there", most.speaks_percent, "%"),
        ]
    async with services(_cores()[1]) as at:
        return [*figures, *await _costs(at, loops), *await message_costs(at)]


async def _costs(at: Services, loops: list[str]) -> list[Figure]:
    """Return the CPU of a call, and how much less it is without each part. Rounds alternate, because machines drift."""
    rows: dict[tuple[str, ...], list[float]] = {}
    for _ in range(ROUNDS):
        for real in ((), *((part,) for part in ALL), ALL):
            rows.setdefault(real, []).append((await _measured(at, CALLS_COMPARED, real)).cpu_percent / CALLS_COMPARED)
        for loop in loops[1:]:
            found = await _measured(at, CALLS_COMPARED, loop=loop)
            rows.setdefault((loop,), []).append(found.cpu_percent / CALLS_COMPARED)
    cost = {real: median(values) for real, values in rows.items()}
    parts = {part: cost[part,] - cost[()] for part in ALL}
    unit = "% of a core"
    return [
        Figure("sockets: CPU of a call", cost[ALL], unit),
        *(Figure(f"sockets: the same on {loop}", cost[loop,], unit) for loop in loops[1:]),
        Figure("sockets: of which frames and turns, all parts scripted", cost[()], unit),
        *(Figure(f"sockets: of which {NAMES[part]}", share, unit) for part, share in parts.items()),
        Figure("sockets: of which all at once, more than each alone", cost[ALL] - cost[()] - sum(parts.values()), unit),
    ]


async def _memory(at: Services) -> tuple[float, float]:
    """Return the KiB of a further call where one has been before: when it is open, and after a question and a reply."""
    lateness = Lateness()
    async with agent(frozenset(ALL), at).open() as host, held(host, [Call(0, lateness)]):
        await anyio.sleep(SETTLE_S + CYCLE_S / 2)
        before = resident_kib()
        async with held(host, [Call(number, lateness) for number in range(1, 1 + CALLS_COMPARED)]):
            await anyio.sleep(0.5)
            opened = resident_kib()
            await anyio.sleep(SETTLE_S + CYCLE_S / 2)
            return (opened - before) / CALLS_COMPARED, (resident_kib() - before) / CALLS_COMPARED


if __name__ == "__main__":
    where = Services(*sys.argv[-5:-1], int(sys.argv[-1]))
    if sys.argv[1] == "memory":
        print(*anyio.run(_memory, where))
    else:
        core, loop, calls, parts = sys.argv[1:5]
        os.sched_setaffinity(0, {int(core)})
        options = {"use_uvloop": loop == "uvloop"}
        result = anyio.run(_measure, int(calls), frozenset(parts.split(",")), where, backend_options=options)
        print(json.dumps(asdict(result)))
